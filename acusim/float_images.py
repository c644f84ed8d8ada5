"""Images as float32 in 0..1, as diffusion models expect them: from and to 256 levels, padded."""

import numpy as np
from numpy.typing import NDArray

_MULTIPLE = 16
"""Sides are padded to multiples of this: the VAE then crops nothing, and noise does not depend on the batch."""

Floats = NDArray[np.float32]


def from_levels(pixels: NDArray[np.uint8]) -> Floats:
    """The same shape, 0..255 to 0..1."""
    return pixels.astype(np.float32) / np.float32(255)


def to_levels(picture: Floats) -> NDArray[np.uint8]:
    """The same shape, the nearest of 256 levels, halves up; 0..1 becomes 0..255, values outside are clipped."""
    levels = picture * np.float32(255)
    levels += np.float32(0.5)
    np.clip(levels, 0, 255, out=levels)
    return levels.astype(np.uint8)


def padded(side: int) -> int:
    """The next multiple of 16."""
    return -(-side // _MULTIPLE) * _MULTIPLE


def pad_picture(picture: Floats, height: int, width: int) -> Floats:
    """[height, width, C] an image [h, w, C] extended to the right and below by its last column and row."""
    return np.pad(picture, ((0, height - picture.shape[0]), (0, width - picture.shape[1]), (0, 0)), mode="edge")


def pad_mask(mask: Floats, height: int, width: int) -> Floats:
    """[height, width] a mask [h, w] extended to the right and below by zeros."""
    return np.pad(mask, ((0, height - mask.shape[0]), (0, width - mask.shape[1])))
