"""Invented persons whose points in space are known: the table's head under smooth, random deformations."""

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from training.geometry.projection import cameras_of, project

FRAMES = (1, 3, 6, 9, 33, 36, 37, 40, 70, 109, 112)
"""Views around the face."""


def person(seed: int, size_mm: float = 6.0) -> NDArray[np.float64]:
    """[174, 3] a head that differs smoothly from the table's; seeds share their few kinds of difference."""
    mean = acupoints.positions_mm()
    waves = np.random.default_rng(0).normal(0, 1 / 80, (6, 3))
    directions = np.random.default_rng(1).normal(0, 1, (6, 3))
    amounts = np.random.default_rng(seed + 2).normal(0, size_mm / 2, 6)
    return mean + np.einsum("k,nk,kc->nc", amounts, np.sin(mean @ waves.T + np.arange(6)), directions)


def labels(points_mm: NDArray[np.float64], frames: tuple[int, ...] = FRAMES) -> dict[str, NDArray[np.generic]]:
    """The arguments of triangulate for exact labels: points that face the camera, nothing in their way."""
    rotation, translation, focal = cameras_of(frames)
    xy, depth = project(points_mm, rotation, translation, focal)
    local = points_mm @ rotation.transpose(0, 2, 1) + translation[:, None]
    normals = acupoints.normals() @ rotation.transpose(0, 2, 1)
    usable = ((normals * local).sum(-1) < -100) & ~acupoints.INNER
    return {
        "xy": np.where(usable[..., None], xy, 0),
        "usable": usable,
        "rotation": rotation,
        "translation_mm": translation,
        "focal": focal,
        "depth_mm": np.where(usable, depth, np.nan),
    }
