"""Cameras of the images: AcuSim's rig, or one drawn about each place of the rig."""

from dataclasses import replace
from typing import Any

import numpy as np

from acusim import rig
from acusim.labels import camera_entry
from acusim.rig import Camera
from synthetic.identity import random_for
from synthetic.settings import CameraMode

AZIMUTH_DEG = 10.0
ELEVATION_DEG = 12.0
ROLL_DEG = 20.0
SHIFT_MM = 18.0
"""Largest changes, each way; the shift moves the head's centre across the line of sight."""
DISTANCE = (0.85, 1.25)
"""Factors of the distance; the head's size in the image changes with it."""
FOCAL = (0.8, 1.3)
"""Factors of the focal length; the distance is scaled along, so that the perspective changes and the size does not."""


def camera_of(mode: CameraMode, seed: int, index: int, frame: int) -> Camera:
    """The camera of one image.

    Args:
        mode: rig, or around: a camera drawn about the rig's.
        seed: of the data set.
        index: of the identity.
        frame: camera 1..144.
    """
    nominal = rig.camera(frame)
    if mode == "rig":
        return nominal
    rng = random_for("camera", seed, index, frame)
    azimuth = nominal.azimuth_deg + rng.uniform(-AZIMUTH_DEG, AZIMUTH_DEG)
    elevation = nominal.elevation_deg + rng.uniform(-ELEVATION_DEG, ELEVATION_DEG)
    roll = rng.uniform(-ROLL_DEG, ROLL_DEG)
    distance, focal = rng.uniform(*DISTANCE), rng.uniform(*FOCAL)
    shift = rng.uniform(-SHIFT_MM, SHIFT_MM, 2)
    move = np.array([shift[0], shift[1] + rig.CAMERA_DROP_MM, rig.ORBIT_RADIUS_MM * focal * distance])
    # The label file holds these very numbers: rounded, they are the same text on every machine.
    turn = rig.rotation_of(azimuth, elevation, roll).round(9)
    return replace(rig.camera_at(turn, move.round(6), round(rig.FOCAL * focal, 9)), frame=frame)


def describe(camera: Camera) -> dict[str, Any]:
    """Plain values for provenance: nothing for a camera of the rig, which the frame names."""
    return {} if camera.ring is not None else {"camera": camera_entry(camera)}
