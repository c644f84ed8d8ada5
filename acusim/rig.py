"""The 144 cameras of AcuSim, cameras elsewhere, and the projection from millimetres to pixels.

World frame: millimetres, +x the subject's left, -y the direction of the face, +z up, origin at the rig's pivot.
Camera frame (OpenCV): x right, y down, z forward. Pixel coordinates start at the image's left and top
edge: pixel i covers [i, i+1), so the centre of the image is W/2.

The numbers were measured from the authors' 144-view table: orbit radius 870.077 mm, 100 mm lens on a 36 mm
sensor; they reproduce it within 0.015 px RMS at 2048.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.errors import ConfigError

FRAMES = range(1, 145)
RING_ELEVATIONS_DEG = (0.0, 30.0, 60.0, -30.0)
"""Elevation of the four rings of 36 cameras: frames 1-36, 37-72, 73-108, 109-144."""
DROPPED_FRAMES = frozenset((*range(12, 30), *range(46, 108), *range(119, 138)))
"""Frames that the public loader excludes from training."""
KEPT_FRAMES = tuple(frame for frame in FRAMES if frame not in DROPPED_FRAMES)
"""The 45 frames training keeps. They are not left/right balanced."""
EXTRA_FRAME = 108
"""Without it they are 44, the number that the augmentation paper gives."""
FOCAL = 100.0 / 36.0
"""Focal length as a multiple of the image's width."""
FOCAL_RANGE = (0.3, 20.0)
"""Plausible focal lengths: a fisheye's 118 degrees to a telescope's 3."""
ORBIT_RADIUS_MM = 870.077133
CAMERA_DROP_MM = -3.837239
"""The camera's height over the pivot, in its own frame."""
DISTANCE_RANGE_MM = (150.0, 50_000.0)
"""Plausible distances of a camera from the pivot, which is inside the head."""
_ORTHONORMAL = 1e-4
"""Largest error of an entry of R @ R.T."""


@dataclass(frozen=True, slots=True, eq=False)
class Camera:
    """A camera, of the rig or elsewhere; a world point X is at ``R @ X + t_mm`` in the camera's frame."""

    frame: int | None
    """1..144: the camera of the rig that it is, or near which it was placed; None if unknown."""
    ring: int | None
    """0..3, see RING_ELEVATIONS_DEG; None off the rig."""
    elevation_deg: float
    azimuth_deg: float
    """0 faces the subject, 90 is at the subject's left."""
    R: NDArray[np.float64]
    """[3, 3] world to camera."""
    t_mm: NDArray[np.float64]
    """[3] translation."""
    focal: float = FOCAL
    """Focal length as a multiple of the image's width."""

    @property
    def center_mm(self) -> NDArray[np.float64]:
        """[3] the camera's position in the world."""
        return -self.R.T @ self.t_mm

    @property
    def forward(self) -> NDArray[np.float64]:
        """[3] unit vector along which the camera looks, in the world."""
        return self.R[2]


def check_frame(frame: int) -> int:
    """Returns the frame, or raises ConfigError if there is no such camera."""
    if frame not in FRAMES:
        raise ConfigError(f"frame {frame} is not one of the cameras 1..144")
    return frame


@cache
def camera(frame: int) -> Camera:
    """The camera of a frame.

    Raises:
        ConfigError: there is no such frame.
    """
    ring, step = divmod(check_frame(frame) - 1, 36)
    rotation = rotation_of(10.0 * step, RING_ELEVATIONS_DEG[ring])
    translation = np.array([0.0, CAMERA_DROP_MM, ORBIT_RADIUS_MM])
    rotation.setflags(write=False)
    translation.setflags(write=False)
    return Camera(frame, ring, RING_ELEVATIONS_DEG[ring], 10.0 * step, rotation, translation)


def rotation_of(azimuth_deg: float, elevation_deg: float, roll_deg: float = 0.0) -> NDArray[np.float64]:
    """[3, 3] world to camera of a camera that looks at the origin.

    Args:
        azimuth_deg: as of Camera.
        elevation_deg: as of Camera.
        roll_deg: turns the image's content clockwise about its centre.
    """
    elevation, azimuth, roll = np.radians(elevation_deg), np.radians(azimuth_deg), np.radians(roll_deg)
    se, ce, sa, ca = np.sin(elevation), np.cos(elevation), np.sin(azimuth), np.cos(azimuth)
    upright: NDArray[np.float64] = np.array([[ca, sa, 0.0], [se * sa, -se * ca, -ce], [-ce * sa, ce * ca, -se]])
    if roll == 0:
        return upright
    sr, cr = np.sin(roll), np.cos(roll)
    turn: NDArray[np.float64] = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return turn @ upright


def camera_at(rotation: ArrayLike, translation_mm: ArrayLike, focal: float = FOCAL) -> Camera:
    """A camera anywhere.

    Args:
        rotation: [3, 3] world to camera, orthonormal within 1e-4.
        translation_mm: [3] the world's origin in the camera's frame.
        focal: focal length as a multiple of the image's width.

    Raises:
        ConfigError: names the value that cannot be a camera's.
    """
    turn, move = np.array(rotation, np.float64), np.array(translation_mm, np.float64)
    if turn.shape != (3, 3) or move.shape != (3,):
        raise ConfigError(f"rotation is {turn.shape} and translation_mm {move.shape}; expected (3, 3) and (3,)")
    if not (np.isfinite(turn).all() and np.isfinite(move).all()):
        raise ConfigError("rotation or translation_mm holds a value that is not a finite number")
    off = float(np.abs(turn @ turn.T - np.eye(3)).max())
    if off > _ORTHONORMAL:
        raise ConfigError(f"rotation is not orthonormal: R R^T is {off:.2g} off the identity, at most {_ORTHONORMAL:g}")
    if np.linalg.det(turn) < 0:
        raise ConfigError("rotation has determinant -1: it mirrors; exchange left and right or negate one row")
    if not FOCAL_RANGE[0] <= focal <= FOCAL_RANGE[1]:  # also true of NaN
        raise ConfigError(f"focal = {focal:g} widths of the image is not in {FOCAL_RANGE[0]:g}..{FOCAL_RANGE[1]:g}")
    distance = float(np.linalg.norm(move))
    if not DISTANCE_RANGE_MM[0] <= distance <= DISTANCE_RANGE_MM[1]:
        low, high = DISTANCE_RANGE_MM
        raise ConfigError(f"translation_mm: the camera is {distance:g} mm from the origin, not {low:g}..{high:g}")
    for array in (turn, move):
        array.setflags(write=False)
    elevation = np.degrees(np.arcsin(np.clip(-turn[2, 2], -1, 1)))
    azimuth = np.degrees(np.arctan2(-turn[2, 0], turn[2, 1])) % 360
    return Camera(None, None, float(elevation), float(azimuth), turn, move, float(focal))


def as_camera(view: int | Camera) -> Camera:
    """The camera itself, or the rig's camera of a frame.

    Raises:
        ConfigError: there is no such frame.
    """
    return view if isinstance(view, Camera) else camera(view)


def project(
    points_mm: ArrayLike, view: int | Camera, width_px: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projects world points into the square image of one camera.

    Args:
        points_mm: [N, 3] world points in millimetres.
        view: frame 1..144 of the rig, or a camera.
        width_px: side of the image in pixels; 1.0 gives the 0..1 coordinates of the labels.

    Returns:
        xy [N, 2] in pixels from the left and top edge, and depth [N], the z of the camera frame in mm.
    """
    cam = as_camera(view)
    local = np.asarray(points_mm, np.float64) @ cam.R.T + cam.t_mm
    depth = local[:, 2]
    return (cam.focal * local[:, :2] / depth[:, None] + 0.5) * width_px, depth


def mm_per_px(depth_mm: ArrayLike, width_px: float, focal: ArrayLike = FOCAL) -> NDArray[np.float64]:
    """Millimetres that one pixel spans, across the line of sight, at a given depth.

    Args:
        depth_mm: along the camera's axis.
        width_px: side of the image in pixels.
        focal: focal length as a multiple of the image's width; broadcast against depth_mm.
    """
    return np.asarray(depth_mm, np.float64) / (np.asarray(focal, np.float64) * width_px)


def parse_frames(text: str) -> tuple[int, ...]:
    """Reads a choice of frames: ``kept``, ``kept44``, ``all``, or numbers and ranges such as ``1,2,5-9``.

    Returns:
        Frames in ascending order, each once.

    Raises:
        ConfigError: names the part that is not a frame or a range.
    """
    if text == "kept":
        return KEPT_FRAMES
    if text == "kept44":
        return tuple(frame for frame in KEPT_FRAMES if frame != EXTRA_FRAME)
    if text == "all":
        return tuple(FRAMES)
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last) if dash else (first, first)
        if not all(bound.strip().isascii() and bound.strip().isdigit() for bound in bounds):
            raise ConfigError(f"frames {text!r}: {part!r} is not kept, kept44, all, a number or a range such as 5-9")
        low, high = check_frame(int(bounds[0])), check_frame(int(bounds[1]))
        if low > high:
            raise ConfigError(f"frames {text!r}: the range {part!r} runs backwards; write {high}-{low}")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))
