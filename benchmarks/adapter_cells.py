"""Finished trials of benchmarks.adapters: one line of JSON each, in a file that several processes append to."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

Key = tuple[str, str, int, float | None, str, str]


@dataclass(frozen=True)
class Cell:
    """One training with one learning rate and seed.

    settings: short hash of all else that decides about it; model: the backbone's fingerprint; accuracies in [0, 1],
    losses in nats; trainable: numbers, the classifier's not counted; stored: frozen ones that belong to the task;
    correct: of each test picture, packed bits in base64; diagnosis: of the scores at the prune, see adapter_trials.
    """

    task: str
    method: str
    seed: int
    lr: float | None
    settings: str
    model: str
    validation: float
    validation_loss: float | None
    test: float
    test_loss: float | None
    trainable: int
    stored: int
    seconds: float
    pictures: int
    correct: str
    diagnosis: dict[str, Any] | None = None

    @property
    def key(self) -> Key:
        return self.task, self.method, self.seed, self.lr, self.settings, self.model

    @property
    def hits(self) -> np.ndarray:
        """(pictures,) bool."""
        packed = np.frombuffer(base64.b64decode(self.correct), np.uint8)
        return np.unpackbits(packed, count=self.pictures).astype(bool)


def packed(correct: np.ndarray) -> str:
    """(n,) bool -> what `Cell.correct` holds."""
    return base64.b64encode(np.packbits(correct)).decode()


class CellFile:
    """The cells of a file by their key; what is added is on disk at once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.cells = {cell.key: cell for cell in _read(path)}

    def get(self, key: Key) -> Cell | None:
        return self.cells.get(key)

    def add(self, cell: Cell) -> None:
        """One write to the end of the file, so that lines of several processes do not mix. Raises OSError."""
        line = (json.dumps(asdict(cell)) + "\n").encode()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        handle = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            size = os.fstat(handle).st_size
            if size and os.pread(handle, 1, size - 1) != b"\n":  # a torn line of a process that was ended
                line = b"\n" + line
            if os.write(handle, line) != len(line):
                raise OSError(f"{self.path} could not be written whole: is the disk full?")
        finally:
            os.close(handle)
        self.cells[cell.key] = cell


def _read(path: Path) -> Iterator[Cell]:
    """Every whole line; a torn one is as if its trial had never been made."""
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            yield Cell(**json.loads(line))
        except (ValueError, TypeError):
            continue
