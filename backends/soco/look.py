"""The one question behind slider, command line, HTTP and MCP: a method at a ratio on a text.

look(open_bench(), SocoSettings(removed=60, method="soco-k")).summary()
"""

from __future__ import annotations

from dataclasses import replace

from backends.lm.texts import evaluation_text
from backends.runtime.errors import UserError
from backends.soco import run
from backends.soco.curves import TextCurves, read_curves
from backends.soco.results import Measurement
from backends.soco.settings import SocoSettings
from backends.soco.workbench import Workbench


def look(bench: Workbench, settings: SocoSettings, own: str = "", quick: bool = True) -> Measurement:
    """Measured on 2,048 tokens, or on the whole text. own: the text where settings.text is "yours". Raises UserError.

    Where the dense model was measured on the whole text before, a quick look tells the ratio to it.
    """
    curves = measured_curves(bench, settings.text)
    anchor = curves.dense.nats if curves and quick else None
    text = evaluation_text(settings.text, own)
    return replace(run.measure(bench, settings.method, settings.removed, text, quick, anchor), curves=curves)


def measured_curves(bench: Workbench, text: str) -> TextCurves | None:
    """The text's curves, if they were measured on these very weights."""
    try:
        curves = read_curves(bench.name)
    except UserError:
        return None
    return curves.texts.get(text) if curves.model == bench.lm.fingerprint else None
