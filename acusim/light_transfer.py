"""Light of one image on the geometry of another: the original's pixels, times a smooth ratio of the two.

A diffusion model relights a head and redraws it. The ratio between its image and the original, smoothed over SCALE
within the head, is the light (and the colour of large areas) alone: no edge of the redrawn image is left in it. Times
the original it gives an image whose edges are all the original's. ``python -m experiments.light_transfer`` measures
what is left of features that moved, by scale, and beside a guided filter.
"""

import math

import numpy as np
from numpy.typing import NDArray

from acusim.errors import PictureError
from acusim.float_images import Floats

SCALE = 24 / 512
"""Standard deviation of the smoothing, as a share of the image's longer side."""
DARK = 0.03
"""Added before taking the ratio, so that the noise of dark pixels does not count as light; 0..1."""
BLACK_LEVEL = 12.0
"""A head without any level above this, of 255, is black."""
FLAT_LEVELS = 2.0
"""A head whose levels spread less (standard deviation), of 255, is flat."""
_CELLS = 6
"""The smoothing is computed on a grid of so many cells for each standard deviation, and interpolated."""
_LEAST = 1e-4
"""Weight of the head, in pixels, where light is still known."""


def transferred_light(
    image: Floats, original: Floats, mask: Floats, amount: float = 1.0, scale: float = SCALE
) -> Floats:
    """[H, W, 3] the original under the light of an image; outside the head the image itself.

    Args:
        image: [H, W, 3] in 0..1, such as the answer of a diffusion model.
        original: [H, W, 3] in 0..1.
        mask: [H, W] in 0..1, the head: 1 inside.
        amount: 0 is the image, 1 the original under its light, in between a mixture of both.
        scale: standard deviation of the smoothing, as a share of the longer side.

    Raises:
        PictureError: the head is black or flat in the image, which then shows no light.
    """
    if not amount:
        return image
    solid = mask >= mask.max()
    _check(image[solid])
    ratio = np.log(image + np.float32(DARK)) - np.log(original + np.float32(DARK))
    light = _smoothed(ratio, solid, scale * max(solid.shape))
    lit = np.clip(np.exp(light) * (original + np.float32(DARK)) - np.float32(DARK), 0, 1)
    share = np.float32(amount) * (mask > 0)[..., None]
    return np.asarray(image + share * (lit - image), np.float32)


def _check(levels: Floats) -> None:
    """Refuses the pixels [N, 3] of a head that show no light.

    Raises:
        PictureError: they are black or flat.
    """
    highest, spread = 255 * float(levels.max(initial=0)), 255 * float(levels.std()) if levels.size else 0.0
    fix = "there is no light to transfer; try another seed, or less denoise"
    if highest <= BLACK_LEVEL:
        raise PictureError(f"the head is black: no level above {highest:.0f} of 255; {fix}")
    if spread < FLAT_LEVELS:
        raise PictureError(
            f"the head is flat: its levels spread by {spread:.1f}, at least {FLAT_LEVELS:g} count; {fix}"
        )


def _smoothed(values: Floats, inside: NDArray[np.bool_], sigma: float) -> Floats:
    """[H, W, C] weighted means of the values inside, by a Gaussian of sigma pixels; zero far from the inside."""
    height, width = inside.shape
    (down, up), (across, along) = (_sampling(side, sigma) for side in (height, width))
    weight = inside.astype(np.float32)[..., None]
    planes = np.ascontiguousarray(np.moveaxis(np.concatenate([values * weight, weight], axis=2), 2, 0))
    coarse = down @ planes @ across.T
    mean = coarse[:-1] / np.maximum(coarse[-1], np.float32(_LEAST))
    return np.ascontiguousarray(np.moveaxis(up @ mean @ along.T, 0, 2))


def _sampling(side: int, sigma: float) -> tuple[Floats, Floats]:
    """Along one side of an image: Gaussian weights of its pixels for each place of a grid [K, side], and linear weights
    of these places for each pixel [side, K]."""
    step = max(1.0, sigma / _CELLS)
    pixels, grid = np.arange(side), step * np.arange(math.ceil((side - 1) / step) + 1)
    apart = grid[:, None] - pixels
    weights = np.exp(-0.5 * (apart / sigma) ** 2), np.maximum(0, 1 - np.abs(apart) / step).T
    return weights[0].astype(np.float32), weights[1].astype(np.float32)
