"""Which processor does the work, and in which number format."""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

from backends.runtime.errors import UserError

CHOICES = ("auto", "cuda", "mps", "cpu")
_M_ARENA_MAX = -8  # of mallopt


def choose_device(wanted: str = "auto") -> torch.device:
    """CUDA, then Apple's MPS, then CPU; or the one that is named, if this machine has it. Raises UserError."""
    import torch

    kind, _, index = wanted.partition(":")
    if kind not in CHOICES or (index and not index.isdigit()):
        raise UserError(f"Unknown device {wanted!r}: choose one of {', '.join(CHOICES)}.")
    present = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if kind == "auto":
        kind = next(name for name in ("cuda", "mps", "cpu") if present[name])
    if not present[kind]:
        raise UserError(f"This machine has no {kind} device: use --device auto.")
    return torch.device(f"{kind}:{index}" if index else kind)


def quick_format(device: torch.device) -> torch.dtype:
    """The number format for a quick look: bfloat16 on a processor that multiplies in it, else float32."""
    import torch

    able = torch.cpu.get_capabilities() if device.type == "cpu" else {}
    return torch.bfloat16 if able.get("avx512_bf16") or able.get("amx_bf16") else torch.float32


def hardware() -> str:
    """What a training ran on, for its card."""
    import torch

    if torch.cuda.is_available():
        return f"one {torch.cuda.get_device_name()}"
    threads = torch.get_num_threads()
    return f"{threads} CPU {'thread' if threads == 1 else 'threads'} ({platform.machine()})"


def limit_memory() -> None:
    """Bound what a server that runs for long keeps outside Python; before torch is imported and threads are started.

    The C library makes eight heaps a core, one for each thread at first, and gives little of them back: two are enough.
    oneDNN keeps machine code for the matrix products of each shape, and a compressed model has a hundred shapes of its
    own, others at each ratio. By default 1024 are kept, and 1024 more in every thread; 160 hold the model being read.
    """
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "160")
    os.environ.setdefault("LRU_CACHE_CAPACITY", "16")  # torch's own, one a thread
    with contextlib.suppress(AttributeError, OSError, TypeError):  # glibc has it, others need not
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 2)


def give_memory_back() -> None:
    """Let the operating system have what was freed; the C library keeps it else. Takes tens of milliseconds."""
    with contextlib.suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def limit_threads(threads: int | None = None) -> None:
    """Use as many threads as there are usable cores, and one for inter-op work: more only fight each other."""
    import torch

    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads or usable)
