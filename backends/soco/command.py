"""What SoCo's command lines share: which model on which device, on which text, and one sentence for what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import BaseModel, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from backends.runtime.errors import UserError

if TYPE_CHECKING:
    from backends.soco.workbench import Workbench

C = TypeVar("C", bound=BaseSettings)
CONFIG = SettingsConfigDict(
    frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True, cli_implicit_flags=True
)


class ModelOptions(BaseModel):
    """Which language model, where it comes from and where it runs."""

    model: str = Field("bundled:pydoc-llama", title="bundled:NAME, local:NAME under --models, or a Hub id")
    models: Path | None = Field(None, title="Folder with models of your own")
    offline: bool = Field(False, title="Never ask the network")
    device: str = Field("auto", title="auto, cuda, mps or cpu")

    def open(self) -> Workbench:
        """The workbench of this model. Raises UserError."""
        from backends.runtime.device import limit_threads
        from backends.soco.service import open_bench

        limit_threads()
        return open_bench(self.model, self.device, self.models, self.offline)


def start(command: type[C], run: Callable[[C], None]) -> None:
    """Parse the command line and run; a UserError ends with its sentence and code 1."""
    try:
        run(command())
    except UserError as error:
        sys.exit(str(error))
