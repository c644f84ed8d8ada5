"""Cameras of many pictures at once: projection, rotations, and the pose of a head as three angles."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import rig
from acusim.errors import ConfigError

Floats = NDArray[np.float64]


def cameras_of(frame: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Rotation [N, 3, 3], translation_mm [N, 3] and focal [N] of the rig's cameras for frames [N].

    Raises:
        ConfigError: a frame is not one of 1..144.
    """
    frames, row = np.unique(np.asarray(frame, int), return_inverse=True)
    cameras = [rig.camera(int(number)) for number in frames]
    rotation = np.array([camera.R for camera in cameras]).reshape(-1, 3, 3)[row]
    translation = np.array([camera.t_mm for camera in cameras]).reshape(-1, 3)[row]
    return rotation, translation, np.full(len(row), rig.FOCAL)


def project(
    points_mm: NDArray[np.floating],
    rotation: NDArray[np.floating],
    translation_mm: NDArray[np.floating],
    focal: ArrayLike = rig.FOCAL,
) -> tuple[Floats, Floats]:
    """Projects points into N square pictures whose principal point is their centre.

    Args:
        points_mm: [P, 3] the same points for every picture, or [N, P, 3].
        rotation: [N, 3, 3] world to camera.
        translation_mm: [N, 3].
        focal: one number, or [N]: multiple of a picture's width.

    Returns:
        xy [N, P, 2] in 0..1 of the pictures and depth [N, P] in mm. A point at or behind the camera has a depth of
        zero or less, and its xy are meaningless but finite.

    Raises:
        ConfigError: the shapes do not fit each other.
    """
    points = np.asarray(points_mm, np.float64)
    count = len(rotation)
    if rotation.shape != (count, 3, 3) or translation_mm.shape != (count, 3) or points.shape[-1:] != (3,):
        raise ConfigError(
            f"points {points.shape}, rotation {rotation.shape}, translation {translation_mm.shape}; expected "
            "[P, 3] or [N, P, 3], [N, 3, 3], [N, 3]"
        )
    local = points @ rotation.transpose(0, 2, 1) + translation_mm[:, None]
    depth = local[..., 2]
    safe = np.where(np.abs(depth) < 1e-3, 1e-3, depth)
    scale = np.broadcast_to(np.asarray(focal, np.float64), (count,))[:, None] / safe
    return local[..., :2] * scale[..., None] + 0.5, depth


def rotations(vectors: NDArray[np.floating]) -> Floats:
    """[N, 3, 3] rotations about the axes and by the lengths (radians) of vectors [N, 3]: Rodrigues' formula."""
    angle = np.linalg.norm(vectors, axis=1)
    x, y, z = (vectors / np.maximum(angle, 1e-12)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).reshape(-1, 3, 3)
    sine, versine = np.sin(angle)[:, None, None], (1 - np.cos(angle))[:, None, None]
    return np.eye(3) + sine * cross + versine * (cross @ cross)


def head_pose_deg(rotation: NDArray[np.floating]) -> Floats:
    """[N, 3] yaw, pitch and roll of heads in degrees, from rotations [N, 3, 3] of the rig's world to the camera.

    All three are 0 where the face looks into the camera and the head is upright, as in frame 1. Yaw -180..180: positive
    if the face turns to the right edge of the picture, that is to the subject's left. Pitch -90..90: positive if the
    face looks up. Roll -180..180: positive if the head leans clockwise in the picture. A camera of the rig at azimuth a
    and elevation e sees yaw -a, pitch -e, roll 0. At a pitch of 90 degrees either way yaw and roll cannot be told
    apart.
    """
    towards = -rotation[:, 2]  # from the head to the camera, in the head's frame
    yaw = -np.arctan2(towards[:, 0], -towards[:, 1])
    pitch = -np.arcsin(np.clip(towards[:, 2], -1, 1))
    return np.degrees(np.stack([yaw, pitch, roll_of(rotation)], 1))


def roll_of(rotation: NDArray[np.floating]) -> Floats:
    """[N] by how much heads lean clockwise in the picture, in radians."""
    return np.arctan2(rotation[:, 0, 2], -rotation[:, 1, 2])
