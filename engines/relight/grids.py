"""Pixels of images, chosen by their places on the flat grid."""

from typing import Any

import numpy as np
from numpy.typing import NDArray


def pick(image: NDArray[Any], places: NDArray[np.intp]) -> NDArray[Any]:
    """[N, C] the pixels of an image [H, W, C] at places [N] of its flat grid."""
    return image.reshape(-1, image.shape[2]).take(places, 0)


def put(image: NDArray[Any], places: NDArray[np.intp], values: NDArray[Any]) -> None:
    """Writes pixels [N, C] to places [N] of the flat grid of an image [H, W, C]; each as one item, which is faster."""
    pixel = np.dtype((np.void, image.itemsize * image.shape[2]))
    rows = np.ascontiguousarray(values, image.dtype)
    image.reshape(-1, image.shape[2]).view(pixel)[places] = rows.view(pixel)
