"""Typed drawing on float pictures: OpenCV's polygons, lines, blur, sampling, and smooth noise."""

from typing import Any, cast

import cv2
import numpy as np
from numpy.typing import NDArray

FloatImage = NDArray[np.float32]
_FIXED_BITS = 4
"""Coordinates are drawn to a sixteenth of a pixel."""


def _fixed(points: NDArray[np.floating]) -> NDArray[np.int32]:
    return np.round(points * (1 << _FIXED_BITS)).astype(np.int32)


def fill_polygon(image: FloatImage, points: NDArray[np.floating]) -> None:
    """Sets a polygon [K, 2] of pixels to 1, smooth at the edge."""
    cv2.fillPoly(image, [_fixed(points)], (1.0,), cv2.LINE_AA, _FIXED_BITS)


def stroke(image: FloatImage, points: NDArray[np.floating], strength: float = 1.0, width_px: int = 1) -> None:
    """Draws a polyline [K, 2] of the given strength."""
    cv2.polylines(image, [_fixed(points)], False, (strength,), width_px, cv2.LINE_AA, _FIXED_BITS)


def blurred(image: FloatImage, sigma_px: float) -> FloatImage:
    """Gaussian blur."""
    return cast(FloatImage, cv2.GaussianBlur(image, (0, 0), sigma_px))


def sample_image(image: FloatImage, x: FloatImage, y: FloatImage, *, wrap: bool = False) -> FloatImage:
    """[N, C] bilinear samples at pixel centres x, y [N]."""
    count, row = len(x), 1024
    if not count:
        return np.zeros((0, image.shape[2] if image.ndim == 3 else 1), np.float32)
    # cv2.remap takes maps of limited width: fold the list into rows.
    padding = -count % row
    maps = [np.pad(values, (0, padding)).reshape(-1, row) for values in (x, y)]
    border = cv2.BORDER_WRAP if wrap else cv2.BORDER_REPLICATE
    out = cv2.remap(image, maps[0], maps[1], cv2.INTER_LINEAR, borderMode=border)
    return cast(FloatImage, out.reshape(count + padding, -1)[:count])


def smooth_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[int, int]) -> FloatImage:
    """[H, W] noise of unit strength with the given number of cells down and across; seamless across."""
    cell: Any = rng.standard_normal(cells).astype(np.float32)
    cell = np.concatenate([cell[:, -2:], cell, cell[:, :2]], 1)
    width = round(shape[1] * cell.shape[1] / cells[1])
    field = cv2.resize(cell, (width, shape[0]), interpolation=cv2.INTER_CUBIC)
    start = round(width * 2 / cell.shape[1])
    return cast(FloatImage, np.ascontiguousarray(field[:, start : start + shape[1]]))
