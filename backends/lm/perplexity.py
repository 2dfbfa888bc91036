r"""Rolling perplexity as lm-evaluation-harness computes it.

    ppl = exp( -1/N \sum_t log p(x_t | x_{<t} inside the window) )

A text is cut into windows of at most `context` predicted tokens. The first window is conditioned on the end-of-text
piece, each later one on at least `context - stride + 1` tokens before it, and every token is predicted exactly once.
Source: lm_eval.utils.get_rolling_token_windows with context_len = context - stride + 1.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from backends.runtime.gently import breathe

_AT_ONCE = 256  # rows of logits whose softmax is taken together: what fits the processor's cache


@dataclass(frozen=True)
class Windows:
    """Texts cut for evaluation. inputs, targets: (windows, context) int64; a target of -100 is not predicted."""

    inputs: np.ndarray
    targets: np.ndarray
    bytes: int  # UTF-8 bytes that the predicted tokens stand for
    context: int
    stride: int

    @property
    def tokens(self) -> int:
        return int((self.targets >= 0).sum())

    def sample(self, tokens: int) -> Windows:
        """Evenly spread full windows with at least `tokens` predicted tokens: a quick look at the same texts."""
        full = np.flatnonzero((self.targets >= 0).sum(1) == min(self.stride, self.context))
        wanted = math.ceil(tokens / min(self.stride, self.context))
        if wanted >= len(full):
            return self
        rows = full[np.linspace(0, len(full) - 1, wanted).round().astype(int)]
        share = (self.targets[rows] >= 0).sum() / self.tokens
        return Windows(self.inputs[rows], self.targets[rows], round(self.bytes * share), self.context, self.stride)


def rolling_windows(
    documents: Sequence[Sequence[int]], prefix: int, context: int, stride: int | None = None, text_bytes: int = 0
) -> Windows:
    """Cut tokenised documents; `stride` tokens are predicted at a time (the whole context unless it is given)."""
    stride = stride or context
    if not 1 <= stride <= context:
        raise ValueError(f"stride {stride} must lie between 1 and the context, {context}")
    inputs, targets = [], []
    for document in documents:
        padded = np.concatenate([[prefix], np.asarray(document, dtype=np.int64)])
        for start, end in _spans(len(document), context, stride):
            # padded[i] is the token before document[i]
            low = 0 if start == 0 else max(0, end - context)
            row_in, row_out = np.full(context, prefix), np.full(context, -100)
            row_in[: end - low] = padded[low:end]
            row_out[start - low : end - low] = padded[start + 1 : end + 1]
            inputs.append(row_in)
            targets.append(row_out)
    if not inputs:
        return Windows(np.empty((0, context), np.int64), np.empty((0, context), np.int64), 0, context, stride)
    return Windows(np.stack(inputs), np.stack(targets), text_bytes, context, stride)


def _spans(length: int, context: int, stride: int) -> Iterator[tuple[int, int]]:
    """(first, one past last) predicted token of each window."""
    start = 0
    while start < length:
        end = min(length, start + (context if start == 0 else stride))
        yield start, end
        start = end


@dataclass(frozen=True)
class Perplexity:
    """A measured perplexity. nats: mean negative log-likelihood a token; standard_error: of `nats`, over windows."""

    nats: float
    standard_error: float
    tokens: int
    bytes: int
    context: int
    stride: int
    window_nats: np.ndarray  # (windows,) summed nats
    window_tokens: np.ndarray  # (windows,)
    number_format: str = "float32"  # that matrices were multiplied in

    @property
    def value(self) -> float:
        return math.exp(min(self.nats, 700.0))

    @property
    def value_error(self) -> float:
        """Standard error of the perplexity (delta method)."""
        return self.value * self.standard_error

    @property
    def bits_per_byte(self) -> float:
        return self.nats * self.tokens / math.log(2) / self.bytes if self.bytes else math.nan

    def protocol(self, text_name: str) -> str:
        """The line that stands beside the number."""
        cut = f"context {self.context}, stride {self.stride}"
        return f"{self.tokens:,} tokens of {text_name}, {cut}, {self.number_format}"


def format_name(model: torch.nn.Module, number_format: torch.dtype | None = None) -> str:
    """ "float32": the given format, else that of the model's weights."""
    return str(number_format or next(model.parameters()).dtype).removeprefix("torch.")


@torch.no_grad()
def window_nats(
    model: torch.nn.Module, windows: Windows, batch: int = 8, number_format: torch.dtype | None = None
) -> Iterator[np.ndarray]:
    """Yields (rows, context) float64 negative log-likelihoods, batch by batch; 0 where nothing is predicted.

    number_format: what matrices are multiplied in, the model's own if None; sums between the layers keep the model's.
    """
    device, own = next(model.parameters()).device, next(model.parameters()).dtype
    lower = number_format not in (None, own)
    for low in range(0, len(windows.inputs), batch):
        breathe()
        rows = torch.from_numpy(windows.inputs[low : low + batch]).to(device)
        wanted = torch.from_numpy(windows.targets[low : low + batch]).to(device)
        with torch.autocast(device.type, number_format, enabled=lower):
            logits = model(input_ids=rows, use_cache=False).logits
        parts = zip(logits.flatten(0, 1).split(_AT_ONCE), wanted.flatten().split(_AT_ONCE), strict=True)
        nats = torch.cat([_nats(part, targets) for part, targets in parts])
        yield nats.view(wanted.shape).double().cpu().numpy()


def _nats(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(rows,) negative log-likelihoods, at least in float32."""
    precise = logits if logits.dtype == torch.float64 else logits.float()
    return torch.nn.functional.cross_entropy(precise, targets, reduction="none", ignore_index=-100)


def summarise(nats: np.ndarray, windows: Windows, number_format: str = "float32") -> Perplexity:
    """From summed nats of the first len(nats) windows; the error is that of a ratio of window sums."""
    counts = (windows.targets[: len(nats)] >= 0).sum(1)
    total = int(counts.sum())
    if not total:
        raise ValueError("there is no token to predict")
    mean = float(nats.sum() / total)
    n = len(nats)
    spread = float(np.sqrt(((nats - mean * counts) ** 2).sum() * n / (n - 1)) / total) if n > 1 else math.nan
    share = total / windows.tokens
    covered = round(windows.bytes * share)
    return Perplexity(mean, spread, total, covered, windows.context, windows.stride, nats, counts, number_format)


def perplexity(
    model: torch.nn.Module, windows: Windows, batch: int = 8, number_format: torch.dtype | None = None
) -> Perplexity:
    """Evaluate every window; see window_nats."""
    sums = [rows.sum(1) for rows in window_nats(model, windows, batch, number_format)]
    return summarise(np.concatenate(sums) if sums else np.empty(0), windows, format_name(model, number_format))


def paired_error(a: Perplexity, b: Perplexity) -> float:
    """Standard error of a.nats - b.nats over the windows that both were measured on."""
    if not np.array_equal(a.window_tokens, b.window_tokens):
        raise ValueError("only measurements on the same windows can be paired")
    difference = a.window_nats - b.window_nats
    n, total = len(difference), a.window_tokens.sum()
    if n < 2:
        return math.nan
    rest = difference - difference.sum() / total * a.window_tokens
    return float(np.sqrt((rest**2).sum() * n / (n - 1)) / total)
