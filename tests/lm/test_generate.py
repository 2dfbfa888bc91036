"""Continuations: which token a uniform number picks, and what a seed fixes."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from backends.lm.generate import continue_text, distinct, pick, repetition, sample_tokens
from backends.lm.load import LanguageModel
from backends.lm.rebuild import rebuild
from backends.soco.materialise import Dense
from tests.fakes.language import tiny_language_model

PROMPT = "Returns a list of"


def nucleus_of(logits: torch.Tensor, temperature: float, top_p: float) -> tuple[list[int], np.ndarray]:
    """Tokens from the likeliest down until their probability reaches top_p, and their probabilities."""
    p = torch.softmax(logits.double() / temperature, 0).numpy()
    order, mass, kept = sorted(range(len(p)), key=lambda i: (-p[i], i)), 0.0, []
    for token in order:
        kept.append(token)
        mass += p[token]
        if mass >= top_p:
            break
    return kept, p[kept]


def test_pick_is_a_quantile_of_the_nucleus():
    chance = random.Random(0)
    for case in range(500):
        logits = 3 * torch.randn(chance.randint(2, 60), generator=torch.Generator().manual_seed(case))
        temperature, top_p = chance.choice([0.3, 0.7, 1.0, 2.0]), chance.choice([0.05, 0.5, 0.9, 0.99])
        uniform = chance.choice([0.0, chance.random(), 1 - 2**-24])
        kept, p = nucleus_of(logits, temperature, top_p)
        token = pick(logits, uniform, temperature, top_p)
        assert token in kept
        end = np.cumsum(p) / p.sum()
        place = kept.index(token)
        assert end[place] >= uniform - 1e-6
        assert (end[place] - p[place] / p.sum()) <= uniform + 1e-6


def test_pick_over_all_uniforms_gives_the_probabilities():
    logits = torch.tensor([0.5, 2.0, -1.0, 1.0, -4.0])
    kept, p = nucleus_of(logits, 0.8, 0.95)
    grid = (np.arange(4000) + 0.5) / 4000
    counts = np.bincount([pick(logits, float(u), 0.8, 0.95) for u in grid], minlength=5) / 4000
    expected = np.zeros(5)
    expected[kept] = p / p.sum()
    np.testing.assert_allclose(counts, expected, atol=1 / 4000)
    assert expected[4] == 0


def test_pick_goes_down_the_probabilities():
    logits = torch.randn(30, generator=torch.Generator().manual_seed(3))
    p = torch.softmax(logits, 0)
    chosen = [float(p[pick(logits, u / 200, 1.0, 0.9)]) for u in range(200)]
    assert chosen == sorted(chosen, reverse=True)
    assert chosen[0] == float(p.max())


def test_a_narrow_nucleus_and_no_temperature_are_greedy():
    logits = torch.tensor([0.1, 0.9, 0.3])
    assert {pick(logits, u, 0.0, 0.9) for u in (0.0, 0.5, 0.999)} == {1}
    assert {pick(logits, u, 1.0, 0.01) for u in (0.0, 0.5, 0.999)} == {1}


def test_temperature_zero_takes_the_likeliest_each_time(lm: LanguageModel):
    """Against a forward pass over the whole text for each token, without a cache."""
    made = continue_text(lm, lm.model, PROMPT, tokens=8, seed=5, temperature=0)
    ids, expected = [lm.prefix, *lm.encode(PROMPT)], []
    for _ in range(8):
        with torch.no_grad():
            token = int(lm.model(input_ids=torch.tensor([ids + expected])).logits[0, -1].argmax())
        if token == lm.prefix:
            break
        expected.append(token)
    assert list(made.tokens) == expected
    assert made.text == lm.tokenizer.decode(expected)


def test_a_seed_fixes_the_text(lm: LanguageModel):
    made = [continue_text(lm, lm.model, PROMPT, 10, seed, 1.0) for seed in (1, 1, 2, 3)]
    assert made[0] == made[1]
    assert len({m.tokens for m in made}) == 3


def test_the_global_generator_is_left_alone(lm: LanguageModel):
    before = torch.random.get_rng_state()
    continue_text(lm, lm.model, PROMPT, 4, 0, 1.0)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_equal_weights_give_equal_continuations(lm: LanguageModel):
    twin = tiny_language_model("llama-tied")
    copy = rebuild(lm.model, lambda _name, linear: Dense(linear.weight.clone(), linear.bias))
    for seed in range(3):
        made = {continue_text(lm, m, PROMPT, 10, seed, 1.0) for m in (lm.model, twin.model, copy)}
        assert len(made) == 1
    other = tiny_language_model("llama-tied", seed=1)
    assert continue_text(lm, other.model, PROMPT, 10, 0, 1.0) not in made


def test_the_end_of_text_piece_stops_it(lm: LanguageModel):
    prompt = [lm.prefix, *lm.encode(PROMPT)]
    full = list(sample_tokens(lm.model, prompt, 8, 0, 1.0, 0.9, stop=-1))
    assert len(full) == 8
    stopped = list(sample_tokens(lm.model, prompt, 8, 0, 1.0, 0.9, stop=full[3]))
    assert stopped == full[: full.index(full[3])]


@pytest.mark.parametrize("words", [1, 5, 100])
@pytest.mark.parametrize("tokens", [1, 8, 500])
def test_as_many_tokens_as_asked_for_within_the_context(lm: LanguageModel, words: int, tokens: int):
    """A long prompt loses its beginning; the model never sees more than its context."""
    lengths: list[int] = []
    hook = lm.model.register_forward_hook(lambda _m, _a, out: lengths.append(out.past_key_values.get_seq_length()))
    try:
        made = continue_text(lm, lm.model, "list " * words, tokens, 0, 1.0)
    finally:
        hook.remove()
    assert max(lengths) <= lm.context
    stopped = len(lengths) > len(made.tokens)  # by the end-of-text piece
    assert stopped or len(made.tokens) == min(tokens, lm.context - 1)


def test_a_long_prompt_is_continued_from_its_end(lm: LanguageModel):
    ids = lm.encode("list of the names " * 20)
    made = continue_text(lm, lm.model, "list of the names " * 20, 6, 1, 1.0)
    assert list(made.tokens) == list(sample_tokens(lm.model, ids[6 - lm.context :], 6, 1, 1.0, 0.9, lm.prefix))


def test_distinct_by_hand():
    assert distinct((1, 2, 3, 4), 2) == 1
    assert distinct((1, 1, 1, 1), 2) == pytest.approx(1 / 3)
    assert distinct((1, 2, 1, 2, 1), 2) == pytest.approx(2 / 4)
    assert distinct((1, 2, 1, 2, 1), 3) == pytest.approx(2 / 3)
    assert distinct((1,), 2) == 1
    assert distinct((), 3) == 1


def test_repetition_by_hand():
    assert repetition((1, 2, 3, 4, 5, 6, 7, 8)) == 0
    assert repetition((1, 2, 3, 4, 1, 2, 3, 4)) == pytest.approx(4 / 8)
    assert repetition((1, 2, 3, 4, 9, 1, 2, 3, 4, 5)) == pytest.approx(4 / 10)
    assert repetition((7,) * 10) == pytest.approx(9 / 10)  # all but the first stand in a repeated run of four
    assert repetition((1, 2, 3)) == 0
    assert repetition(()) == 0
