"""Small random language models of the kinds that must work, and a tokenizer to go with them."""

from __future__ import annotations

from functools import cache

import torch
from torch import nn
from transformers import (
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from backends.lm.load import LanguageModel, fingerprint
from backends.lm.tokenizer import train_tokenizer

# Tied and untied embeddings, and biases at q, k and v; keys and values are always shared by pairs of heads.
KINDS = ("llama-tied", "llama", "qwen2")
CONTEXT = 24
SENTENCES = (
    "The keeper of the lock writes down the level of the water every morning before anyone else is awake.",
    "Returns a list of the names of all the modules that were found below the folder.",
    "Beans are soaked overnight, boiled for an hour and left to cool in their own water.",
    "Nobody remembers why the old line stops in the middle of the field, but the rails are still there.",
    "If the value is negative, the function raises an error and leaves the table as it was.",
    "The goat looked at the sky, looked at the gate, and decided against the weather.",
)


def tiny_model(
    kind: str = "llama", seed: int = 0, vocabulary: int = 96, hidden: int = 32, inner: int = 48, dtype=torch.float32
) -> PreTrainedModel:
    """Two layers, four heads, frozen. Weights are ten times the usual start: predictions are far from uniform."""
    sizes = {
        "vocab_size": vocabulary,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": CONTEXT,
        "initializer_range": 0.2,
        "tie_word_embeddings": kind == "llama-tied",
        "bos_token_id": 0,
        "eos_token_id": 0,
        "pad_token_id": None,
    }
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2ForCausalLM(Qwen2Config(**sizes)) if kind == "qwen2" else LlamaForCausalLM(LlamaConfig(**sizes))
        for name, value in model.named_parameters():
            if name.endswith(".bias") or value.dim() == 1:
                value.data.add_(0.2 * torch.randn_like(value))
    if dtype == torch.float64:
        for module in model.modules():
            for child, norm in module.named_children():
                if type(norm).__name__.endswith("RMSNorm"):
                    setattr(module, child, Norm64(norm))
    return model.to(dtype).requires_grad_(False).eval()


class Norm64(nn.Module):
    """RMS norm in the precision of its input; transformers' own goes through float32."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.weight, self.epsilon = norm.weight, norm.variance_epsilon

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + self.epsilon)


@cache
def tiny_tokenizer() -> PreTrainedTokenizerFast:
    return train_tokenizer(SENTENCES, 320, CONTEXT)


def language_model(model: PreTrainedModel) -> LanguageModel:
    """The model with a tokenizer that fits it, or is larger: then only token ids are given to it."""
    return LanguageModel("a fake", model, tiny_tokenizer(), CONTEXT, fingerprint(model))


def tiny_language_model(kind: str = "llama", seed: int = 0, dtype: torch.dtype = torch.float32) -> LanguageModel:
    """A model that reads and writes text."""
    return language_model(tiny_model(kind, seed, vocabulary=len(tiny_tokenizer()), dtype=dtype))


def random_tokens(rows: int, length: int, vocabulary: int = 96, seed: int = 0) -> torch.Tensor:
    """(rows, length) int64."""
    return torch.randint(0, vocabulary, (rows, length), generator=torch.Generator().manual_seed(seed))
