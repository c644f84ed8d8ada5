"""Edits of an image that move nothing: a detector or a certificate must not mistake them for displacements.

NULL_EDITS are for the detector's own noise, on originals. STRONG_EDITS are for the certificate's false alarms: they
also regenerate the texture, as a diffusion model does.
"""

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Random = np.random.Generator
Edit = Callable[[Pixels, Random], Pixels]


def levels(values: NDArray[np.floating]) -> Pixels:
    """Values rounded and cut off to 0..255."""
    rounded = values + 0.5
    return np.clip(rounded, 0, 255, out=rounded).astype(np.uint8)


def jpeg(pixels: Pixels, quality: int) -> Pixels:
    """The image after JPEG compression (4:2:0) at a quality of 1..100."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB), np.uint8)


def noise(pixels: Pixels, random: Random, sigma: float) -> Pixels:
    """Gaussian noise of ``sigma`` levels on each channel."""
    values = random.normal(0, sigma, pixels.shape)
    values += pixels
    return levels(values)


def blurred(pixels: Pixels, sigma: float) -> Pixels:
    """A Gaussian blur of ``sigma`` pixels."""
    return np.asarray(cv2.GaussianBlur(pixels, (0, 0), sigma), np.uint8)


def gamma(pixels: Pixels, exponent: float) -> Pixels:
    """A tone curve: above 1 darker, below 1 brighter."""
    return np.asarray(cv2.LUT(pixels, levels(255 * (np.arange(256) / 255) ** exponent)), np.uint8)


def tinted(pixels: Pixels, factors: tuple[float, ...]) -> Pixels:
    """Each channel multiplied."""
    return np.asarray(cv2.LUT(pixels, levels(np.arange(256.0)[None, :, None] * np.array(factors))), np.uint8)


def grey(pixels: Pixels) -> Pixels:
    """Without colour."""
    return np.asarray(cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), np.uint8)


def _side_light(pixels: Pixels, random: Random, depth: float) -> Pixels:
    """A smooth gain across the image in a random direction, from 1 - depth to 1 + depth."""
    height, width = pixels.shape[:2]
    angle = random.uniform(0, 2 * np.pi)
    x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)
    gain = 1 + depth * np.clip(x * np.cos(angle) + (y * np.sin(angle))[:, None], -1, 1)
    return levels(pixels * cv2.merge((gain, gain, gain)))


NULL_EDITS: Mapping[str, Edit] = {
    "JPEG 95": lambda pixels, random: jpeg(pixels, 95),
    "JPEG 75": lambda pixels, random: jpeg(pixels, 75),
    "JPEG 40": lambda pixels, random: jpeg(pixels, 40),
    "noise 5": lambda pixels, random: noise(pixels, random, 5),
    "brighter": lambda pixels, random: gamma(pixels, 0.7),
    "darker": lambda pixels, random: gamma(pixels, 1.4),
    "warm": lambda pixels, random: tinted(pixels, (1.15, 1.0, 0.8)),
    "grey": lambda pixels, random: grey(pixels),
    "side light": lambda pixels, random: _side_light(pixels, random, 0.5),
}
"""Photometric edits of an original by name."""


def _speckle(shape: tuple[int, ...], random: Random) -> NDArray[np.float32]:
    """[H, W, 1] smooth noise of several scales, standard deviation 1."""
    height, width = shape[:2]
    total = np.zeros((height, width), np.float32)
    for scale in (2, 4, 8):
        coarse = random.standard_normal((height // scale + 2, width // scale + 2)).astype(np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return (total / total.std())[..., None]


def _texture(pixels: Pixels, random: Random) -> Pixels:
    smooth = cv2.bilateralFilter(pixels, 9, 40, 5)
    return levels(smooth + _speckle(pixels.shape, random) * random.uniform(3, 8))


def _resampled(pixels: Pixels, random: Random) -> Pixels:
    height, width = pixels.shape[:2]
    factor = random.uniform(0.35, 0.6)
    small = cv2.resize(pixels, (int(width * factor), int(height * factor)), interpolation=cv2.INTER_AREA)
    large = cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    return levels(large + 0.6 * (large - cv2.GaussianBlur(large, (0, 0), 2)))


def _shadow(pixels: Pixels, random: Random) -> Pixels:
    height, width = pixels.shape[:2]
    angle, centre = random.uniform(0, 2 * np.pi), random.uniform(0.35, 0.65, 2) * (width, height)
    y, x = np.mgrid[:height, :width]
    across = ((x - centre[0]) * np.cos(angle) + (y - centre[1]) * np.sin(angle)) / random.uniform(8, 40)
    dark = random.uniform(0.4, 0.7)
    return levels(pixels * (dark + (1 - dark) / (1 + np.exp(-across)))[..., None])


STRONG_EDITS: Mapping[str, Edit] = {
    "tone": lambda pixels, random: gamma(pixels, float(np.exp(random.uniform(-0.6, 0.6)))),
    "blur": lambda pixels, random: blurred(pixels, random.uniform(0.8, 2)),
    "noise": lambda pixels, random: noise(pixels, random, random.uniform(4, 12)),
    "JPEG": lambda pixels, random: jpeg(pixels, int(random.integers(30, 80))),
    "colour": lambda pixels, random: tinted(pixels, tuple(random.uniform(0.7, 1.3, 3))),
    "texture": _texture,
    "resampled": _resampled,
    "shadow": _shadow,
}
"""Strong changes of appearance by name; ``texture`` smooths the skin and adds speckles to it."""


def strongly_edited(pixels: Pixels, random: Random, count: int = 2) -> tuple[Pixels, tuple[str, ...]]:
    """An image after ``count`` different strong edits drawn at random, and their names."""
    names = tuple(random.choice(list(STRONG_EDITS), size=count, replace=False).tolist())
    for name in names:
        pixels = STRONG_EDITS[name](pixels, random)
    return pixels, names
