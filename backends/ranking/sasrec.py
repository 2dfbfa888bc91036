"""SASRec: what comes next in a sequence, by self-attention over what came before.

    for step in train_sasrec(sequences, items=500, settings=SASRecSettings()):
        ...
    step.partial.scores([[3, 17, 4]])              # (1, items)

Kang, McAuley, "Self-Attentive Sequential Recommendation", ICDM 2018; its binary loss is replaced by the softmax over
all items, which is the stronger baseline (Klenitskiy, Vasilev, "Turning Dross Into Gold Loss", RecSys 2023).
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import nn

from backends.runtime.gently import breathe
from backends.runtime.schedule import warm_cosine
from backends.runtime.seeds import generator
from backends.runtime.steps import Step

YIELD = 0.4  # seconds between two reports
WARM_UP = 100  # steps


class SASRecSettings(BaseModel):
    """The network and its training."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    width: int = Field(64, ge=4, le=512, title="Width")
    blocks: int = Field(2, ge=1, le=8, title="Blocks")
    heads: int = Field(2, ge=1, le=16, title="Heads")
    length: int = Field(50, ge=2, le=500, title="Longest history, items")
    dropout: float = Field(0.2, ge=0, lt=1, title="Dropout")
    epochs: int = Field(30, ge=1, le=500, title="Epochs")
    batch: int = Field(128, ge=1, le=4096, title="Batch, sequences")
    lr: float = Field(2e-3, gt=0, le=1, title="Peak learning rate of AdamW")
    seed: int = Field(0, ge=0, lt=2**31, title="Seed")


class SASRec(nn.Module):
    """Item and place embeddings, causal blocks, and the items themselves as classes."""

    def __init__(self, items: int, settings: SASRecSettings) -> None:
        super().__init__()
        self.settings, self.padding = settings, items
        self.item = nn.Embedding(items + 1, settings.width, padding_idx=items)
        self.place = nn.Embedding(settings.length, settings.width)
        self.dropout = nn.Dropout(settings.dropout)
        block = nn.TransformerEncoderLayer(
            settings.width, settings.heads, 4 * settings.width, settings.dropout, "gelu", batch_first=True,
            norm_first=True,
        )  # fmt: skip
        self.blocks = nn.TransformerEncoder(block, settings.blocks, nn.LayerNorm(settings.width), False)
        for value in self.parameters():
            if value.ndim > 1:
                nn.init.normal_(value, std=0.02)
        self.item.weight.data[items] = 0

    def forward(self, sequences: torch.Tensor) -> torch.Tensor:
        """sequences: (n, time), padded on the right; the state after each item, (n, time, width)."""
        time_ = sequences.shape[1]
        inner = self.item(sequences) + self.place(torch.arange(time_, device=sequences.device))
        mask = nn.Transformer.generate_square_subsequent_mask(time_, device=sequences.device)
        return self.blocks(self.dropout(inner), mask=mask, is_causal=True)

    def logits(self, states: torch.Tensor) -> torch.Tensor:
        """(..., width) -> (..., items)."""
        return states @ self.item.weight[: self.padding].T

    @torch.no_grad()
    def scores(self, histories: Sequence[Sequence[int]], batch: int = 512) -> np.ndarray:
        """(n, items) of what may come next; the last `length` items of each history count. Of nothing: all zero."""
        was_training, found = self.training, []
        self.eval()
        try:
            for start in range(0, len(histories), batch):
                some = [list(history)[-self.settings.length :] for history in histories[start : start + batch]]
                rows = padded([one or [self.padding] for one in some], self.padding)
                states = self(rows.to(self.item.weight.device))
                last = states[torch.arange(len(some)), torch.tensor([max(len(one), 1) - 1 for one in some])]
                last[[i for i, one in enumerate(some) if not one]] = 0
                found.append(self.logits(last).float().cpu().numpy())
                breathe()
        finally:
            self.train(was_training)
        return np.concatenate(found) if found else np.zeros((0, self.padding), np.float32)


def padded(sequences: Sequence[Sequence[int]], padding: int) -> torch.Tensor:
    """(n, longest), padded on the right."""
    return nn.utils.rnn.pad_sequence([torch.as_tensor(one) for one in sequences], True, padding)


def train_sasrec(
    sequences: Sequence[Sequence[int]], items: int, settings: SASRecSettings,
    validate: Sequence[tuple[Sequence[int], int]] = (), device: torch.device | str = "cpu",
) -> Iterator[Step]:  # fmt: skip
    """Train on every next item of every sequence; yields at least every 0.4 s, the model as partial.

    sequences: item codes in their order, each of two or more; longer ones than `length` are cut from the end backwards.
    validate: histories and what came next; the epoch with the best mean reciprocal rank on them is kept.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        model = SASRec(items, settings).to(device)
    pieces = [one for sequence in sequences for one in cut(sequence, settings.length + 1)]
    draw = generator(settings.seed)
    optimiser = torch.optim.AdamW(model.parameters(), settings.lr, weight_decay=0.01)
    steps, best, kept, told = -(-len(pieces) // settings.batch), -1.0, None, time.monotonic()
    for epoch in range(settings.epochs):
        model.train()
        order = torch.randperm(len(pieces), generator=draw).tolist()
        for step in range(steps):
            rate = settings.lr * warm_cosine(epoch * steps + step, settings.epochs * steps, WARM_UP)
            for group in optimiser.param_groups:
                group["lr"] = rate
            some = [pieces[i] for i in order[step * settings.batch : (step + 1) * settings.batch]]
            rows = padded(some, model.padding).to(device)
            wanted = rows[:, 1:]
            there = wanted != model.padding
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(settings.seed * 1_000_003 + epoch * steps + step)  # dropout's
                loss = F.cross_entropy(model.logits(model(rows[:, :-1])[there]), wanted[there])
                optimiser.zero_grad()
                loss.backward()
            optimiser.step()
            breathe()
            if time.monotonic() - told > YIELD:
                told = time.monotonic()
                yield Step((epoch + (step + 1) / steps) / settings.epochs, f"epoch {epoch + 1}: {loss:.3f} nats", model)
        if validate:
            found = reciprocal(model, validate)
            if found > best:
                best, kept = found, copy.deepcopy(model.state_dict())
    if kept is not None:
        model.load_state_dict(kept)
    yield Step(1.0, "trained", model.eval())


def cut(sequence: Sequence[int], length: int) -> Iterator[list[int]]:
    """Pieces of at most `length`, from the end; each begins with the item that the piece before it ends in."""
    end = len(sequence)
    while end > 1:
        start = max(0, end - length)
        yield list(sequence[start:end])
        end = start + 1 if start else 0


def reciprocal(model: SASRec, asked: Sequence[tuple[Sequence[int], int]]) -> float:
    """Mean reciprocal rank of what came next among all items."""
    scores = model.scores([history for history, _ in asked])
    wanted = scores[np.arange(len(asked)), [item for _, item in asked]]
    above = (scores > wanted[:, None]).sum(1)
    ties = (scores == wanted[:, None]).sum(1)
    return float((1 / (above + (ties + 1) / 2)).mean())
