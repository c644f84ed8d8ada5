"""Which pixels have the colour of skin: labels list acupoints where they are seen, so the colours there are known."""

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

FEWEST = 5
"""Visible acupoints from which the colour of skin is known."""
FARTHEST = 3.5
"""Standard deviations of skin's colours."""
_LEAST_SPREAD = (0.2, 0.06, 0.06)
"""Of the logarithm of brightness, of red to green and of green to blue: shades differ at least so much."""
_AROUND_PX = 8.0
"""Radius at which colours are taken, in an image 512 wide."""
_DARK = 8.0
"""Levels, added before logarithms."""


def skin_in(pixels: NDArray[np.uint8], points_px: NDArray[np.floating]) -> NDArray[np.bool_]:
    """[H, W] True where the colour is that of skin; nowhere if too few acupoints tell it.

    Args:
        pixels: [H, W, 3] RGB.
        points_px: [K, 2] acupoints that can be seen, pixels from the left and top edge.
    """
    height, width = pixels.shape[:2]
    if len(points_px) < FEWEST:
        return np.zeros((height, width), bool)
    sigma = max(0.7, width / 350)
    red, green, blue = (
        ndimage.gaussian_filter(channel, sigma)
        for channel in np.moveaxis(np.log(pixels.astype(np.float32) + _DARK), 2, 0)
    )
    colours = np.dstack([(red + green + blue) / 3, red - green, green - blue])
    # Around each acupoint rather than on it: some images have marks there.
    turn = np.arange(8) * np.pi / 4
    ring = _AROUND_PX * width / 512 * np.stack([np.cos(turn), np.sin(turn)], -1)
    column, row = np.clip(np.floor(points_px[:, None] + ring).astype(int), 0, (width - 1, height - 1)).T
    seen = colours[row.ravel(), column.ravel()].astype(np.float64)
    off = seen - np.median(seen, axis=0)
    # Brows, lips and what is beside the head are no skin: the nearer half says how far its shades spread.
    near = off[np.argsort((off**2).sum(1))[: max(FEWEST, len(off) // 2)]]
    spread = 2 * near.T @ near / len(near) + np.diag(np.square(_LEAST_SPREAD))
    away = colours - np.median(seen, axis=0).astype(np.float32)
    # Whitened by the Cholesky factor of the inverse.
    white = away @ np.linalg.cholesky(np.linalg.inv(spread)).astype(np.float32)
    return np.asarray((white**2).sum(2) < FARTHEST**2)
