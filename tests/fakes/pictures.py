"""Small pictures, and archives and folders of them, honest or not."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from backends.vision.tasks import Split, TaskData


def encoded(picture: Image.Image, form: str = "PNG", **more: object) -> bytes:
    written = io.BytesIO()
    picture.save(written, form, **more)
    return written.getvalue()


def noise(seed: int, height: int = 10, width: int = 10) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    return encoded(Image.fromarray(pixels), compress_level=1)


def some(*classes: str, count: int = 5, folder: str = "") -> dict[str, bytes]:
    """`count` different pictures of each class, others in another folder."""
    names = [f"{folder}{name}/{i}.png" for name in classes for i in range(count)]
    return {name: noise(zlib.crc32(name.encode())) for name in names}


def zipped(path: Path, contents: Mapping[str, bytes], extra: Mapping[str, dict] | None = None, **more: object) -> Path:
    """extra: attributes that an entry's record in the table of contents is given, true or not."""
    with zipfile.ZipFile(path, "w", **more) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
        for name, attributes in (extra or {}).items():
            info = archive.getinfo(name)
            for attribute, value in attributes.items():
                setattr(info, attribute, value)
    return path


def unpacked(root: Path, contents: Mapping[str, bytes]) -> Path:
    for name, content in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def corners_task() -> TaskData:
    """A bright corner of a noisy picture of 12 pixels; the label is which of three."""

    def corners(count: int, seed: int) -> Split:
        rng = np.random.default_rng(seed)
        images, labels = rng.integers(0, 60, (count, 12, 12, 3)).astype(np.uint8), rng.integers(3, size=count)
        for image, label in zip(images, labels, strict=True):
            y, x = ((0, 0), (0, 6), (6, 0))[label]
            image[y : y + 6, x : x + 6] += 150
        return Split(images, labels)

    return TaskData("corners", ("a", "b", "c"), corners(96, 0), corners(48, 1), corners(50, 2))
