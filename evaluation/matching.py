"""Where a point of the original is in the augmented image, and which displacements the images rule out.

Around each point a patch of the original's structure is compared with the augmented one at every shift up to REACH.
With correlation r at a shift, ``-n/2 log(1 - r²)`` is the log-likelihood of that shift for n independent pixels
and an unknown contrast; noise of the two images enters r's denominator, so patches without structure of their
own contribute nothing. Likelihoods of several patches add up:

- *found*: did anything move? Five small patches around the point and a wide one are used. The strength is the
  likelihood of the best shift over that of staying within ``allowed_px``.
- *excluded*: what cannot have happened at this very point? Only patches centred on it are used. The largest shift
  whose likelihood is near the best one bounds the displacement; along an edge, or on bare skin, that is far out.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from evaluation.patches import Padded, correlated
from evaluation.structure import Floats, Maps

REACH = 12
"""Largest shift examined, in pixels along each axis."""
_SIDE = 2 * REACH + 1
RESOLUTION = 1.0
"""Added to every bound: shifts are examined in steps of one pixel."""
GLOBAL_REACH = 64
"""Largest shift of the whole image examined."""
PATCHES = 8 * np.array([(0, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)])
"""Offsets of the small patches around a point, pixels."""
SMALL, CENTRE = 5, 7
"""Half sides of patches of the fine map: 11 and 15 pixels wide."""
NEAR, WIDE = 5, 7
"""Half sides of patches of the medium map, in its pixels: 22 and 30 pixels of the image wide."""
SMALL_WEIGHT, CENTRE_WEIGHT, NEAR_WEIGHT, WIDE_WEIGHT = 12.5, 25.0, 12.5, 7.5
"""Half the number of independent pixels that each patch counts for."""
LEAST_NOISE = 0.1
"""Noise of a squeezed map, at least."""
_TINY = np.float32(1e-6)
_LARGEST_SHARE = np.float32(0.95)
_SHIFTS = np.stack(np.meshgrid(np.arange(-REACH, REACH + 1), np.arange(-REACH, REACH + 1)), axis=-1).reshape(-1, 2)
_LENGTHS = np.hypot(_SHIFTS[:, 0], _SHIFTS[:, 1]).astype(np.float32)
_AT_EDGE = (np.abs(_SHIFTS) == REACH).any(1)
_HALF_REACH = REACH // 2 + 1


def _doubling() -> Floats:
    """[_SIDE, 2 _HALF_REACH + 1] linear interpolation of shifts in steps of two pixels to steps of one."""
    out = np.zeros((_SIDE, 2 * _HALF_REACH + 1), np.float32)
    for row, shift in enumerate(range(-REACH, REACH + 1)):
        place = (shift + 2 * _HALF_REACH) / 2
        out[row, int(place)] += 1 - place % 1
        if place % 1:
            out[row, int(place) + 1] += place % 1
    return out


_DOUBLING = _doubling()


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """Result of matching N points."""

    displacement_px: Floats
    """[N, 2] the likeliest displacement."""
    strength: Floats
    """[N] log-likelihood ratio of the best shift against staying within the allowed distance; 0: stays."""
    local: Floats
    """[N, S²] log-likelihood of each shift by the patches on the point itself, for ``bounds``."""


def match(one: Maps, other: Maps, points: NDArray[np.floating], allowed_px: float) -> Match:
    """Matches points of the original in the augmented image.

    Args:
        one: squeezed maps of the original.
        other: squeezed maps of the augmented image.
        points: [N, 2] in pixels from the left and top edge, inside the image.
        allowed_px: shifts up to this length count as staying.
    """
    count = len(points)
    if not count:
        return Match(np.zeros((0, 2), np.float32), np.zeros(0, np.float32), np.zeros((0, _SIDE**2), np.float32))
    size = np.array(one.fine.shape[::-1])
    centres = np.clip(np.floor(points).astype(np.intp), 0, size - 1)
    patches = np.clip((centres[:, None] + PATCHES).reshape(-1, 2), 0, size - 1)
    halves = np.minimum(centres // 2, np.array(one.medium.shape[::-1]) - 1)
    fine = Padded(one.fine, CENTRE + REACH), Padded(other.fine, CENTRE + REACH)
    medium = Padded(one.medium, WIDE + _HALF_REACH), Padded(other.medium, WIDE + _HALF_REACH)
    small = _unlike(*fine, patches, SMALL, REACH).reshape(count, len(PATCHES), -1).prod(1)
    centre = np.log(_unlike(*fine, centres, CENTRE, REACH)).reshape(count, -1)
    near, wide = (_of_half(*medium, halves, radius) for radius in (NEAR, WIDE))
    moved = -SMALL_WEIGHT * np.log(small) - WIDE_WEIGHT * wide
    local = -CENTRE_WEIGHT * centre - NEAR_WEIGHT * near
    stays = moved[:, allowed_px >= _LENGTHS].max(1)
    # A likelihood that still rises at the edge of the examined shifts has shown no peak.
    moved = np.where(_AT_EDGE, moved.min(1)[:, None], moved)
    return Match(_peaks(moved), np.maximum(moved.max(1) - stays, 0), local)


def bounds(local: Floats, excluded: float) -> Floats:
    """The largest displacement that remains possible at each point.

    Args:
        local: [N, S²] of Match.
        excluded: shifts whose log-likelihood is this much below the best one are excluded.

    Returns:
        [N] pixels; inf where even the largest examined shifts are possible.
    """
    if not len(local):
        return np.zeros(0, np.float32)
    possible = local >= local.max(1)[:, None] - np.float32(excluded)
    out = np.where(possible, _LENGTHS, 0).max(1) + np.float32(RESOLUTION)
    out[(possible & _AT_EDGE).any(1)] = np.inf
    return out.astype(np.float32)


def global_shift(one: Maps, other: Maps) -> tuple[tuple[float, float], float]:
    """How the image as a whole was shifted, by its coarse structure.

    Args:
        one: squeezed maps of the original.
        other: squeezed maps of the augmented image.

    Returns:
        (dx, dy) in pixels, in steps of 4, and how much larger the correlation is there than for no shift.
    """
    height, width = one.coarse.shape
    reach = min(GLOBAL_REACH // 4, height // 4, width // 4)
    template = one.coarse[reach : height - reach, reach : width - reach]
    if reach < 1 or not template.any() or not other.coarse.any():
        return (0.0, 0.0), 0.0
    alike = cv2.matchTemplate(other.coarse, template, cv2.TM_CCORR_NORMED)
    _, best, _, place = cv2.minMaxLoc(alike)
    return (4.0 * (place[0] - reach), 4.0 * (place[1] - reach)), float(best - alike[reach, reach])


def _of_half(one: Padded, other: Padded, centres: NDArray[np.intp], radius: int) -> Floats:
    """[N, _SIDE²] log of ``1 - r²`` on the medium map, at steps of one pixel of the image."""
    log = np.log(_unlike(one, other, centres, radius, _HALF_REACH))
    return np.asarray(_DOUBLING @ log @ _DOUBLING.T, np.float32).reshape(len(centres), -1)


def _unlike(one: Padded, other: Padded, centres: NDArray[np.intp], radius: int, reach: int) -> Floats:
    """[N, S, S] ``1 - r²`` at each shift; 1 where the correlation r is not positive.

    Args:
        one: map whose patches are searched.
        other: map in which they are searched.
        centres: [N, 2] x, y of the patches.
        radius: half side of the patches.
        reach: largest shift.
    """
    area = np.float32((2 * radius + 1) ** 2)
    patches = one.squares(centres, radius)
    product = np.ascontiguousarray(correlated(patches, other.squares(centres, radius + reach)))
    here = np.einsum("nij,nij->n", patches, patches)[:, None, None] / area + _TINY
    there = other.energies(centres, radius, reach) + _TINY
    np.maximum(product, 0, out=product)
    product *= 1 / area
    product *= product
    noise = _noise(product / (here * there), there)
    product /= (here + noise) * (there + noise)
    np.minimum(product, _LARGEST_SHARE, out=product)
    return np.subtract(np.float32(1), product, out=product)


def _noise(alike: Floats, energy: Floats) -> np.float32:
    """Energy at each patch's best shift that the original does not explain: the median over the patches."""
    count = len(alike)
    flat = alike.reshape(count, -1)
    best = flat.argmax(1)
    rows = np.arange(count)
    left = energy.reshape(count, -1)[rows, best] * (1 - np.minimum(flat[rows, best], 1))
    return np.float32(max(float(np.median(left)), LEAST_NOISE**2))


def _peaks(likelihood: Floats) -> Floats:
    """[N, 2] where the surfaces [N, _SIDE²] are highest, refined by a parabola along each axis."""
    count = len(likelihood)
    best = likelihood.argmax(1)
    rows = np.arange(count)
    padded = np.pad(likelihood.reshape(count, _SIDE, _SIDE), ((0, 0), (1, 1), (1, 1)), mode="edge")
    y, x = best // _SIDE + 1, best % _SIDE + 1
    middle = padded[rows, y, x]
    out = _SHIFTS[best].astype(np.float32)
    for axis, (before, after) in enumerate(
        ((padded[rows, y, x - 1], padded[rows, y, x + 1]), (padded[rows, y - 1, x], padded[rows, y + 1, x]))
    ):
        bend = before - 2 * middle + after
        step = np.divide(0.5 * (before - after), bend, out=np.zeros(count, np.float32), where=bend < -1e-6)
        out[:, axis] += np.clip(step, -0.5, 0.5)
    return out
