"""Three bases of one weight: what they reproduce, and which error each of them minimises."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from backends.soco.spectra import Factor, Spectrum, decompose, unscored

BASES = ("plain", "whitened", "two-sided")
SHAPES = ((12, 20), (20, 12), (16, 16), (5, 1), (1, 7))


def normal(*size: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def tokens_of(n: int, seed: int, spread: float = 1.0) -> torch.Tensor:
    """(400, n) inputs with correlated, unequal features; the Gram matrix is well conditioned."""
    mix = torch.eye(n, dtype=torch.float64) + 0.3 * normal(n, n, seed=seed) / n**0.5
    return normal(400, n, seed=seed + 1) * torch.linspace(1, spread, n, dtype=torch.float64) @ mix


class Case:
    """A weight with tokens x at its input and gradients g at its output."""

    def __init__(self, shape: tuple[int, int], seed: int = 0) -> None:
        m, n = shape
        self.weight = normal(m, n, seed=seed)
        self.x, self.g = tokens_of(n, seed + 10, 3.0), tokens_of(m, seed + 20, 5.0)
        self.gram, self.curvature = self.x.T @ self.x / 400, self.g.T @ self.g / 400

    def factor(self, basis: str) -> Factor:
        return decompose(self.weight, basis, self.gram, self.curvature)

    def kept(self, basis: str, k: int) -> torch.Tensor:
        part = self.factor(basis).part(torch.arange(min(self.weight.shape)) < k)
        return part.left * part.sigma @ part.right


def damping(gram: torch.Tensor) -> float:
    """What is added to the diagonal so that it can be factored."""
    return 1e-6 * float(gram.diagonal().mean())


def damped(gram: torch.Tensor) -> torch.Tensor:
    return gram + damping(gram) * torch.eye(len(gram), dtype=torch.float64)


def relative(a: torch.Tensor, b: torch.Tensor) -> float:
    return float((a - b).norm() / b.norm())


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("basis", BASES)
def test_all_components_reproduce_the_weight(basis: str, shape: tuple[int, int]):
    case = Case(shape)
    factor = case.factor(basis)
    assert relative(factor.left * factor.sigma @ factor.right, case.weight) <= 1e-9
    assert factor.shape == shape
    assert (factor.sigma[:-1] >= factor.sigma[1:]).all()
    assert (factor.sigma > 0).all()
    single = factor.to(torch.float32)
    assert relative((single.left * single.sigma @ single.right).double(), case.weight) <= 1e-5


@pytest.mark.parametrize("basis", BASES)
def test_directions_are_orthonormal_in_their_own_measure(basis: str):
    """U^T Gamma U = 1 and V^T G V = 1, with the identity where the basis takes no statistics."""
    case = Case((12, 20))
    factor, eye = case.factor(basis), torch.eye(12, dtype=torch.float64)
    gram = torch.eye(20, dtype=torch.float64) if basis == "plain" else damped(case.gram)
    curvature = damped(case.curvature) if basis == "two-sided" else eye
    torch.testing.assert_close(factor.right @ gram @ factor.right.T, eye, rtol=0, atol=1e-9)
    torch.testing.assert_close(factor.left.T @ curvature @ factor.left, eye, rtol=0, atol=1e-9)


@pytest.mark.parametrize("shape", SHAPES)
def test_plain_is_numpys_svd(shape: tuple[int, int]):
    case = Case(shape)
    u, s, vt = np.linalg.svd(case.weight.numpy(), full_matrices=False)
    np.testing.assert_allclose(case.factor("plain").sigma, s, rtol=1e-12)
    for k in range(1, min(shape) + 1):
        np.testing.assert_allclose(case.kept("plain", k), u[:, :k] * s[:k] @ vt[:k], atol=1e-12)


@pytest.mark.parametrize("basis", BASES)
@pytest.mark.parametrize("shape", [(12, 20), (20, 12)])
def test_error_falls_with_every_component(basis: str, shape: tuple[int, int]):
    """In the norm of the basis: ||R (W - W') L||; for the plain one that is Frobenius."""
    case = Case(shape)
    left = torch.linalg.cholesky(case.curvature).T if basis == "two-sided" else torch.eye(shape[0]).double()
    right = torch.eye(shape[1]).double() if basis == "plain" else torch.linalg.cholesky(case.gram)
    errors = [float((left @ (case.weight - case.kept(basis, k)) @ right).norm()) for k in range(1, 13)]
    assert (np.diff(errors) < 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_eckart_young_plain_has_the_least_frobenius_error(seed: int):
    case = Case((14, 18), seed)
    for k in range(1, 14):
        errors = {b: float((case.weight - case.kept(b, k)).norm()) for b in BASES}
        assert errors["plain"] <= errors["whitened"] + 1e-12
        assert errors["plain"] <= errors["two-sided"] + 1e-12
        s = torch.linalg.svdvals(case.weight)
        assert errors["plain"] ** 2 == pytest.approx(float((s[k:] ** 2).sum()), rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_whitened_has_the_least_output_error(seed: int):
    """On the calibration tokens no other matrix of the rank is nearer, the other bases' included."""
    case = Case((14, 18), seed)
    for k in (1, 5, 9, 13):
        errors = {b: float((case.x @ (case.weight - case.kept(b, k)).T).norm()) for b in BASES}
        best = torch.linalg.svd(case.x @ case.weight.T)[1]  # no rank-k output at all can be nearer than this
        assert errors["whitened"] == pytest.approx(float((best[k:] ** 2).sum().sqrt()), rel=1e-6)
        assert errors["whitened"] <= min(errors.values()) * (1 + 1e-9)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("shape", [(14, 18), (18, 14)])
def test_svd_llm_identity(shape: tuple[int, int], seed: int):
    """||(W - W') X||_F^2 = sum of dropped sigma^2, a token; the damping adds exactly its own ||W - W'||_F^2."""
    case = Case(shape, seed)
    sigma = case.factor("whitened").sigma
    for k in range(1, 14):
        lost = case.weight - case.kept("whitened", k)
        output = float((case.x @ lost.T).pow(2).sum() / 400)
        dropped = float((sigma[k:] ** 2).sum())
        assert output + damping(case.gram) * float(lost.norm() ** 2) == pytest.approx(dropped, rel=1e-10)
        smallest = float(torch.linalg.eigvalsh(case.gram)[0])
        assert output == pytest.approx(dropped, rel=damping(case.gram) / smallest)


@pytest.mark.parametrize("seed", range(5))
def test_svd_llm_identity_to_a_millionth(seed: int):
    """On inputs of even variance, where the damping of a millionth is one."""
    case = Case((14, 18), seed)
    case.x = torch.linalg.qr(case.x)[0] * 3
    case.gram = case.x.T @ case.x / 400
    sigma = case.factor("whitened").sigma
    for k in range(1, 14):
        output = float((case.x @ (case.weight - case.kept("whitened", k)).T).pow(2).sum() / 400)
        assert output == pytest.approx(float((sigma[k:] ** 2).sum()), rel=1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_two_sided_identity(seed: int):
    """||R (W - W') L||_F^2 = sum of dropped sigma^2 with R^T R = E[g g^T] and L L^T = E[x x^T]."""
    case = Case((14, 18), seed)
    sigma = case.factor("two-sided").sigma
    outer, inner = torch.linalg.cholesky(damped(case.curvature)).T, torch.linalg.cholesky(damped(case.gram))
    for k in range(1, 14):
        lost = case.weight - case.kept("two-sided", k)
        dropped = float((sigma[k:] ** 2).sum())
        assert float((outer @ lost @ inner).norm() ** 2) == pytest.approx(dropped, rel=1e-10)
        # The same from samples: the mean over pairs of tokens of (g^T (W - W') x)^2.
        pairs = float((case.g @ lost @ case.x.T).pow(2).mean())
        assert pairs == pytest.approx(dropped, rel=1e-4)


def test_statistics_that_say_nothing_change_nothing():
    """With white inputs and gradients all three bases are one, up to the damping."""
    weight, white = normal(9, 7), torch.eye(9, dtype=torch.float64)
    plain = decompose(weight, "plain")
    for basis in ("whitened", "two-sided"):
        factor = decompose(weight, basis, white[:7, :7], white)
        torch.testing.assert_close(factor.sigma, plain.sigma, rtol=2e-6, atol=0)
        for k in (2, 5):
            torch.testing.assert_close(
                factor.left[:, :k] * factor.sigma[:k] @ factor.right[:k],
                plain.left[:, :k] * plain.sigma[:k] @ plain.right[:k],
            )


def test_inputs_that_never_vary_are_damped():
    """A Gram matrix of rank 3 of 8 still gives a basis that reproduces the weight."""
    x = normal(100, 3) @ normal(3, 8, seed=1)
    weight = normal(6, 8, seed=2)
    factor = decompose(weight, "whitened", x.T @ x / 100)
    assert relative(factor.left * factor.sigma @ factor.right, weight) <= 1e-9
    lost = weight - factor.left[:, :3] * factor.sigma[:3] @ factor.right[:3]
    assert float((x @ lost.T).norm()) <= 1e-2 * float((x @ weight.T).norm())


def test_a_basis_without_its_statistics_is_refused():
    with pytest.raises(ValueError, match="statistics"):
        decompose(normal(3, 3), "whitened")
    with pytest.raises(ValueError, match="positive definite"):
        decompose(normal(3, 3), "whitened", -torch.eye(3, dtype=torch.float64))


def test_part_keeps_the_chosen_components():
    factor = Case((12, 20)).factor("plain")
    kept = torch.tensor([i % 3 == 0 for i in range(12)])
    part = factor.part(kept)
    by_hand = sum(factor.sigma[i] * torch.outer(factor.left[:, i], factor.right[i]) for i in range(0, 12, 3))
    torch.testing.assert_close(part.left * part.sigma @ part.right, by_hand)


def test_parts_of_a_decision_can_be_taken_out():
    spectrum = Spectrum(
        "plain", {"a": torch.tensor([True, False])}, {"a": torch.tensor([1.5, 0.0])}, {"a": torch.ones(3)}
    )
    assert spectrum.without_deviation().deviation == {}
    assert spectrum.without_deviation().scores is spectrum.scores
    assert spectrum.without_scores().scores["a"].tolist() == [1, 1]
    assert spectrum.without_scores().deviation is spectrum.deviation
    assert unscored("plain", spectrum.kept).scores["a"].tolist() == [1, 1]
