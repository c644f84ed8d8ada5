"""Square pictures and points in them under a similarity: turned, moved and scaled.

Coordinates are shares of the picture, so the centre of pixel i of S is at (i + 0.5) / S; a similarity is a matrix
[2, 3] from one picture's shares to the other's.
"""

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError

Floats = NDArray[np.float64]


def invert(matrices: NDArray[np.floating]) -> Floats:
    """[B, 2, 3] the similarities back.

    Raises:
        ConfigError: a matrix cannot be inverted.
    """
    linear = np.asarray(matrices, np.float64)[:, :, :2]
    if (np.abs(np.linalg.det(linear)) < 1e-12).any():
        raise ConfigError("a matrix of a second pass has no inverse: its scale is 0")
    back = np.linalg.inv(linear)
    return np.concatenate([back, -back @ matrices[:, :, 2:]], 2)


def move_points(matrices: NDArray[np.floating], xy: NDArray[np.floating]) -> Floats:
    """[B, N, 2] points xy [B, N, 2] moved by similarities [B, 2, 3]."""
    return xy @ matrices[:, :, :2].transpose(0, 2, 1) + matrices[:, None, :, 2]


def mirror_points(xy: NDArray[np.floating]) -> NDArray[np.floating]:
    """[..., 2] points of a picture in its mirror image, and back; which point is which stays."""
    return np.stack([1 - xy[..., 0], xy[..., 1]], -1)


def warp(picture: NDArray[np.uint8], matrix: NDArray[np.floating], size: int) -> NDArray[np.uint8]:
    """A square picture under a similarity of its shares, without aliasing; what is beyond its edge repeats the edge.

    Args:
        picture: [S, S, 3] or [S, S].
        matrix: [2, 3] from shares of the picture to shares of the result.
        size: side of the result in pixels.

    Raises:
        ConfigError: the picture is not square, or the size is not positive.
    """
    side = picture.shape[0]
    if picture.shape[:2] != (side, side) or not side or size < 1:
        raise ConfigError(
            f"a picture of {picture.shape[:2]} to {size} pixels; expected a square and a size of at least 1"
        )
    linear, shift = np.asarray(matrix, np.float64)[:, :2], np.asarray(matrix, np.float64)[:, 2]
    magnification = np.sqrt(abs(np.linalg.det(linear))) * size / side
    reduced = max(1, round(side * min(1.0, magnification)))
    if reduced < side:
        picture = cv2.resize(picture, (reduced, reduced), interpolation=cv2.INTER_AREA).astype(np.uint8)
    # OpenCV's coordinates are 0 at the centre of the first pixel, shares are 0 at its edge.
    pixels = linear * size / reduced
    offset = shift * size + pixels @ np.full(2, 0.5) - 0.5
    return cv2.warpAffine(
        picture, np.c_[pixels, offset], (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    ).astype(np.uint8)


def reduced(square: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture [S, S, 3] at another side in pixels: means of areas where it is smaller."""
    if len(square) == size:
        return square
    how = cv2.INTER_AREA if len(square) > size else cv2.INTER_LINEAR
    return cv2.resize(square, (size, size), interpolation=how).astype(np.uint8)
