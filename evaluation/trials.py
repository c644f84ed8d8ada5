"""Images with a known displacement: what the certificate measures on them.

Each pair of an original and its relit image gives trials: images in which nothing moved (as it is, under strong changes
of appearance, and after each harmless edit), local warps around a visible acupoint, shifts of the whole image, the
image of another person, and one attack for each way to finish it (evaluation.attacks).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.attacks import harmless, sampled
from evaluation.certificate import Judge
from evaluation.deciding import Figures
from evaluation.edits import strongly_edited
from evaluation.matching import bounds
from evaluation.reference import Reference
from evaluation.subjects import Pixels, Subject
from evaluation.warps import random_warp, shifted

SIZES_PX = (1.0, 2.0, 3.0, 5.0, 8.0, 9.25)
"""9.25 px are 5 mm at 512."""
LADDER = (4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0)
"""Candidates for the threshold ``excluded``."""

Kind = Literal["nothing", "warp", "shift", "stranger", "attack"]


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One image with a known displacement and what was measured on it."""

    person: str
    frame: int
    look: str
    """relit; strong: two strong changes of appearance on top of the relit image; or the harmless edit or carrier."""
    kind: Kind
    size_px: float
    figures: Figures
    moved_px: NDArray[np.float32]
    """[V] how far each visible acupoint was moved; infinite where what was there is gone, NaN where nobody knows."""
    bounds_px: NDArray[np.float32]
    """[len(LADDER), V] bound on its displacement by each candidate of ``excluded``."""
    still_px: NDArray[np.float32]
    """[len(LADDER), V] the bounds in the relit image without any displacement."""
    mm_per_px: NDArray[np.float32]
    """[V]"""


@dataclass(frozen=True, slots=True, eq=False)
class _Change:
    """An image and how its points were moved."""

    pixels: Pixels
    look: str
    kind: Kind
    size_px: float
    moved_px: NDArray[Any]
    """[V] of each visible acupoint."""
    original: Pixels | None = None
    """Another original than the pair's."""


def trials_of(subject: Subject, judge: Judge, random: np.random.Generator) -> Iterator[Trial]:
    """The trials of one pair.

    Args:
        subject: original and relit image at work size.
        judge: measures.
        random: draws warps, shifts, edits and attacks.
    """
    own = subject.reference()
    still_px: NDArray[np.float32] | None = None
    for change in _changes(subject, own, random):
        reference = own if change.original is None else subject.reference(change.original)
        found = judge.measure(reference, change.pixels)
        local = found.match.local[: len(reference.rows)]
        bounds_px = np.array([bounds(local, excluded) for excluded in LADDER], np.float32)
        still_px = bounds_px if still_px is None else still_px
        yield Trial(
            person=subject.pair.id.person,
            frame=subject.pair.id.frame,
            look=change.look,
            kind=change.kind,
            size_px=change.size_px,
            figures=found.figures,
            moved_px=change.moved_px.astype(np.float32),
            bounds_px=bounds_px,
            still_px=still_px,
            mm_per_px=reference.mm_per_px,
        )


def _changes(subject: Subject, own: Reference, random: np.random.Generator) -> Iterator[_Change]:
    """The images of the trials; the first one is the augmented image as it is."""
    points = own.points[: len(own.rows)]
    augmented, still = subject.augmented, np.zeros(len(points))

    def strong(pixels: Pixels) -> Pixels:
        return strongly_edited(pixels, random)[0]

    yield _Change(augmented, "relit", "nothing", 0.0, still)
    for _ in range(2):
        yield _Change(strong(augmented), "strong", "nothing", 0.0, still)
    if subject.stranger is not None:
        yield _Change(subject.stranger[0], "relit", "stranger", 0.0, still)
    for look in ("relit", "strong"):
        for size in SIZES_PX:
            if len(points):
                warp = random_warp(points, size, random)
                warped = warp.apply(augmented)
                moved = np.linalg.norm(warp.displacement(points), axis=1)
                yield _Change(warped if look == "relit" else strong(warped), look, "warp", size, moved)
            angle = random.uniform(0, 2 * np.pi)
            there = shifted(augmented, size * np.cos(angle), size * np.sin(angle))
            yield _Change(there if look == "relit" else strong(there), look, "shift", size, np.full(len(points), size))
    if len(points):
        for edit in harmless(subject, random):
            if edit.pixels is not augmented:
                yield _Change(edit.pixels, edit.carrier, "nothing", 0.0, still)
        for attack in sampled(subject, random):
            other = None if attack.original is subject.original else attack.original
            yield _Change(attack.pixels, attack.carrier, "attack", 0.0, attack.moved_px[own.rows], other)
