"""Work of more than a few seconds: a queue of child processes that run a method's own command line.

A child writes JSON lines to its standard output, each a `Step` in words: {"fraction": 0.4, "message": "...", ...}; its
other keys are kept for whoever watches. What it makes it writes to the folder that it is given with `--out`. A process
of its own can be ended at any time, gives all its memory back, and takes nothing with it when it crashes.

A job is found again by its id, which nobody can guess, also after the page was closed or the server restarted. What is
on disk for it, `job.json`, `events.jsonl` and what it made, goes `keep` seconds after its end.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import psutil

from backends.runtime.errors import UserError
from backends.runtime.files import ROOT, whole_file

State = Literal["waiting", "running", "done", "failed", "cancelled"]
ENDED = ("done", "failed", "cancelled")
LOST = "The server was restarted while this job ran: start it again."
KILLED = "The job was ended by the system, most likely because memory ran out: choose a smaller one."
BROKEN = "The job ended with an internal error; its log is kept under its id."
LONGEST_LINE = 1_000_000  # bytes of one event
log = logging.getLogger("vitrine")


@dataclass(frozen=True)
class Order:
    """What to run: `python -m module arguments --out FOLDER`. seconds: it is expected to take; owner: a session."""

    module: str
    arguments: tuple[str, ...]
    title: str
    seconds: float = field(compare=False)
    owner: str
    deadline: float = 3600.0


@dataclass
class Job:
    """Where a job stands. server: the process it belongs to; times in seconds of the clock that time.time() reads."""

    id: str
    order: Order
    server: str = ""
    state: State = "waiting"
    fraction: float = 0.0
    message: str = ""
    asked: float = field(default_factory=time.time)
    started: float | None = None
    ended: float | None = None

    @property
    def elapsed(self) -> float:
        return 0.0 if self.started is None else (self.ended or time.time()) - self.started

    @property
    def left(self) -> float | None:
        """Seconds still to go, from the pace so far; from the estimate while there is none."""
        if self.state in ENDED:
            return 0.0
        if self.fraction < 0.02:
            return max(0.0, self.order.seconds - self.elapsed)
        return self.elapsed * (1 - self.fraction) / self.fraction


class Jobs:
    """One queue for one device: jobs run one after another, in the order in which they were asked for."""

    def __init__(self, folder: Path, waiting: int = 8, keep: float = 86_400) -> None:
        self.folder, self.most_waiting, self.keep = folder, waiting, keep
        self._jobs: dict[str, Job] = {}
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._changed = threading.Condition()
        self._closed = False
        folder.mkdir(parents=True, exist_ok=True)
        with self._changed:
            self._remember()
        self._thread = threading.Thread(target=self._work, name="jobs", daemon=True)
        self._thread.start()

    # ---- asking -----------------------------------------------------------------------------------------------------

    def submit(self, order: Order) -> str:
        """The id of the new job; of the one under way if this owner has asked for the same. Raises UserError."""
        with self._changed:
            self._sweep()
            open_jobs = [job for job in self._jobs.values() if job.state not in ENDED]
            for job in open_jobs:
                if job.order.owner == order.owner:
                    if job.order == order:
                        return job.id
                    raise UserError(f"Your job “{job.order.title}” is not finished: cancel it or wait for it.")
            if len(open_jobs) > self.most_waiting:
                raise UserError(f"{len(open_jobs)} jobs are waiting already: try again in a few minutes.")
            job = Job(secrets.token_urlsafe(16), order, _process(os.getpid()))
            (self.folder / job.id).mkdir()
            self._jobs[job.id] = job
            self._save(job)
            self._changed.notify_all()
            return job.id

    def find(self, ident: str) -> Job:
        """Raises UserError if there is no such job, or no longer."""
        job = self._jobs.get(ident)
        if job is None:
            raise UserError("There is no such job any more: start it again.")
        return job

    def of(self, owner: str) -> Job | None:
        """The owner's job that is not finished."""
        return next((j for j in self._jobs.values() if j.order.owner == owner and j.state not in ENDED), None)

    def place(self, ident: str) -> int:
        """How many jobs are before this one: 0 for the one that runs."""
        job = self.find(ident)
        return sum(other.asked < job.asked and other.state not in ENDED for other in list(self._jobs.values()))

    def expected_wait(self) -> float:
        """Seconds until a job that is asked for now would begin, by what was estimated for those before it."""
        return sum(job.left or 0.0 for job in list(self._jobs.values()) if job.state not in ENDED)

    def events(self, ident: str, after: int = 0) -> list[dict[str, Any]]:
        """Everything that the job has written so far, from line `after` on."""
        path = self.result(ident) / "events.jsonl"
        if not path.exists():
            return []
        lines = path.read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines[after:] if line.endswith(b"\n")]

    def result(self, ident: str) -> Path:
        """The job's folder."""
        return self.folder / self.find(ident).id

    def watch(self, ident: str, every: float = 0.4) -> Iterator[Job]:
        """The job again and again, at each change and at least every `every` seconds, up to its end."""
        while True:
            job = self.find(ident)
            yield job
            if job.state in ENDED:
                return
            with self._changed:
                if self._jobs.get(ident) is job and job.state not in ENDED:
                    self._changed.wait(every)

    # ---- ending -----------------------------------------------------------------------------------------------------

    def cancel(self, ident: str) -> None:
        """End it now, wherever it stands; nothing happens to a finished one."""
        with self._changed:
            job = self.find(ident)
            if job.state in ENDED:
                return
            self._end(job, "cancelled", "Cancelled.")
            process = self._processes.get(ident)
        if process is not None:
            _kill(process)

    def close(self) -> None:
        """End everything; what runs is told as cancelled."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        for job in list(self._jobs.values()):
            self.cancel(job.id)
        self._thread.join(5)

    # ---- working ----------------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while True:
            with self._changed:
                while not self._closed and (job := self._next()) is None:
                    self._changed.wait()
                if self._closed:
                    return
                job.state, job.started, job.message = "running", time.time(), "starting"
            try:
                self._run(job)
            except OSError:  # the disk is full, or no process can be made: the queue goes on
                log.exception("job %s", job.id)
                with self._changed:
                    self._end(job, "failed", BROKEN)

    def _run(self, job: Job) -> None:
        with self._changed:
            if job.state in ENDED:  # cancelled in the same moment
                return
            process = self._processes[job.id] = self._start(job)
            self._save(job)
            self._changed.notify_all()
        try:
            self._follow(job, process)
        finally:
            _kill(process)
            with self._changed:
                del self._processes[job.id]
            for pipe in (process.stdin, process.stdout):
                if pipe is not None:
                    pipe.close()

    def _next(self) -> Job | None:
        return min((j for j in self._jobs.values() if j.state == "waiting"), key=lambda j: j.asked, default=None)

    def _start(self, job: Job) -> subprocess.Popen[bytes]:
        folder = self.folder / job.id
        command = [sys.executable, "-u", "-m", "backends.runtime.child", job.order.module, *job.order.arguments]
        command += ["--out", str(folder)]
        pipe = subprocess.PIPE
        with (folder / "log.txt").open("wb") as errors:
            return subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=errors, start_new_session=True)

    def _follow(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        """Read what the child says until it ends; then say how it ended."""
        over = threading.Timer(job.order.deadline, self._too_late, (job, process))
        over.daemon = True
        over.start()
        try:
            with (self.folder / job.id / "events.jsonl").open("ab", buffering=0) as events:
                assert process.stdout is not None
                while line := process.stdout.readline(LONGEST_LINE):
                    self._hear(job, line, events)
            code = process.wait()
        finally:
            over.cancel()
        with self._changed:
            if job.state in ENDED:
                return
            if code == 0:
                self._end(job, "done", job.message)
            elif code == -signal.SIGKILL:
                self._end(job, "failed", KILLED)
            else:
                self._end(job, "failed", self._last_words(job) or BROKEN)

    def _hear(self, job: Job, line: bytes, events: Any) -> None:
        try:
            event = json.loads(line)
            fraction, message = float(event["fraction"]), str(event["message"])
        except (ValueError, KeyError, TypeError):
            return  # not one of ours: a library that prints
        events.write(line)
        with self._changed:
            if job.state in ENDED:
                return
            job.fraction, job.message = min(1.0, max(0.0, fraction)), message
            self._changed.notify_all()

    def _too_late(self, job: Job, process: subprocess.Popen[bytes]) -> None:
        with self._changed:
            if job.state in ENDED:
                return
            self._end(job, "failed", f"The job was ended after its limit of {job.order.deadline:.0f} s.")
        _kill(process)

    def _last_words(self, job: Job) -> str | None:
        """A UserError's sentence: commands end with it as the last line of the log, prefixed by nothing else."""
        lines = (self.folder / job.id / "log.txt").read_text(errors="replace").strip().splitlines()
        if not lines or any(line.startswith("Traceback") for line in lines):
            return None
        return lines[-1][:300] if re.match(r"[A-Z0-9“'\"].*[.]$", lines[-1]) else None

    def _end(self, job: Job, state: State, message: str) -> None:
        """Under the lock."""
        job.state, job.message, job.ended = state, message, time.time()
        if state == "done":
            job.fraction = 1.0
        with contextlib.suppress(OSError):  # on a full disk the job ends all the same
            self._save(job)
        self._changed.notify_all()

    # ---- remembering ------------------------------------------------------------------------------------------------

    def _save(self, job: Job) -> None:
        with contextlib.suppress(FileNotFoundError), whole_file(self.folder / job.id / "job.json") as temporary:
            temporary.write_text(json.dumps(asdict(job)))

    def _remember(self) -> None:
        """Jobs of an earlier server: the finished ones as they were, the others as lost. Another server that still
        runs here keeps its own."""
        for path in self.folder.glob("*/job.json"):
            try:
                job = _read(json.loads(path.read_text()))
            except (ValueError, KeyError, TypeError):
                shutil.rmtree(path.parent, ignore_errors=True)
                continue
            if job.state not in ENDED and _runs_elsewhere(job.server):
                continue
            self._jobs[job.id] = job
            if job.state not in ENDED:
                self._end(job, "failed", LOST)
        self._sweep()

    def _sweep(self) -> None:
        for job in list(self._jobs.values()):
            if job.ended is not None and time.time() - job.ended > self.keep:
                del self._jobs[job.id]
                shutil.rmtree(self.folder / job.id, ignore_errors=True)


def _process(number: int) -> str:
    """A process by its number and the moment of its start, for numbers are given again; empty if there is none."""
    try:
        return f"{number} {psutil.Process(number).create_time():.2f}"
    except psutil.NoSuchProcess:
        return ""


def _runs_elsewhere(server: str) -> bool:
    number = server.partition(" ")[0]
    return number.isdigit() and int(number) != os.getpid() and server == _process(int(number))


def _read(kept: Mapping[str, Any]) -> Job:
    order = Order(**{**kept["order"], "arguments": tuple(kept["order"]["arguments"])})
    return Job(**{**kept, "order": order})


def _kill(process: subprocess.Popen[bytes]) -> None:
    """The child and whatever it has started: half a second to end by itself, then at once."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(0.5)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
    process.wait()
