"""Images with a known displacement: what the certificate measures on them.

Each pair of an original and its relit image gives trials: images in which nothing moved (as it is, and under strong
changes of appearance), local warps around a visible acupoint, shifts of the whole image, and the image of another
person.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.certificate import Judge
from evaluation.deciding import Figures
from evaluation.edits import strongly_edited
from evaluation.matching import bounds
from evaluation.reference import Reference
from evaluation.warps import random_warp, shifted

SIZES_PX = (1.0, 2.0, 3.0, 5.0, 8.0, 9.25)
"""9.25 px are 5 mm at 512."""
LADDER = (4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0)
"""Candidates for the threshold ``excluded``."""

Look = Literal["relit", "strong"]
Kind = Literal["nothing", "warp", "shift", "stranger"]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One image with a known displacement and what was measured on it."""

    person: str
    frame: int
    look: Look
    """strong: two strong changes of appearance on top of the relit image."""
    kind: Kind
    size_px: float
    figures: Figures
    moved_px: NDArray[np.float32]
    """[V] how far each visible acupoint was moved."""
    bounds_px: NDArray[np.float32]
    """[len(LADDER), V] bound on its displacement by each candidate of ``excluded``."""
    still_px: NDArray[np.float32]
    """[len(LADDER), V] the bounds in the relit image without any displacement."""
    mm_per_px: NDArray[np.float32]
    """[V]"""


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """An image and how its points were moved."""

    pixels: NDArray[np.uint8]
    look: Look
    kind: Kind
    size_px: float
    moved_px: NDArray[Any]
    """[V, 2]"""


def trials_of(
    reference: Reference,
    augmented: NDArray[np.uint8],
    stranger: NDArray[np.uint8] | None,
    judge: Judge,
    person: str,
    frame: int,
    random: np.random.Generator,
) -> Iterator[Trial]:
    """The trials of one pair at work size 512.

    Args:
        reference: the original.
        augmented: [H, W, 3] the relit image.
        stranger: [H, W, 3] another person's relit image in the same view, None if there is none.
        judge: measures.
        person: identity of the pair.
        frame: camera.
        random: draws warps, shifts and edits.
    """
    points = reference.points[: len(reference.rows)]
    still_px: NDArray[np.float32] | None = None
    for change in _changes(points, augmented, stranger, random):
        pixels = strongly_edited(change.pixels, random)[0] if change.look == "strong" else change.pixels
        found = judge.measure(reference, pixels)
        local = found.match.local[: len(points)]
        bounds_px = np.array([bounds(local, excluded) for excluded in LADDER], np.float32)
        still_px = bounds_px if still_px is None else still_px
        yield Trial(
            person=person,
            frame=frame,
            look=change.look,
            kind=change.kind,
            size_px=change.size_px,
            figures=found.figures,
            moved_px=np.linalg.norm(change.moved_px, axis=1).astype(np.float32),
            bounds_px=bounds_px,
            still_px=still_px,
            mm_per_px=reference.mm_per_px,
        )


def _changes(
    points: NDArray[np.float64],
    augmented: NDArray[np.uint8],
    stranger: NDArray[np.uint8] | None,
    random: np.random.Generator,
) -> Iterator[_Change]:
    """The images of the trials; the first one is the augmented image as it is."""
    still = np.zeros_like(points)
    yield _Change(augmented, "relit", "nothing", 0.0, still)
    for _ in range(2):
        yield _Change(augmented, "strong", "nothing", 0.0, still)
    if stranger is not None and stranger.shape == augmented.shape:
        yield _Change(stranger, "relit", "stranger", 0.0, still)
    looks: tuple[Look, ...] = ("relit", "strong")
    for look in looks:
        for size in SIZES_PX:
            if len(points):
                warp = random_warp(points, size, random)
                yield _Change(warp.apply(augmented), look, "warp", size, warp.displacement(points))
            angle = random.uniform(0, 2 * np.pi)
            step = size * np.array([np.cos(angle), np.sin(angle)])
            yield _Change(shifted(augmented, *step), look, "shift", size, np.tile(step, (len(points), 1)))
