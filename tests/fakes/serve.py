"""`python -m tests.fakes.serve ...`: app.py with the stand-in panels instead of the real ones."""

from __future__ import annotations

import runpy

import demos

demos.PANELS[:] = [f"tests.fakes.{key}:PANEL" for key in ("dial", "echo", "shout", "spring")]
runpy.run_path("app.py", run_name="__main__")
