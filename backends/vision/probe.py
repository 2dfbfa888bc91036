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


@dataclass(frozen=True)
class Probed:
    """Accuracies in [0, 1] of the chosen penalty; correct: of each test picture."""

    penalty: float
    validation: float
    test: float
    correct: np.ndarray


def as_input(images: np.ndarray, device: torch.device | str = "cpu") -> torch.Tensor:
    """(n, side, side, 3) uint8 -> (n, 3, side, side) in [-1, 1], as the bundled transformer was pretrained."""
    return torch.from_numpy(images).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1


@torch.no_grad()
def features(model: torch.nn.Module, images: np.ndarray, batch: int = 200) -> np.ndarray:
    """Class token beside the mean of the patches, after the last normalisation: (n, 2 * width) float32."""
    device = next(model.parameters()).device
    found = []
    for start in range(0, len(images), batch):
        hidden = model.vit(pixel_values=as_input(images[start : start + batch], device)).last_hidden_state
        found.append(torch.cat([hidden[:, 0], hidden[:, 1:].mean(1)], 1).float().cpu().numpy())
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
