"""Adapter sites: the same numbers as PEFT, on any transformer, on private copies."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import DeiTConfig, DeiTForImageClassification, SwinConfig, SwinForImageClassification

from backends.runtime.errors import UserError
from backends.runtime.seeds import generator
from backends.vision.adapters import AdapterSettings, adapted, load_from_peft, save_as_peft, sites, trainable
from tests.pear.conftest import backbone, batches, host

SMALL = {"image_size": 32, "patch_size": 4, "num_labels": 3}
MODELS = {
    "deit": lambda: DeiTForImageClassification(
        DeiTConfig(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, **SMALL)
    ),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(embed_dim=8, depths=[2, 2], num_heads=[1, 2], window_size=4, **SMALL)
    ),
}


# PEFT asks transformers under a name that has been replaced
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def peft_twin(model: torch.nn.Module, dropout: float = 0) -> torch.nn.Module:
    """PEFT's LoRA with the weights of our sites."""
    from peft import LoraConfig, get_peft_model

    settings = LoraConfig(r=4, lora_alpha=8, lora_dropout=dropout, target_modules=["q_proj", "v_proj"])
    made = get_peft_model(backbone(), settings)
    layers = [m for m in made.modules() if hasattr(m, "lora_A")]
    for layer, site in zip(layers, sites(model).values(), strict=True):
        layer.lora_A["default"].weight.data.copy_(site.parts["own"].down.weight)
        layer.lora_B["default"].weight.data.copy_(site.parts["own"].up.weight)
    return made.eval()


def test_the_same_answers_and_gradients_as_peft() -> None:
    model, (images, labels) = host(), batches(1)[0]
    twin = peft_twin(model)
    for one in (model, twin):
        torch.nn.functional.cross_entropy(one(pixel_values=images).logits, labels).backward()
    torch.testing.assert_close(model(pixel_values=images).logits, twin(pixel_values=images).logits, rtol=0, atol=1e-5)
    layers = [m for m in twin.modules() if hasattr(m, "lora_A")]
    for layer, site in zip(layers, sites(model).values(), strict=True):
        torch.testing.assert_close(layer.lora_A["default"].weight.grad, site.parts["own"].down.weight.grad)


def test_dropout_falls_where_pefts_falls() -> None:
    """While training, drawn from the same seed: the same answers and gradients; in evaluation none is dropped."""
    model, (images, labels) = host(dropout=0.4), batches(1)[0]
    twin, answers = peft_twin(model, 0.4), []
    assert torch.equal(model(pixel_values=images).logits, host()(pixel_values=images).logits)
    for one in (model, twin):
        one.train()
        torch.manual_seed(3)
        answers.append(one(pixel_values=images).logits)
        torch.nn.functional.cross_entropy(answers[-1], labels).backward()
    torch.testing.assert_close(*answers, rtol=0, atol=1e-5)
    assert (answers[0] - host()(pixel_values=images).logits).abs().max() > 1e-3
    layers = [m for m in twin.modules() if hasattr(m, "lora_A")]
    for layer, site in zip(layers, sites(model).values(), strict=True):
        torch.testing.assert_close(layer.lora_A["default"].weight.grad, site.parts["own"].down.weight.grad)


def test_peft_reads_what_is_saved_and_it_comes_back(tmp_path: Path) -> None:
    from peft import PeftModel

    model, (images, _) = host(), batches(1)[0]
    save_as_peft(model, tmp_path)
    theirs = PeftModel.from_pretrained(backbone(), tmp_path).eval()
    torch.testing.assert_close(theirs(pixel_values=images).logits, model(pixel_values=images).logits, rtol=0, atol=1e-5)
    again = adapted(backbone(), AdapterSettings(rank=4))
    load_from_peft(again, load_file(tmp_path / "adapter_model.safetensors"))
    assert torch.equal(again.eval()(pixel_values=images).logits, model(pixel_values=images).logits)
    with pytest.raises(UserError, match="does not fit"):
        load_from_peft(adapted(backbone(), AdapterSettings(rank=2)), load_file(tmp_path / "adapter_model.safetensors"))


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize(("form", "count"), [("lora", {"deit": 4, "swin": 8}), ("bottleneck", {"deit": 2, "swin": 4})])
def test_any_transformer_has_sites(name: str, form: str, count: dict[str, int]) -> None:
    plain = MODELS[name]().eval()
    images = torch.randn(2, 3, 32, 32, generator=generator(0))
    model = adapted(plain, AdapterSettings(form=form, rank=2), generator(1)).eval()
    found = sites(model)
    assert len(found) == count[name] and next(iter(found)).startswith("layer 0, ")
    with torch.no_grad():
        assert torch.equal(model(pixel_values=images).logits, plain(pixel_values=images).logits)  # `up` is zero


def test_the_backbone_is_frozen_and_not_touched() -> None:
    plain = backbone()
    before = {name: value.clone() for name, value in plain.named_parameters()}
    model = adapted(plain, AdapterSettings(rank=4), generator(0))
    assert len(trainable(model)) == 2 * 8 + 2
    optimiser = torch.optim.SGD(trainable(model), lr=1.0)
    images, labels = batches(1)[0]
    torch.nn.functional.cross_entropy(model(pixel_values=images).logits, labels).backward()
    optimiser.step()
    assert all(torch.equal(value, before[name]) for name, value in plain.named_parameters())
    assert not sites(plain)


def test_a_model_without_hosts_is_one_sentence() -> None:
    with pytest.raises(UserError, match="choose a ViT, DeiT or Swin"):
        adapted(torch.nn.Sequential(torch.nn.Linear(2, 2)), AdapterSettings())


def test_only_plain_lora_is_in_pefts_format(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="plain LoRA"):
        save_as_peft(host("bottleneck"), tmp_path)
    with pytest.raises(UserError, match="no adapter"):
        save_as_peft(backbone(), tmp_path)
