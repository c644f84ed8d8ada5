"""Known displacements: what a certificate must find."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDS = 40
"""Steps of the fixed-point iteration that inverts a warp; its slope is below 0.62 for the strongest one used."""


@dataclass(frozen=True, slots=True)
class Warp:
    """A local displacement: the pixel at p goes to ``p + (dx, dy) w``, ``w = (1 - |p - centre|²/radius²)²`` inside."""

    centre: tuple[float, float]
    """Pixels from the left and top edge."""
    radius: float
    """Pixels; beyond it nothing moves."""
    dx: float
    dy: float

    def __post_init__(self) -> None:
        # The steepest slope of w over the radius is 1.54; from 1 on the warp would fold.
        if not self.radius > 0 or 1.54 * np.hypot(self.dx, self.dy) >= self.radius:
            raise ValueError(f"a displacement of {np.hypot(self.dx, self.dy):.1f} px folds within {self.radius} px")

    def displacement(self, points: ArrayLike) -> NDArray[np.float64]:
        """[..., 2] where the warp takes points [..., 2], less where they were."""
        apart = np.asarray(points, np.float64) - self.centre
        weight = np.clip(1 - (apart**2).sum(-1) / self.radius**2, 0, None) ** 2
        return weight[..., None] * (self.dx, self.dy)

    def apply(self, pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The warped image [H, W, 3]."""
        height, width = pixels.shape[:2]
        left, right = (int(np.clip(self.centre[0] + side * (self.radius + 1), 0, width)) for side in (-1, 1))
        top, bottom = (int(np.clip(self.centre[1] + side * (self.radius + 1), 0, height)) for side in (-1, 1))
        out = pixels.copy()
        if left >= right or top >= bottom:
            return out
        rows, columns = np.mgrid[top:bottom, left:right]
        there = np.stack([columns, rows], axis=-1) + 0.5
        source = there.copy()
        for _ in range(_ROUNDS):
            source = there - self.displacement(source)
        grid = (source - 0.5).astype(np.float32)
        out[top:bottom, left:right] = cv2.remap(
            pixels, grid[..., 0], grid[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
        )
        return out


def shifted(pixels: NDArray[np.uint8], dx: float, dy: float) -> NDArray[np.uint8]:
    """The whole image moved by (dx, dy) pixels; its edges are repeated."""
    matrix = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
    size = (pixels.shape[1], pixels.shape[0])
    moved = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(moved, np.uint8)


def random_warp(points: NDArray[np.floating], size_px: float, random: np.random.Generator) -> Warp:
    """A warp around one of the points [N, 2]: radius 20..60 px, direction and point drawn at random."""
    centre = points[random.integers(len(points))]
    radius, angle = random.uniform(20, 60), random.uniform(0, 2 * np.pi)
    return Warp((float(centre[0]), float(centre[1])), radius, size_px * np.cos(angle), size_px * np.sin(angle))
