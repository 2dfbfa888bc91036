"""The panel's number on the command line: `python -m backends.soco --removed 40 --method soco-k`."""

from __future__ import annotations

import sys
from pathlib import Path

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backends.runtime.errors import UserError
from backends.soco.settings import SocoSettings


class Command(SocoSettings, BaseSettings):
    """Compress a language model, measure its perplexity, and save it if asked to."""

    model_config = SettingsConfigDict(
        frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True
    )
    model: str = Field("bundled:pydoc-llama", title="bundled:NAME, local:NAME under --models, or a Hub id")
    models: Path | None = Field(None, title="Folder with models of your own")
    offline: bool = Field(False, title="Never ask the network")
    device: str = Field("auto", title="auto, cuda, mps or cpu")
    file: Path | None = Field(None, title="Plain text to measure on, with --text yours")
    prompt: str = Field("", title="Also continue this prompt")
    quick: bool = Field(False, title="2,048 tokens instead of the whole text")
    save: Path | None = Field(None, title="Write the compressed model to this .safetensors file")


def main() -> None:
    command = Command()
    try:
        _run(command)
    except UserError as error:
        sys.exit(str(error))


def _run(command: Command) -> None:
    from backends.lm import texts
    from backends.runtime.device import limit_threads
    from backends.soco import run
    from backends.soco.materialise import save_compressed
    from backends.soco.service import open_bench

    limit_threads()
    bench = open_bench(command.model, command.device, command.models, command.offline)
    if command.text == "yours":
        if command.file is None:
            raise UserError("--text yours needs a plain-text file: name it with --file.")
        text = texts.visitors_text(texts.decode_upload(command.file.read_bytes()))
    else:
        text = {"held-out": texts.held_out, "stories": texts.stories}[command.text]()
    now = run.measure(bench, command.method, command.removed, text, command.quick)
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
    main()
