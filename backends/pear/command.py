"""Which vision transformer Pear's command lines work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from backends.runtime import command
from backends.vision.settings import NAMES

if TYPE_CHECKING:
    from backends.pear.bench import Bench
    from backends.vision.load import VisionModel


class ModelOptions(command.ModelOptions):
    """Which vision transformer, where it comes from and where it runs."""

    model: str = Field(f"bundled:{NAMES['cpu']}", title=command.ModelOptions.model_fields["model"].title)

    def open(self) -> Bench:
        """The bench of this model, with what ships for it. Raises UserError."""
        from backends.pear.service import open_bench
        from backends.runtime.device import limit_threads

        limit_threads(self.threads)
        return open_bench(self.model, self.device, self.models, self.offline)

    def open_model(self) -> VisionModel:
        """The model alone. Raises UserError."""
        from backends.runtime.device import limit_threads
        from backends.vision.service import open_model

        limit_threads(self.threads)
        return open_model(self.model, self.device, self.models, self.offline)
