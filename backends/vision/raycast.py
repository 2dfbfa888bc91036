"""Small scenes of balls, boxes and cylinders on a floor, by casting rays: numpy, exact, no z-fighting.

Every primitive is a unit ball, cube [-1, 1]^3 or cylinder (radius 1, |z| <= 1) that is stretched, turned about the
vertical and moved. Shapes: batch, primitives, rays. z points up.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

BALL, BOX, CYLINDER = 0, 1, 2
FAR = 1e9
AMBIENT = 0.35
Array = np.ndarray


@dataclass(frozen=True)
class Scene:
    """kind, yaw, there: (batch, primitives); centre, size (half extents), colour: (batch, primitives, 3).

    light: (batch, 3), towards the light; floor: (batch, 3), its colour; sky: (batch, 3).
    """

    kind: Array
    centre: Array
    size: Array
    yaw: Array
    colour: Array
    there: Array
    light: Array
    floor: Array
    sky: Array

    def __len__(self) -> int:
        return len(self.kind)

    def part(self, rows: slice) -> Scene:
        return Scene(*(getattr(self, name)[rows] for name in self.__dataclass_fields__))


@dataclass(frozen=True)
class Camera:
    """at, towards: (batch, 3); field: half the picture's width over its distance."""

    at: Array
    towards: Array
    field: float = 0.5


def rays(camera: Camera, side: int) -> tuple[Array, Array]:
    """Origins (batch, 1, 3) and unit directions (batch, side^2, 3), rows from the top."""
    ahead = _unit(camera.towards - camera.at)
    right = _unit(np.cross(ahead, np.array([0.0, 0.0, 1.0], ahead.dtype)))
    up = np.cross(right, ahead)
    across = ((np.arange(side) + 0.5) / side * 2 - 1).astype(ahead.dtype)
    v, u = np.meshgrid(-across, across, indexing="ij")
    way = ahead[:, None] + camera.field * (u.ravel()[:, None] * right[:, None] + v.ravel()[:, None] * up[:, None])
    return camera.at[:, None], _unit(way)


def picture(scene: Scene, camera: Camera, side: int, chunk: int = 8) -> Array:
    """What the camera sees: (batch, side, side, 3) in [0, 1]. One ray a pixel, in single precision: a chunk of scenes
    stays in the processor's cache."""
    parts = [slice(start, start + chunk) for start in range(0, len(scene), chunk)]
    single = Scene(*(_single(getattr(scene, name)) for name in Scene.__dataclass_fields__))
    at, towards = _single(camera.at), _single(camera.towards)
    return np.concatenate([_picture(single.part(p), Camera(at[p], towards[p], camera.field), side) for p in parts])


def _single(values: Array) -> Array:
    return values.astype(np.float32) if values.dtype == np.float64 else values


def _picture(scene: Scene, camera: Camera, side: int) -> Array:
    origin, way = rays(camera, side)
    origin = np.broadcast_to(origin, way.shape)
    distance, normal, colour = _nearest(scene, origin, way)
    hit = distance < FAR
    point = origin + way * np.where(hit, distance, 0)[..., None]
    light = np.broadcast_to(_unit(scene.light)[:, None], way.shape)
    shade = np.clip((normal * light).sum(-1), 0, None)
    blocked = _first(scene, point + 1e-3 * normal, light)[0].min(1) < FAR
    bright = AMBIENT + (1 - AMBIENT) * shade * ~blocked
    seen = np.where(hit[..., None], colour * bright[..., None], scene.sky[:, None])
    return seen.reshape(len(scene), side, side, 3)


def _nearest(scene: Scene, origin: Array, way: Array) -> tuple[Array, Array, Array]:
    """Distance (batch, rays), FAR where nothing is; normal and colour (batch, rays, 3) of the first thing hit."""
    distance, normals = _first(scene, origin, way)
    which = distance.argmin(1)  # (batch, rays)
    nearest = np.take_along_axis(distance, which[:, None], 1)[:, 0]
    normal = np.take_along_axis(normals, which[:, None, :, None], 1)[:, 0]
    colour = np.take_along_axis(scene.colour, which[..., None], 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        down = np.where(way[..., 2] < -1e-9, -origin[..., 2] / way[..., 2], FAR)
    floor = (down < nearest)[..., None]
    up = np.broadcast_to(np.array([0.0, 0.0, 1.0], normal.dtype), normal.shape)
    return (
        np.minimum(nearest, down), np.where(floor, up, normal), np.where(floor, scene.floor[:, None], colour)
    )  # fmt: skip


def _first(scene: Scene, origin: Array, way: Array) -> tuple[Array, Array]:
    """Where each primitive is first met: distance (batch, primitives, rays) and unit normal (..., 3)."""
    cos, sin = np.cos(scene.yaw)[..., None], np.sin(scene.yaw)[..., None]

    def inside(vector: Array) -> Array:
        """Into the primitive's own frame, where it is a unit one."""
        x, y, z = np.moveaxis(vector, -1, 0)
        return np.stack([cos * x + sin * y, cos * y - sin * x, np.broadcast_to(z, x.shape)], -1) / size

    size = scene.size[:, :, None]
    start, step = inside(origin[:, None] - scene.centre[:, :, None]), inside(way[:, None] + 0 * size)
    distance = np.full(start.shape[:-1], FAR, start.dtype)
    normal = np.zeros_like(start)
    with np.errstate(divide="ignore", invalid="ignore"):
        for kind, meet in ((BALL, _ball), (BOX, _box), (CYLINDER, _cylinder)):
            mine = (scene.kind == kind) & scene.there
            if mine.any():
                distance[mine], normal[mine] = meet(start[mine], step[mine])
    normal = normal / size
    x, y, z = np.moveaxis(normal, -1, 0)
    turned = np.stack([cos * x - sin * y, sin * x + cos * y, z], -1)
    return distance, _unit(turned)


def _ball(start: Array, step: Array) -> tuple[Array, Array]:
    a, b, c = (step**2).sum(-1), (start * step).sum(-1), (start**2).sum(-1) - 1
    t = (-b - np.sqrt(b * b - a * c)) / a
    t = np.where(t > 1e-6, t, FAR)  # also where it is not a number
    return t, start + step * t[..., None]


def _box(start: Array, step: Array) -> tuple[Array, Array]:
    one, other = (-1 - start) / step, (1 - start) / step
    near, far = np.minimum(one, other), np.maximum(one, other)
    t = near.max(-1)
    t = np.where((t > 1e-6) & (far.min(-1) >= t), t, FAR)
    face = np.eye(3, dtype=start.dtype)[near.argmax(-1)]
    return t, -np.sign(step) * face


def _cylinder(start: Array, step: Array) -> tuple[Array, Array]:
    flat = np.array([1.0, 1.0, 0.0], start.dtype)
    a, b, c = (step**2 @ flat), (start * step) @ flat, (start**2 @ flat) - 1
    side = (-b - np.sqrt(b * b - a * c)) / a
    high = start[..., 2] + step[..., 2] * side
    side = np.where((side > 1e-6) & (np.abs(high) <= 1), side, FAR)
    sign = -np.sign(step[..., 2])
    lid = (sign - start[..., 2]) / step[..., 2]
    across = start + step * lid[..., None]
    lid = np.where((lid > 1e-6) & (across**2 @ flat <= 1), lid, FAR)
    on_lid = (lid < side)[..., None]
    upright = sign[..., None] * np.array([0.0, 0.0, 1.0], start.dtype)
    round_ = (start + step * np.where(side < FAR, side, 0)[..., None]) * flat
    return np.minimum(side, lid), np.where(on_lid, upright, round_)


def _unit(vector: Array) -> Array:
    return vector / np.maximum(np.linalg.norm(vector, axis=-1, keepdims=True), 1e-12)
