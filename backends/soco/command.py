"""Which language model SoCo's command lines work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from backends.lm.settings import NAME
from backends.runtime import command

if TYPE_CHECKING:
    from backends.soco.workbench import Workbench


class ModelOptions(command.ModelOptions):
    """Which language model, where it comes from and where it runs."""

    model: str = Field(f"bundled:{NAME}", title=command.ModelOptions.model_fields["model"].title)

    def open(self) -> Workbench:
        """The workbench of this model. Raises UserError."""
        from backends.runtime.device import limit_threads
        from backends.soco.service import open_bench

        limit_threads(self.threads)
        return open_bench(self.model, self.device, self.models, self.offline)
