"""English text that every machine with the requirements already has: documentation inside Python packages.

Docstrings are read with `ast` from the installed source files (nothing is imported), cleaned to prose, de-duplicated
by paragraph and split by whole files: a file is held out when a hash of its name says so. A paragraph that also stands
in a held-out file is dropped from training, so the held-out text depends on the held-out files alone and can be rebuilt
in about a second wherever it is needed. None of the text is stored in this repository.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import inspect
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from backends.runtime.gently import breathe

STDLIB = "python"
# Importable name -> most bytes it may contribute to the training text. Plotly's and torch's generated files repeat
# themselves, so the cap keeps any one voice from drowning the others.
CAPS = {
    "torch": 4_500_000, "transformers": 4_500_000, "scipy": 4_500_000, "diffusers": 4_000_000, "sympy": 3_000_000,
    "sklearn": 3_000_000, "pandas": 3_000_000, "networkx": 2_000_000, "numpy": 2_000_000, "huggingface_hub": 1_000_000,
    "gradio": 1_000_000, "peft": 1_000_000, "plotly": 300_000, "accelerate": 500_000, "safetensors": 200_000,
    "tokenizers": 200_000, "pydantic_settings": 200_000, "psutil": 200_000, STDLIB: 4_500_000,
}  # fmt: skip
HELD_OUT_PERCENT = 3
CALIBRATION_PERCENT = 4  # of the training files: what compression methods may look at
_SKIPPED_FOLDERS = {
    "tests",
    "test",
    "testing",
    "site-packages",
    "__pycache__",
    "idlelib",
    "lib2to3",
    "_vendor",
    "vendor",
}


@dataclass(frozen=True)
class SourceFile:
    """One Python file and the name that decides its split: 'package/relative/path.py'."""

    package: str
    name: str
    path: Path

    @property
    def bucket(self) -> float:
        """Uniform in [0, 100), from the name alone."""
        return int(hashlib.md5(self.name.encode(), usedforsecurity=False).hexdigest()[:8], 16) / 2**32 * 100

    @property
    def split(self) -> str:
        if self.bucket < HELD_OUT_PERCENT:
            return "held-out"
        # The standard library differs between patch releases of Python; calibration must not.
        calibrates = self.bucket < HELD_OUT_PERCENT + CALIBRATION_PERCENT and self.package != STDLIB
        return "calibration" if calibrates else "train"


def source_files() -> list[SourceFile]:
    """All Python files of the corpus, pinned packages first, each part ordered by the hash of the name."""
    files = []
    for package in CAPS:
        root = _root(package)
        for path in root.rglob("*.py") if root else ():
            relative = path.relative_to(root)
            if not _SKIPPED_FOLDERS & set(relative.parts[:-1]) and not relative.name.startswith("test_"):
                files.append(SourceFile(package, f"{package}/{relative.as_posix()}", path))
    return sorted(files, key=lambda f: (f.package == STDLIB, f.bucket, f.name))


def _root(package: str) -> Path | None:
    if package == STDLIB:
        return Path(sysconfig.get_paths()["stdlib"])
    spec = importlib.util.find_spec(package)
    return Path(spec.origin).parent if spec and spec.origin else None


# ---- from source code to prose -------------------------------------------------------------------------------------

_DOC_NAMES = re.compile(r"doc|description|intro", re.I)
_DOC_FILES = re.compile(r"_docs\.py$|newdocs|pydoc_data/topics\.py$|_docstrings?\.py$")


def docstrings(source: str, filename: str = "") -> Iterator[str]:
    """Docstrings of modules, classes and functions, and string constants that serve as such, in file order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # invalid escapes in other people's strings
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError):
            return
    every_string = bool(_DOC_FILES.search(filename))
    for node in sorted(ast.walk(tree), key=lambda n: getattr(n, "lineno", 0)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            text = ast.get_docstring(node)
            if text:
                yield text
        elif every_string and isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield inspect.cleandoc(node.value)
        elif isinstance(node, ast.Assign) and _is_named_doc(node):
            yield inspect.cleandoc(node.value.value)


def _is_named_doc(node: ast.Assign) -> bool:
    """NAME_DOC = "...": a docstring that is put in place elsewhere."""
    is_text = isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    return is_text and any(isinstance(t, ast.Name) and _DOC_NAMES.search(t.id) for t in node.targets)


_FENCE = re.compile(r"```.*?(```|\Z)|<Tip[^>]*>|</Tip>|<[a-z/][^>\n]{0,80}>", re.S)
_ROLE = re.compile(r":[a-z:]+:`~?([^`<]*?)(?:\s*<[^`]*>)?`")
_RST_LINK = re.compile(r"`([^`<]+?)\s*<[^`>]+>`_{1,2}")
_MD_LINK = re.compile(r"\[([^\]\n]+)\]\([^)\n]*\)|\[\[([^\]\n]*)\]\]")
_LITERAL = re.compile(r"``([^`\n]+)``")
_NOISE_LINE = re.compile(
    r"^\s*(>>>|\.\.\. |\.\. |:[a-z]+:|[-=~^*#+|_]{3,}\s*$|[-=+| ]{6,}$|\|.*\||\$\$|\\begin|\\end|https?://\S+$|@\w+)"
)


def prose_paragraphs(text: str) -> list[str]:
    """Paragraphs of running English: code, tables, rules and markup removed, roles and links unwrapped."""
    text = _FENCE.sub(" ", text)
    text = _ROLE.sub(r"`\1`", text)
    text = _RST_LINK.sub(r"\1", text)
    text = _MD_LINK.sub(lambda m: m.group(1) or m.group(2), text)
    text = _LITERAL.sub(r"`\1`", text)
    kept, in_doctest = [], False
    for line in text.splitlines():
        if not line.strip():
            in_doctest = False
        elif line.lstrip().startswith(">>>"):
            in_doctest = True
        if in_doctest or _NOISE_LINE.match(line):
            line = "" if not in_doctest else None
        if line is not None:
            kept.append(re.sub(r"[ \t]+", " ", line).strip())
    paragraphs = re.split(r"\n\s*\n", "\n".join(kept))
    return [p.strip() for p in paragraphs if _is_prose(p)]


def _is_prose(paragraph: str) -> bool:
    paragraph = paragraph.strip()
    if len(paragraph) < 25 or (not paragraph.isprintable() and any(ord(c) < 32 and c not in "\n" for c in paragraph)):
        return False
    letters = sum(c.isalpha() or c.isspace() for c in paragraph)
    return letters / len(paragraph) >= 0.8 and paragraph.count(" ") + paragraph.count("\n") >= 3


def _paragraphs_of(file: SourceFile) -> list[str]:
    breathe()
    try:
        source = file.path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return []
    return [p for text in docstrings(source, file.name) for p in prose_paragraphs(text)]


def _key(paragraph: str) -> bytes:
    words = " ".join(re.findall(r"\w+", paragraph.lower()))
    return hashlib.md5(words.encode(), usedforsecurity=False).digest()


# ---- the splits ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Document:
    """The prose of one source file: what is held out, calibrated on or trained on as a whole."""

    name: str
    text: str


def _unique(
    files: Iterable[SourceFile], paragraphs: Iterable[list[str]], seen: set[bytes], enough: float = float("inf")
) -> list[Document]:
    """Keep each paragraph's first occurrence; `seen` grows; a package stops at its cap, all at `enough` bytes."""
    documents, size = [], dict.fromkeys(CAPS, 0)
    for file, found in zip(files, paragraphs, strict=True):
        if sum(size.values()) >= enough:
            break
        kept = []
        for paragraph in found:
            key = _key(paragraph)
            if key not in seen and size[file.package] < CAPS[file.package]:
                seen.add(key)
                kept.append(paragraph)
                size[file.package] += len(paragraph) + 2
        if kept:
            documents.append(Document(file.name, "\n\n".join(kept)))
    return documents


@cache
def held_out_documents(enough: float = float("inf")) -> tuple[Document, ...]:
    """The held-out split, about 1.2 MB, or its beginning of at least `enough` bytes; reads only the files it needs."""
    files = [f for f in source_files() if f.split == "held-out"]
    return tuple(_unique(files, map(_paragraphs_of, files), set(), enough))


@cache
def calibration_documents() -> tuple[Document, ...]:
    """A part of the training text for calibration and for training scores, apart from the held-out text."""
    seen = {_key(p) for d in held_out_documents() for p in d.text.split("\n\n")}
    files = [f for f in source_files() if f.split == "calibration"]
    return tuple(_unique(files, map(_paragraphs_of, files), seen))


def training_documents(workers: int = 2) -> list[Document]:
    """Everything that is not held out (calibration files included): about 28 MB, about half a minute."""
    seen = {_key(p) for d in held_out_documents() for p in d.text.split("\n\n")}
    # Calibration files first, so that both functions keep the same paragraphs of them.
    files = sorted((f for f in source_files() if f.split != "held-out"), key=lambda f: f.split != "calibration")
    with ProcessPoolExecutor(workers) as pool:
        return _unique(files, pool.map(_paragraphs_of, files, chunksize=64), seen)


def fingerprint(documents: Iterable[Document]) -> str:
    """Short hash of the documents' texts: tells whether two machines read the same corpus."""
    digest = hashlib.sha256()
    for document in documents:
        digest.update(document.text.encode() + b"\0")
    return digest.hexdigest()[:16]
