"""The panel's number on the command line: `python -m backends.pear --pruned 50 --task count`."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings

from backends.pear.command import ModelOptions
from backends.pear.settings import PearSettings
from backends.runtime.command import CONFIG, start


class Command(PearSettings, ModelOptions, BaseSettings):
    """Prune and share adapters, see what becomes of the accuracy, and save the model if asked to."""

    model_config = CONFIG
    test: bool = Field(False, title="Also on the test pictures")
    facts: bool = Field(False, title="Print every number, as JSON")
    save: Path | None = Field(None, title="Write adapters and classifier to this .safetensors file")


def run(command: Command) -> None:
    """Print the look. Raises UserError."""
    bench = command.open()
    settings = PearSettings(**{name: getattr(command, name) for name in PearSettings.model_fields})
    now = bench.look(settings)
    if command.facts:
        print(json.dumps(now.facts(), indent=1))
    else:
        print(now.summary())
        print(now.protocol())
    if command.test:
        print(bench.tested(settings).summary())
    if command.save:
        bench.save(settings, command.save)


if __name__ == "__main__":
    start(Command, run)
