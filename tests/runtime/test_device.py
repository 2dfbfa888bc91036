"""Which device and number format do the work."""

import os

import pytest
import torch

from backends.runtime import device
from backends.runtime.errors import UserError


@pytest.mark.parametrize(
    ("able", "expected"),
    [({}, torch.float32), ({"avx512_bf16": False}, torch.float32), ({"avx512_bf16": True}, torch.bfloat16),
     ({"amx_bf16": True}, torch.bfloat16)],
)  # fmt: skip
def test_quick_looks_take_bfloat16_where_the_processor_multiplies_in_it(monkeypatch, able: dict, expected: torch.dtype):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: able)
    assert device.quick_format(torch.device("cpu")) is expected
    assert device.quick_format(torch.device("cuda")) is torch.float32


@pytest.mark.parametrize("wanted", ["gpu", "cpu:one", "cuda:x", "cuda0", ""])
def test_an_unknown_device_gets_one_sentence(wanted: str):
    with pytest.raises(UserError, match="choose one of"):
        device.choose_device(wanted)


def test_what_a_long_running_server_keeps_is_bounded_unless_told_otherwise(monkeypatch):
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    device.limit_memory()
    assert os.environ["LRU_CACHE_CAPACITY"] == "7"
    assert os.environ.pop("ONEDNN_PRIMITIVE_CACHE_CAPACITY") == "160"
