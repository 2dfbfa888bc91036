"""Which device and number format do the work."""

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
