"""Stand-in for a method's command line: `python -m tests.fakes.work --steps 3 --out FOLDER [--ending crash]`."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path

parser = argparse.ArgumentParser()
parser.add_argument("--out", type=Path, required=True)
parser.add_argument("--steps", type=int, default=2)
parser.add_argument("--pause", type=float, default=0.0)
parser.add_argument("--ending", default="")
parser.add_argument("--deaf", action="store_true", help="does not end on SIGTERM")
options = parser.parse_args()
if options.deaf:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("a library says hello")
for step in range(options.steps):
    print(json.dumps({"fraction": (step + 1) / options.steps, "message": f"step {step + 1}", "pid": os.getpid()}))
    sys.stdout.flush()
    time.sleep(options.pause)
if options.ending == "crash":
    raise RuntimeError("in /secret/place")
if options.ending == "sentence":
    sys.exit("This text is too short: paste at least one sentence.")
if options.ending == "memory":
    os.kill(os.getpid(), signal.SIGKILL)
(options.out / "made.txt").write_text("whole")
