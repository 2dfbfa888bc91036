"""Continuations with a seed, and how repetitive they are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from backends.lm.load import LanguageModel
from backends.runtime.gently import breathe
from backends.runtime.seeds import generator


@dataclass(frozen=True)
class Continuation:
    """A sampled continuation. distinct_n: share of different n-grams; repetition: of tokens in a 4-gram said before."""

    prompt: str
    text: str
    tokens: tuple[int, ...]
    distinct_2: float
    distinct_3: float
    repetition: float


@torch.no_grad()
def sample_tokens(
    model: torch.nn.Module, prompt: list[int], tokens: int, seed: int, temperature: float, top_p: float, stop: int
) -> Iterator[int]:
    """Nucleus sampling token by token with a key-value cache. The same seed draws the same uniforms for any model,
    so two models' continuations part only where their distributions do."""
    device = next(model.parameters()).device
    draw = generator(seed)
    ids, cache = torch.tensor([prompt], device=device), None
    for _ in range(tokens):
        breathe()
        out = model(input_ids=ids, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        token = pick(out.logits[0, -1].float().cpu(), float(torch.rand(1, generator=draw)), temperature, top_p)
        if token == stop:
            return
        yield token
        ids = torch.tensor([[token]], device=device)


def pick(logits: torch.Tensor, uniform: float, temperature: float, top_p: float) -> int:
    """The token at quantile `uniform` of the nucleus: the fewest likeliest tokens whose probability reaches top_p."""
    if temperature == 0:
        return int(logits.argmax())
    probability, order = torch.softmax(logits / temperature, 0).sort(descending=True, stable=True)
    mass = probability.cumsum(0)
    nucleus = int((mass - probability < top_p).sum())  # tokens before which the mass is still short of top_p
    quantile = uniform * float(mass[nucleus - 1])
    return int(order[min(int((mass[:nucleus] <= quantile).sum()), nucleus - 1)])


def continue_text(
    lm: LanguageModel,
    model: torch.nn.Module,
    prompt: str,
    tokens: int = 64,
    seed: int = 0,
    temperature: float = 0.7,
    top_p: float = 0.9,
) -> Continuation:
    """Continue `prompt` with `model`, which is `lm.model` or a compressed copy of it."""
    # A long prompt loses its beginning, so that there is room for what is asked.
    ids = [lm.prefix, *lm.encode(prompt)][-max(1, lm.context - tokens) :]
    tokens = min(tokens, lm.context - len(ids))
    sampled = tuple(sample_tokens(model, ids, tokens, seed, temperature, top_p, lm.prefix))
    return Continuation(
        prompt, lm.tokenizer.decode(sampled), sampled, distinct(sampled, 2), distinct(sampled, 3), repetition(sampled)
    )


def distinct(tokens: tuple[int, ...], n: int) -> float:
    """Different n-grams over all n-grams; 1 where there is none (Li et al. 2016)."""
    grams = list(zip(*(tokens[i:] for i in range(n)), strict=False))
    return len(set(grams)) / len(grams) if grams else 1.0


def repetition(tokens: tuple[int, ...], n: int = 4) -> float:
    """Share of tokens that stand inside an n-gram which was said before."""
    seen, repeated = set(), set()
    for i in range(len(tokens) - n + 1):
        gram = tokens[i : i + n]
        if gram in seen:
            repeated.update(range(i, i + n))
        seen.add(gram)
    return len(repeated) / len(tokens) if tokens else 0.0
