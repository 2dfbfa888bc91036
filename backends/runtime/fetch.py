"""Getting files of a Hub model without ever waiting long: `python -m backends.runtime.fetch` is the child that does it.

huggingface_hub retries a silent server for minutes and holds file locks meanwhile. A child process can be ended at any
time and lets go of everything. It runs in the library's shared cache, so nothing is downloaded twice.
"""

from __future__ import annotations

import errno
import json
import math
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from backends.runtime.errors import UserError
from backends.runtime.files import ROOT

T = TypeVar("T")
_START = 5.0  # seconds in which even a busy machine has started the child
_REFUSED = 3  # the child's exit code when its last line is a sentence for the person


@contextmanager
def plain_faults(name: str) -> Iterator[None]:
    """Turn whatever goes wrong between here and the Hub into one sentence without paths and addresses."""
    import httpx2  # what huggingface_hub 2 speaks HTTP with; it lets these exceptions through

    try:
        yield
    except (httpx2.HTTPError, OSError, ValueError, KeyError) as fault:
        raise UserError(_sentence(name, fault)) from fault


def within(seconds: float, work: Callable[[], T]) -> T:
    """What work returns, or TimeoutError: looking up a host name has no timeout of its own."""
    result: Future[T] = Future()

    def run() -> None:
        try:
            result.set_result(work())
        except BaseException as fault:
            result.set_exception(fault)

    threading.Thread(target=run, daemon=True, name="hub-metadata").start()
    return result.result(timeout=seconds)


def fetch_files(
    name: str, files: Sequence[str], commit: str, patience: float, endpoint: str | None, cache_dir: Path | None
) -> None:
    """Bring these files of one commit into the shared cache, in this order, and record the commit as main's.

    Raises UserError, also when nothing arrives for `patience` seconds. What arrived whole is kept for the next try.
    """
    cache = str(Path(cache_dir).absolute()) if cache_dir else None
    job = {"name": name, "files": list(files), "commit": commit, "patience": patience, "parent": os.getpid()}
    command = [sys.executable, "-m", "backends.runtime.fetch", json.dumps(job | {"endpoint": endpoint, "cache": cache})]
    # Xet's own client cannot be told when to give up; plain HTTP reads the same files.
    settings = {"HF_HUB_DISABLE_XET": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", "PYTHONUTF8": "1"}
    settings["HF_HUB_DOWNLOAD_TIMEOUT"] = str(math.ceil(patience))
    with tempfile.TemporaryFile() as told:
        with subprocess.Popen(command, cwd=ROOT, env=os.environ | settings, stdout=told) as child:
            try:
                code = _heard_out(child, told.fileno(), patience)
            finally:
                _end(child)
        told.seek(0)
        said = told.read().decode(errors="replace").rstrip("\n").rpartition("\n")[2]
    if code is None:
        raise UserError(f"The Hub fell silent while {name} was downloaded: check the network and try again.")
    if code:
        raise UserError(said if code == _REFUSED else f"The download of {name} broke off: try again.")


def _heard_out(child: subprocess.Popen, told: int, patience: float) -> int | None:
    """The child's exit code; None once its output has not grown for `patience` seconds."""
    heard, since = 0, time.monotonic()
    while time.monotonic() - since < (patience if heard else patience + _START):
        try:
            return child.wait(timeout=0.05)
        except subprocess.TimeoutExpired:
            size = os.fstat(told).st_size
            if size != heard:
                heard, since = size, time.monotonic()
    return None


def _end(child: subprocess.Popen) -> None:
    child.terminate()
    try:
        child.wait(timeout=1)
    except subprocess.TimeoutExpired:
        child.kill()


def _sentence(name: str, fault: BaseException) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(fault, LocalEntryNotFoundError) and fault.__cause__:
        fault = fault.__cause__
    status = getattr(getattr(fault, "response", None), "status_code", None)
    number = getattr(fault, "errno", None)
    if status in (401, 403, 404):
        return f"The Hub has no model {name} that is open to everyone: check the name or choose another model."
    if status is not None:
        return f"The Hub answers with error {status} when asked for {name}: try again in a minute."
    if number in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk is full, so {name} was not kept: make room and try again."
    if getattr(fault, "filename", None):  # a file's fault, not the network's
        return f"The folder for downloaded models cannot be written, so {name} was not kept: use a bundled model."
    return f"The Hub could not be reached, or broke off, when asked for {name}: check the network and try again."


# ---- the child -----------------------------------------------------------------------------------------------------


def _fetch(job: dict) -> None:
    """Fetch the files one after the other, with a line of output for every sign of life. Raises UserError."""
    from huggingface_hub import constants, hf_hub_download
    from huggingface_hub.utils import tqdm

    from backends.runtime.hub import refuse_code  # here, because hub imports this module

    print("ready", flush=True)
    constants.DOWNLOAD_CHUNK_SIZE = 2**17  # 10 MB at a time would make a slow line look silent

    class Pulse(tqdm):
        def update(self, n: float | None = 1) -> None:
            if os.getppid() != job["parent"]:
                sys.exit(1)  # nobody is left to end this process
            print(".", flush=True)

    def fetch(file: str, revision: str) -> Path:
        print(file, flush=True)
        where = {"cache_dir": job["cache"], "endpoint": job["endpoint"], "etag_timeout": job["patience"]}
        return Path(hf_hub_download(job["name"], file, revision=revision, token=False, tqdm_class=Pulse, **where))

    with plain_faults(job["name"]):
        for file in job["files"]:
            path = fetch(file, job["commit"])
            if file.endswith("config.json"):
                refuse_code(path.parent)  # before the weights are asked for
        # Costs no body: it records that main is this commit, which is how the model is found offline.
        fetch("config.json", "main")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # unwinds, so that the half-written file goes too
    try:
        _fetch(json.loads(sys.argv[1]))
    except UserError as fault:
        print(fault, flush=True)
        sys.exit(_REFUSED)
