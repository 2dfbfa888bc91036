"""Model references: what a person may name, and the checked local folder that the name stands for.

transformers takes paths as ids and asks on the terminal before it runs a repository's code, so it is only ever given a
folder from here. How bytes come over the network is in fetch.py.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import psutil

from backends.runtime import files
from backends.runtime.errors import UserError
from backends.runtime.fetch import fetch_files, plain_faults, within

_NAME = re.compile(r"[A-Za-z0-9][\w.-]{0,95}", re.ASCII)
_HUB_ID = re.compile(_NAME.pattern + r"(/[\w.-]{1,96})?", re.ASCII)
_NEVER_ON_HUB = re.compile(r"--|[.-](/|\Z)|/[.-]|\.git\Z")  # the library refuses these too, but only when it is asked
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WEIGHTS = re.compile(r"[A-Za-z0-9][\w.-]*\.safetensors", re.ASCII)
_CONFIG, _INDEX = "config.json", "model.safetensors.index.json"
_WORDS = ("generation_config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json")
_WORDS += ("merges.txt", "tokenizer.model", "added_tokens.json", "preprocessor_config.json")
_JSON_BYTES = 2**25


@dataclass(frozen=True)
class Reference:
    """A model as people write it: `str(reference)` and `parse_reference` are inverse."""

    kind: Literal["bundled", "local", "hub"]
    name: str

    def __str__(self) -> str:
        return self.name if self.kind == "hub" else f"{self.kind}:{self.name}"


def parse_reference(text: str) -> Reference:
    """`bundled:<name>`, `local:<name>` or a Hub id, `name` or `owner/name`. Raises UserError for anything else."""
    prefix, colon, name = text.rpartition(":")
    kinds = {"": ("hub", _HUB_ID), "bundled:": ("bundled", _NAME), "local:": ("local", _NAME)}
    kind, pattern = kinds.get(prefix + colon, ("", None))
    # fullmatch, because $ would let a trailing newline through
    if pattern is None or not pattern.fullmatch(name) or ".." in name or (kind == "hub" and _NEVER_ON_HUB.search(name)):
        shown = repr(text if len(text) <= 40 else text[:40] + "...")
        raise UserError(f"{shown} names no model: write bundled:name, local:name or a Hub id like owner/name.")
    return Reference(kind, name)


@dataclass(frozen=True)
class Download:
    """What a model takes: `bytes` counts all its files, `missing_bytes` only those that are not on this machine yet."""

    bytes: int = 0
    files: tuple[str, ...] = ()
    commit: str = ""
    missing_bytes: int = 0


@dataclass(frozen=True)
class Hub:
    """Turns references into local folders. Every fault is a UserError without paths, and a later try may succeed.

    patience: seconds without a byte after which the Hub counts as silent (asking and fetching each have their own).
    endpoint, cache_dir: the Hub's address and the shared cache; the library's own where they are None.
    """

    models_root: Path | None = None
    offline: bool = False
    max_bytes: int = 4 * 2**30
    patience: float = 6.0
    endpoint: str | None = None
    cache_dir: Path | None = None
    _turn: threading.Lock = field(default_factory=threading.Lock, init=False, repr=False, compare=False)

    def folder(self, reference: Reference) -> Path:
        """A local folder that is complete and safe to load; downloads it first if it must. Raises UserError."""
        if reference.kind == "bundled":
            folder = _inside(files.ASSETS / "models", reference)
        elif reference.kind == "local":
            if self.models_root is None:
                raise UserError("This server was started without a folder of local models: use a bundled model.")
            folder = _inside(self.models_root, reference)
        elif self.offline:
            folder = self._cached(reference.name)
            if folder is None:
                raise UserError(f"{reference} is not on this machine and --offline forbids downloads: fetch it once.")
        else:
            folder = self._fetched(reference)
        check_folder(folder)
        if reference.kind != "bundled":
            _refuse_heavy(str(reference), sum(path.stat().st_size for path in folder.glob("*.safetensors")))
        return folder

    def cost(self, reference: Reference) -> Download:
        """What `folder` would download: nothing unless it is a Hub model. Asks for metadata only. Raises UserError."""
        if reference.kind != "hub" or self.offline:
            return Download()
        from huggingface_hub import HfApi

        api, name = HfApi(endpoint=self.endpoint, token=False), reference.name
        with plain_faults(name):
            # token=False everywhere: a visitor must not read what the owner of this server may read.
            info = within(self.patience, lambda: api.model_info(name, files_metadata=True, timeout=self.patience))
            if not _COMMIT.fullmatch(info.sha or ""):
                raise ValueError("the answer names no commit")
        if info.gated or info.private or info.disabled:
            raise UserError(f"{name} is not open to everyone on the Hub: choose a public model without a gate.")
        if "custom_code" in (info.tags or ()) or "auto_map" in (info.config or {}):
            raise UserError(_brings_code(name))
        sizes = {sibling.rfilename: sibling.size for sibling in info.siblings or ()}
        wanted = _wanted(name, sizes)
        if any(sizes[file] is None for file in wanted):
            raise UserError(f"The Hub does not say how large {name} is: choose another model.")
        missing = sum(sizes[file] for file in wanted if self._cached(name, info.sha, file) is None)
        return Download(sum(sizes[file] for file in wanted), wanted, info.sha, missing)

    def _cached(self, name: str, revision: str = "main", file: str = _CONFIG) -> Path | None:
        """The snapshot in the shared cache that holds this file, if there is one. Never uses the network."""
        from huggingface_hub import try_to_load_from_cache

        with plain_faults(name):
            found = try_to_load_from_cache(name, file, cache_dir=self.cache_dir, revision=revision)
        return Path(found).parent if isinstance(found, str) else None

    def _fetched(self, reference: Reference) -> Path:
        # One download at a time: two that fit the free disk and memory alone may not fit together.
        if not self._turn.acquire(timeout=self.patience):
            raise UserError(f"Another model is being downloaded: ask for {reference} again when it is done.")
        try:
            download = self.cost(reference)
            self._refuse_large(reference.name, download)
            if download.missing_bytes or self._cached(reference.name) != self._cached(reference.name, download.commit):
                fetch_files(
                    reference.name, download.files, download.commit, self.patience, self.endpoint, self.cache_dir
                )
            folder = self._cached(reference.name, download.commit)
        finally:
            self._turn.release()
        if folder is None:
            raise UserError(f"The download of {reference} did not arrive whole: try again.")
        return folder

    def _refuse_large(self, name: str, download: Download) -> None:
        from huggingface_hub import constants

        if download.bytes > self.max_bytes:
            raise UserError(f"{name} has {_size(download.bytes)}, more than the {_size(self.max_bytes)} allowed here.")
        _refuse_heavy(name, download.bytes)
        cache = Path(self.cache_dir or constants.HF_HUB_CACHE).absolute()
        free = shutil.disk_usage(next(path for path in (cache, *cache.parents) if path.exists())).free
        if download.missing_bytes > free:
            needed = _size(download.missing_bytes)
            raise UserError(f"{name} needs {needed} of disk, {_size(free)} are free: make room or take a smaller one.")


def check_folder(folder: Path) -> None:
    """Refuse a model folder that is incomplete, damaged or brings code. Raises UserError that names the file.

    Reads headers, not tensors: whether the weights are finite is checked after loading.
    """
    from safetensors import SafetensorError, safe_open

    refuse_code(folder)
    weights = sorted(folder.glob("*.safetensors"))
    if (folder / _INDEX).exists():
        shards = _json_object(folder / _INDEX).get("weight_map")
        if not isinstance(shards, dict):
            raise UserError(f"The model's {_INDEX} is damaged: copy or download it again.")
        # Compared as names: a shard called ../x must not be followed.
        if missing := set(map(str, shards.values())) - {path.name for path in weights}:
            raise UserError(f"The model is incomplete, {min(missing)[:60]!r} is missing: copy or download it again.")
    if not weights:
        raise UserError("The model has no .safetensors weights, the only kind that is read: convert it first.")
    for path in weights:
        try:
            with safe_open(path, framework="np"):
                pass
        except (SafetensorError, OSError) as fault:
            raise UserError(f"The weights in {path.name!r} are damaged: copy or download the file again.") from fault


def refuse_code(folder: Path) -> None:
    """Refuse a model whose config, or whose tokenizer's, points to Python files. Raises UserError."""
    for name in (_CONFIG, "tokenizer_config.json"):
        if (name == _CONFIG or (folder / name).exists()) and "auto_map" in _json_object(folder / name):
            raise UserError(_brings_code("The model"))


def _brings_code(name: str) -> str:
    return f"{name} brings its own code (auto_map), which is never run here: choose a model without it."


def _json_object(path: Path) -> dict:
    try:
        value = json.loads(path.read_bytes()) if path.stat().st_size <= _JSON_BYTES else None
    except FileNotFoundError as fault:
        raise UserError(f"The model has no {path.name}: copy or download it again.") from fault
    except (OSError, ValueError, RecursionError) as fault:
        raise UserError(f"The model's {path.name} is damaged: copy or download it again.") from fault
    if not isinstance(value, dict):
        raise UserError(f"The model's {path.name} is not a JSON object of sensible size: choose another model.")
    return value


def _inside(root: Path, reference: Reference) -> Path:
    """The folder of that name in the root. Nothing in it may lead out of the root, by .. or by a link."""
    root = root.resolve()
    folder = (root / reference.name).resolve()
    if root not in folder.parents or not folder.is_dir():
        raise UserError(f"There is no {reference.kind} model called {reference.name!r}: check the name.")
    if any(root not in path.resolve().parents for path in folder.rglob("*")):
        raise UserError(f"The {reference.kind} model {reference.name!r} holds a link to elsewhere: copy the files.")
    return folder


def _wanted(name: str, present: Collection[str]) -> tuple[str, ...]:
    """The files to fetch, in order: weights come last, so that a folder with its weights has everything else."""
    weights = sorted(file for file in present if _WEIGHTS.fullmatch(file))
    # Some repositories hold the same weights twice, under another program's names.
    weights = [file for file in weights if file.startswith("model")] or weights
    if not weights or _CONFIG not in present:
        raise UserError(f"{name} has no .safetensors weights with a config.json: choose another model.")
    return (_CONFIG, *(file for file in (*_WORDS, _INDEX) if file in present), *weights)


def _refuse_heavy(name: str, size: int) -> None:
    # Half, because activations and a second copy (another precision, a compressed model) come on top.
    room = psutil.virtual_memory().available // 2
    if size > room:
        raise UserError(f"{name} takes {_size(size)} and {_size(room)} of memory may be used: take a smaller one.")


def _size(count: int) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"
