"""Read catalogue files and say everything that is wrong with them: `python -m backends.catalogue.check [FILE ...]`.

Without files it is the whole catalogue, its links too.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from backends.catalogue.schema import FOLDER, KINDS, Work

RUN = 6  # words that two descriptions may not have in common in a row


def words_of(text: str) -> list[str]:
    """In small letters, without punctuation."""
    return re.findall(r"[^\W_]+", text.lower())


def shared_runs(works: Iterable[Work]) -> Iterator[str]:
    """Every run of words that two descriptions share, said once for each pair."""
    first: dict[tuple[str, ...], str] = {}
    for work in works:
        words, said = words_of(work.description), set()
        for i in range(len(words) - RUN + 1):
            run = tuple(words[i : i + RUN])
            other = first.setdefault(run, work.key)
            if other not in (work.key, *said):
                said.add(other)
                yield f"{work.key} and {other} share the words “{' '.join(run)}”"


def faults(paths: Iterable[Path], links: bool) -> Iterator[str]:
    """One sentence for each."""
    works: dict[str, Work] = {}
    for path in paths:
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            try:
                work = Work.model_validate_json(line)
            except ValidationError as error:
                for one in error.errors():
                    yield f"{path.name}:{number}: {'.'.join(map(str, one['loc'])) or 'work'}: {one['msg']}"
                continue
            if work.key in works:
                yield f"{path.name}:{number}: {work.key} stands there twice"
            works[work.key] = work
    yield from shared_runs(works.values())
    if links:
        for work in works.values():
            for key in (*work.based_on, *work.inspired_by):
                if key not in works:
                    yield f"{work.key} leads to {key}, which is not there"


def main() -> None:
    named = [Path(name) for name in sys.argv[1:]]
    found = list(faults(named or [FOLDER / f"{kind}s.jsonl" for kind in KINDS], links=not named))
    print("\n".join(found) or "Nothing is wrong.")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
