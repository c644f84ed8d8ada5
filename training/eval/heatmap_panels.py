"""Heatmaps over the picture that they belong to: of all points at once, and one panel for each point."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

Bytes = NDArray[np.uint8]
Shares = NDArray[np.float32]

LEAST_SIDE, LARGEST_SIDE, WIDTH = 80, 240, 1200
"""Least and largest side of a panel, and about the width of all panels beside one another, in pixels."""
_GAP = 2
_TEXT = cv2.FONT_HERSHEY_SIMPLEX


def over_picture(pixels: Bytes, maps: Shares) -> Bytes:
    """[S, S, 3] a picture in grey under the highest of some heatmaps [P, S, S] in 0..1 at each pixel."""
    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    share = maps.max(0).clip(0, 1)[..., None]
    colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
    weight = 0.25 + 0.6 * share
    return np.clip((1 - weight) * grey + weight * colours, 0, 255).astype(np.uint8)


def panels(pixels: Bytes, maps: Shares, names: Sequence[str], seen: NDArray[np.bool_] | None = None) -> Bytes:
    """One panel for each point: its heatmap, as bright as it gets, over the picture, with the point's name.

    Args:
        pixels: [S, S, 3] RGB.
        maps: [P, h, w] of any scale; none is negative.
        names: [P]
        seen: [P] the names of the others are grey; None takes all as seen.
    """
    columns = max(1, min(len(names), WIDTH // LEAST_SIDE))
    side = min(LARGEST_SIDE, max(LEAST_SIDE, WIDTH // columns))
    picture = np.asarray(cv2.resize(pixels, (side, side), interpolation=cv2.INTER_AREA), np.uint8)
    rows = -(-len(names) // columns)
    out = np.zeros((rows * (side + _GAP), columns * (side + _GAP), 3), np.uint8)
    for number, name in enumerate(names):
        share = maps[number] / max(float(maps[number].max()), 1e-9)
        larger = np.asarray(cv2.resize(share, (side, side), interpolation=cv2.INTER_LINEAR), np.float32)
        panel = over_picture(picture, larger[None])
        bright = 255 if seen is None or seen[number] else 150
        for colour, width in ((0, 3), (bright, 1)):
            cv2.putText(panel, name, (3, 12), _TEXT, 0.38, (colour, colour, colour), width, cv2.LINE_AA)
        top, left = number // columns * (side + _GAP), number % columns * (side + _GAP)
        out[top : top + side, left : left + side] = panel
    return out
