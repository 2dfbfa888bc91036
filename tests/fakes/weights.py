"""The app in a copy of its tree whose weights were changed: what it says must change with them."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from tests.conftest import ROOT, served


@contextlib.contextmanager
def served_with(
    files: str, change: Callable[[str, torch.Tensor], torch.Tensor], work: Path, panel: str
) -> Iterator[str]:
    """Serve one panel of a tree whose tensors, in the safetensors files that match under assets/, were changed by name.

    work: an empty folder.
    """
    tree, cache = work / "tree", work / "cache"
    cache.mkdir()
    tree.mkdir()
    for name in ("app.py", "backends", "demos", "assets"):
        source = ROOT / name
        (shutil.copytree if source.is_dir() else shutil.copy)(source, tree / name)
    found = list((tree / "assets").glob(files))
    assert found
    for path in found:
        with safe_open(path, "pt") as file:
            words = file.metadata()
            tensors = {name: change(name, file.get_tensor(name)) for name in file.keys()}  # noqa: SIM118
        save_file(tensors, path, words)
    with served([str(tree / "app.py"), "--offline", "--panels", panel], cache, tree=tree) as url:
        yield url
