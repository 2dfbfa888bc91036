"""Where the app, the command line and the API get their workbench from."""

from __future__ import annotations

from pathlib import Path

from backends.lm.load import load_language_model
from backends.lm.settings import NAME
from backends.runtime.device import choose_device, quick_format
from backends.runtime.hub import Hub, parse_reference
from backends.runtime.store import ModelStore, parameter_bytes
from backends.soco.workbench import Workbench

DEFAULT_REFERENCE = f"bundled:{NAME}"
STORE = ModelStore(2_000_000_000)


def open_bench(
    reference: str = DEFAULT_REFERENCE, device: str = "auto", models: Path | None = None, offline: bool = False
) -> Workbench:
    """The shared workbench of a model, loaded once. Raises UserError."""
    parsed = parse_reference(reference)
    where = choose_device(device)

    def load() -> Workbench:
        folder = Hub(models_root=models, offline=offline).folder(parsed)
        return Workbench(load_language_model(folder, str(parsed), where), parsed.name, quick_format(where))

    # Factors of three bases weigh about four times the parameters.
    return STORE.get(f"soco {parsed} on {where}", load, lambda bench: 5 * parameter_bytes(bench.lm.model))
