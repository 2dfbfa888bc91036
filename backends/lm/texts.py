"""What perplexity is measured on: held-out documentation, the project's own stories, or a visitor's text."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import importlib.metadata
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from backends.lm import corpus
from backends.runtime.errors import UserError
from backends.runtime.files import ASSETS, cache_folder, whole_file

MAX_BYTES = 1_000_000
HELD_OUT_BYTES = 240_000  # about 70,000 tokens: enough for an error of half a percent, seconds on a laptop
STORIES = ASSETS / "texts"


@dataclass(frozen=True)
class EvaluationText:
    """Documents to score one by one, each from its beginning. `label` goes into the protocol line."""

    key: str
    label: str
    documents: tuple[str, ...]

    @property
    def bytes(self) -> int:
        return sum(len(d.encode()) for d in self.documents)

    @property
    def fingerprint(self) -> str:
        return hashlib.sha256("\0".join(self.documents).encode()).hexdigest()[:16]


def held_out() -> EvaluationText:
    """The first 240 kB of the documentation files that training never saw; read once a machine, then from the cache."""
    documents = _cached("held-out", lambda: corpus.held_out_documents(HELD_OUT_BYTES))
    return EvaluationText("held-out", "held-out Python documentation", documents)


def calibration() -> EvaluationText:
    """Training text for Gram matrices and for training scores: never evaluated on."""
    return EvaluationText(
        "calibration", "calibration documentation", _cached("calibration", corpus.calibration_documents)
    )


def stories() -> EvaluationText:
    """A dozen short pieces written for this project: text of another kind than the training text."""
    files = sorted(STORIES.glob("*.txt"))
    return EvaluationText("stories", "the project's own stories", tuple(f.read_text(encoding="utf-8") for f in files))


def visitors_text(text: str) -> EvaluationText:
    """A pasted or uploaded text. Raises UserError if it is empty, too long or not text."""
    try:
        size = len(text.encode())
    except UnicodeEncodeError as error:
        raise UserError(
            "This text holds half of a character (a lone surrogate): paste it again as plain text."
        ) from error
    if size > MAX_BYTES:
        raise UserError(f"This text is {size / 1e6:.1f} MB: the limit is 1 MB of plain text.")
    if "\0" in text:
        raise UserError("This looks like a binary file: only plain text can be scored.")
    if not text.strip():
        raise UserError("There is no text to score: type or paste at least one word.")
    return EvaluationText("yours", "your text", (text,))


def evaluation_text(key: str, own: str = "") -> EvaluationText:
    """ "held-out", "stories", or "yours": the text `own`. Raises UserError as visitors_text does."""
    return visitors_text(own) if key == "yours" else {"held-out": held_out, "stories": stories}[key]()


def decode_upload(data: bytes) -> str:
    """Bytes of an uploaded plain-text file. Raises UserError unless they are UTF-8 (a byte-order mark is dropped)."""
    if len(data) > MAX_BYTES:
        raise UserError(f"This file is {len(data) / 1e6:.1f} MB: the limit is 1 MB of plain text.")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1  # counted without the mark, as `start` is
        raise UserError(f"Line {line} of this file is not UTF-8 text: save it as UTF-8 and try again.") from error


def _cached(split: str, read) -> tuple[str, ...]:
    """Documents of a corpus split, kept under a key of the installed versions and of the extraction's own code."""
    target = cache_folder() / "corpus" / f"{split}-{_versions()}.json"
    if target.exists():
        return tuple(json.loads(target.read_text(encoding="utf-8")))
    documents: Sequence[str] = tuple(document.text for document in read())
    with whole_file(target) as temporary:
        temporary.write_text(json.dumps(documents), encoding="utf-8")
    return tuple(documents)


# Asking the system for every module's distribution takes half a second of each start.
_DISTRIBUTED_AS = {"sklearn": "scikit-learn"}


@functools.cache
def _versions() -> str:
    versions = []
    for name in corpus.CAPS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions.append(f"{name}={importlib.metadata.version(_DISTRIBUTED_AS.get(name, name))}")
    code = Path(corpus.__file__).read_bytes()
    return hashlib.sha256((sys.version + ";".join(versions)).encode() + code).hexdigest()[:12]
