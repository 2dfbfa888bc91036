"""What all methods' command lines share: reading settings, which model on which device, one sentence for errors."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backends.runtime.errors import UserError

C = TypeVar("C", bound=BaseSettings)
CONFIG = SettingsConfigDict(
    frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True
)


class ModelOptions(BaseModel):
    """Which model, where it comes from and where it runs; a method names its default."""

    model: str = Field(title="bundled:NAME, local:NAME under --models, or a Hub id")
    models: Path | None = Field(None, title="Folder with models of your own")
    offline: bool = Field(False, title="Never ask the network")
    device: str = Field("auto", title="auto, cuda, mps or cpu")
    threads: int | None = Field(None, ge=1, title="CPU threads; as many as there are cores")


def start(command: type[C], run: Callable[[C], None]) -> None:
    """Parse the command line and run; a UserError ends with its sentence and code 1."""
    try:
        run(command())
    except UserError as error:
        sys.exit(str(error))


def tell(fraction: float, message: str, **more: Any) -> None:
    """One line of JSON for whoever watches a job."""
    print(json.dumps({"fraction": fraction, "message": message} | more), flush=True)
