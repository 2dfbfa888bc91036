"""Pruning and sharing: ties by identity, four ways of keeping, honest counts, files that keep the ties."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from backends.pear.files import load_pear, save_pear
from backends.pear.importance import importance, own_adapters
from backends.pear.plan import Plan, plan
from backends.pear.share import KEPT, account, apply, folded
from backends.runtime.errors import UserError
from backends.vision.adapters import OWN, Adapter, AdapterSettings, Site, sites, trainable
from tests.pear.conftest import backbone, batches, host

MODES = ["none", "keep", "keep-offset", "blend"]


def half(model: nn.Module) -> Plan:
    scores = importance(model, batches(2))
    return plan(scores, dict.fromkeys(scores, 0), 50)


def shared(mode: str, form: str = "lora") -> tuple[nn.Module, Plan]:
    model = host(form)
    made = half(model)
    apply(model, made, mode)
    return model, made


@torch.no_grad()
def logits(model: nn.Module, images: torch.Tensor) -> torch.Tensor:
    return model(pixel_values=images).logits


def donated(site: Site) -> Adapter:
    """The trained adapter of a pruned place."""
    return site.parts["blend"].donor if "blend" in site.parts else site.parts[OWN]


def assert_tied(model: nn.Module, made: Plan) -> None:
    places = sites(model)
    for name, donor in made.donors.items():
        there, here = donated(places[name]), places[donor].parts[OWN]
        assert there.down.weight is here.down.weight and there.up.weight is here.up.weight


@pytest.mark.parametrize("mode", MODES)
def test_a_donor_is_the_same_tensor(mode: str) -> None:
    model, made = shared(mode)
    assert len(made.pruned) == 4
    scores = importance(host(), batches(2))
    assert set(made.donors.values()) == set(sorted(scores, key=scores.get)[-4:])
    assert_tied(model, made)
    assert set(own_adapters(model, made.pruned)) == set(made.kept)


@pytest.mark.parametrize("mode", MODES)
def test_of_two_prunes_every_donor_is_the_same_tensor_also_in_the_file(
    mode: str, tmp_path: Path, images: torch.Tensor
) -> None:
    model = host()
    scores = importance(model, batches(2))
    together = dict.fromkeys(scores, 0)
    first = plan(scores, together, 25, last=50)
    apply(model, first, mode)
    again = importance(model, batches(2), gone=first.pruned)
    both = plan(again, together, 50, before=first)
    assert len(first.pruned) == 2 and len(both.pruned) == 4
    apply(model, both, mode, before=first)
    save_pear(model, tmp_path / "pear.safetensors", AdapterSettings(rank=4), both, mode)
    found = load_pear(backbone(), tmp_path / "pear.safetensors")[0]
    for one in (model, found):
        assert_tied(one, both)
    assert torch.equal(logits(found, images), logits(model, images)) and account(found) == account(model)


@pytest.mark.parametrize("mode", MODES)
def test_no_pruned_parameter_is_trained(mode: str) -> None:
    model = host()
    made = half(model)
    gone = {id(w) for name in made.pruned for w in sites(model)[name].parts[OWN].parameters()}
    apply(model, made, mode)
    left = {id(p) for p in trainable(model)}
    assert not gone & left
    assert len(left) == 2 * 4 + 2 + (4 if mode == "blend" else 0)  # four adapters, the classifier, the blends


@pytest.mark.parametrize(("mode", "stored", "parts"), [("none", 0, 1), ("keep", 4, 1.5), ("keep-offset", 8, 2)])
def test_costs_are_counted(mode: str, stored: int, parts: float) -> None:
    model, _ = shared(mode)
    one = 4 * (16 + 16)
    counted = account(model)
    assert (counted.trainable, counted.stored) == (4 * one, stored * one)
    assert counted.multiplications == 8 * parts * one and counted.head == 16 * 3 + 3
    assert account(host()).trainable == 8 * one


@pytest.mark.parametrize("form", ["lora", "bottleneck"])
def test_what_the_prune_changes(form: str, images: torch.Tensor) -> None:
    before = logits(host(form), images)
    jumps = {mode: float((logits(shared(mode, form)[0], images) - before).abs().max()) for mode in MODES}
    assert jumps["keep-offset"] < 1e-5
    assert min(jumps["none"], jumps["keep"], jumps["blend"]) > 1e-4


def test_a_shared_gradient_is_the_sum_over_its_places() -> None:
    model, made = shared("none")
    twin = copy.deepcopy(model)
    for name in made.pruned:
        sites(twin)[name].parts[OWN] = copy.deepcopy(sites(twin)[name].parts[OWN])
    images, labels = batches(1)[0]
    for one in (model, twin):
        F.cross_entropy(one(pixel_values=images).logits, labels).backward()
    for donor in set(made.donors.values()):
        users = [donor, *(name for name, d in made.donors.items() if d == donor)]
        for side in ("down", "up"):
            tied = getattr(sites(model)[donor].parts[OWN], side).weight.grad
            parts = sum(getattr(sites(twin)[name].parts[OWN], side).weight.grad for name in users)
            torch.testing.assert_close(tied, parts, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("mode", ["keep", "keep-offset", "blend"])
def test_what_is_kept_is_bitwise_unchanged_by_training(mode: str) -> None:
    model, _ = shared(mode)
    frozen = {n: p.clone() for n, p in model.named_parameters() if not p.requires_grad}
    optimiser = torch.optim.AdamW(trainable(model), lr=0.05, weight_decay=0.1)
    model.train()
    before = logits(model.eval(), batches(1)[0][0])
    for images, labels in batches(3):
        model.train()
        F.cross_entropy(model(pixel_values=images).logits, labels).backward()
        optimiser.step()
        optimiser.zero_grad()
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert any("kept" in name for name in frozen)
    assert not torch.equal(logits(model.eval(), batches(1)[0][0]), before)


@pytest.mark.parametrize("mode", MODES)
def test_folding_changes_no_answer(mode: str, images: torch.Tensor) -> None:
    model, _ = shared(mode)
    flat = folded(model)
    assert not sites(flat) and sites(model)
    torch.testing.assert_close(logits(flat, images), logits(model, images), rtol=0, atol=1e-5)
    with pytest.raises(UserError, match="not linear"):
        folded(shared(mode, "bottleneck")[0])


def test_nothing_pruned_is_the_host_bit_for_bit(images: torch.Tensor) -> None:
    model, twin = host(), host()
    scores = importance(model, batches(2))
    apply(model, plan(scores, dict.fromkeys(scores, 0), 0), "keep")
    for one in (model, twin):
        optimiser = torch.optim.AdamW(trainable(one), lr=1e-2)
        for batch, labels in batches(3):
            F.cross_entropy(one(pixel_values=batch).logits, labels).backward()
            optimiser.step()
            optimiser.zero_grad()
    assert torch.equal(logits(model, images), logits(twin, images))


@pytest.mark.parametrize("form", ["lora", "bottleneck"])
@pytest.mark.parametrize("mode", MODES)
def test_a_file_keeps_the_ties(mode: str, form: str, tmp_path: Path, images: torch.Tensor) -> None:
    model, made = shared(mode, form)
    settings = AdapterSettings(form=form, rank=4)
    save_pear(model, tmp_path / "pear.safetensors", settings, made, mode)
    again, header = load_pear(backbone(), tmp_path / "pear.safetensors")
    assert header.plan == made and header.checkpoint == mode
    assert torch.equal(logits(again, images), logits(model, images))
    assert account(again) == account(model)
    held = sum(t.numel() for t in load_file(tmp_path / "pear.safetensors").values())
    counted = account(model)
    assert held == counted.trainable + counted.stored + counted.head


@pytest.mark.parametrize("body", [b"", b"\x00" * 20, b"not safetensors"])
def test_a_broken_file_is_one_sentence(tmp_path: Path, body: bytes) -> None:
    (tmp_path / "x.safetensors").write_bytes(body)
    with pytest.raises(UserError, match=r"x\.safetensors is no file of pruned and shared adapters\."):
        load_pear(backbone(), tmp_path / "x.safetensors")


def test_a_file_of_other_layers_is_refused(tmp_path: Path) -> None:
    model, made = shared("keep")
    odd = Plan(made.donors, (*made.kept, "layer 9, q"))
    save_pear(model, tmp_path / "x.safetensors", AdapterSettings(rank=4), odd, "keep")
    with pytest.raises(UserError, match="other layers"):
        load_pear(backbone(), tmp_path / "x.safetensors")
    save_pear(model, tmp_path / "x.safetensors", AdapterSettings(rank=4), made, "keep-offset")
    with pytest.raises(UserError, match="does not fit"):
        load_pear(backbone(), tmp_path / "x.safetensors")


def test_pruning_without_a_donor_leaves_the_backbone(images: torch.Tensor) -> None:
    model = host()
    scores = importance(model, batches(2))
    apply(model, plan(scores, dict.fromkeys(scores, 0), 75, "none"), "none")
    empty = [name for name, site in sites(model).items() if not site.parts]
    assert len(empty) == 6 and KEPT not in next(iter(sites(model).values())).parts
    assert logits(model, images).isfinite().all()
