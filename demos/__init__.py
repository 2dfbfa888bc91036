"""The panels: controls, figures, words. This is the one place where a panel is added."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Sequence

from backends.runtime.errors import UserError
from demos.kit.panel import Panel

# "module:object", in the order of the tabs; the module's last part is the panel's key
PANELS: list[str] = [
    "demos.soco:PANEL",
    "demos.pear:PANEL",
]


def load_panels(keys: Sequence[str] | None = None) -> list[Panel]:
    """The panels with these keys, in the house's order; all of them for None. Raises UserError for an unknown key."""
    wanted = dict(zip(map(_key, PANELS), PANELS, strict=True))
    for key in keys or ():
        if key not in wanted:
            near = difflib.get_close_matches(key, wanted, n=1)
            advice = f"did you mean {near[0]}?" if near else f"choose among {', '.join(wanted)}."
            raise UserError(f"Unknown panel {key!r}: {advice}")
    return [_load(name) for key, name in wanted.items() if keys is None or key in keys]


def _key(name: str) -> str:
    return name.partition(":")[0].rpartition(".")[2]


def _load(name: str) -> Panel:
    module, _, attribute = name.partition(":")
    panel = getattr(importlib.import_module(module), attribute)
    if panel.key != _key(name):
        raise ValueError(f"{name} exports the key {panel.key!r}: it must be the module's name.")
    return panel
