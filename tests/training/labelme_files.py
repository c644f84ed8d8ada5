"""Small labelme files and pictures."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

PLACES = {"2": (30.5, 8), "5": (25, 20), "8": (10, 5), "4": (18, 18), "6": (17, 28), "7": (24, 30), "3": (12.25, 24)}
"""Pixels of the seven points in a picture of 40 x 50."""


def document(image: str, places: Mapping[str, Sequence[Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A labelme file for a picture of 40 x 50; changes replace keys at the top."""
    shapes = [
        {"label": k, "points": [list(v)], "group_id": None, "shape_type": "point", "flags": {}}
        for k, v in (PLACES if places is None else places).items()
    ]
    size = {"imageHeight": 50, "imageWidth": 40}
    return {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image, "imageData": None, **size, **changes}


def pixels(seed: int, width: int = 40, height: int = 50) -> np.ndarray:
    """A picture unlike any other."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
