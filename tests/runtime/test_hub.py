"""Model references: what is refused, before which request, and in which words."""

from __future__ import annotations

import json
import struct
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from backends.runtime import files
from backends.runtime import hub as hub_module
from backends.runtime.hub import Download, Hub, Reference, check_folder, parse_reference

TINY = Reference("hub", "owner/tiny")
WEIGHTS = "model.safetensors"


# ---- what a person may write ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["bundled:pydoc-llama", "local:my_model.v2", "gpt2", "HuggingFaceTB/SmolLM2-135M"])
def test_a_reference_reads_back_as_it_was_written(text):
    assert str(parse_reference(text)) == text
    assert parse_reference(text).kind == (text.partition(":")[0] if ":" in text else "hub")


BAD_IDS = [
    "",
    " ",
    "gpt2 ",
    "/etc/passwd",
    "/",
    "./gpt2",
    "../gpt2",
    "owner/..",
    "owner/.",
    "a..b",
    "~/model",
    "-rf",
    "a/-rf",
]
BAD_IDS += [
    "a/b/c",
    "owner/",
    "https://huggingface.co/gpt2",
    "file:///etc/passwd",
    "C:\\models",
    "owner\\name",
    "gpt2\0",
]
BAD_IDS += [
    "gpt2\n",
    "\ngpt2",
    "gpt2\r\n",
    "gpt2\u2028",
    "gpt2\x1b[2J",
    "\u202egpt2",
    "gpt\u00e9",
    "a\ud800",
    "a--b",
    "a.git",
]
BAD_IDS += [
    "a" * 97,
    "a/" + "b" * 97,
    "a" * 300,
    "hub:gpt2",
    ":gpt2",
    "bundled:",
    "bundled:../x",
    "bundled:a/b",
    "Bundled:a",
]
BAD_IDS += [
    "local:",
    "local:..",
    "local:/etc",
    "local:a/b",
    "local:a\n",
    "local:.hidden",
    "local:local:a",
    "{{7*7}}",
    "$(id)",
]


@pytest.mark.parametrize("text", BAD_IDS, ids=ascii)
def test_anything_else_names_no_model(text, refusal):
    assert "names no model" in refusal(parse_reference, text)


# ---- the Hub when all is well --------------------------------------------------------------------------------------


def test_a_model_is_fetched_once_and_loads_and_is_found_offline(server, hub, llama_files):
    import torch
    from transformers import LlamaForCausalLM

    extra = {
        "tokenizer.json": b"{}",
        "pytorch_model.bin": b"pickle",
        "modeling.py": b"1/0",
        "onnx/model.safetensors": b"x",
    }
    repo = server.add(TINY.name, llama_files | extra | {"consolidated.safetensors": b"the same weights again"})
    wanted = {"config.json", "generation_config.json", "tokenizer.json", WEIGHTS}
    size = sum(len(repo.files[name]) for name in wanted)
    before = hub().cost(TINY)
    assert (before.bytes, before.missing_bytes, before.commit) == (size, size, repo.commit)
    assert set(before.files) == wanted and before.files[-1] == WEIGHTS
    assert server.bodies() == []

    folder = hub().folder(TINY)
    assert {path.name for path in folder.iterdir()} == wanted
    assert sorted(server.bodies()) == sorted(f"/{TINY.name}/resolve/{repo.commit}/{name}" for name in wanted)
    assert server.tokens == [], "the token of this server's owner must not serve visitors"
    model = LlamaForCausalLM.from_pretrained(
        folder, local_files_only=True, use_safetensors=True, trust_remote_code=False
    )
    assert torch.isfinite(model(torch.arange(8)[None]).logits).all()

    seen = len(server.bodies())
    assert hub().folder(TINY) == folder and hub().cost(TINY).missing_bytes == 0
    assert len(server.bodies()) == seen
    requests = len(server.log)
    assert hub(offline=True).folder(TINY) == folder and hub(offline=True).cost(TINY) == Download()
    assert len(server.log) == requests


def test_two_visitors_at_once_download_once(server, hub, llama_files):
    server.add(TINY.name, llama_files)
    shared = hub(patience=10)
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(shared.folder, [TINY, TINY])
    assert first == second
    assert len(server.bodies(WEIGHTS)) == 1


# ---- refused before anything is downloaded -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("how", "word"),
    [
        ({"files": {"config.json": b"{}", "pytorch_model.bin": b"pickle"}}, "no .safetensors weights"),
        ({"files": {WEIGHTS: b""}}, "no .safetensors weights"),
        ({"info": {"config": {"auto_map": {"AutoModel": "evil.Evil"}}}}, "own code"),
        ({"info": {"tags": ["custom_code"]}}, "own code"),
        ({"info": {"gated": "manual"}}, "not open to everyone"),
        ({"info": {"private": True}}, "not open to everyone"),
        ({"info": {"disabled": True}}, "not open to everyone"),
        ({"info": {"sha": "main/../.."}}, "could not be reached"),
        ({"claimed": {WEIGHTS: None}}, "how large"),
        ({"claimed": {WEIGHTS: 140_000_000_000}}, "140.0 GB"),
        ({"status": 401}, "open to everyone"),
        ({"status": 403}, "open to everyone"),
        ({"status": 404}, "open to everyone"),
        ({"status": 429}, "error 429"),
        ({"fault": "error-metadata"}, "error 500"),
    ],
    ids=str,
)
def test_refused_before_any_download(server, hub, llama_files, how, word, refusal):
    server.add(TINY.name, **({"files": llama_files} | how))
    assert word in refusal(hub().folder, TINY)
    assert server.log == [("GET", f"/api/models/{TINY.name}")]


def test_refused_when_memory_or_disk_are_too_small(server, hub, llama_files, monkeypatch, refusal):
    server.add(TINY.name, llama_files, claimed={WEIGHTS: 3_000_000_000})
    room = type("Memory", (), {"available": 5_900_000_000})
    with monkeypatch.context() as patch:
        patch.setattr(hub_module.psutil, "virtual_memory", lambda: room)
        assert "memory" in refusal(hub().folder, TINY)
    room.available = 9_000_000_000
    monkeypatch.setattr(hub_module.psutil, "virtual_memory", lambda: room)
    monkeypatch.setattr(hub_module.shutil, "disk_usage", lambda _: type("Disk", (), {"free": 2_900_000_000}))
    assert "disk" in refusal(hub().folder, TINY)
    assert server.bodies() == []


def test_code_in_the_config_is_refused_before_the_weights(server, hub, llama_files, refusal):
    server.add(TINY.name, llama_files | {"config.json": b'{"auto_map": {"AutoModel": "evil.Evil"}}'})
    assert "own code" in refusal(hub().folder, TINY)
    assert len(server.bodies("config.json")) == 1 and server.bodies(WEIGHTS) == []


def test_offline_asks_nobody(server, hub, llama_files, refusal):
    server.add(TINY.name, llama_files)
    assert "--offline" in refusal(hub(offline=True).folder, TINY)
    assert server.log == []


# ---- folders -------------------------------------------------------------------------------------------------------

DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "garbage": lambda whole: bytes(range(256)) * 9,
    "huge header": lambda whole: struct.pack("<Q", 2**60) + whole[8:],
    "lying shape": lambda whole: whole.replace(b'"shape":[64,32]', b'"shape":[96,32]'),
    "longer than told": lambda whole: whole + b"x",
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_weights_are_named_at_once(llama_folder, damage, refusal):
    path = llama_folder / WEIGHTS
    whole = path.read_bytes()
    check_folder(llama_folder)
    path.write_bytes(DAMAGE[damage](whole))
    assert path.read_bytes() != whole
    start = time.monotonic()
    assert repr(WEIGHTS) in refusal(check_folder, llama_folder)
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("name", "content", "word"),
    [
        ("config.json", None, "no config.json"),
        ("config.json", b"{", "config.json is damaged"),
        ("config.json", b"\xff\xfe{}", "config.json is damaged"),
        ("config.json", b"[" * 200_000, "config.json is damaged"),
        ("config.json", b"[1]", "not a JSON object"),
        ("config.json", b"{}" + b" " * 2**25, "not a JSON object"),
        ("config.json", b'{"auto_map": {}}', "own code"),
        ("tokenizer_config.json", b'{"auto_map": {"AutoTokenizer": ["evil.Evil", null]}}', "own code"),
        (WEIGHTS, None, "no .safetensors weights"),
        ("model.safetensors.index.json", b"{}", "index.json is damaged"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "model-2.safetensors"}}', "'model-2.safetensors'"),
        ("model.safetensors.index.json", b'{"weight_map": {"a": "../tiny/model.safetensors"}}', "incomplete"),
    ],
)
def test_a_folder_that_is_not_a_whole_plain_model_is_refused(llama_folder, name, content, word, refusal):
    if content is None:
        (llama_folder / name).unlink()
    else:
        (llama_folder / name).write_bytes(content)
    assert word in refusal(check_folder, llama_folder)


def test_a_sharded_model_is_accepted(llama_folder):
    (llama_folder / WEIGHTS).rename(llama_folder / "model-1.safetensors")
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-1.safetensors"}}
    (llama_folder / "model.safetensors.index.json").write_text(json.dumps(index))
    check_folder(llama_folder)


def test_pickled_weights_alone_are_refused_unread(llama_folder, refusal):
    canary = llama_folder / "canary"
    command = f"touch {canary}".encode()
    (llama_folder / WEIGHTS).unlink()
    (llama_folder / "pytorch_model.bin").write_bytes(b"cposix\nsystem\n(S'" + command + b"'\ntR.")
    assert "no .safetensors weights" in refusal(check_folder, llama_folder)
    assert not canary.exists()


def test_a_local_model_stays_inside_its_root(llama_folder, tmp_path, refusal):
    root, outside = llama_folder.parent, tmp_path / "outside"
    hub = Hub(models_root=root)
    assert hub.folder(parse_reference("local:tiny")) == llama_folder.resolve()
    (root / "alias").symlink_to("tiny")
    assert hub.folder(Reference("local", "alias")) == llama_folder.resolve()

    llama_folder.rename(outside)
    (root / "link").symlink_to(outside)
    (root / "tiny").mkdir()
    for name in ("../outside", "/etc", "link", ".", "..", "", "absent"):
        assert "no local model" in refusal(hub.folder, Reference("local", name))
    for name in ("config.json", WEIGHTS):
        (root / "tiny" / name).symlink_to(outside / name)
    assert "link to elsewhere" in refusal(hub.folder, Reference("local", "tiny"))
    assert "without a folder of local models" in refusal(Hub().folder, Reference("local", "tiny"))


def test_a_local_model_too_large_for_memory_is_refused(llama_folder, monkeypatch, refusal):
    monkeypatch.setattr(hub_module.psutil, "virtual_memory", lambda: type("Memory", (), {"available": 9_999}))
    assert "memory" in refusal(Hub(models_root=llama_folder.parent).folder, Reference("local", "tiny"))


def test_a_bundled_model_comes_from_the_assets(llama_folder, monkeypatch, refusal):
    monkeypatch.setattr(files, "ASSETS", llama_folder.parents[1])
    assert Hub(offline=True).folder(parse_reference("bundled:tiny")) == llama_folder
    assert "no bundled model called 'absent'" in refusal(Hub().folder, parse_reference("bundled:absent"))
    (llama_folder / WEIGHTS).write_bytes(b"")
    assert WEIGHTS in refusal(Hub().folder, parse_reference("bundled:tiny"))
