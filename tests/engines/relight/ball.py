"""A ball before the rig's camera, whose depth and normals are known."""

import numpy as np

from acusim import rig

CENTRE_MM, RADIUS_MM = 870.0, 100.0


def sphere(size: int = 256, height: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """A ball before the rig's camera, by ray casting: depth [H, W] in mm (0 beside it), true normals [H, W, 3]."""
    height = height or size
    focal = rig.FOCAL * size
    x = (np.arange(size) + 0.5 - size / 2) / focal
    y = (np.arange(height) + 0.5 - height / 2) / focal
    ray = np.dstack([*np.meshgrid(x, y), np.ones((height, size))])
    a, b, c = (ray**2).sum(2), CENTRE_MM * ray[..., 2], CENTRE_MM**2 - RADIUS_MM**2
    under = b**2 - a * c
    hit = under > 0
    t = (b - np.sqrt(np.maximum(under, 0))) / a
    normals = (ray * t[..., None] - [0, 0, CENTRE_MM]) / RADIUS_MM
    return np.where(hit, t, 0), np.where(hit[..., None], normals, 0)
