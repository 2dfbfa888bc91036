"""What every model read from a checked folder has in common: faults in one sentence, frozen, with a fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError

from backends.runtime.errors import UserError

# What transformers trips over in files that do not fit: a wrong type in config.json, a torn file, another shape.
_FAULTS = (OSError, ValueError, LookupError, TypeError, AttributeError, ArithmeticError, RuntimeError)
_FAULTS += (SafetensorError, StrictDataclassError)


@contextmanager
def read_as(reference: str, what: str) -> Iterator[None]:
    """Around the reading of a model: whatever goes wrong inside is one UserError."""
    try:
        yield
    except _FAULTS as fault:
        raise UserError(
            f"{reference} could not be read as {what} ({type(fault).__name__}): choose another model or copy it again."
        ) from fault


def frozen(model: torch.nn.Module, reference: str, device: torch.device | str) -> None:
    """Make a model that has just been read ready to be shared. Raises UserError where a weight is no finite number."""
    for name, value in model.named_parameters():
        if not torch.isfinite(value).all():
            raise UserError(f"{reference} holds values that are not finite numbers, in {name}: choose another model.")
    model.requires_grad_(False).eval().to(device)


def fingerprint(model: torch.nn.Module) -> str:
    """Short hash of all weights: changes when any of them does."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
