"""The 144 cameras of AcuSim and the projection from millimetres to pixels.

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
FOCAL = 100.0 / 36.0
"""Focal length as a multiple of the image's width."""
ORBIT_RADIUS_MM = 870.077133
CAMERA_DROP_MM = -3.837239
"""The camera's height over the pivot, in its own frame."""


@dataclass(frozen=True, slots=True)
class Camera:
    """One of the 144 cameras; a world point X is at ``R @ X + t_mm`` in the camera's frame."""

    frame: int
    ring: int
    """0..3, see RING_ELEVATIONS_DEG."""
    elevation_deg: float
    azimuth_deg: float
    """0 faces the subject, 90 is at the subject's left."""
    R: NDArray[np.float64]
    """[3, 3] world to camera."""
    t_mm: NDArray[np.float64]
    """[3] translation."""

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
    elevation, azimuth = np.radians(RING_ELEVATIONS_DEG[ring]), np.radians(10.0 * step)
    se, ce, sa, ca = np.sin(elevation), np.cos(elevation), np.sin(azimuth), np.cos(azimuth)
    rotation = np.array([[ca, sa, 0.0], [se * sa, -se * ca, -ce], [-ce * sa, ce * ca, -se]])
    translation = np.array([0.0, CAMERA_DROP_MM, ORBIT_RADIUS_MM])
    rotation.setflags(write=False)
    translation.setflags(write=False)
    return Camera(frame, ring, RING_ELEVATIONS_DEG[ring], 10.0 * step, rotation, translation)


def project(points_mm: ArrayLike, frame: int, width_px: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Projects world points into the square image of one camera.

    Args:
        points_mm: [N, 3] world points in millimetres.
        frame: camera 1..144.
        width_px: side of the image in pixels; 1.0 gives the 0..1 coordinates of the labels.

    Returns:
        xy [N, 2] in pixels from the left and top edge, and depth [N], the z of the camera frame in mm.
    """
    cam = camera(frame)
    local = np.asarray(points_mm, np.float64) @ cam.R.T + cam.t_mm
    depth = local[:, 2]
    return (FOCAL * local[:, :2] / depth[:, None] + 0.5) * width_px, depth


def mm_per_px(depth_mm: ArrayLike, width_px: float) -> NDArray[np.float64]:
    """Millimetres that one pixel spans, across the line of sight, at a given depth."""
    return np.asarray(depth_mm, np.float64) / (FOCAL * width_px)


def parse_frames(text: str) -> tuple[int, ...]:
    """Reads a choice of frames: ``kept``, ``all``, or numbers and ranges such as ``1,2,5-9``.

    Returns:
        Frames in ascending order, each once.

    Raises:
        ConfigError: names the part that is not a frame or a range.
    """
    if text == "kept":
        return KEPT_FRAMES
    if text == "all":
        return tuple(FRAMES)
    chosen: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        bounds = (first, last) if dash else (first, first)
        if not all(bound.strip().isascii() and bound.strip().isdigit() for bound in bounds):
            raise ConfigError(f"frames {text!r}: {part!r} is not kept, all, a number or a range such as 5-9")
        low, high = check_frame(int(bounds[0])), check_frame(int(bounds[1]))
        if low > high:
            raise ConfigError(f"frames {text!r}: the range {part!r} runs backwards; write {high}-{low}")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))
