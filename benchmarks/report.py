"""The one form of all benchmarks: rows, claims, a JSON file in results/ and the same on the terminal."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from backends.runtime.files import ROOT, whole_file

RESULTS = ROOT / "benchmarks" / "results"
Comparison = Literal["<=", "<", ">=", ">", "=="]


def public_data() -> Path:
    """Where public data sets lie: $VITRINE_DATA, else ../shared/data. The app itself never reads any of it."""
    return Path(os.environ.get("VITRINE_DATA") or ROOT.parent / "shared" / "data")


@dataclass(frozen=True)
class Claim:
    """A figure that was promised. `must`: the promise is part of what closes an issue; else it is a goal."""

    id: str
    value: float
    comparison: Comparison
    target: float
    must: bool = True

    @property
    def met(self) -> bool:
        v, t = self.value, self.target
        return {"<=": v <= t, "<": v < t, ">=": v >= t, ">": v > t, "==": v == t}[self.comparison]

    def line(self) -> str:
        word = "met" if self.met else "MISSED"
        kind = "must" if self.must else "goal"
        return f"{word:7} {kind}  {self.id}: {self.value:.4g} {self.comparison} {self.target:.4g}"


def machine() -> dict[str, Any]:
    """What the figures depend on: processor, cores, versions."""
    import torch
    import transformers

    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def write(name: str, settings: dict, rows: Sequence[dict], claims: Sequence[Claim]) -> Path:
    """Write results/<name>.json and print rows and claims."""
    body = {
        "name": name,
        "machine": machine(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "settings": settings,
        "rows": list(rows),
        "claims": [asdict(c) | {"value": float(c.value), "met": bool(c.met)} for c in claims],
    }
    path = RESULTS / f"{name}.json"
    with whole_file(path) as temporary:
        temporary.write_text(json.dumps(body, indent=1) + "\n", encoding="utf-8")
    for row in rows:
        print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in row.items()))
    for claim in claims:
        print(claim.line())
    return path


def read(name: str) -> dict:
    return json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
