"""How important each adapter is. Train first, then score: where `up` is still zero every Taylor score is zero.

First-order Taylor, the criterion that the paper names: the predicted change of the loss if the adapter were removed,
I = mean over batches of |sum of w * dL/dw over the adapter's weights|. For LoRA the sum over `down` equals that over
`up` and <s B A, dL/dW>; it does not change where A is multiplied and B divided by one number, as magnitude does.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

import torch
import torch.nn.functional as F
from torch import nn

from backends.pear.settings import Criterion
from backends.vision.adapters import OWN, Adapter, sites

Batch = tuple[torch.Tensor, torch.Tensor]  # images (batch, 3, side, side), labels (batch,)


def importance(
    model: nn.Module, batches: Iterable[Batch], criterion: Criterion = "taylor", draw: torch.Generator | None = None,
    gone: Collection[str] = (),
) -> dict[str, float]:  # fmt: skip
    """A score for each site that still has an adapter of its own, by name; in evaluation mode, without dropout.

    gone: sites that were pruned before; an adapter that serves them too is scored with all its places.
    """
    adapters = own_adapters(model, gone)
    if criterion == "random":
        return dict(zip(adapters, torch.rand(len(adapters), generator=draw).tolist(), strict=True))
    if criterion == "magnitude":
        return {name: _norm(adapter) for name, adapter in adapters.items()}
    change = torch.abs if criterion == "taylor" else torch.Tensor.clone
    return taylor(model, adapters, batches, change)


def own_adapters(model: nn.Module, gone: Collection[str] = ()) -> dict[str, Adapter]:
    """The adapter of every site that was not pruned."""
    return {name: site.parts[OWN] for name, site in sites(model).items() if name not in gone and OWN in site.parts}


def taylor(
    model: nn.Module, adapters: dict[str, Adapter], batches: Iterable[Batch],
    change: Callable[[torch.Tensor], torch.Tensor],
) -> dict[str, float]:  # fmt: skip
    """The mean over batches of change(sum over the adapter of w * dL/dw)."""
    weights = [[adapter.down.weight, adapter.up.weight] for adapter in adapters.values()]
    was_training, count = model.training, 0
    sums = torch.zeros(len(adapters), dtype=torch.float64)
    model.eval()
    try:
        for images, labels in batches:
            loss = F.cross_entropy(model(pixel_values=images).logits, labels)
            grads = torch.autograd.grad(loss, [w for pair in weights for w in pair])
            for i, pair in enumerate(weights):
                inner = sum((w.detach() * g).sum() for w, g in zip(pair, grads[2 * i : 2 * i + 2], strict=True))
                sums[i] += change(inner).cpu().double()
            count += 1
    finally:
        model.train(was_training)
    return dict(zip(adapters, (sums / max(count, 1)).tolist(), strict=True))


def _norm(adapter: Adapter) -> float:
    """Root of the sum of squares of its weights."""
    return float((adapter.down.weight.square().sum() + adapter.up.weight.square().sum()).sqrt().detach())
