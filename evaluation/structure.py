"""What an image shows without its light: maps of fine and medium structure inside the head.

Light multiplies, so it is a slowly varying summand of the logarithm: subtracting a blurred copy leaves texture,
creases and outlines. Each value is then squeezed to -1..1, so that one edge of the new shading does not outvote
a patch of skin. All lengths are pixels of an image 512 wide.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Mask = NDArray[np.bool_]

DARK = 24.0
"""Added to levels 0..255 before the logarithm: below it the noise of eight bits would be amplified."""
FINE_SIGMA, MEDIUM_SIGMA, COARSE_SIGMA = 1.5, 2.5, 12.0
"""Blur of the subtracted copy: what stays are pores and strands; lids and creases; eyes, ears, the hairline."""
BAND_SIGMAS = 2.0, 8.0
"""Blurs whose difference is the band between fine texture and light: lids, lips, the nose, the hairline."""
RIM = 5
"""Side of the square by which the head's mask is shrunk: at its rim the background shines through."""
SEAM = 7
"""Side of the square by which it is shrunk further for comparing: the seam stays in place whatever moves."""
FINE_KNEE, MEDIUM_KNEE = 0.003, 0.005
"""Structure, in natural logarithms of brightness, below which a value counts little: rounding to eight bits."""
FINE_NOISE, MEDIUM_NOISE = 2.5, 5.0
"""The knee is at least this many standard deviations of the two images' difference."""
COARSE_KNEE = 0.05
"""The same for the coarse map; it is large because shading reaches into it."""
TEXTURE_KNEE, STRUCTURE_KNEE = 0.003, 0.01
"""Knees of the two figures of agreement; fixed, so that figures of different images are comparable."""
CONTINUED_STEP = 8
"""Beyond the head the map continues with its own blurred brightness, on a grid of this step."""


@dataclass(frozen=True, slots=True, eq=False)
class Maps:
    """Structure of one image."""

    fine: Floats
    """[H, W]"""
    medium: Floats
    """[H/2, W/2]"""
    coarse: Floats
    """[H/4, W/4]"""
    band: Floats
    """[H/2, W/2] structure of 5 to 40 pixels."""
    light: Floats
    """[H/8, W/8] logarithm of brightness, blurred."""


@dataclass(frozen=True, slots=True, eq=False)
class Inside:
    """Where the head is, without its rim."""

    full: Bytes
    """[H, W] 1 on the head."""
    core: Floats
    """[H, W] 1 where the maps show the head alone: away from the seam at which they are continued."""
    core_half: Floats
    """[H/2, W/2]"""
    weight: Floats
    """The coarse grid's share of head in each cell, blurred."""

    @classmethod
    def of(cls, mask: Mask) -> "Inside":
        """The inside of a head's mask [H, W]."""
        full = np.asarray(cv2.erode(mask.astype(np.uint8), np.ones((RIM, RIM), np.uint8)), np.uint8)
        coarse = cv2.resize(full.astype(np.float32), _size(full.shape, CONTINUED_STEP), interpolation=cv2.INTER_AREA)
        weight = np.asarray(cv2.GaussianBlur(coarse, (0, 0), 1.5), np.float32) + np.float32(1e-4)
        core = cv2.erode(full, np.ones((SEAM, SEAM), np.uint8)).astype(np.float32)
        half = cv2.resize(core, _size(core.shape, 2), interpolation=cv2.INTER_AREA)
        return cls(full, core, np.floor(np.asarray(half, np.float32)), weight)


def maps_of(pixels: Bytes, inside: Inside) -> Maps:
    """The maps of an image [H, W, 3] RGB; pixels outside the head have no influence."""
    grey = cv2.cvtColor(pixels.astype(np.float32), cv2.COLOR_RGB2GRAY)
    grey += np.float32(DARK)
    log = np.asarray(cv2.log(grey), np.float32)
    inner = log * inside.full
    coarse = cv2.resize(inner, _size(log.shape, CONTINUED_STEP), interpolation=cv2.INTER_AREA)
    beyond = np.asarray(cv2.GaussianBlur(coarse, (0, 0), 1.5), np.float32) / inside.weight
    smooth = np.asarray(cv2.resize(beyond, log.shape[1::-1], interpolation=cv2.INTER_LINEAR), np.float32)
    log = np.asarray(cv2.copyTo(log, inside.full, smooth), np.float32)
    half = np.asarray(cv2.resize(log, _size(log.shape, 2), interpolation=cv2.INTER_AREA), np.float32)
    fine = cv2.subtract(log, cv2.GaussianBlur(log, (0, 0), FINE_SIGMA))
    medium = cv2.subtract(half, cv2.GaussianBlur(half, (0, 0), MEDIUM_SIGMA / 2))
    quarter = np.asarray(cv2.resize(half, _size(log.shape, 4), interpolation=cv2.INTER_AREA), np.float32)
    coarse = cv2.subtract(quarter, cv2.GaussianBlur(quarter, (0, 0), COARSE_SIGMA / 4))
    narrow, broad = (cv2.GaussianBlur(half, (0, 0), sigma / 2) for sigma in BAND_SIGMAS)
    band = cv2.subtract(narrow, broad)
    return Maps(*(np.asarray(values, np.float32) for values in (fine, medium, coarse, band, beyond)))


def squeezed(one: Maps, other: Maps, inside: Inside) -> tuple[Maps, Maps]:
    """Both pictures' maps in -1..1, the knee by the noise between the two; the band as it is."""
    fine = max(FINE_KNEE, FINE_NOISE * _noise(one.fine, other.fine, inside.core))
    medium = max(MEDIUM_KNEE, MEDIUM_NOISE * _noise(one.medium, other.medium, inside.core_half))
    first, second = (
        Maps(
            np.asarray(cv2.multiply(squeeze(maps.fine, fine), inside.core), np.float32),
            np.asarray(cv2.multiply(squeeze(maps.medium, medium), inside.core_half), np.float32),
            squeeze(maps.coarse, COARSE_KNEE),
            maps.band,
            maps.light,
        )
        for maps in (one, other)
    )
    return first, second


def agreement(one: Maps, other: Maps, inside: Inside) -> tuple[float, float]:
    """(texture, structure): how alike the fine and the medium maps are where they are, -1..1, 1 for equal ones.

    Correlation of the squeezed maps over the head; NaN where a map is empty.
    """
    texture = _correlation(one.fine[::2, ::2], other.fine[::2, ::2], inside.core[::2, ::2] > 0, TEXTURE_KNEE)
    return texture, _correlation(one.medium, other.medium, inside.core_half > 0, STRUCTURE_KNEE)


def _size(shape: tuple[int, ...], step: int) -> tuple[int, int]:
    return max(1, shape[1] // step), max(1, shape[0] // step)


def squeeze(values: Floats, knee: float) -> Floats:
    """Values in -1..1: ``x / sqrt(x² + knee²)``."""
    root = cv2.multiply(values, values)
    root += np.float32(knee**2)
    return np.asarray(cv2.divide(values, cv2.sqrt(root)), np.float32)


def _noise(one: Floats, other: Floats, inside: Floats) -> float:
    """Standard deviation of the difference, from the median, so that what moved does not count."""
    step = 3
    rows, columns = one[::step, ::step], other[::step, ::step]
    difference = np.abs(rows - columns)[inside[::step, ::step] > 0]
    return 1.4826 * float(np.median(difference)) if difference.size else 0.0


def _correlation(one: Floats, other: Floats, inside: Mask, knee: float) -> float:
    first, second = (squeeze(np.ascontiguousarray(values), knee)[inside] for values in (one, other))
    energy = float(np.sqrt(first @ first) * np.sqrt(second @ second))
    return float(first @ second) / energy if energy > 0 else float("nan")
