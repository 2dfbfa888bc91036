"""Jobs: one at a time, found again, ended when told to, and nothing left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.runtime import jobs as module
from backends.runtime.errors import UserError
from backends.runtime.files import ROOT
from backends.runtime.jobs import Job, Jobs, Order


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    made = Jobs(tmp_path / "jobs", waiting=3)
    yield made
    made.close()


def order(*arguments: object, owner: str = "one", **changes: object) -> Order:
    return Order(**{"module": "tests.fakes.work", "arguments": tuple(map(str, arguments)), "title": "Work",
                    "seconds": 5.0, "owner": owner} | changes)  # fmt: skip


LONG = ("--steps", 400, "--pause", 0.1)


def until(test: Callable[[], object], seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not test():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def ended(jobs: Jobs, ident: str) -> Job:
    return list(jobs.watch(ident))[-1]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "Z" not in Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]


def pid_of(jobs: Jobs, ident: str) -> int:
    until(lambda: jobs.events(ident))
    return jobs.events(ident)[0]["pid"]


def test_a_job_tells_its_steps_and_leaves_its_result(jobs: Jobs):
    ident = jobs.submit(order("--steps", 3))
    seen = list(jobs.watch(ident))
    assert seen[-1].state == "done" and seen[-1].fraction == 1
    assert [e["message"] for e in jobs.events(ident)] == ["step 1", "step 2", "step 3"]
    assert [e["message"] for e in jobs.events(ident, after=2)] == ["step 3"]
    assert (jobs.result(ident) / "made.txt").read_text() == "whole"
    assert jobs.of("one") is None


def test_jobs_wait_their_turn_and_know_their_place(jobs: Jobs):
    first, second = jobs.submit(order(*LONG)), jobs.submit(order("--steps", 1, owner="two"))
    third = jobs.submit(order(owner="three"))
    pid_of(jobs, first)
    assert [jobs.place(i) for i in (first, second, third)] == [0, 1, 2]
    assert jobs.find(second).state == "waiting"
    assert jobs.expected_wait() > 5
    jobs.cancel(first)
    assert ended(jobs, second).state == ended(jobs, third).state == "done"
    assert jobs.find(second).started < jobs.find(third).started


def test_twenty_presses_make_one_job(jobs: Jobs):
    idents: list[str] = []
    threads = [threading.Thread(target=lambda: idents.append(jobs.submit(order(*LONG)))) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(idents) == 20 and len(set(idents)) == 1
    assert len(list(jobs.folder.iterdir())) == 1


def test_one_job_an_owner_and_a_short_queue(jobs: Jobs):
    jobs.submit(order(*LONG))
    with pytest.raises(UserError, match="“Work” is not finished"):
        jobs.submit(order("--steps", 1))
    for owner in "abc":
        jobs.submit(order(owner=owner))
    with pytest.raises(UserError, match="4 jobs are waiting already"):
        jobs.submit(order(owner="d"))


@pytest.mark.parametrize("deaf", [False, True])
def test_cancelling_ends_the_process_within_a_second(jobs: Jobs, deaf: bool):
    ident = jobs.submit(order(*LONG, *(["--deaf"] if deaf else [])))
    pid = pid_of(jobs, ident)
    started = time.monotonic()
    jobs.cancel(ident)
    assert time.monotonic() - started < 1
    assert not alive(pid)
    job = ended(jobs, ident)
    assert (job.state, job.message) == ("cancelled", "Cancelled.")
    assert ended(jobs, jobs.submit(order("--steps", 1))).state == "done"
    jobs.cancel(ident)
    assert jobs.find(ident).state == "cancelled"


def test_a_waiting_job_is_cancelled_without_having_run(jobs: Jobs):
    first, second = jobs.submit(order(*LONG)), jobs.submit(order(owner="two"))
    jobs.cancel(second)
    jobs.cancel(first)
    assert jobs.find(second).started is None
    assert jobs.events(second) == []


@pytest.mark.parametrize(
    ("ending", "message"),
    [
        ("crash", module.BROKEN),
        ("memory", module.KILLED),
        ("sentence", "This text is too short: paste at least one sentence."),
    ],
)
def test_what_goes_wrong_stays_inside_and_is_told_in_one_sentence(jobs: Jobs, ending: str, message: str):
    ident = jobs.submit(order("--ending", ending))
    job = ended(jobs, ident)
    assert (job.state, job.message) == ("failed", message)
    assert not (jobs.result(ident) / "made.txt").exists()
    assert ended(jobs, jobs.submit(order("--steps", 1))).state == "done"


def test_a_deadline_is_kept(jobs: Jobs):
    job = ended(jobs, jobs.submit(order(*LONG, deadline=1.5)))
    assert job.state == "failed" and "limit of 2 s" in job.message
    assert job.elapsed < 5


def test_a_command_that_does_not_exist_fails_and_the_queue_goes_on(jobs: Jobs):
    assert ended(jobs, jobs.submit(order(module="tests.fakes.nothing"))).message == module.BROKEN
    assert ended(jobs, jobs.submit(order("--steps", 1))).state == "done"


def test_a_full_disk_fails_the_job_and_not_the_queue(jobs: Jobs, monkeypatch: pytest.MonkeyPatch):
    start = jobs._start

    def full(job: Job) -> subprocess.Popen[bytes]:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs, "_start", full)
    assert ended(jobs, jobs.submit(order())).message == module.BROKEN
    monkeypatch.setattr(jobs, "_start", start)
    assert ended(jobs, jobs.submit(order())).state == "done"


def test_the_child_gives_way(jobs: Jobs):
    pid = pid_of(jobs, jobs.submit(order(*LONG)))
    assert os.getpriority(os.PRIO_PROCESS, pid) > os.getpriority(os.PRIO_PROCESS, 0)


def test_jobs_are_found_again_after_a_restart(jobs: Jobs):
    done = jobs.submit(order("--steps", 1))
    ended(jobs, done)
    (jobs.folder / "torn").mkdir()
    (jobs.folder / "torn" / "job.json").write_text('{"id": "torn", "ord')
    running = jobs.folder / "lost-id"
    running.mkdir()
    kept = json.loads((jobs.folder / done / "job.json").read_text())
    (running / "job.json").write_text(json.dumps(kept | {"id": "lost-id", "state": "running", "ended": None}))
    later = Jobs(jobs.folder)
    assert later.find(done).state == "done"
    assert (later.result(done) / "made.txt").exists()
    assert (later.find("lost-id").state, later.find("lost-id").message) == ("failed", module.LOST)
    assert not (jobs.folder / "torn").exists()
    later.close()


@pytest.mark.parametrize("ident", ["", "..", "../jobs", "x" * 22])
def test_nothing_is_found_by_a_guess(jobs: Jobs, ident: str):
    with pytest.raises(UserError, match="no such job"):
        jobs.find(ident)


def test_what_is_old_goes(jobs: Jobs):
    ident = jobs.submit(order("--steps", 1))
    ended(jobs, ident)
    jobs.keep = 0.0
    ended(jobs, jobs.submit(order("--steps", 2)))
    assert not (jobs.folder / ident).exists()
    with pytest.raises(UserError, match="no such job"):
        jobs.find(ident)


def test_a_killed_server_leaves_no_orphan(tmp_path: Path):
    script = f"""
import time
from pathlib import Path
from backends.runtime.jobs import Jobs, Order
jobs = Jobs(Path({str(tmp_path)!r}))
ident = jobs.submit(Order("tests.fakes.work", ("--steps", "400", "--pause", "0.1", "--deaf"), "Work", 5, "one"))
while not jobs.events(ident):
    time.sleep(0.02)
print(jobs.events(ident)[0]["pid"], flush=True)
time.sleep(60)
"""
    server = subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE)
    with server:
        assert server.stdout is not None
        pid = int(server.stdout.readline())
        assert alive(pid)
        server.send_signal(signal.SIGKILL)
        server.wait()
    until(lambda: not alive(pid), 3)
    later = Jobs(tmp_path)
    assert [job.message for job in later._jobs.values()] == [module.LOST]
    later.close()


def test_two_servers_on_one_machine_leave_each_other_alone(tmp_path: Path) -> None:
    """The second one finds a job that the first still runs: it is neither lost nor its own."""
    script = (
        "import sys, time; from pathlib import Path; from backends.runtime.jobs import Jobs, Order\n"
        "jobs = Jobs(Path(sys.argv[1])); order = Order('tests.fakes.work', ('--pause', '60'), 'work', 60, 'somebody')\n"
        "print(jobs.submit(order), flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "."}, stdout=subprocess.PIPE) as first:
        assert first.stdout is not None
        ident = first.stdout.readline().decode().strip()
        second = Jobs(tmp_path)
        with pytest.raises(UserError):
            second.find(ident)
        first.kill()
        first.wait()
    third = Jobs(tmp_path)
    assert third.find(ident).message == module.LOST
    second.close()
    third.close()
