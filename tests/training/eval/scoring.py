"""Small sets of targets and predictions whose figures can be worked out by hand."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.sample_id import SampleId
from training.data.records import camera_arrays
from training.eval.predictions import Predictions

POINTS = acupoints.COUNT


@dataclass(frozen=True)
class Truth:
    """The arrays of training.data's Targets."""

    xy: NDArray[np.float32]
    visible: NDArray[np.bool_]
    trusted: NDArray[np.bool_]
    depth_mm: NDArray[np.float32]
    frame: NDArray[np.int16]
    rotation: NDArray[np.float64]
    translation_mm: NDArray[np.float64]
    focal: NDArray[np.float64]


@dataclass(frozen=True)
class Picture:
    """What an evaluation asks of training.data's Record."""

    id: SampleId
    person: str
    variant: str = ""
    bald: bool = False


def truth(visible: NDArray[np.bool_], frames: Sequence[int] | None = None, depth_mm: float = 870.0) -> Truth:
    """Targets in which visible points lie anywhere but at the edge, all at one depth."""
    count = len(visible)
    frame = np.array(frames if frames is not None else [1] * count, np.int16)
    xy = np.random.default_rng(count).uniform(0.2, 0.8, (count, POINTS, 2))
    return Truth(
        np.where(visible[..., None], xy, 0).astype(np.float32),
        visible,
        np.ones_like(visible),
        np.full(visible.shape, depth_mm, np.float32),
        frame,
        *camera_arrays([rig.camera(int(number)) for number in frame]),
    )


def some_truth(count: int = 12, seed: int = 0) -> Truth:
    """A third of all points visible, cameras 1, 2, 3, …"""
    visible = np.random.default_rng(seed).random((count, POINTS)) < 1 / 3
    return truth(visible, [1 + k % 144 for k in range(count)])


def perfect(targets: Truth) -> Predictions:
    """What is true, with certainty."""
    return Predictions(targets.visible.astype(np.float32), targets.xy.copy())


def noisy(targets: Truth, seed: int = 0, shift: float = 0.01) -> Predictions:
    """Right more often than not, points moved a little."""
    random = np.random.default_rng(seed)
    chance = np.where(targets.visible, 0.7, 0.3) + random.normal(0, 0.15, targets.visible.shape)
    xy = targets.xy + random.normal(0, shift, targets.xy.shape)
    return Predictions(chance.clip(0, 1).astype(np.float32), xy.astype(np.float32))


def pictures(targets: Truth, persons: Sequence[str]) -> list[Picture]:
    """Records of those pictures, every second person a bald woman, every third picture augmented."""
    kinds = sorted(set(persons))
    out = []
    for k, (person, frame) in enumerate(zip(persons, targets.frame.tolist(), strict=True)):
        bald = kinds.index(person) % 2 == 1
        sample = SampleId("F" if bald else "M", person, "N", "HB" if bald else "HA", None, frame)
        out.append(Picture(sample, person, "v01" if k % 3 == 0 else "", bald))
    return out
