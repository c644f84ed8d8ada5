"""Whose hand it is: size, proportions, skin; drawn from a seed and a number alone.

Bone lengths are the means of 66 adults by Buryanov & Kotiuk, "Proportions of Hand Segments", Int. J. Morphol. 28(3),
755-758, 2010, https://doi.org/10.4067/S0717-95022010000300015, used as ratios: a subject scales them all, and each
finger a little on its own. What the paper does not have (thickness of the fingers, place of the carpal ends of the
metacarpals) was set by eye so that length and breadth of the hand come to some 187 and 83 mm.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from synthetic.identity import random_for

FINGERS = ("thumb", "index", "middle", "ring", "little")
POINTS = 7

METACARPAL_MM = (46.2, 68.1, 64.6, 58.0, 53.7)
PHALANGES_MM = ((31.6, 0.0, 21.7), (39.8, 22.4, 15.8), (44.6, 26.3, 17.4), (41.4, 25.7, 17.3), (32.7, 18.1, 16.0))
"""Proximal, middle, distal; the thumb has no middle one."""
PULP_MM = (5.7, 3.8, 4.0, 4.0, 3.7)
"""Soft tissue beyond the end of the distal phalanx (same source)."""

_GOLDEN = 0.6180339887498949
_SLEEVES = ((0.01, 0.01, 0.012), (0.05, 0.055, 0.07), (0.012, 0.02, 0.06), (0.7, 0.7, 0.68), (0.02, 0.05, 0.03))
_OFFSETS_MM = np.array([0.3, 1.0, 0.3, 1.0, 1.0, 1.0, 1.0])[:, None]
"""Standard deviation of each point's place; beside a nail there is less room than on the back of the hand."""


@dataclass(frozen=True)
class HandSubject:
    """Everything about a hand that stays from picture to picture."""

    index: int
    """Number in the data set, from 0."""
    scale: float
    """Of all lengths; 1 is the mean of the source."""
    breadth: float
    """Of the palm's breadth, relative to its length."""
    fullness: float
    """Of the thickness of fingers and palm, relative to their length."""
    fingers: tuple[float, ...]
    """[5] of each finger's length, relative to the hand's."""
    tone: float
    """Skin, 0 lightest to 1 darkest."""
    age: float
    """0 smooth to 1: deep creases, tendons and veins that stand out."""
    redness: float
    """Of knuckles and fingertips, 0..1."""
    nail_length: float
    """0 short to 1 long."""
    polish: tuple[float, float, float] | None
    """Linear RGB of nail polish; None for none."""
    sleeve: tuple[float, float, float] | None
    """Linear RGB of a cuff; None for a bare forearm."""
    cuff_mm: float
    """Where the cuff begins, from the wrist crease towards the elbow."""
    offsets: tuple[tuple[float, float], ...]
    """[7, 2] mm: how far this person's points are from the mean place, along the hand and across it."""

    def describe(self) -> dict[str, Any]:
        """The parameters as plain values, for provenance."""
        return asdict(self)


def hand_subject(seed: int, index: int) -> HandSubject:
    """The index-th person of a seed. Skin tones spread evenly; the points differ by 1 mm (standard deviation)."""
    rng = random_for("hand", seed, index)

    def near(middle: float, spread: float) -> float:
        return round(float(middle + spread * np.clip(rng.standard_normal(), -2, 2)), 4)

    polished, sleeved = rng.uniform() < 0.12, rng.uniform() < 0.45
    colours = rng.uniform(0, 1, 3)
    offsets = np.clip(rng.standard_normal((POINTS, 2)), -2, 2) * _OFFSETS_MM
    return HandSubject(
        index=index,
        scale=near(0.99, 0.05),
        breadth=near(1.0, 0.035),
        fullness=near(1.0, 0.06),
        fingers=tuple(near(1.0, 0.02) for _ in FINGERS),
        tone=round((0.05 + index * _GOLDEN) % 1.0, 6),
        age=round(float(rng.uniform(0, 1)), 4),
        redness=round(float(rng.uniform(0, 1)), 4),
        nail_length=round(float(rng.uniform(0, 1)), 4),
        polish=_rounded(0.02 + 0.5 * colours**2) if polished else None,
        sleeve=_SLEEVES[int(rng.integers(len(_SLEEVES)))] if sleeved else None,
        cuff_mm=round(float(rng.uniform(25, 110)), 2),
        offsets=tuple((round(float(along), 3), round(float(across), 3)) for along, across in offsets),
    )


def _rounded(colour: NDArray[np.float64]) -> tuple[float, float, float]:
    red, green, blue = (round(float(value), 4) for value in colour)
    return red, green, blue
