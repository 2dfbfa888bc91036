"""Where the app, the command line and the API get their bench from."""

from __future__ import annotations

from pathlib import Path

from backends.pear.bench import Bench
from backends.runtime.hub import parse_reference
from backends.runtime.store import ModelStore
from backends.vision.service import DEFAULT_REFERENCE, open_model

STORE = ModelStore(500_000_000)
BENCH = 60_000_000  # bytes: pictures, adapters and looks of six tasks; the backbone has a store of its own


def open_bench(
    reference: str = DEFAULT_REFERENCE, device: str = "auto", models: Path | None = None, offline: bool = False
) -> Bench:
    """The shared bench of a model, made once. Raises UserError."""
    vision, name = open_model(reference, device, models, offline), parse_reference(reference).name
    return STORE.get(f"pear {vision.fingerprint} on {vision.device}", lambda: Bench(vision, name), lambda _: BENCH)
