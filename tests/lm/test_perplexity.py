"""Rolling perplexity against its definition, token by token."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch

from backends.lm.load import LanguageModel
from backends.lm.perplexity import Windows, paired_error, perplexity, rolling_windows, summarise, window_nats
from tests.fakes.language import random_tokens, tiny_language_model

PREFIX = 0  # never a token of the documents below


def brute_force_windows(tokens: list[int], context: int, stride: int) -> list[tuple[list[int], list[int]]]:
    """(given, predicted) of each window as lm_eval cuts them with max_seq_len=context, context_len=context-stride+1."""
    pairs, predicted = [], 0
    while predicted < len(tokens):
        count = min(context if predicted == 0 else stride, len(tokens) - predicted)
        before = [PREFIX, *tokens][: predicted + 1]  # all that precedes the first predicted token
        # The input holds what is given and all predicted tokens but the last, `context` tokens together.
        pairs.append((before[-(context - count + 1) :], tokens[predicted : predicted + count]))
        predicted += count
    return pairs


def draws(count: int, seed: int) -> list[tuple[list[int], int, int]]:
    chance = random.Random(seed)
    cases = []
    for _ in range(count):
        context = chance.randint(1, 40)
        length = chance.choice([0, 1, context - 1, context, context + 1, chance.randint(0, 200)])
        cases.append(([chance.randint(1, 90) for _ in range(length)], context, chance.randint(1, context)))
    return cases


def test_windows_are_those_of_lm_eval():
    for tokens, context, stride in draws(400, seed=1):
        windows = rolling_windows([tokens], PREFIX, context, stride)
        expected = brute_force_windows(tokens, context, stride)
        assert len(windows.inputs) == len(expected)
        for row_in, row_out, (given, predicted) in zip(windows.inputs, windows.targets, expected, strict=True):
            fed = given + predicted[:-1]
            assert row_in.tolist() == fed + [PREFIX] * (context - len(fed))
            silent = [-100] * (len(given) - 1)
            assert row_out.tolist() == silent + predicted + [-100] * (context - len(fed))


def test_every_token_is_predicted_once_after_enough_context():
    for tokens, context, stride in draws(400, seed=2):
        windows = rolling_windows([tokens, tokens[::-1]], PREFIX, context, stride)
        assert windows.targets[windows.targets >= 0].tolist() == tokens + tokens[::-1]
        assert windows.tokens == 2 * len(tokens)
        starts = [i for i, row in enumerate(windows.inputs) if row[0] == PREFIX]
        for i, row in enumerate(windows.targets):
            first = int(np.flatnonzero(row >= 0)[0])
            assert i in starts or first + 1 >= context - stride + 1


def test_inputs_precede_their_targets():
    """Fed token j + 1 is target j wherever both exist: nothing is predicted from itself or from later text."""
    for tokens, context, stride in draws(100, seed=3):
        windows = rolling_windows([tokens], PREFIX, context, stride)
        for row_in, row_out in zip(windows.inputs, windows.targets, strict=True):
            wanted = np.flatnonzero(row_out >= 0)
            assert (row_in[wanted[1:]] == row_out[wanted[:-1]]).all()


@pytest.mark.parametrize("stride", [0, 9, -1])
def test_stride_must_fit(stride: int):
    if stride == 0:  # not given: the whole context
        assert rolling_windows([[1, 2, 3]], PREFIX, 8, stride).stride == 8
    else:
        with pytest.raises(ValueError, match="stride"):
            rolling_windows([[1, 2, 3]], PREFIX, 8, stride)


def text(lm: LanguageModel, *lengths: int) -> list[list[int]]:
    return [1 + random_tokens(1, n, lm.model.config.vocab_size - 1, seed=n)[0] for n in lengths]


def token_by_token(lm: LanguageModel, documents: list, context: int, stride: int) -> float:
    """exp of the mean nats, each token by a forward pass of its own over exactly what it may see."""
    nats = []
    for document in documents:
        for given, predicted in brute_force_windows([int(t) for t in document], context, stride):
            for i, token in enumerate(predicted):
                ids = torch.tensor([given + predicted[:i]])
                ids[ids == PREFIX] = lm.prefix
                logits = lm.model(input_ids=ids, use_cache=False).logits[0, -1]
                nats.append(-float(torch.log_softmax(logits, -1)[token]))
    return math.exp(sum(nats) / len(nats))


@pytest.mark.parametrize(("context", "stride"), [(8, 8), (8, 3), (8, 1), (5, 2), (20, 20)])
def test_perplexity_equals_token_by_token(lm64: LanguageModel, context: int, stride: int):
    documents = text(lm64, 23, 5, 8)
    value = perplexity(lm64.model, rolling_windows(documents, lm64.prefix, context, stride), batch=4)
    assert value.value == pytest.approx(token_by_token(lm64, documents, context, stride), rel=1e-10)
    assert value.tokens == 36


def test_one_window_is_the_chain_rule(lm64: LanguageModel):
    """A text that fits the context has one log-probability, whatever the stride."""
    (document,) = text(lm64, 12)
    ids = torch.cat([torch.tensor([lm64.prefix]), document])[None]
    log_p = torch.log_softmax(lm64.model(input_ids=ids).logits[0], -1)
    whole = -float(log_p[torch.arange(12), document].sum())
    for stride in (1, 5, 16):
        value = perplexity(lm64.model, rolling_windows([document], lm64.prefix, 16, stride))
        assert value.nats * value.tokens == pytest.approx(whole, rel=1e-10)


def test_uniform_predictions_have_perplexity_of_the_vocabulary():
    lm = tiny_language_model("llama", dtype=torch.float64)
    lm.model.lm_head.weight.data.zero_()
    (document,) = text(lm, 50)
    value = perplexity(lm.model, rolling_windows([document], lm.prefix, 8, text_bytes=123))
    vocabulary = lm.model.config.vocab_size
    assert value.value == pytest.approx(vocabulary, rel=1e-12)
    assert value.bits_per_byte == pytest.approx(50 * math.log2(vocabulary) / 123, rel=1e-12)
    assert value.standard_error == pytest.approx(0, abs=1e-12)


def test_bits_per_byte_needs_bytes():
    assert math.isnan(summarise(np.ones(2), rolling_windows([[1, 2, 3, 4]], PREFIX, 2)).bits_per_byte)


def test_padding_does_not_leak(lm64: LanguageModel):
    """Neither what stands behind a short window nor what stands beside it in the batch changes a number."""
    windows = rolling_windows(text(lm64, 23, 5), lm64.prefix, 8, 3)
    nats = np.concatenate(list(window_nats(lm64.model, windows, batch=4)))
    inputs = windows.inputs.copy()
    for row, target in zip(inputs, windows.targets, strict=True):
        last = np.flatnonzero(target >= 0)[-1]
        row[last + 1 :] = 7
    assert (inputs != windows.inputs).any()
    dirty = Windows(inputs, windows.targets, 0, 8, 3)
    for batch in (1, 3, 100):
        again = np.concatenate(list(window_nats(lm64.model, dirty, batch)))
        np.testing.assert_allclose(again, nats, rtol=1e-12, atol=1e-13)
    assert (nats[windows.targets < 0] == 0).all()


def test_changed_weights_change_the_number(lm64: LanguageModel):
    windows = rolling_windows(text(lm64, 40), lm64.prefix, 8)
    other = tiny_language_model("llama-tied", dtype=torch.float64)
    assert perplexity(other.model, windows).nats == perplexity(lm64.model, windows).nats
    other.model.model.layers[1].mlp.down_proj.weight.data[0, 0] += 0.5
    assert perplexity(other.model, windows).nats != perplexity(lm64.model, windows).nats


def windows_with(counts: np.ndarray) -> Windows:
    """Windows with so many predicted tokens each."""
    targets = np.where(np.arange(counts.max()) < counts[:, None], 1, -100)
    return Windows(np.ones_like(targets), targets, 1000, int(counts.max()), int(counts.max()))


def test_error_is_the_jackknife_for_equal_windows():
    nats = np.random.default_rng(0).gamma(3, 5, 17)
    counts = np.full(17, 6)
    value = summarise(nats, windows_with(counts))
    left_out = np.array([np.delete(nats, i).sum() / np.delete(counts, i).sum() for i in range(17)])
    jackknife = math.sqrt(16 / 17 * ((left_out - left_out.mean()) ** 2).sum())
    assert value.standard_error == pytest.approx(jackknife, rel=1e-10)
    assert value.value_error == pytest.approx(value.value * jackknife, rel=1e-10)


def test_error_is_the_delta_method_for_unequal_windows():
    """Influence of each window by finite differences of its weight in sum(w x) / sum(w c)."""
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 9, 25)
    nats = counts * rng.gamma(3, 1, 25)
    influence = []
    for i in range(25):
        up, down = np.ones(25), np.ones(25)
        up[i], down[i] = 1 + 1e-5, 1 - 1e-5
        influence.append(((up @ nats) / (up @ counts) - (down @ nats) / (down @ counts)) / 2e-5)
    expected = math.sqrt(25 / 24 * (np.array(influence) ** 2).sum())
    assert summarise(nats, windows_with(counts)).standard_error == pytest.approx(expected, rel=1e-7)


def test_error_agrees_with_the_bootstrap():
    rng = np.random.default_rng(2)
    counts = rng.integers(4, 9, 300)
    nats = counts * rng.gamma(4, 1, 300)
    weights = rng.multinomial(300, np.full(300, 1 / 300), size=4000)
    resampled = (weights @ nats) / (weights @ counts)
    assert summarise(nats, windows_with(counts)).standard_error == pytest.approx(resampled.std(), rel=0.05)


def test_a_paired_error_is_that_of_the_differences():
    """Each window's nats beside the other model's: what both find hard cancels."""
    rng = np.random.default_rng(3)
    counts = rng.integers(1, 9, 40)
    hard, gain = counts * rng.gamma(3, 1, 40), 0.1 * rng.normal(1, 1, 40)
    windows = windows_with(counts)
    a, b = summarise(hard + gain, windows), summarise(hard, windows)
    assert paired_error(a, b) == pytest.approx(summarise(gain, windows).standard_error, rel=1e-9)
    assert paired_error(a, b) == pytest.approx(paired_error(b, a), rel=1e-12)
    assert paired_error(a, b) < 0.1 * min(a.standard_error, b.standard_error)
    assert paired_error(a, a) == 0
    with pytest.raises(ValueError, match="same windows"):
        paired_error(a, summarise(hard[1:], windows_with(counts[1:])))


def test_one_window_has_no_error_and_none_has_no_mean():
    one = summarise(np.array([3.0]), windows_with(np.array([2])))
    assert one.nats == 1.5
    assert math.isnan(one.standard_error)
    with pytest.raises(ValueError, match="no token"):
        summarise(np.empty(0), rolling_windows([[]], PREFIX, 4))


def test_the_beginning_of_a_text_summarises_like_a_text_of_its_own(lm64: LanguageModel):
    windows = rolling_windows(text(lm64, 60), lm64.prefix, 8, text_bytes=600)
    whole = perplexity(lm64.model, windows)
    part = summarise(whole.window_nats[:3], windows)
    assert part.nats == pytest.approx(whole.window_nats[:3].sum() / 24, rel=1e-14)
    assert (part.tokens, part.bytes) == (24, 240)


@pytest.mark.parametrize("stride", [8, 4])
def test_a_sample_is_made_of_the_same_windows(lm64: LanguageModel, stride: int):
    windows = rolling_windows(text(lm64, 403, 90), lm64.prefix, 8, stride, text_bytes=4930)
    quick = windows.sample(64)
    assert quick.tokens == 64
    assert quick.bytes == 640
    rows = {bytes(i) + bytes(t) for i, t in zip(windows.inputs, windows.targets, strict=True)}
    assert all(bytes(i) + bytes(t) in rows for i, t in zip(quick.inputs, quick.targets, strict=True))
    assert len({bytes(i) for i in quick.inputs}) == len(quick.inputs)
    assert windows.sample(10_000) is windows


def test_a_quick_format_is_close_and_is_named(lm: LanguageModel):
    windows = rolling_windows(text(lm, 403, 90), lm.prefix, 8)
    full, quick = perplexity(lm.model, windows), perplexity(lm.model, windows, number_format=torch.bfloat16)
    assert quick.nats == pytest.approx(full.nats, rel=5e-3)
    assert quick.nats != full.nats
    assert (full.number_format, quick.number_format) == ("float32", "bfloat16")
    same = perplexity(lm.model, windows, number_format=torch.float32)
    assert same.nats == full.nats


def test_protocol_names_tokens_context_stride_and_number_format():
    value = summarise(np.ones(1), windows_with(np.array([2])))
    assert value.protocol("a text") == "2 tokens of a text, context 2, stride 2, float32"
