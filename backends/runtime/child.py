"""What a job's process starts as: `python -m backends.runtime.child MODULE ARGUMENT...` becomes that command line.

It gives way to the server (lowest priority, first to be ended when memory runs out), and ends when the server does,
however that happens: the pipe on its standard input closes.
"""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import threading
from pathlib import Path

NICE = 15  # of 19


def main() -> None:
    module, *arguments = sys.argv[1:]
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    with contextlib.suppress(OSError):  # Linux: the first to go
        Path("/proc/self/oom_score_adj").write_text("1000")
    threading.Thread(target=_end_with_the_server, daemon=True).start()
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _end_with_the_server() -> None:
    while sys.stdin.buffer.raw.read(1):
        pass
    os._exit(1)


if __name__ == "__main__":
    main()
