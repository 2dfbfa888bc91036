"""Where panels, command lines and the API get their backbone from."""

from __future__ import annotations

from pathlib import Path

from backends.runtime.device import choose_device
from backends.runtime.hub import Hub, parse_reference
from backends.runtime.store import ModelStore, parameter_bytes
from backends.vision.load import VisionModel, load_vision_model
from backends.vision.settings import NAMES

DEFAULT_REFERENCE = f"bundled:{NAMES['cpu']}"
STORE = ModelStore(1_000_000_000)


def open_model(
    reference: str = DEFAULT_REFERENCE, device: str = "auto", models: Path | None = None, offline: bool = False
) -> VisionModel:
    """A shared backbone, loaded once: work on a copy (`with_head` and `adapted` make one). Raises UserError."""
    parsed = parse_reference(reference)
    where = choose_device(device)

    def load() -> VisionModel:
        return load_vision_model(Hub(models_root=models, offline=offline).folder(parsed), str(parsed), where)

    return STORE.get(f"vision {parsed} on {where}", load, lambda found: parameter_bytes(found.model))
