"""Rays of a camera's pixels, and the depth that they meet."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from acusim.rig import Camera
from synthetic.scene import Scene

FloatArray = NDArray[np.floating]


@lru_cache(maxsize=4)
def camera_rays(camera: Camera, width: int) -> NDArray[np.float32]:
    """[width * width, 3] rays through pixel centres, scaled to length 1 along the camera's axis."""
    across = ((np.arange(width) + 0.5) / width - 0.5) / camera.focal
    x, y = np.meshgrid(across, across)
    rays = x[..., None] * camera.R[0] + y[..., None] * camera.R[1] + camera.R[2]
    return rays.reshape(-1, 3).astype(np.float32)


def origins(camera: Camera, count: int) -> NDArray[np.float32]:
    """[count, 3] the camera's centre, once for each ray."""
    return np.tile(camera.center_mm.astype(np.float32), (count, 1))


def depth_from(scene: Scene, camera: Camera, size: int) -> FloatArray:
    """[size, size] z depth in mm at pixel centres, 0 where nothing is met."""
    rays = camera_rays(camera, size)
    distance = scene.distance(origins(camera, len(rays)), rays)
    return np.where(distance < 1e6, distance, 0.0).reshape(size, size)
