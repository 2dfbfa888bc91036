"""A small method with a command line: how far an integrator drifts from the exact motion of a damped spring.

x'' = -x - d x', from x = 1 at rest, in steps of `step` seconds; below the critical damping d = 2.

    python -m tests.fakes.spring_method --step 0.2 --method euler            one answer
    python -m tests.fakes.spring_method --step 0.2 --rounds 50 --out FOLDER  the same as a job
"""

from __future__ import annotations

import json
import math
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

SECONDS = 20.0


class SpringSettings(BaseModel):
    """One motion."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    step: Annotated[float, Field(0.2, ge=0.05, le=0.5, multiple_of=0.05, title="Step", json_schema_extra={"unit": "s"})]
    method: Annotated[Literal["symplectic", "euler"], Field("symplectic", title="Method")]
    damping: Annotated[float, Field(0.1, ge=0, le=1, multiple_of=0.1, title="Damping", description="d in x''.")]


class SpringTraining(SpringSettings):
    """The same again and again."""

    rounds: Annotated[int, Field(50, ge=1, le=1000, title="Rounds")]


@dataclass(frozen=True)
class Motion:
    """times, positions and the exact positions: (n,) in seconds and metres."""

    settings: SpringSettings
    times: np.ndarray
    positions: np.ndarray
    exact: np.ndarray

    @property
    def error(self) -> float:
        """The largest distance to the exact motion, in metres."""
        return float(np.abs(self.positions - self.exact).max())

    def summary(self) -> str:
        s = self.settings
        return f"In steps of {s.step:g} s, {s.method} strays up to {self.error:.4f} m from the exact motion."

    def protocol(self) -> str:
        return f"{len(self.times)} steps over {SECONDS:g} s · damping {self.settings.damping:g}"

    def against(self, pinned: Motion) -> str:
        was = f"{pinned.settings.method} at {pinned.settings.step:g} s strayed {pinned.error:.4f} m"
        return f"{was}: the same view." if pinned.settings == self.settings else f"{was}, B {self.error:.4f} m."

    def facts(self) -> dict[str, Any]:
        return {"summary": self.summary(), "error": self.error, **self.settings.model_dump()}


def solve(settings: SpringSettings) -> Motion:
    """The numerical motion beside the exact one."""
    h, d = settings.step, settings.damping
    times = np.arange(0, SECONDS + h / 2, h)
    x, v, positions = 1.0, 0.0, []
    for _ in times:
        positions.append(x)
        force = -x - d * v
        x, v = (x + h * v, v + h * force) if settings.method == "euler" else (x + h * (v + h * force), v + h * force)
    w = math.sqrt(1 - d * d / 4)
    exact = np.exp(-d * times / 2) * (np.cos(w * times) + d / (2 * w) * np.sin(w * times))
    return Motion(settings, times, np.array(positions), exact)


class Command(SpringTraining, BaseSettings):
    """The command line."""

    model_config = SettingsConfigDict(frozen=True, extra="forbid", cli_parse_args=True, cli_kebab_case=True)
    out: Path | None = None


def main() -> None:
    command = Command()
    settings = SpringSettings(**{name: getattr(command, name) for name in SpringSettings.model_fields})
    for done in range(command.rounds if command.out else 0):
        event = {
            "fraction": (done + 1) / command.rounds,
            "message": f"round {done + 1}",
            "error": solve(settings).error,
        }
        print(json.dumps(event), flush=True)
        time.sleep(0.05)
    if command.out:
        (command.out / "motion.csv").write_text("\n".join(map(str, solve(settings).positions)))
    else:
        print(solve(settings).summary())


if __name__ == "__main__":
    main()
