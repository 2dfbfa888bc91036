"""Two threads that need the same unfinished modules both get finished ones."""

from __future__ import annotations

import gc
import sys
import threading
from pathlib import Path

import pytest

from backends.runtime.imports import heavy, uncollected


def test_modules_that_import_each_other_are_whole_in_every_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for here, there in (("vitrine_left", "vitrine_right"), ("vitrine_right", "vitrine_left")):
        text = f"import time\ntime.sleep(0.2)\nimport {there}\ntime.sleep(0.1)\nwhole = '{here}'\n"
        (tmp_path / f"{here}.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    found: list[str] = []

    def use(name: str) -> None:
        found.append(heavy(name).whole)

    threads = [threading.Thread(target=use, args=(name,)) for name in ("vitrine_left", "vitrine_right") * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for name in ("vitrine_left", "vitrine_right"):
        sys.modules.pop(name, None)
    assert sorted(found) == ["vitrine_left", "vitrine_left", "vitrine_right", "vitrine_right"]


def test_what_does_not_exist_raises():
    with pytest.raises(ModuleNotFoundError):
        heavy("backends.nothing")


def test_garbage_is_collected_again_afterwards():
    with uncollected():
        with uncollected():
            assert not gc.isenabled()
        assert not gc.isenabled()
    assert gc.isenabled()
    with pytest.raises(KeyError), uncollected():
        raise KeyError
    assert gc.isenabled()
