"""Pictures of formula classes, drawn on the fly: colour, background, clutter, blur; and what is known of each.

Everything follows from a generator, so step n of a training sees the same pictures wherever it is resumed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F

MOST_DISTRACTORS = 7
MOMENTS = 11  # numbers of a main object's geometry
SCALE, SMALL = (0.30, 0.85), (0.12, 0.25)  # of the main object and of a distractor, in half pictures
CAP = 2.0  # points on a pixel that make it opaque


@dataclass(frozen=True)
class Pictures:
    """A batch: images (batch, 3, side, side) in [0, 1] and what they show.

    labels (batch,): the class; geometry (batch, 11): centre x and y and size in half pictures, and four pairs that turn
    with the object, see `_geometry`; distractors (batch,): 0 to 7; masks (batch, 2, side, side): where the main object
    is, and where distractors are that it does not cover.
    """

    images: torch.Tensor
    labels: torch.Tensor
    geometry: torch.Tensor
    distractors: torch.Tensor
    masks: torch.Tensor


def pictures(clouds: torch.Tensor, batch: int, side: int, shown: int, draw: torch.Generator) -> Pictures:
    """A fresh batch. clouds: (classes, variants, points, 2), on the generator's device; shown: points of each."""
    main, labels = _objects(clouds, batch, shown, SCALE, draw)
    ink = _splat(main, side)
    count = torch.randint(MOST_DISTRACTORS + 1, (batch,), generator=draw, device=clouds.device)
    small, _ = _objects(clouds, batch * MOST_DISTRACTORS, shown // 6, SMALL, draw)
    clutter = _splat(small, side).unflatten(0, (batch, MOST_DISTRACTORS))
    there = torch.arange(MOST_DISTRACTORS, device=count.device) < count[:, None]
    clutter = clutter * there[..., None, None]
    images = _background(batch, side, draw)
    for i in range(MOST_DISTRACTORS):
        images = _painted(images, clutter[:, i], draw)
    images = _finished(_painted(images, ink, draw), draw)
    masks = torch.stack([ink > 0, (clutter.amax(1) > 0) & (ink == 0)], 1).float()
    return Pictures(images, labels, _geometry(main), count, masks)


def _objects(
    clouds: torch.Tensor, count: int, shown: int, scale: tuple[float, float], draw: torch.Generator
) -> tuple[torch.Tensor, torch.Tensor]:
    """Clouds at random, turned, stretched, scaled and placed: points (count, shown, 2) in [-1, 1]^2; their classes."""
    classes, variants, points, _ = clouds.shape
    device = clouds.device

    def uniform(low: float, high: float, *shape: int) -> torch.Tensor:
        return low + (high - low) * torch.rand(count, *shape, generator=draw, device=device)

    labels = torch.randint(classes, (count,), generator=draw, device=device)
    which = torch.randint(variants, (count,), generator=draw, device=device)
    # a run of a walk's points from a random place on is as good as any other subset, and quick to take
    start = torch.randint(points, (count, 1), generator=draw, device=device)
    stride = 2 * torch.randint(points // 2, (count, 1), generator=draw, device=device) + 1
    index = (start + stride * torch.arange(shown, device=device)) % points
    taken = clouds[labels[:, None], which[:, None], index]
    angle = uniform(-math.pi, math.pi) * (uniform(0, 1) < 0.7)
    cos, sin = angle.cos(), angle.sin()
    turn = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    flip = torch.where(uniform(0, 1, 2) < 0.5, -1.0, 1.0)
    stretch = uniform(0.7, 1.0, 2)
    size = uniform(*scale, 1)
    shape = (taken * flip[:, None]) @ turn.mT * (stretch * size)[:, None]
    room = (1 - shape.abs().amax(1)).clamp(min=0)
    return shape + (room * uniform(-1, 1, 2))[:, None], labels


def _splat(points: torch.Tensor, side: int) -> torch.Tensor:
    """How opaque each pixel is, (count, side, side), from points in [-1, 1]^2."""
    cell = ((points + 1) / 2 * side).long().clamp(0, side - 1)
    flat = cell[..., 1] * side + cell[..., 0]
    hits = torch.zeros(len(points), side * side, device=points.device)
    hits.scatter_add_(1, flat, torch.ones_like(flat, dtype=hits.dtype))
    return (hits / CAP).clamp(max=1).unflatten(1, (side, side))


def _geometry(points: torch.Tensor) -> torch.Tensor:
    """Centre, root-mean-square radius, and moments of z = (x + iy) / radius about the centre: (count, 11).

    The means of z^2, z |z|^2, z^3 and z^4, each as real and imaginary part, turn with the object two, one, three and
    four times as fast: what tells how it is turned, whatever its symmetry. Large ones are bent towards 1 by tanh.
    """
    centre = points.mean(1)
    off = points - centre[:, None]
    radius = off.square().sum(-1).mean(1).clamp(min=1e-6).sqrt()
    z = torch.complex(*(off / radius[:, None, None]).unbind(-1))
    means = torch.stack([(z**2).mean(1), (z * z.abs() ** 2).mean(1), (z**3).mean(1), (z**4).mean(1)], 1)
    bent = torch.view_as_real(means * (means.abs().tanh() / means.abs().clamp(min=1e-6)))
    return torch.cat([centre, radius[:, None], bent.flatten(1)], 1)


def _background(count: int, side: int, draw: torch.Generator) -> torch.Tensor:
    """One colour, a gradient, or smooth noise: (count, 3, side, side)."""
    device = draw.device

    def rand(*shape: int) -> torch.Tensor:
        return torch.rand(count, *shape, generator=draw, device=device)

    base, other = rand(3, 1, 1), rand(3, 1, 1)
    ramp = torch.linspace(0, 1, side, device=device)
    angle = 2 * math.pi * rand(1, 1)
    slope = (ramp[None, None] - 0.5) * angle.cos() + (ramp[None, :, None] - 0.5) * angle.sin() + 0.5
    noise = F.interpolate(rand(3, 5, 5), (side, side), mode="bicubic", align_corners=False).clamp(0, 1)
    kind = torch.randint(3, (count, 1, 1, 1), generator=draw, device=device)
    gradient = torch.lerp(base.expand(-1, -1, side, side), other.expand(-1, -1, side, side), slope[:, None].clamp(0, 1))
    whole = torch.where(kind == 0, base, torch.where(kind == 1, gradient, torch.lerp(base, noise, 0.7)))
    return 0.6 * whole


def _painted(images: torch.Tensor, ink: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """The ink over the images, in two colours that change over the height, brighter than most backgrounds."""
    count, side = len(images), images.shape[-1]
    two = 0.35 + 0.65 * torch.rand(count, 3, 2, 1, generator=draw, device=images.device)
    ramp = torch.linspace(0, 1, side, device=images.device)[None, None]
    colour = torch.lerp(two[:, :, 0], two[:, :, 1], ramp)[..., None]  # (count, 3, side, 1)
    return torch.lerp(images, colour.expand_as(images), ink[:, None])


def _finished(images: torch.Tensor, draw: torch.Generator) -> torch.Tensor:
    """A quarter inverted, a third blurred, a sixth grey, some noise on all."""

    def share(part: float) -> torch.Tensor:
        return torch.rand(len(images), 1, 1, 1, generator=draw, device=images.device) < part

    images = torch.where(share(1 / 4), 1 - images, images)
    kernel = torch.tensor([1.0, 2.0, 1.0], device=images.device)
    kernel = (kernel[:, None] * kernel / 16).expand(3, 1, 3, 3)
    blurred = F.conv2d(F.pad(images, (1, 1, 1, 1), mode="replicate"), kernel, groups=3)
    images = torch.where(share(1 / 3), blurred, images)
    images = torch.where(share(1 / 6), images.mean(1, keepdim=True).expand_as(images), images)
    strength = 0.08 * torch.rand(len(images), 1, 1, 1, generator=draw, device=images.device)
    noise = torch.randn(images.shape, generator=draw, device=images.device)
    return (images + strength * noise).clamp(0, 1)
