"""Masked, merged, factored, saved and loaded: one model in five forms."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from backends.lm.perplexity import perplexity, rolling_windows
from backends.lm.rebuild import projections
from backends.runtime.errors import UserError
from backends.soco.budget import by_importance
from backends.soco.layers import scored_model
from backends.soco.materialise import Dense, TwoSkinny, load_compressed, materialise, save_compressed
from backends.soco.scores import SCORE_FUNCTIONS
from backends.soco.spectra import Factor, Spectrum, unscored
from tests.fakes.language import KINDS, random_tokens

BASES = ("plain", "whitened", "two-sided")
TOKENS = random_tokens(3, 20, seed=5)
TEXT = rolling_windows(random_tokens(4, 61, seed=6).tolist(), 0, 16, 8)


def logits(model: nn.Module, tokens: torch.Tensor = TOKENS) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=tokens, use_cache=False).logits


def gap(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).abs().max())


def everything(factors: dict[str, Factor]) -> dict[str, torch.Tensor]:
    return {n: torch.ones(len(f.sigma), dtype=torch.bool) for n, f in factors.items()}


def drawn(
    factors: dict[str, Factor], basis: str, ratio: float = 0.4, seed: int = 0, deviation: bool = True
) -> Spectrum:
    """A decision such as training makes: any components, scores between 0 and 2, small offsets."""
    rng = np.random.default_rng(seed)
    shapes = {n: f.shape for n, f in factors.items()}
    worth = {n: rng.gamma(0.5, 1, len(f.sigma)) for n, f in factors.items()}
    masks = by_importance(worth, shapes, ratio, deviation)
    dtype = next(iter(factors.values())).sigma.dtype
    scores = {n: torch.from_numpy(rng.uniform(0.2, 1.6, len(f.sigma))).to(dtype) for n, f in factors.items()}
    offsets = {n: torch.from_numpy(rng.normal(0, 0.1, s[0])).to(dtype) for n, s in shapes.items()} if deviation else {}
    return Spectrum(basis, {n: torch.from_numpy(m) for n, m in masks.items()}, scores, offsets)


def masked(model: nn.Module, factors: dict[str, Factor], spectrum: Spectrum) -> nn.Module:
    """The training layers with the decision put into their masks."""
    copy, layers = scored_model(model, factors, SCORE_FUNCTIONS["raw"], "output")
    for name, layer in layers.items():
        layer.hold.copy_(spectrum.kept[name])
        layer.theta.data.copy_(spectrum.scores[name])
        if name in spectrum.deviation:
            layer.deviation.data.copy_(spectrum.deviation[name])
    return copy


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("basis", "dtype", "limit"),
    [("plain", torch.float32, 1e-4), ("whitened", torch.float32, 1e-3), ("two-sided", torch.float32, 1e-3)]
    + [(b, torch.float64, 1e-9) for b in BASES],
)
def test_nothing_removed_is_the_dense_model(models, factors, kind: str, basis: str, dtype: torch.dtype, limit: float):
    lm, made = models(kind, dtype), factors(kind, basis, dtype)
    dense = logits(lm.model)
    assert float(dense.abs().max()) > 1  # so that the limits mean something
    for name in ("sig2", "raw", "clamp", "exp", "softplus"):
        scored, _ = scored_model(lm.model, made, SCORE_FUNCTIONS[name])
        assert gap(logits(scored), dense) <= limit, name
    whole = unscored(basis, everything(made))
    for form in ("merged", "factored", "padded"):
        assert gap(logits(materialise(lm.model, made, whole, form)), dense) <= limit, form


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_masked_is_merged_is_factored(models, factors, kind: str, basis: str, dtype: torch.dtype):
    lm, made = models(kind, dtype), factors(kind, basis, dtype)
    spectrum = drawn(made, basis)
    forms = [masked(lm.model, made, spectrum)]
    forms += [materialise(lm.model, made, spectrum, form) for form in ("merged", "factored", "padded")]
    kinds = {type(m) for m in forms[2].modules()}
    assert TwoSkinny in kinds
    assert TwoSkinny not in {type(m) for m in forms[1].modules()}
    reference, value = logits(forms[0]), perplexity(forms[0], TEXT).value
    assert gap(reference, logits(lm.model)) > 0.1
    for model in forms[1:]:
        assert gap(logits(model), reference) <= (1e-4 if dtype == torch.float32 else 1e-10)
        assert perplexity(model, TEXT).value == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_with_nothing_learned_it_is_plain_truncation(models, factors, kind: str):
    """Against numpy's truncated SVD, weight by weight."""
    lm, made = models(kind), factors(kind)
    masks = {n: torch.arange(len(f.sigma)) < 1 + i % 7 for i, (n, f) in enumerate(made.items())}
    model = materialise(lm.model, made, unscored("plain", masks), "merged")
    for name, linear in projections(lm.model).items():
        u, s, vt = np.linalg.svd(linear.weight.numpy(), full_matrices=False)
        k = int(masks[name].sum())
        layer = model.get_submodule(name)
        np.testing.assert_allclose(layer.weight.numpy(), u[:, :k] * s[:k] @ vt[:k], atol=1e-12)
        assert (layer.bias is None) == (linear.bias is None)
        assert layer.bias is None or torch.equal(layer.bias, linear.bias)


def test_factors_carry_the_root_of_the_spectrum_each(models, factors):
    """A^T A and B B^T have the same diagonal where U and V are orthonormal, and A B is the rescaled weight."""
    lm, made = models(), factors()
    spectrum = drawn(made, "plain", deviation=False)
    model = materialise(lm.model, made, spectrum, "factored")
    for name, layer in ((n, m) for n, m in model.named_modules() if isinstance(m, TwoSkinny)):
        part, kept = made[name].part(spectrum.kept[name]), spectrum.kept[name]
        gain = part.sigma * spectrum.scores[name][kept]
        torch.testing.assert_close(layer.outer.T @ layer.outer, torch.diag(gain), rtol=0, atol=1e-10)
        torch.testing.assert_close(layer.inner @ layer.inner.T, torch.diag(gain), rtol=0, atol=1e-10)
        torch.testing.assert_close(layer.outer @ layer.inner, part.left * gain @ part.right)


def test_padded_factors_share_their_shapes_and_add_nothing(models, factors):
    lm, made = models(), factors()
    spectrum = drawn(made, "plain")
    factored, padded = (materialise(lm.model, made, spectrum, form) for form in ("factored", "padded"))
    ranks = set()
    for (name, layer), wide in zip(factored.named_modules(), padded.modules(), strict=True):
        if isinstance(layer, TwoSkinny):
            rank = len(layer.inner)
            ranks.add(rank)
            assert wide.inner.shape[0] == wide.outer.shape[1] == -(-rank // 16) * 16, name
            assert torch.equal(wide.inner[:rank], layer.inner) and torch.equal(wide.outer[:, :rank], layer.outer)
            assert not wide.inner[rank:].any() and not wide.outer[:, rank:].any()
    assert len(ranks) > 2


def test_negative_scores_survive_the_root(models, factors):
    """Raw scores may turn negative: the sign goes into one of the factors."""
    lm, made = models(), factors()
    spectrum = drawn(made, "plain")
    spectrum = Spectrum("plain", spectrum.kept, {n: -s for n, s in spectrum.scores.items()}, spectrum.deviation)
    merged, factored = (materialise(lm.model, made, spectrum, form) for form in ("merged", "factored"))
    assert gap(logits(merged), logits(factored)) <= 1e-10


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", ["merged", "factored"])
def test_saved_and_loaded_to_the_bit(
    models, factors, kind: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    lm, made = models(kind, torch.float32), factors(kind, "whitened", torch.float32)
    model = materialise(lm.model, made, drawn(made, "whitened"), form)
    expected = logits(model)
    facts = {"method": "soco", "removed": 40.0, "kept": [1, 2, 3], "name": "d\u00e9j\u00e0"}
    save_compressed(model, tmp_path / "small.safetensors", facts)
    del model

    def refuse(*_arguments, **_options):
        raise AssertionError("the dense model must not be needed")

    monkeypatch.setattr(transformers.AutoModelForCausalLM, "from_pretrained", refuse)
    loaded, read = load_compressed(tmp_path / "small.safetensors")
    assert read == facts
    assert torch.equal(logits(loaded), expected)
    assert not loaded.training
    assert not any(p.requires_grad for p in loaded.parameters())
    assert (loaded.lm_head.weight is loaded.model.embed_tokens.weight) == (kind == "llama-tied")


@pytest.mark.parametrize("kind", KINDS)
def test_the_file_is_as_large_as_its_parameters(models, factors, kind: str, tmp_path: Path):
    lm, made = models(kind, torch.float32), factors(kind, "plain", torch.float32)
    model = materialise(lm.model, made, drawn(made, "plain"), "factored")
    path = tmp_path / "small.safetensors"
    save_compressed(model, path, {})
    tensors = load_file(path)
    assert sum(t.numel() for t in tensors.values()) == sum(p.numel() for p in model.parameters())
    header = int.from_bytes(path.read_bytes()[:8], "little") + 8
    assert path.stat().st_size == header + 4 * sum(p.numel() for p in model.parameters())


def test_saving_twice_gives_the_same_file(models, factors, tmp_path: Path):
    lm, made = models("llama-tied", torch.float32), factors("llama-tied", "plain", torch.float32)
    model = materialise(lm.model, made, drawn(made, "plain"), "factored")
    save_compressed(model, tmp_path / "a.safetensors", {"x": 1})
    loaded, facts = load_compressed(tmp_path / "a.safetensors")
    save_compressed(loaded, tmp_path / "b.safetensors", facts)
    first, second = (load_file(tmp_path / f"{n}.safetensors") for n in "ab")
    assert first.keys() == second.keys()
    assert all(torch.equal(first[n], second[n]) for n in first)


@pytest.fixture
def saved(models, factors, tmp_path: Path) -> Path:
    lm, made = models("llama", torch.float32), factors("llama", "plain", torch.float32)
    save_compressed(materialise(lm.model, made, drawn(made, "plain"), "factored"), tmp_path / "good.safetensors", {})
    return tmp_path / "good.safetensors"


def rewritten(source: Path, change) -> Path:
    """The file with `change(tensors, header)` done to it."""
    with safe_open(source, "pt") as file:
        header = dict(file.metadata())
    tensors = load_file(source)
    change(tensors, header)
    target = source.with_name("changed.safetensors")
    save_file(tensors, target, header)
    return target


def config_with(**values):
    def change(_tensors, header):
        header["config"] = json.dumps(json.loads(header["config"]) | values)

    return change


CHANGES = {
    "no configuration": lambda t, h: h.pop("config"),
    "no facts": lambda t, h: h.pop("facts"),
    "no header": lambda t, h: h.clear(),
    "configuration is no JSON": lambda t, h: h.update(config="{"),
    "configuration is a list": lambda t, h: h.update(config="[1]"),
    "no model type": lambda t, h: h.update(config="{}"),
    "unknown model type": config_with(model_type="nothing-known"),
    "a size is a word": config_with(hidden_size="wide"),
    "other sizes": config_with(hidden_size=64),
    "more layers": config_with(num_hidden_layers=3),
    "a projection is missing": lambda t, h: [t.pop(n) for n in list(t) if "layers.1.mlp.up_proj" in n],
    "one factor is missing": lambda t, h: t.pop(next(n for n in t if n.endswith(".inner"))),
    "a norm is missing": lambda t, h: t.pop("model.norm.weight"),
    "the output head is missing": lambda t, h: t.pop("lm_head.weight"),
    "factors do not fit": lambda t, h: t.update(
        {n: v[:, :-1].contiguous() for n, v in t.items() if n.endswith(".outer")}
    ),
    "an embedding is cut": lambda t, h: t.update(
        {"model.embed_tokens.weight": t["model.embed_tokens.weight"][:-1].contiguous()}
    ),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_foreign_file_is_refused_in_words(saved: Path, name: str):
    with pytest.raises(UserError, match="file"):
        load_compressed(rewritten(saved, CHANGES[name]))


@pytest.mark.parametrize("keep", [0, 5, 100, 0.5, 0.99])
def test_a_torn_file_is_refused(saved: Path, keep: float):
    data = saved.read_bytes()
    saved.write_bytes(data[: keep if keep >= 1 else int(len(data) * keep)])
    with pytest.raises(UserError, match="file"):
        load_compressed(saved)


def test_garbage_and_nothing_are_refused(tmp_path: Path):
    (tmp_path / "garbage.safetensors").write_bytes(bytes(range(256)) * 20)
    with pytest.raises(UserError, match="file"):
        load_compressed(tmp_path / "garbage.safetensors")
    with pytest.raises(UserError, match="file"):
        load_compressed(tmp_path / "absent.safetensors")


def test_a_matrix_that_keeps_everything_stays_one_matrix(models, factors):
    lm, made = models(), factors()
    model = materialise(lm.model, made, unscored("plain", everything(made)), "factored")
    assert all(isinstance(model.get_submodule(n), Dense) for n in made)
