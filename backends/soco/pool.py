"""Calibration windows and what the dense model says about them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from backends.lm.load import LanguageModel
from backends.lm.texts import EvaluationText


def calibration_windows(lm: LanguageModel, text: EvaluationText, length: int, seed: int = 0) -> torch.Tensor:
    """(windows, length) int64: the documents one after the other, cut, and shuffled once by `seed`."""
    stream: list[int] = []
    for document in text.documents:
        stream += [lm.prefix, *lm.encode(document)]
    count = len(stream) // length
    rows = np.array(stream[: count * length], dtype=np.int64).reshape(count, length)
    return torch.from_numpy(rows[np.random.default_rng(seed).permutation(count)]).to(lm.model.device)


@dataclass
class Pool:
    """Training windows with the dense model's last hidden states, computed once each and kept in half precision."""

    lm: LanguageModel
    windows: torch.Tensor
    _hidden: dict[int, torch.Tensor] = field(default_factory=dict)

    def batch(self, step: int, size: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (size, time) and dense logits (size, time, vocabulary) of one step; each epoch has its own order."""
        rows = []
        for position in range(step * size, (step + 1) * size):
            epoch, index = divmod(position, len(self.windows))
            rows.append(int(np.random.default_rng([seed, epoch]).permutation(len(self.windows))[index]))
        return self.windows[rows], self._teacher(rows)

    @torch.no_grad()
    def _teacher(self, rows: list[int]) -> torch.Tensor:
        fresh = [r for r in rows if r not in self._hidden]
        decoder, head = self.lm.model.get_decoder(), self.lm.model.get_output_embeddings()
        if fresh:
            states = decoder(input_ids=self.windows[fresh], use_cache=False).last_hidden_state
            for row, state in zip(fresh, states, strict=True):
                self._hidden[row] = state.to(torch.float16) if state.dtype == torch.float32 else state
        hidden = torch.stack([self._hidden[r] for r in rows]).to(head.weight.dtype)
        return head(hidden)
