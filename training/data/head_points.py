"""Position, visibility, trust and depth of the 174 points, from a picture's label, point mask and depth map."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import AcuSimError
from acusim.files import sha256
from acusim.labels import Label, parse_label_file
from acusim.pictures import decode_depth, read_file
from acusim.rig import FOCAL, ORBIT_RADIUS_MM, Camera

TRUE_DEPTH_FRAMES = (1, 19, 55, 91, 127)
"""Frames in which the released labels' h is the depth along the camera's axis."""
SEARCH_PX = 2
"""Search radius for a point's depth in the map: a point on the outline may fall beside it."""
MAX_SLOPE = 4.0
"""Steepest surface, in millimetres of depth for each across: where a map falls off more, another surface is behind."""
RULE = 2
"""Raised when a point's depth is found otherwise: depths that are stored are of one rule."""
PLAUSIBLE_MM = 400.0
"""Largest difference between the depth of a head's point and that of the rig's pivot; other values are ignored."""


@dataclass(frozen=True, slots=True)
class DepthTask:
    """A depth map to read at the points of a label."""

    key: str
    path: Path
    xy: NDArray[np.float32]
    """[174, 2] 0..1."""
    visible: NDArray[np.bool_]
    camera: Camera


def read_points(path: Path) -> tuple[Label, str]:
    """A label and the SHA-256 of its file.

    Raises:
        LabelError: as acusim.labels.read_label.
    """
    label, data = parse_label_file(path)
    return label, sha256(data)


def read_depths(tasks: list[DepthTask]) -> list[tuple[str, NDArray[np.float32] | None, str]]:
    """For each map its key, the depth of each point in mm (NaN where the map has none), and the error.

    The depths are None for a relative map, and None with an error for one that cannot be read.
    """
    out: list[tuple[str, NDArray[np.float32] | None, str]] = []
    for task in tasks:
        try:
            values, kind = decode_depth(read_file(task.path, "depth"), task.path.name)
            out.append((task.key, _depths(values, task) if kind == "mm16" else None, ""))
        except AcuSimError as error:
            out.append((task.key, None, str(error)))
    return out


def _depths(values: NDArray[np.float32], task: DepthTask) -> NDArray[np.float32]:
    return depth_at(values, task.xy, task.visible, float(task.camera.t_mm[2]), task.camera.focal)


def depth_at(
    values: NDArray[np.float32],
    xy: NDArray[np.float32],
    visible: NDArray[np.bool_],
    pivot_mm: float = ORBIT_RADIUS_MM,
    focal: float = FOCAL,
) -> NDArray[np.float32]:
    """Depth of points: of the nearest pixel that has one, unless one surface ends there before another.

    Args:
        values: [H, W] millimetres, 0 where there is nothing.
        xy: [N, 2] 0..1 of the picture.
        visible: [N] points to look up.
        pivot_mm: depth of the rig's pivot, which is inside the head.
        focal: focal length as a multiple of the picture's width.

    Returns:
        [N] millimetres, NaN where not visible, without a plausible depth within SEARCH_PX, or where the pixels around
        that one are of surfaces behind one another.
    """
    size = np.array([values.shape[1], values.shape[0]])
    at = xy[visible].astype(np.float64) * size
    offsets = np.stack(np.meshgrid(*[np.arange(-SEARCH_PX, SEARCH_PX + 1)] * 2), -1).reshape(-1, 2)
    pixels = np.floor(at).astype(int)[:, None] + offsets
    inside = ((pixels >= 0) & (pixels < size)).all(2)
    pixels = pixels.clip(0, size - 1)
    found = values[pixels[..., 1], pixels[..., 0]]
    plausible = inside & (np.abs(found - pivot_mm) < PLAUSIBLE_MM)
    distance = np.where(plausible, np.linalg.norm(pixels + 0.5 - at[:, None], axis=2), np.inf)
    best = distance.argmin(1)[:, None]
    out = np.full(len(xy), np.nan, np.float32)
    nearest = np.take_along_axis(found, best, 1)[:, 0]
    chosen = np.take_along_axis(pixels, best[..., None], 1)[:, 0]
    around = (chosen[:, None] + offsets[np.abs(offsets).max(1) <= 1]).clip(0, size - 1)
    levels = values[around[..., 1], around[..., 0]]
    beside = np.abs(levels - pivot_mm) < PLAUSIBLE_MM
    spread = np.where(beside, levels, -np.inf).max(1) - np.where(beside, levels, np.inf).min(1)
    one_surface = spread <= 2 * MAX_SLOPE * nearest / (focal * size[0])
    out[visible] = np.where(np.take_along_axis(plausible, best, 1)[:, 0] & one_surface, nearest, np.nan)
    return out


def depth_of_label(label: Label, frame: int) -> NDArray[np.float32]:
    """[174] millimetres from the label itself, NaN where its depth is not true; it is in labels with a camera."""
    if label.camera is None and frame not in TRUE_DEPTH_FRAMES:
        return np.full(acupoints.COUNT, np.nan, np.float32)
    return (1000 * label.h_m).astype(np.float32)
