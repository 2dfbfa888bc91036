"""A Hub that belongs to the test, and a tiny real model to put on it."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from backends.runtime import files
from backends.runtime.errors import UserError
from backends.runtime.hub import Hub
from tests.hub_server import HubServer


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[HubServer]:
    """The Hub, reached directly and with a token that it must never see, whatever this machine is set to."""
    from huggingface_hub import close_session, constants  # loaded on demand, and not as attributes

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    for name in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    close_session()
    with HubServer() as hub:
        yield hub
    close_session()


@pytest.fixture
def hub(server: HubServer, tmp_path: Path) -> Callable[..., Hub]:
    """Makes a Hub object that talks to the test's server and caches in the test's folder."""

    def make(**settings: object) -> Hub:
        return Hub(**({"endpoint": server.url, "cache_dir": tmp_path / "cache"} | settings))

    return make


@pytest.fixture
def refusal() -> Callable[..., str]:
    """Calls what must be refused and returns the sentence: no path, no address, nothing that a terminal obeys."""

    def refuse(attempt: Callable[..., object], *arguments: object) -> str:
        with pytest.raises(UserError) as caught:
            attempt(*arguments)
        sentence = str(caught.value)
        assert sentence.isprintable() and sentence.endswith(".") and len(sentence) < 200
        for secret in (
            str(files.ROOT),
            tempfile.gettempdir(),
            "/models/",
            "cache",
            "127.0.0.1",
            "Traceback",
            "hf_secret",
        ):
            assert secret not in sentence
        return sentence

    return refuse


@pytest.fixture(scope="session")
def llama_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a random two-layer Llama, as save_pretrained writes them."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "vocab_size": 64}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = LlamaForCausalLM(LlamaConfig(**sizes, num_attention_heads=2, num_key_value_heads=1))
    folder = tmp_path_factory.mktemp("llama")
    model.save_pretrained(folder)
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def llama_folder(tmp_path: Path, llama_files: dict[str, bytes]) -> Path:
    """The same model as a folder called `tiny` under a root of local models."""
    folder = tmp_path / "models" / "tiny"
    folder.mkdir(parents=True)
    for name, content in llama_files.items():
        (folder / name).write_bytes(content)
    return folder
