"""Measured curves: every method at every trained ratio. Remade by `python -m backends.soco.curves`."""

from __future__ import annotations

import datetime
import json
import math
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backends.runtime.errors import UserError
from backends.runtime.files import ASSETS, whole_file
from backends.soco.settings import KNOTS, METHODS

COMMAND = "python -m backends.soco.curves"


class Point(BaseModel):
    """One measured ratio. error: standard error of nats, paired with the dense model window by window."""

    model_config = ConfigDict(frozen=True)
    percent: float
    nats: float
    error: float

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats)


class TextCurves(BaseModel):
    """All methods on one text."""

    model_config = ConfigDict(frozen=True)
    label: str
    tokens: int
    context: int
    dense: Point
    methods: dict[str, list[Point]]


class Curves(BaseModel):
    """What the file holds; `model` is the fingerprint of the weights that it was measured on."""

    model_config = ConfigDict(frozen=True)
    model: str
    date: str
    command: str
    texts: dict[str, TextCurves]


def curves_path(model: str) -> Path:
    return ASSETS / "soco" / model / "curves.json"


def read_curves(model: str) -> Curves:
    """Raises UserError if the file is missing or torn."""
    try:
        return Curves.model_validate_json(curves_path(model).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"The measured curves cannot be read: remake them with {COMMAND}.") from error


class Command(BaseSettings):
    """Measure every method's curve on both texts."""

    model_config = SettingsConfigDict(extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True)
    model: str = Field("pydoc-llama", title="Name of a bundled model")
    device: str = "auto"
    threads: int | None = None


def main() -> None:
    from backends.lm import texts
    from backends.lm.load import load_language_model
    from backends.runtime.device import choose_device, limit_threads
    from backends.soco.workbench import Workbench

    command = Command()
    limit_threads(command.threads)
    folder = ASSETS / "models" / command.model
    lm = load_language_model(folder, f"bundled:{command.model}", choose_device(command.device))
    bench = Workbench(lm, command.model)
    made = {text.key: _measure_text(bench, text) for text in (texts.held_out(), texts.stories())}
    today = datetime.datetime.now(datetime.UTC).date().isoformat()
    curves = Curves(model=lm.fingerprint, date=today, command=COMMAND, texts=made)
    with whole_file(curves_path(command.model)) as temporary:
        temporary.write_text(json.dumps(curves.model_dump(), indent=1) + "\n", encoding="utf-8")


def _measure_text(bench, text) -> TextCurves:
    from backends.lm.perplexity import paired_error, perplexity
    from backends.soco.knots import knot_path

    windows = bench.windows(text)
    dense = perplexity(bench.lm.model, windows)
    methods: dict[str, list[Point]] = {}
    for method, card in METHODS.items():
        methods[method] = [Point(percent=0, nats=dense.nats, error=0)]
        for percent in KNOTS:
            if card.trained and not knot_path(bench.name, method, percent).exists():
                continue
            value = perplexity(bench.compress(bench.decide(method, percent).spectrum), windows)
            methods[method].append(Point(percent=percent, nats=value.nats, error=paired_error(value, dense)))
            print(f"{text.key} {method} {percent} %: perplexity {value.value:.3f}", flush=True)
    point = Point(percent=0, nats=dense.nats, error=dense.standard_error)
    return TextCurves(label=text.label, tokens=dense.tokens, context=dense.context, dense=point, methods=methods)


if __name__ == "__main__":
    main()
