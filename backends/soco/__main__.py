"""The panel's number on the command line: `python -m backends.soco --removed 40 --method soco-k`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from backends.runtime.command import CONFIG, start
from backends.runtime.errors import UserError
from backends.soco.command import ModelOptions
from backends.soco.settings import SocoSettings


class Command(SocoSettings, ModelOptions, BaseSettings):
    """Compress a language model, measure its perplexity, and save it if asked to."""

    model_config = CONFIG
    file: Path | None = Field(None, title="Plain text to measure on, with --text yours")
    prompt: str = Field("", max_length=2000, title="Also continue this prompt")
    quick: bool = Field(False, title="2,048 tokens instead of the whole text, as the panel does")
    facts: bool = Field(False, title="Print every number, as JSON")
    save: Path | None = Field(None, title="Write the compressed model to this .safetensors file")


def run(command: Command) -> None:
    """Print the measurement. Raises UserError."""
    from backends.lm import texts
    from backends.soco import run
    from backends.soco.look import look
    from backends.soco.materialise import save_compressed

    bench = command.open()
    own = ""
    if command.text == "yours":
        if command.file is None:
            raise UserError("--text yours needs a plain-text file: name it with --file.")
        own = texts.decode_upload(command.file.read_bytes())
    settings = SocoSettings(**{name: getattr(command, name) for name in SocoSettings.model_fields if name != "prompt"})
    now = look(bench, settings, own, command.quick)
    if command.facts:
        print(json.dumps(now.facts(), indent=1))
    else:
        print(now.summary())
        print(now.protocol())
    if command.prompt:
        s = command
        print(s.prompt + run.continuation(bench, s.method, s.removed, s.prompt, s.tokens, s.seed, s.temperature).text)
    if command.save:
        spectrum = bench.decide(command.method, command.removed).spectrum
        facts = {"method": command.method, "removed": now.accounting.removed_linear, "model": command.model}
        save_compressed(bench.compress(spectrum, "factored"), command.save, facts)


if __name__ == "__main__":
    start(Command, run)
