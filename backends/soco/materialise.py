"""From a spectrum to a model: one merged dense weight, or two skinny layers, and files that need no dense model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from torch.nn.functional import linear as apply_linear
from torch.nn.functional import pad

from backends.lm.rebuild import rebuild
from backends.runtime.errors import UserError
from backends.runtime.files import whole_file
from backends.soco.budget import matrix_cost
from backends.soco.spectra import Factor, Spectrum

# padded: factored, with components of zero up to a multiple of 16, so that neighbouring ratios share their shapes and
# the machine code that is made for each; for reading a text, not for counting or saving
Form = Literal["merged", "factored", "padded"]
_MULTIPLE = 16


class Dense(nn.Linear):
    """y = W x + b around given tensors, frozen. weight (m, n), bias (m,) or None."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__(weight.shape[1], weight.shape[0], bias=False, device="meta")
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)


class TwoSkinny(nn.Module):
    """y = A (B x) + b. A (m, k), B (k, n), balanced: each carries the square root of the spectrum."""

    def __init__(self, outer: torch.Tensor, inner: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.outer = nn.Parameter(outer, requires_grad=False)
        self.inner = nn.Parameter(inner, requires_grad=False)
        self.bias = None if bias is None else nn.Parameter(bias, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return apply_linear(apply_linear(x, self.inner), self.outer, self.bias)


def is_dense(kept: torch.Tensor, shape: tuple[int, int]) -> bool:
    """Whether factors would be no smaller than the matrix itself."""
    return matrix_cost(int(kept.sum()), shape) == shape[0] * shape[1]


def _bias(linear: nn.Linear, deviation: torch.Tensor | None) -> torch.Tensor | None:
    if deviation is None:
        return linear.bias
    deviation = deviation.to(linear.weight)
    return deviation if linear.bias is None else linear.bias + deviation


def build_layer(factor: Factor, linear: nn.Linear, spectrum: Spectrum, name: str, form: Form) -> nn.Module:
    """The compressed stand-in of one projection."""
    kept, like = spectrum.kept[name], linear.weight
    part = factor.part(kept.to(factor.sigma.device))
    gain = part.sigma * spectrum.scores[name].to(part.sigma)[kept.to(part.sigma.device)]
    bias = _bias(linear, spectrum.deviation.get(name))
    if form == "merged" or is_dense(kept, factor.shape):
        return Dense((part.left * gain @ part.right).to(like), bias)
    root = gain.abs().sqrt()
    outer, inner = part.left.mul_(root * gain.sign()), part.right.mul_(root[:, None])
    outer, inner = outer.to(like), inner.to(like)
    if form == "padded":
        missing = -len(inner) % _MULTIPLE
        outer, inner = pad(outer, (0, missing)), pad(inner, (0, 0, 0, missing))
    return TwoSkinny(outer, inner, bias)


def materialise(
    model: nn.Module, factors: Mapping[str, Factor], spectrum: Spectrum, form: Form = "merged"
) -> nn.Module:
    """A private compressed copy of `model`; all that is not compressed is shared with it."""
    return rebuild(model, lambda name, linear: build_layer(factors[name], linear, spectrum, name, form))


def stored_parameters(model: nn.Module) -> int:
    """Parameters of the compressed projections of a materialised model."""
    return sum(
        p.numel() for m in model.modules() if isinstance(m, Dense | TwoSkinny) for p in m.parameters(recurse=False)
    )


def save_compressed(
    compressed: nn.Module, target: Path, facts: Mapping[str, object], metadata: Mapping[str, str] | None = None
) -> None:
    """Safetensors of the factored model with its configuration, `facts` and further metadata in the header."""
    state, seen = {}, set()
    for name, value in compressed.state_dict().items():
        if value.data_ptr() not in seen:  # tied embeddings are stored once
            seen.add(value.data_ptr())
            state[name] = value.detach().cpu().contiguous()
    header = dict(metadata or {}) | {
        "facts": json.dumps(dict(facts)),
        "config": compressed.config.to_json_string(use_diff=False),
    }
    with whole_file(target) as temporary:
        save_file(state, temporary, header)


def load_compressed(source: Path) -> tuple[nn.Module, dict]:
    """The model of `save_compressed` and its facts; needs neither the dense model nor its factors. Raises UserError."""
    from huggingface_hub.errors import StrictDataclassError
    from transformers import AutoConfig, AutoModelForCausalLM

    try:
        with safe_open(source, "pt") as file:
            header = file.metadata() or {}
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        config_values = json.loads(header["config"])
        facts = json.loads(header["facts"])
        config = AutoConfig.for_model(config_values.pop("model_type"), **config_values)
        skeleton = AutoModelForCausalLM.from_config(config)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError, StrictDataclassError) as error:
        raise UserError(
            "This is not a model that Vitrine compressed and saved: choose such a .safetensors file."
        ) from error

    def layer(name: str, linear: nn.Linear) -> nn.Module:
        bias = state.get(f"{name}.bias")
        if f"{name}.outer" not in state:
            return Dense(state[f"{name}.weight"], bias)
        outer, inner = state[f"{name}.outer"], state[f"{name}.inner"]
        if outer.shape != (linear.out_features, len(inner)) or inner.shape[1:] != (linear.in_features,):
            raise ValueError(f"the factors of {name} do not fit")
        return TwoSkinny(outer, inner, bias)

    try:
        model = rebuild(skeleton, layer)
        missing = set(model.load_state_dict(state, strict=False, assign=True).missing_keys)
    except (KeyError, ValueError, RuntimeError) as error:
        raise UserError("The weights in this file do not fit its configuration: save it again.") from error
    model.tie_weights()
    if missing - ({"lm_head.weight"} if config.tie_word_embeddings else set()):
        raise UserError("This file lacks some of the model's weights: save it again.")
    return model.requires_grad_(False).eval(), facts
