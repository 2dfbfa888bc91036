"""Downloads that go wrong: said in one sentence, soon, and without harm to the next try."""

from __future__ import annotations

import errno
import json
import subprocess
import sys
import time

import pytest

from backends.runtime import files
from backends.runtime.errors import UserError
from backends.runtime.fetch import plain_faults
from backends.runtime.hub import Download, Hub, Reference

TINY = Reference("hub", "owner/tiny")
WEIGHTS = "model.safetensors"


def test_faults_end_in_a_sentence_and_the_next_try_works(server, hub, llama_files, tmp_path, refusal):
    repo = server.add(TINY.name, llama_files, fault="error")
    assert "error 500" in refusal(hub().folder, TINY)
    for fault in ("stall", "cut"):
        repo.fault = fault
        server.reached.clear()
        start = time.monotonic()
        assert "fell silent" in refusal(hub(patience=1).folder, TINY)
        assert server.reached.is_set() and time.monotonic() - start < 15
        assert not list(tmp_path.rglob("*.incomplete"))
        assert "--offline" in refusal(hub(offline=True).folder, TINY), "half a model is not offered offline"
    repo.fault = "cut-once"  # the library goes on from where the line broke
    server.reached.clear()
    folder = hub().folder(TINY)
    assert server.reached.is_set()
    assert (folder / WEIGHTS).read_bytes() == llama_files[WEIGHTS]


def test_a_silent_or_absent_hub_is_said_soon(server, hub, llama_files, refusal):
    server.add(TINY.name, llama_files, fault="stall-metadata")
    start = time.monotonic()
    assert "could not be reached" in refusal(hub(patience=0.5).cost, TINY)
    assert time.monotonic() - start < 3
    assert "could not be reached" in refusal(hub(endpoint="http://127.0.0.1:9").folder, TINY)
    assert Hub(endpoint="http://127.0.0.1:9").cost(Reference("bundled", "x")) == Download()


def test_a_name_server_that_never_answers_is_given_up(hub, monkeypatch, refusal):
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: time.sleep(8))
    start = time.monotonic()
    assert "could not be reached" in refusal(hub(patience=0.3).cost, TINY)
    assert time.monotonic() - start < 5


def test_a_cache_that_cannot_be_written_is_not_blamed_on_the_network(server, hub, llama_files, tmp_path, refusal):
    (tmp_path / "file").write_text("not a folder")
    server.add(TINY.name, llama_files)
    assert "cannot be written" in refusal(hub(cache_dir=tmp_path / "file").folder, TINY)
    with pytest.raises(UserError, match="disk is full"), plain_faults("gpt2"):
        raise OSError(errno.ENOSPC, "No space left on device", str(tmp_path))


def test_a_child_whose_parent_is_gone_stops(server, llama_files, tmp_path):
    commit = server.add(TINY.name, llama_files).commit
    job = {"name": TINY.name, "files": ["config.json", WEIGHTS], "commit": commit, "patience": 5, "parent": 0}
    job |= {"endpoint": server.url, "cache": str(tmp_path / "cache")}
    command = [sys.executable, "-m", "backends.runtime.fetch", json.dumps(job)]
    assert subprocess.run(command, cwd=files.ROOT, timeout=10, stdout=subprocess.DEVNULL).returncode == 1
    assert server.bodies(WEIGHTS) == []
    assert not list(tmp_path.rglob("*.incomplete"))


def test_damaged_weights_on_the_hub_are_named(server, hub, llama_files, refusal):
    server.add(TINY.name, llama_files | {WEIGHTS: b"<html>" * 99})
    assert WEIGHTS in refusal(hub().folder, TINY)
