"""Any ViT, DeiT or Swin: from a folder, from a Hub, with its own normalisation; and adapters that learn on it."""

from __future__ import annotations

import functools
import json
import shutil
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    DeiTConfig,
    DeiTForImageClassification,
    DeiTForImageClassificationWithTeacher,
    SwinConfig,
    SwinForImageClassification,
    ViTConfig,
    ViTForImageClassification,
    ViTImageProcessorPil,
    ViTModel,
)

from backends.runtime import files
from backends.runtime.hub import Reference
from backends.runtime.seeds import generator
from backends.runtime.store import ModelStore
from backends.vision import service
from backends.vision.adapters import AdapterSettings, adapted, save_as_peft, sites, with_head
from backends.vision.load import VisionModel, load_vision_model
from backends.vision.probe import HALF, features, input_of, portions
from backends.vision.tasks import Split, TaskData
from backends.vision.training import FitSettings, evaluate, fit

SMALL = {"image_size": 16, "patch_size": 4, "num_labels": 3}
PLAIN = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32} | SMALL
MAKERS = {
    "vit": lambda: ViTForImageClassification(ViTConfig(**PLAIN)),
    "deit": lambda: DeiTForImageClassification(DeiTConfig(**PLAIN)),
    "swin": lambda: SwinForImageClassification(
        SwinConfig(embed_dim=8, depths=[1, 1], num_heads=[1, 2], window_size=2, **SMALL)
    ),
}
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
WEIGHTS, OWN_COLOURS = "model.safetensors", "preprocessor_config.json"

# PEFT asks transformers under a name that has been replaced
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


def save(model: torch.nn.Module, folder: Path) -> None:
    """In fp16, as the bundled model is saved, with a processor's file beside it."""
    for value in model.parameters():  # a fresh one's small weights would hide what an adapter does
        value.data += 0.1 * torch.randn(value.shape, generator=generator(1))
    model.half().save_pretrained(folder)
    ViTImageProcessorPil(image_mean=MEAN, image_std=STD).save_pretrained(folder)


@pytest.fixture(scope="session")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A root with a folder for each kind."""
    root = tmp_path_factory.mktemp("vision")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for name, make in MAKERS.items():
            save(make(), root / name)
    return root


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A ViT's folder, to be damaged; its name must not get into a sentence."""
    return Path(shutil.copytree(kept / "vit", tmp_path / "models" / "tiny"))


@pytest.fixture
def fresh_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "STORE", ModelStore(10**8))


def noise(count: int, seed: int, side: int = 16) -> Split:
    rng = np.random.default_rng(seed)
    return Split(rng.integers(0, 256, (count, side, side, 3), np.uint8), rng.integers(3, size=count))


@pytest.fixture(scope="module")
def task() -> TaskData:
    return TaskData("noise", ("a", "b", "c"), noise(24, 0), noise(9, 1), noise(9, 2))


# ---- what is loaded --------------------------------------------------------------------------------------------------


def the_model_of(found: VisionModel, folder: Path) -> None:
    saved = load_file(folder / WEIGHTS)
    assert found.side == 16 and found.mean == MEAN and found.std == STD and str(found.device) == "cpu"
    assert sum(value.numel() for value in saved.values()) >= found.parameters
    assert {value.dtype for value in saved.values() if value.is_floating_point()} == {torch.float16}
    assert {p.dtype for p in found.model.parameters()} == {torch.float32}
    assert torch.equal(found.model.classifier.weight, saved["classifier.weight"].float())
    assert not found.model.training and not any(p.requires_grad for p in found.model.parameters())


@pytest.mark.usefixtures("fresh_store")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_local_folder_is_loaded_once(kind: str, kept: Path) -> None:
    found = service.open_model(f"local:{kind}", "cpu", kept, offline=True)
    the_model_of(found, kept / kind)
    assert found.name == f"local:{kind}" and service.open_model(f"local:{kind}", "cpu", kept) is found


@pytest.mark.usefixtures("fresh_store")
@pytest.mark.parametrize("kind", MAKERS)
def test_a_hub_model_brings_its_own_colours(kind: str, kept: Path, server, tmp_path, monkeypatch) -> None:
    contents = {path.name: path.read_bytes() for path in (kept / kind).iterdir()}
    server.add("owner/tiny", contents | {"pytorch_model.bin": b"pickle", "modeling.py": b"1/0"})
    mine = functools.partial(service.Hub, endpoint=server.url, cache_dir=tmp_path / "cache")
    monkeypatch.setattr(service, "Hub", mine)
    found = service.open_model("owner/tiny", "cpu")
    the_model_of(found, kept / kind)
    assert found.fingerprint == load_vision_model(kept / kind, "again").fingerprint
    assert sorted(path.rpartition("/")[2] for path in server.bodies()) == ["config.json", WEIGHTS, OWN_COLOURS]


def test_the_bundled_name_is_the_default(folder: Path, monkeypatch: pytest.MonkeyPatch, fresh_store: None) -> None:
    monkeypatch.setattr(files, "ASSETS", folder.parents[1])
    folder.rename(folder.with_name("formula-vit-micro"))
    assert service.open_model(offline=True).name == "bundled:formula-vit-micro"


def test_without_its_own_colours_they_are_in_minus_one_to_one(folder: Path) -> None:
    (folder / OWN_COLOURS).unlink()
    found = load_vision_model(folder, "tiny")
    assert (found.mean, found.std) == (HALF, HALF)
    images = noise(2, 3).images
    assert torch.equal(input_of(found.model, images), torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1)
    (folder / OWN_COLOURS).write_text('{"do_normalize": false}')
    plain = load_vision_model(folder, "tiny")
    torch.testing.assert_close(input_of(plain.model, images), torch.from_numpy(images).permute(0, 3, 1, 2) / 255)


def test_a_fingerprint_is_of_the_weights(folder: Path) -> None:
    before = load_vision_model(folder, "one").fingerprint
    assert load_vision_model(folder, "two").fingerprint == before
    tensors = load_file(folder / WEIGHTS)
    tensors["classifier.bias"] += 1
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    assert load_vision_model(folder, "one").fingerprint != before


@pytest.mark.parametrize("kind", ["backbone alone", "distilled"])
def test_a_missing_classifier_is_zero(kind: str, tmp_path: Path) -> None:
    model = ViTModel(ViTConfig(**PLAIN)) if kind == "backbone alone" else None
    save(model or DeiTForImageClassificationWithTeacher(DeiTConfig(**PLAIN)), tmp_path)
    found = load_vision_model(tmp_path, "tiny")
    assert not found.model.classifier.weight.any() and not found.model.classifier.bias.any()
    assert found.fingerprint == load_vision_model(tmp_path, "tiny").fingerprint
    assert features(found.model, noise(2, 0).images).any()


# ---- what is refused -------------------------------------------------------------------------------------------------


def change_config(folder: Path, **changes: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"model_type": "bert"}, "type bert: choose a ViT, DeiT or Swin"),
        ({"model_type": "no such thing"}, "an image classifier (ValueError)"),
        ({"model_type": ["vit"]}, "an image classifier (TypeError)"),
        ({"hidden_size": "wide"}, "an image classifier"),
        ({"hidden_size": 32}, "an image classifier"),
        ({"num_attention_heads": 0}, "an image classifier"),
        ({"num_hidden_layers": 3}, "lacks weights"),
        ({"image_size": [16, 24]}, "square colour pictures"),
        ({"image_size": 10**6}, "square colour pictures"),
        ({"image_size": 0}, "square colour pictures"),
        ({"image_size": []}, "an image classifier"),
        ({"num_channels": 1}, "square colour pictures"),
    ],
    ids=str,
)
def test_another_architecture_is_one_sentence(folder: Path, changes: dict, word: str, refusal) -> None:
    change_config(folder, **changes)
    assert word in refusal(load_vision_model, folder, "owner/tiny")


@pytest.mark.parametrize(
    "colours", [b"{", b"[1]", b"[" * 10**5, b'{"image_mean": "red"}', b'{"image_mean": [1, 2]}', b'{"image_std": 0.5}',
                b'{"image_std": [0, 0, 0]}', b'{"image_mean": [NaN, 0, 0]}', b"\xff"],
    ids=lambda content: content[:20],
)  # fmt: skip
def test_senseless_colours_are_one_sentence(folder: Path, colours: bytes, refusal) -> None:
    (folder / OWN_COLOURS).write_bytes(colours)
    assert "an image classifier" in refusal(load_vision_model, folder, "owner/tiny")


TORN = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "garbage": lambda whole: bytes(range(256)) * 9,
    "huge header": lambda whole: struct.pack("<Q", 2**60) + whole[8:],
}


@pytest.mark.usefixtures("fresh_store")
@pytest.mark.parametrize("how", TORN)
def test_torn_weights_are_one_sentence_with_and_without_the_hub(folder: Path, how: str, refusal) -> None:
    (folder / WEIGHTS).write_bytes(TORN[how]((folder / WEIGHTS).read_bytes()))
    assert "an image classifier" in refusal(load_vision_model, folder, "owner/tiny")
    assert "damaged" in refusal(service.open_model, "local:tiny", "cpu", folder.parent)


@pytest.mark.usefixtures("fresh_store")
def test_missing_files_are_one_sentence_and_pickles_are_never_read(folder: Path, refusal) -> None:
    canary = folder / "canary"
    (folder / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'touch " + str(canary).encode() + b"'\ntR.")
    (folder / WEIGHTS).rename(folder / "aside")
    assert "an image classifier" in refusal(load_vision_model, folder, "owner/tiny")
    assert "no .safetensors weights" in refusal(service.open_model, "local:tiny", "cpu", folder.parent)
    (folder / "aside").rename(folder / WEIGHTS)
    (folder / "config.json").unlink()
    assert "an image classifier" in refusal(load_vision_model, folder, "owner/tiny")
    assert "no config.json" in refusal(service.open_model, "local:tiny", "cpu", folder.parent)
    assert not canary.exists()


def test_weights_that_are_no_numbers_and_code_are_refused(folder: Path, refusal) -> None:
    tensors = load_file(folder / WEIGHTS)
    tensors["classifier.bias"][0] = torch.nan
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    assert "not finite" in refusal(load_vision_model, folder, "owner/tiny")
    change_config(folder, auto_map={"AutoModel": "evil.Evil"})
    assert "own code" in refusal(service.Hub(models_root=folder.parent).folder, Reference("local", "tiny"))


# ---- what is done with it --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", MAKERS)
def test_features_and_scores_are_of_pictures_in_the_models_own_colours(kind: str, kept: Path, task: TaskData) -> None:
    model = load_vision_model(kept / kind, kind).model
    shown = ((torch.from_numpy(task.test.images) / 255 - torch.tensor(MEAN)) / torch.tensor(STD)).permute(0, 3, 1, 2)
    torch.testing.assert_close(input_of(adapted(model, AdapterSettings(rank=1)), task.test.images), shown)
    hidden = getattr(model, kind)(pixel_values=shown).last_hidden_state
    ahead = hidden.shape[1] - {"vit": 16, "deit": 16, "swin": 4}[kind]
    assert ahead == {"vit": 1, "deit": 2, "swin": 0}[kind]
    wanted = torch.cat([hidden[:, : min(ahead, 1)].flatten(1), hidden[:, ahead:].mean(1)], 1)
    np.testing.assert_allclose(features(model, task.test.images, batch=4), wanted.numpy(), atol=1e-5)
    right = model(pixel_values=shown).logits.argmax(1).numpy() == task.test.labels
    assert np.array_equal(evaluate(model, task.test).correct, right)


def test_large_pictures_are_seen_a_few_at_once() -> None:
    small, large = np.zeros((401, 48, 48, 1), np.uint8), np.zeros((20, 224, 224, 1), np.uint8)
    assert [len(small[one]) for one in portions(small)] == [200, 200, 1]
    assert [len(large[one]) for one in portions(large)] == [9, 9, 2]


@pytest.mark.parametrize("form", ["lora", "bottleneck"])
@pytest.mark.parametrize("kind", MAKERS)
def test_an_epoch_trains_adapters_and_nothing_else(kind: str, form: str, kept: Path, task: TaskData) -> None:
    plain = load_vision_model(kept / kind, kind).model
    before = {name: value.clone() for name, value in plain.state_dict().items()}

    def run() -> tuple[float, torch.nn.Module]:
        model = adapted(with_head(plain, 3), AdapterSettings(form=form, rank=2), generator(0))
        assert evaluate(model, task.train).loss == pytest.approx(np.log(3), abs=1e-5)
        list(fit(model, task, FitSettings(epochs=1, batch=8, lr=1e-2)))
        return evaluate(model, task.train).loss, model

    (loss, model), (again, _) = run(), run()
    assert loss == again and abs(loss - np.log(3)) > 1e-3
    assert len(sites(model)) == (4 if form == "lora" else 2)
    assert all(site.parts["own"].up.weight.any() for site in sites(model).values())
    trained = model.state_dict()
    hosts = {name: name.replace("_proj.", "_proj.host.").replace(".mlp.", ".mlp.host.") for name in before}
    for name, value in before.items():
        inside = trained[name] if name in trained else trained[hosts[name]]
        assert torch.equal(value, plain.state_dict()[name])
        assert "classifier" in name or torch.equal(value, inside), name


@pytest.mark.parametrize("kind", MAKERS)
def test_peft_gives_the_same_answers(kind: str, kept: Path, tmp_path: Path, task: TaskData) -> None:
    from peft import PeftModel

    plain = load_vision_model(kept / kind, kind).model
    model = adapted(plain, AdapterSettings(rank=2), generator(0))
    list(fit(model, task, FitSettings(epochs=1, batch=8, lr=1e-2)))
    save_as_peft(model, tmp_path)
    theirs = PeftModel.from_pretrained(load_vision_model(kept / kind, kind).model, tmp_path).eval()
    images = input_of(plain, task.test.images)
    mine = model(pixel_values=images).logits
    torch.testing.assert_close(theirs(pixel_values=images).logits, mine, rtol=0, atol=1e-5)
    assert not torch.allclose(mine, plain(pixel_values=images).logits, atol=1e-3)
