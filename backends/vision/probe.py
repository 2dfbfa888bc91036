"""What a frozen network already knows: logistic regression on its features, chosen on validation pictures.

    probe(features_of(model), load_task("count", 48)).test

The opponents that a probe has to beat are the same network at random initialisation, and pixels.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from backends.vision.tasks import TaskData, resized

PENALTIES = (0.001, 0.01, 0.1, 1.0)  # C of scikit-learn
PIXELS = 16  # side of the picture that the pixel baseline sees
Features = Callable[[np.ndarray], np.ndarray]
Colour = tuple[float, float, float]
HALF: Colour = (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Probed:
    """Accuracies in [0, 1] of the chosen penalty; correct: of each test picture."""

    penalty: float
    validation: float
    test: float
    correct: np.ndarray


def as_input(
    images: np.ndarray | torch.Tensor, device: torch.device | str = "cpu", mean: Colour = HALF, std: Colour = HALF
) -> torch.Tensor:
    """(n, side, side, 3) uint8 -> (n, 3, side, side), (x / 255 - mean) / std: in [-1, 1] unless told otherwise, as the
    bundled transformer was pretrained."""
    centre, spread = (torch.tensor(colour, device=device).view(3, 1, 1) for colour in (mean, std))
    return torch.as_tensor(images).to(device).permute(0, 3, 1, 2).float() / (255 * spread) - centre / spread


def input_of(model: torch.nn.Module, images: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The same as a model expects it, on its device: `load` leaves mean and deviation in the config, and copies of a
    model keep them."""
    config = getattr(model, "config", None)
    mean, std = (getattr(config, name, HALF) for name in ("image_mean", "image_std"))
    return as_input(images, next(model.parameters()).device, mean, std)


def portions(images: np.ndarray, batch: int = 200) -> list[slice]:
    """Rows that are seen at once: `batch` of the bundled model's pictures, or as many larger ones as take no more."""
    rows = max(1, batch * 48**2 // max(48, images.shape[1]) ** 2)
    return [slice(start, start + rows) for start in range(0, len(images), rows)]


@torch.no_grad()
def features(model: torch.nn.Module, images: np.ndarray, batch: int = 200) -> np.ndarray:
    """After the last normalisation, float32. ViT and DeiT: class token beside the mean of the patches, (n, 2 * width);
    Swin, which has no class token: the mean, (n, width)."""
    special = {"vit": 1, "deit": 2}.get(model.config.model_type, 0)  # DeiT's second one is for its distillation
    found = []
    for rows in portions(images, batch):
        hidden = model.base_model(pixel_values=input_of(model, images[rows])).last_hidden_state
        patches = hidden[:, special:].mean(1)
        found.append((torch.cat([hidden[:, 0], patches], 1) if special else patches).float().cpu().numpy())
    return np.concatenate(found)


def features_of(model: torch.nn.Module) -> Features:
    return lambda images: features(model, images)


def pixels(images: np.ndarray) -> np.ndarray:
    """The pictures themselves at 16 x 16: (n, 768) in [0, 1]."""
    return resized(images, PIXELS).reshape(len(images), -1).astype(np.float32) / 255


def probe(of: Features, task: TaskData) -> Probed:
    """Standardised features, one penalty of four chosen on the validation pictures, refitted on nothing else."""
    train, validation, test = (of(split.images) for split in (task.train, task.validation, task.test))
    best: tuple[float, float, object] | None = None
    for penalty in PENALTIES:
        machine = make_pipeline(StandardScaler(), LogisticRegression(C=penalty, max_iter=1000))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # a thousand steps are enough to choose by
            machine.fit(train, task.train.labels)
        score = float(machine.score(validation, task.validation.labels))
        if best is None or score > best[0]:
            best = (score, penalty, machine)
    score, penalty, machine = best
    correct = machine.predict(test) == task.test.labels
    return Probed(penalty, score, float(correct.mean()), correct)
