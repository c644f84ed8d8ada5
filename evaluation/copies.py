"""A second witness: whether coarser structure agrees with the fine texture, and whether a second copy shines through.

The original's fine texture may be put back over features that moved, or be a grain that both images have. So a point is
trusted by two witnesses only. The second one:

- *agreement*: structure of 5 to 40 pixels around the point is where it was, and not farther away;
- *likeness*: the same structure is there with its strength, and little else. Agreement alone is had by what remains of
  it under a cover, or in a blend;
- *contrast*: so is that of lids and creases, blurred by up to BLUR. In a blend with 20 % of another image 80 % of it is
  left, while what the other shows may be too faint to be seen;
- *doubt*: what the original does not explain at a place resembles the original elsewhere. At corners of the augmented
  image a patch is fitted by the original's at the same place, as it is and blurred; the rest is compared with the
  original at every shift. In an image in which nothing moved the rest is light and noise, which resemble nothing.
  In a blend of two images, of however little contrast, it is the displaced copy.

Surfaces of evidence over the shifts are added up over neighbours, since neighbours move alike and chance does not.
"""

from dataclasses import dataclass
from typing import Any, Self

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter

from evaluation.patches import Padded, correlated, evidence
from evaluation.structure import DARK, Floats, Inside, Maps, squeeze

Doubles = NDArray[np.float64]

REACH = 12
"""Largest shift examined along each axis, in steps of two pixels of an image 512 wide."""
STAYS, FAR, COPY = 4.1, 8.0, 6.0
"""Shifts up to STAYS count as resting, from FAR on as moved, from COPY on as a second copy; pixels."""
CORNERS, APART = 80, 4
"""Corners examined, at most, and their least distance in steps of two pixels."""
NEIGHBOURHOOD = 22.0
"""Standard deviation of the weights of corners around a point, pixels."""
BLUR = 1.5
"""Blur of the second patch that explains an image which is less sharp, or sharper; pixels."""
LIKENESS = 16.0
"""Standard deviation of the weights of what is compared around a point, pixels."""
AROUND = 45.0
"""A point whose neighbours within so many pixels have moved is in doubt itself."""
NO_CORNER = 0.5
"""Weight of no evidence at all, in which a lonely corner counts less."""
REST = 0.08
"""What is left of a patch counts little below this share of what was explained."""
MEDIUM_RADIUS, BAND_RADIUS = 8, 12
"""Half sides of patches, in steps of two pixels."""
MEDIUM_KNEE, BAND_KNEE = 0.004, 0.05
"""Logarithms of brightness below which a value counts little."""
_LEAST, _LEAST_BAND = 1e-3, 1e-2
"""Mean square of a squeezed map's noise, at least."""
_LEAST_SHOWN = 1e-6
"""The same of the band as it is."""
_LEAST_MEDIUM = 1e-7
"""The same of the medium map as it is."""
_LEAST_LEVEL = 8
"""Where the light is of fewer levels, their contrast is that of rounding."""
_AXIS = 2 * np.arange(-REACH, REACH + 1)
_LENGTHS = np.hypot(*np.meshgrid(_AXIS, _AXIS)).ravel()


@dataclass(frozen=True, slots=True, eq=False)
class Second:
    """What the second witness says of an image."""

    medium: Floats
    """[P] evidence that lids and creases around each point rest, less that they moved."""
    band: Floats
    """[P] the same by structure of 5 to 40 pixels."""
    against: Floats
    """[P] the most that the band says against rest at any point within AROUND pixels."""
    kept: Floats
    """[P] share of the original's structure of 5 to 40 pixels that is there, by least squares: 1 for an equal image."""
    alike: Floats
    """[P] correlation of both images' structure of 5 to 40 pixels."""
    contrast: Floats
    """[P] what is left of the contrast of lids and creases: 1 for an equal image, and for one blurred by up to BLUR.
    In levels or relative to them, whichever is more."""
    doubt: Floats
    """[P] evidence for a displaced second copy around each point."""
    copy: float
    """Its mean over the points: whether all of the image is a blend."""


@dataclass(frozen=True, slots=True, eq=False)
class Witnessed:
    """An original's maps as the second witness needs them."""

    medium: tuple[Floats, Floats]
    """[H/2, W/2] without what it was continued with beyond the head; as it is, and blurred."""
    squeezed: Floats
    """[H/2, W/2] the first of them, squeezed."""
    band: Floats
    """[H/2, W/2] squeezed."""
    shown: Floats
    """[H/4, W/4] the band as it is, inside the head."""
    products: tuple[Floats, Floats, Floats]
    """[H/4, W/4] means of the medium map's square, of its blurred copy's, and of both's product."""
    light: Floats
    """[H/8, W/8] logarithm of brightness, blurred."""

    @classmethod
    def of(cls, maps: Maps, inside: Inside) -> Self:
        """Everything that does not depend on the augmented image."""
        blurred = np.asarray(cv2.GaussianBlur(maps.medium, (0, 0), BLUR / 2), np.float32)
        medium = maps.medium * inside.core_half, blurred * inside.core_half
        squeezed = squeeze(medium[0], 3 * MEDIUM_KNEE), squeeze(maps.band, BAND_KNEE)
        products = _mean(medium[0] ** 2), _mean(medium[1] ** 2), _mean(medium[0] * medium[1])
        return cls(medium, *squeezed, _shown(maps, inside), products, maps.light)


def second_witness(
    one: Witnessed, other: Maps, medium: tuple[Floats, Floats], inside: Inside, points: NDArray[np.floating]
) -> Second:
    """Asks the second witness about points of the original.

    Args:
        one: of the original.
        other: maps of the augmented image, as ``maps_of`` gives them.
        medium: both squeezed medium maps.
        inside: where the head is.
        points: [P, 2] in pixels from the left and top edge, inside the image.
    """
    if not len(points):
        nothing = np.zeros(0, np.float32)
        return Second(nothing, nothing, nothing, nothing, nothing, nothing, nothing, 0.0)
    band = _agreement(one.band, squeeze(other.band, BAND_KNEE), points, BAND_RADIUS)
    near = np.linalg.norm(points[:, None] - points[None], axis=2) <= AROUND
    against = np.where(near, -band, -np.inf).max(1)
    kept, alike = _likeness(one.shown, _shown(other, inside), points)
    shown = other.medium * inside.core_half
    contrast = _contrast(one, shown, points) * _by_light(one.light, other.light, points)
    doubt = _doubt(one, shown, inside, points)
    rests = _agreement(*medium, points, MEDIUM_RADIUS)
    return Second(rests, band, against, kept, alike, contrast, doubt, float(doubt.mean()))


def _cells(points: NDArray[np.floating], shape: tuple[int, ...], step: int) -> NDArray[np.intp]:
    """[P, 2] the pixels x, y of a map with that step in which points are."""
    return np.clip(np.floor(points / step).astype(np.intp), 0, np.array(shape[::-1]) - 1)


def _shown(maps: Maps, inside: Inside) -> Floats:
    """[H/4, W/4] every other value of the band, inside the head."""
    return np.ascontiguousarray(maps.band[::2, ::2] * inside.core_half[::2, ::2])


def _likeness(one: Floats, other: Floats, points: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """[P] the share of one map that is in the other, and [P] their correlation, around each point."""
    columns, rows = _cells(points, one.shape, 4).T
    own, both, others = (
        np.asarray(cv2.GaussianBlur(product, (0, 0), LIKENESS / 4), np.float32)[rows, columns]
        for product in (one * one, one * other, other * other)
    )
    own, others = own + np.float32(_LEAST_SHOWN), others + np.float32(_LEAST_SHOWN)
    return both / own, both / np.sqrt(own * others)


def _mean(half: Floats) -> Floats:
    """[H/4, W/4] a map [H/2, W/2] averaged by the weights of LIKENESS."""
    size = max(1, half.shape[1] // 2), max(1, half.shape[0] // 2)
    quarter = cv2.resize(half, size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(quarter, (0, 0), LIKENESS / 4), np.float32)


def _contrast(one: Witnessed, other: Floats, points: NDArray[np.floating]) -> Floats:
    """[P] how much of the original's medium map, as it is and blurred, makes up another [H/2, W/2] around each point.

    The sum of both shares: 1 and those in what differs, so that where there is no structure nothing is missing.
    """
    more = other - one.medium[0]
    means = *one.products, _mean(more * one.medium[0]), _mean(more * one.medium[1])
    columns, rows = _cells(points, means[0].shape, 4).T
    sharp, blurred, both, by_sharp, by_blurred = (mean[rows, columns].astype(np.float64) for mean in means)
    first, second = _shares(sharp + _LEAST_MEDIUM, blurred + _LEAST_MEDIUM, both, by_sharp, by_blurred)
    return (1 + first + second).astype(np.float32)


def _by_light(one: Floats, other: Floats, points: NDArray[np.floating]) -> Floats:
    """[P] by how much another light may have lowered the contrast that the medium map shows; at least 1.

    The map is of the logarithm of level + DARK. Light that is added keeps the contrast of levels, light that multiplies
    that of their logarithms, without DARK: larger where it became brighter, and where it became darker. Only the mean
    level around a point is known: with less than two fifths of its light, dark details still lose some.
    """
    columns, rows = _cells(points, one.shape, 8).T
    before, after = np.exp(one[rows, columns]), np.exp(other[rows, columns])
    levels = [np.maximum(values - np.float32(DARK), np.float32(_LEAST_LEVEL)) for values in (before, after)]
    added = after / before
    return np.maximum(np.float32(1), np.maximum(added, added * levels[0] / levels[1]))


def _agreement(one: Floats, other: Floats, points: NDArray[np.floating], radius: int) -> Floats:
    """[P] evidence for resting less that for having moved, by patches of the original's map."""
    halves = _cells(points, one.shape, 2)
    margin, area = radius + REACH, np.float32((2 * radius + 1) ** 2)
    patches, there = Padded(one, margin).squares(halves, radius), Padded(other, margin)
    product = correlated(patches, there.squares(halves, margin)) / area
    here = np.einsum("nij,nij->n", patches, patches)[:, None, None] / area + _LEAST_BAND
    energy = there.energies(halves, radius, REACH) + _LEAST_BAND
    found = evidence(product / np.sqrt(here * energy)).reshape(len(points), -1)
    return np.asarray(found[:, _LENGTHS <= STAYS].max(1) - found[:, _LENGTHS >= FAR].max(1), np.float32)


def _doubt(one: Witnessed, shown: Floats, inside: Inside, points: NDArray[np.floating]) -> Floats:
    """[P] evidence for a displaced second copy around each point; 0 where the image has no corner."""
    corners = _corners(shown, inside)
    if not len(corners):
        return np.zeros(len(points), np.float32)
    weights = np.exp(-((points[:, None] - 2.0 * corners[None] - 1) ** 2).sum(2) / (2 * NEIGHBOURHOOD**2))
    weights /= weights.sum(1, keepdims=True) + NO_CORNER
    return _above_chance(weights.astype(np.float32) @ _spread(_copies(one, shown, corners)))


def _corners(medium: Floats, inside: Inside) -> NDArray[np.intp]:
    """[K, 2] pixels x, y of the medium map around which it has structure in both directions."""
    levels = np.clip(500 * medium + 128, 0, 255).astype(np.uint8)
    mask = (inside.core_half > 0).astype(np.uint8)
    found: Any = cv2.goodFeaturesToTrack(levels, CORNERS, 0.01, APART, mask=mask, blockSize=5)
    return np.zeros((0, 2), np.intp) if found is None else found[:, 0].astype(np.intp)


def _copies(one: Witnessed, other: Floats, centres: NDArray[np.intp]) -> Floats:
    """[K, S²] evidence that what the original leaves unexplained at a corner is the original at each shift."""
    radius, margin, area = MEDIUM_RADIUS, MEDIUM_RADIUS + REACH, np.float32((2 * MEDIUM_RADIUS + 1) ** 2)
    seen = Padded(other, margin).squares(centres, radius)
    first, second = (Padded(values, margin).squares(centres, radius) for values in one.medium)
    explained = _fitted(seen, first, second)
    rest = seen - explained
    spread = 1.4826 * np.median(np.abs(rest), axis=(1, 2)) + MEDIUM_KNEE + REST * np.sqrt((explained**2).mean((1, 2)))
    rest = np.asarray(rest / np.sqrt(rest * rest + (2 * spread[:, None, None]) ** 2), np.float32)
    whole = Padded(one.squeezed, margin)
    product = correlated(rest, whole.squares(centres, margin))
    here = np.einsum("nij,nij->n", rest, rest)[:, None, None] / area + _LEAST
    there = whole.energies(centres, radius, REACH) + _LEAST
    return evidence((product / area / np.sqrt(here * there)).reshape(len(centres), -1))


def _fitted(seen: Floats, first: Floats, second: Floats) -> Floats:
    """[K, S, S] patches as the best sums of two others, by least squares."""

    def dot(one: Floats, other: Floats) -> Doubles:
        return np.einsum("nij,nij->n", one, other).astype(np.float64)

    here, there, both = dot(first, first) + 1e-6, dot(second, second) + 1e-6, dot(first, second)
    by_first, by_second = dot(seen, first), dot(seen, second)
    one, other = _shares(here, there, both, by_first, by_second)
    return np.asarray(one[:, None, None] * first + other[:, None, None] * second, np.float32)


def _shares(here: Doubles, there: Doubles, both: Doubles, by_first: Doubles, by_second: Doubles) -> list[Doubles]:
    """The shares of two things in a third, by least squares, from their products: [K] each."""
    determinant = here * there * (1 + 1e-3) - both**2
    return [(by_first * there - by_second * both) / determinant, (by_second * here - by_first * both) / determinant]


def _spread(surfaces: Floats) -> Floats:
    """Each surface's maximum over neighbouring shifts: neighbouring points move nearly alike."""
    side = 2 * REACH + 1
    wide = maximum_filter(surfaces.reshape(-1, side, side), size=(1, 3, 3))
    return np.asarray(wide.reshape(len(surfaces), -1), np.float32)


def _above_chance(surfaces: Floats) -> Floats:
    """[P] the highest value at a shift of a second copy, over the median of all shifts."""
    highest = surfaces[:, _LENGTHS >= COPY].max(1)
    return np.asarray(highest - np.median(surfaces, axis=1), np.float32)
