"""Classes of pictures that are given by formulas alone: iterated function systems and wavy contours.

A class is kept as clouds of points in [-1, 1]^2, one for each of its variants; `render` makes pictures of them. No
natural image is involved.

Sources: contractive sampling of an iterated function system after Anderson & Farrell, "Improving Fractal Pre-training";
contours after Takashima et al., "Visual Atoms" (arXiv 2303.01112), with clipped Gaussian noise for Perlin's.
"""

from __future__ import annotations

import math

import torch

from backends.runtime.seeds import generator
from backends.vision.settings import FormulaSettings

MAPS = (2, 5)  # of a system, at least and at most
CHAINS, SKIPPED = 64, 20  # walks of one cloud, and their first steps, which are not yet on the attractor
FILL = (0.12, 0.75)  # share of a coarse grid that a class's cloud has to touch
GRID = 24
JITTER = 0.1  # of a variant's parameters
ORBITS, VERTICES = (3, 16), 128  # of a contour


def clouds(settings: FormulaSettings) -> torch.Tensor:
    """All classes: (classes, variants, points, 2), each centred and scaled to reach 1; the first half are systems."""
    half = settings.classes // 2
    made = [_systems(settings, half), _contours(settings, settings.classes - half)]
    return torch.cat([_normalised(one) for one in made])


# ---- iterated function systems ---------------------------------------------------------------------------------------


def _systems(settings: FormulaSettings, count: int) -> torch.Tensor:
    """(count, variants, points, 2): attractors that neither vanish nor fill the picture."""
    draw = generator(settings.seed)
    kept: list[torch.Tensor] = []
    while len(kept) < count:
        maps, live = zip(*(_contraction(draw) for _ in range(max(32, count))), strict=True)
        matrices, alive = torch.stack(maps), torch.stack(live)
        first = _walk(matrices[:, None], alive, settings.points, draw)
        good = [i for i, share in enumerate(fill(_normalised(first))[:, 0].tolist()) if FILL[0] <= share <= FILL[1]]
        for i in good[: count - len(kept)]:
            noise = 1 + JITTER * (2 * torch.rand(settings.variants, *matrices.shape[1:], generator=draw) - 1)
            kept.append(_walk((matrices[i] * noise)[None], alive[i : i + 1], settings.points, draw)[0])
    return torch.stack(kept)


def _contraction(draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """One system of 2 to 5 maps, (5, 2, 3) padded, and which of them exist, (5,).

    Each map is U diag(s1, s2) V x + t with 1 >= s1 >= s2 >= 0 and sum(s1 + 2 s2) = alpha over the maps, so that it
    contracts; alpha is drawn from U((5 + n)/2, (6 + n)/2).
    """
    low, high = MAPS
    n = int(torch.randint(low, high + 1, (1,), generator=draw))
    u = torch.rand(3 + 7 * n, generator=draw).tolist()
    singular = _singular_values(n, (5 + n + u.pop()) / 2, u)
    maps = torch.zeros(high, 2, 3)
    for i, (s1, s2) in enumerate(singular):
        left, right = _turn(u.pop()), _turn(u.pop())
        flips = torch.tensor([1.0 if u.pop() < 0.5 else -1.0 for _ in range(2)])
        maps[i, :, :2] = left * flips @ torch.diag(torch.tensor([s1, s2])) @ right
        maps[i, :, 2] = 2 * torch.rand(2, generator=draw) - 1
    return maps, torch.arange(high) < n


def _singular_values(n: int, alpha: float, u: list[float]) -> list[tuple[float, float]]:
    """n pairs (s1, s2) with sum(s1 + 2 s2) = alpha, drawn one after the other within what is left to the others."""
    rest, floor, pairs = alpha, alpha - 3 * n + 3, []
    for _ in range(n - 1):
        s1 = _between(max(0.0, floor / 3), min(1.0, rest), u.pop())
        rest, floor = rest - s1, floor - s1
        s2 = _between(max(0.0, floor / 2), min(s1, rest / 2), u.pop())
        rest, floor = rest - 2 * s2, floor + 3 - 2 * s2
        pairs.append((s1, s2))
    s2 = _between(max(0.0, (rest - 1) / 2), rest / 3, u.pop())
    return [*pairs, (rest - 2 * s2, s2)]


def _between(low: float, high: float, share: float) -> float:
    return low + (high - low) * share


def _turn(share: float) -> torch.Tensor:
    angle = 2 * math.pi * share
    return torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])


def _walk(maps: torch.Tensor, alive: torch.Tensor, points: int, draw: torch.Generator) -> torch.Tensor:
    """The chaos game. maps: (classes, variants, 5, 2, 3), alive: (classes, 5) -> (classes, variants, points, 2)."""
    classes, variants = maps.shape[:2]
    area = (maps[..., 0, 0] * maps[..., 1, 1] - maps[..., 0, 1] * maps[..., 1, 0]).abs() + 1e-3
    chance = (area * alive[:, None]).cumsum(-1)
    chance = (chance / chance[..., -1:]).flatten(0, 1)  # (classes * variants, 5)
    flat = maps.flatten(0, 1)
    rows = torch.arange(len(flat))[:, None]
    at = torch.zeros(len(flat), CHAINS, 2)
    steps, seen = -(-points // CHAINS), []
    for step in range(SKIPPED + steps):
        toss = torch.rand(len(flat), CHAINS, generator=draw)
        chosen = torch.searchsorted(chance, toss).clamp(max=maps.shape[2] - 1)
        m = flat[rows, chosen]  # (classes * variants, chains, 2, 3)
        at = (m[..., :2] @ at[..., None])[..., 0] + m[..., 2]
        if step >= SKIPPED:
            seen.append(at)
    return torch.stack(seen, 2).flatten(1, 2)[:, :points].unflatten(0, (classes, variants))


# ---- contours --------------------------------------------------------------------------------------------------------


def _contours(settings: FormulaSettings, count: int) -> torch.Tensor:
    """(count, variants, points, 2): orbits around an ellipse, each a step outward of the last, in two frequencies."""
    draw = generator(settings.seed + 1)
    made = []
    t = torch.arange(VERTICES) * (2 * math.pi / VERTICES)
    for _ in range(count):
        u = torch.rand(6, generator=draw)
        orbits = int(torch.randint(ORBITS[0], ORBITS[1] + 1, (1,), generator=draw))
        n1, n2 = torch.randint(0, 13, (2,), generator=draw).tolist()
        radius, kappa, drift = 4 + 26 * float(u[0]), 4 * float(u[1]), 0.1 * float(u[2])
        ellipse = 1 + u[3:5]
        wave = 0.5 * torch.sin(n1 * t) + 0.5 * torch.sin(n2 * t) + drift
        noise = (0.3 * torch.randn(settings.variants, orbits, VERTICES, 2, generator=draw)).clamp(-1, 1)
        steps = kappa * (1 - noise) + wave[:, None]  # (variants, orbits, vertices, 2)
        round_ = torch.stack([t.cos(), t.sin()], -1)
        rings = radius * ellipse * round_ + (round_ * steps).cumsum(1)
        made.append(_along(rings, settings.points, draw))
    return torch.stack(made)


def _along(rings: torch.Tensor, points: int, draw: torch.Generator) -> torch.Tensor:
    """Points on closed polylines (variants, orbits, vertices, 2), evenly drawn -> (variants, points, 2)."""
    variants, orbits, vertices, _ = rings.shape
    orbit = torch.randint(orbits, (variants, points), generator=draw)
    place = vertices * torch.rand(variants, points, generator=draw)
    here = place.long().clamp(max=vertices - 1)
    share = (place - here)[..., None]
    rows = torch.arange(variants)[:, None]
    return torch.lerp(rings[rows, orbit, here], rings[rows, orbit, (here + 1) % vertices], share)


# ---- both ------------------------------------------------------------------------------------------------------------


def _normalised(points: torch.Tensor) -> torch.Tensor:
    """Centred on the bounding box, its longer side from -1 to 1."""
    low, high = points.amin(-2, keepdim=True), points.amax(-2, keepdim=True)
    half = ((high - low) / 2).amax(-1, keepdim=True).clamp(min=1e-6)
    return (points - (low + high) / 2) / half


def fill(points: torch.Tensor) -> torch.Tensor:
    """The share of a 24 x 24 grid over [-1, 1]^2 that a cloud touches: (..., points, 2) -> (...)."""
    cell = ((points + 1) / 2 * GRID).long().clamp(0, GRID - 1)
    flat = (cell[..., 1] * GRID + cell[..., 0]).flatten(0, -2)
    touched = torch.zeros(len(flat), GRID * GRID).scatter_(1, flat, 1.0)
    return touched.mean(1).unflatten(0, points.shape[:-2])
