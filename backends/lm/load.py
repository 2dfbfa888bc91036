"""Load a causal language model from a checked folder, ready to be looked at but not changed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from backends.runtime.errors import UserError
from backends.runtime.weights import fingerprint, frozen, read_as

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


@dataclass(frozen=True)
class LanguageModel:
    """A frozen causal language model with its tokenizer. `context`: the most tokens it sees at once."""

    reference: str
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    context: int
    fingerprint: str  # of the weights

    @property
    def prefix(self) -> int:
        """The piece that stands before a text: beginning of text, or else end of text."""
        bos = self.tokenizer.bos_token_id
        return bos if bos is not None else self.tokenizer.eos_token_id

    @property
    def parameters(self) -> int:
        return sum(p.numel() for p in self.model.parameters())

    def encode(self, text: str) -> list[int]:
        """Token ids of any length; the tokenizer's own encode() would warn past the context."""
        return self.tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids


def load_language_model(
    folder: Path,
    reference: str,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
    limit: int = 1024,
) -> LanguageModel:
    """Read `folder` (already checked, see runtime.hub); `limit` caps the context. Raises UserError."""
    with read_as(reference, "a causal language model"):
        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=dtype, trust_remote_code=False, use_safetensors=True, local_files_only=True
        )
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False, local_files_only=True)
    if tokenizer.eos_token_id is None and tokenizer.bos_token_id is None:
        raise UserError(f"{reference} has no beginning- or end-of-text token, so its perplexity is not defined.")
    frozen(model, reference, device)
    context = min(limit, int(getattr(model.config, "max_position_embeddings", limit)))
    return LanguageModel(reference, model, tokenizer, context, fingerprint(model))
