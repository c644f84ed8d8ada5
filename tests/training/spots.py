"""Hands that a tiny network can learn: grey pictures with a spot of its own colour at each point, and such networks."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from tests.training.labelme_files import PLACES, document
from training.models.hand_base import HandModel

SIZE = 32
COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (255, 0, 255), (0, 255, 255), (255, 255, 255)]
SETTINGS = (
    f"data.size={SIZE}",
    "loss.sigma_px=2",
    "train.batch_size=2",
    "train.epochs=2",
    "train.lr=0.01",
    "augment.siblings=false",
)
PEOPLE = tuple(f"S000{person}_L_back_000{shot}" for person in range(5) for shot in range(2))


def add_hand(
    folder: Path, stem: str, seed: int, labels: tuple[str, ...] = tuple(PLACES), tint: tuple[int, int, int] = (0, 0, 0)
) -> np.ndarray:
    """Writes a picture of 40 x 50 and its label; returns the places of its points, [P, 2] pixels."""
    rng = np.random.default_rng(seed)
    picture = np.full((50, 40, 3), rng.integers(60, 120), np.uint8) + np.array(tint, np.uint8)
    places = {}
    # One point in each of 12 fields, so that no spot lies on another.
    for field, (label, colour) in zip(rng.permutation(12), zip(PLACES, COLOURS, strict=True), strict=False):
        x, y = 6 + 10 * (field % 4) - 1, 7 + 16 * (field // 4) + int(rng.integers(0, 4))
        picture[y - 2 : y + 3, x - 2 : x + 3] = colour
        places[label] = (x + 0.5, y + 0.5)
    folder.mkdir(parents=True, exist_ok=True)
    Image.fromarray(picture).save(folder / f"{stem}.png")
    there = {label: place for label, place in places.items() if label in labels}
    (folder / f"{stem}.json").write_text(json.dumps(document(f"{stem}.png", there)))
    return np.array(list(places.values()))


class SpotNet(HandModel):
    """Heatmaps by two convolutions."""

    OUTPUT = "heatmaps"

    def __init__(self, points: int):
        super().__init__()
        self.feature_dim = 3
        self.layers = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, points, 5, padding=2))

    def points_and_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layers(x), x.mean((2, 3))


class FlatNet(HandModel):
    """Coordinates by one layer."""

    OUTPUT = "coordinates"

    def __init__(self, points: int):
        super().__init__()
        self.feature_dim = 3
        self.layer = nn.Linear(3 * SIZE * SIZE, 2 * points)

    def points_and_features(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self.layer(x.flatten(1)).unflatten(1, (-1, 2)), x.mean((2, 3))


@contextmanager
def tiny_networks() -> Iterator[None]:
    """Stand-ins in the place of the four networks."""

    def create(name: str, points: int, **_: float) -> HandModel:
        return FlatNet(points) if name in ("resnet50", "vgg16") else SpotNet(points)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("training.models.hand.create", create)
        yield
