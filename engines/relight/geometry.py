"""Surface of the head in an image: from a depth map, or, if there is none, inflated from the silhouette.

Camera frame (OpenCV): x right, y down, z away from the camera; a normal that faces the camera has z < 0. Lengths
in millimetres. The perspective is that of AcuSim's rig.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.errors import PictureError
from acusim.foreground import Foreground, find_foreground
from acusim.relative_depth import HEAD_DEPTH_MM, in_millimetres
from engines.recipe import Geometry
from engines.relight.grids import three

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Source = Literal[
    "depth-mm16", "depth-rel8-near-bright", "depth-rel8-far-bright", "depth-labels", "silhouette-inflation"
]

JUMP_MM = 8.0
"""Neighbouring pixels that differ by more (at 512 px) are on different surfaces."""
DEPTH_TOLERANCE_MM = 6.0
"""Depths that differ by much more are not averaged."""
FAR_OFF_MM = -1e4
"""Depth of the background in a guide: no smoothing crosses such a step."""
GUIDE_MM = 6.0
"""Depth steps of about this much stop the smoothing of normals (Gastal & Oliveira, SIGGRAPH 2011)."""
LEAST_SIDE = 8
"""A smaller picture has nothing to be relit."""
INFLATION_SIDE = 96
"""The silhouette is inflated on a grid of at most this side."""


@dataclass(frozen=True, slots=True, eq=False)
class Surface:
    """The visible surface of the head."""

    depth_mm: Floats
    """[H, W] z in the camera frame; 0 in the background."""
    normals: Floats
    """[H, W, 3] unit normals in the camera frame; 0 in the background."""
    mask: Mask
    """[H, W] True on the head."""
    source: Source
    found: Foreground
    """The same head with its matte and doubts."""


def surface_of(
    pixels: NDArray[np.uint8],
    depth: bytes | None,
    alpha: NDArray[np.uint8] | None = None,
    geometry: Geometry = "auto",
) -> Surface:
    """The surface in an image.

    Args:
        pixels: [H, W, 3] RGB.
        depth: the file of a depth map of the same size, None if there is none.
        alpha: [H, W] the image's alpha channel, None if there is none.
        geometry: the source that is wanted.

    Raises:
        PictureError: the picture is smaller than LEAST_SIDE; the depth map is unreadable, of another size, or without
            a foreground; there is no depth map and the background is not uniform enough to find the silhouette; or the
            wanted source is missing.
    """
    if min(pixels.shape[:2]) < LEAST_SIDE:
        height, width = pixels.shape[:2]
        raise PictureError(
            f"the picture is {width} x {height}; to be relit, it needs {LEAST_SIDE} x {LEAST_SIDE} pixels"
        )
    found = find_foreground(pixels, depth, alpha)
    _check_source(found, geometry)
    mask = found.mask
    if found.depth is None or geometry == "silhouette":
        z = _inflate(mask)
        return Surface(z, _normals(z, mask, blur=pixels.shape[1] / 100), mask, "silhouette-inflation", found)
    z, source = _from_relative(found.depth, mask) if found.depth_kind == "rel8" else _in_millimetres(found)
    return Surface(z, normals_from_depth(z, mask), mask, source, found)


def _check_source(found: Foreground, geometry: Geometry) -> None:
    """Raises PictureError where the wanted source is missing."""
    fitted = found.depth_kind == "labels"
    if geometry == "labels" and not fitted:
        raise PictureError(
            "geometry = labels: the sample has a depth map of its own, and none that was fitted to the labels; take "
            "geometry=auto or depth"
            if found.depth is not None
            else "geometry = labels: no depth map was fitted to the labels; run python -m synthetic fit first, or take "
            "geometry=auto"
        )
    if geometry == "depth" and (fitted or found.depth is None):
        has = "only one that was fitted to the labels" if fitted else "none"
        raise PictureError(f"geometry = depth: the data set's own depth map is wanted and there is {has}; take auto")


def _in_millimetres(found: Foreground) -> tuple[Floats, Source]:
    """Depth in the head's mask."""
    assert found.depth is not None
    if found.depth_kind != "labels":
        return found.depth, "depth-mm16"
    missing = found.mask & (found.depth <= 0)
    if missing.any():
        raise PictureError(
            f"the depth map fitted to the labels lacks {missing.sum()} of the head's {found.mask.sum()} pixels: it was "
            "made for another picture; run python -m synthetic fit again"
        )
    return np.where(found.mask, found.depth, 0), "depth-labels"


def _from_relative(values: Floats, mask: Mask) -> tuple[Floats, Source]:
    """8-bit relative depth in pseudo-millimetres."""
    z, near_bright = in_millimetres(values, mask)
    return z, "depth-rel8-near-bright" if near_bright else "depth-rel8-far-bright"


def _inflate(mask: Mask) -> Floats:
    """Depth of an inflated silhouette: the root of the solution of a Poisson equation on it."""
    height, width = mask.shape
    scale = min(1.0, INFLATION_SIDE / max(height, width))
    small_size = (max(3, round(width * scale)), max(3, round(height * scale)))
    small = cv2.resize(mask.astype(np.float32), small_size, interpolation=cv2.INTER_AREA) >= 0.5
    bulge = np.sqrt(np.maximum(_poisson(small), 0))
    bulge *= HEAD_DEPTH_MM / 2 / max(float(bulge.max()), 1e-6)
    full = cv2.resize(bulge, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.where(mask, rig.ORBIT_RADIUS_MM - full, 0).astype(np.float32)


def _poisson(inside: Mask) -> NDArray[np.float64]:
    """[H, W] solution of -laplace(u) = 1 inside, u = 0 outside; below the image the body continues.

    Conjugate gradients with sums that do not depend on the number of threads, unlike a library's solver.
    """
    weight = inside.astype(np.float64)

    def operator(u: NDArray[np.float64]) -> NDArray[np.float64]:
        padded = np.pad(u, 1)
        padded[-1] = padded[-2]
        around = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
        return (4 * u - around) * weight

    u, residual = np.zeros(inside.shape), weight.copy()
    direction, norm = residual.copy(), float((residual**2).sum())
    goal = 1e-8 * norm
    for _ in range(4 * max(inside.shape)):
        if norm <= goal:
            break
        applied = operator(direction)
        step = norm / float((direction * applied).sum())
        u += step * direction
        residual -= step * applied
        before, norm = norm, float((residual**2).sum())
        direction = residual + norm / before * direction
    return u


def normals_from_depth(depth_mm: Floats, mask: Mask) -> Floats:
    """[H, W, 3] normals of a depth map stored in whole millimetres, whose steps have to be smoothed first.

    Bilateral, so that a surface does not affect another in front of it.
    """
    scale = depth_mm.shape[1] / 512
    reach = max(3, 2 * round(4.5 * scale) + 1)
    z = np.where(mask, cv2.bilateralFilter(depth_mm, reach, DEPTH_TOLERANCE_MM, 3.0 * scale), 0).astype(np.float32)
    rough = _normals(z, mask, blur=1.5 * scale)
    # Whole millimetres leave rings like the grain of wood: smooth along the surface, but not across its edges.
    weight, sigma = mask.astype(np.float32), max(0.6, 3.0 * scale)
    even = cv2.GaussianBlur(z, (0, 0), sigma) / np.maximum(cv2.GaussianBlur(weight, (0, 0), sigma), 1e-4)
    guide = np.where(mask, np.where(np.abs(even - z) < DEPTH_TOLERANCE_MM, even, z), FAR_OFF_MM).astype(np.float32)
    smooth = cv2.ximgproc.dtFilter(guide, rough, max(0.6, 5.0 * scale), GUIDE_MM, mode=cv2.ximgproc.DTF_NC, numIters=2)
    return _unit(np.asarray(smooth, np.float32), mask)


def _normals(depth_mm: Floats, mask: Mask, blur: float) -> Floats:
    """Normals by back-projection; of the two neighbours on an axis, those on the same surface are used."""
    height, width = depth_mm.shape
    focal = rig.FOCAL * width
    u = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal
    v = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / focal
    jump = JUMP_MM * max(1.0, 512 / width)
    across, down = (_slope(depth_mm, mask, axis, jump) for axis in (1, 0))
    # P = z (u, v, 1), so dP/dcolumn = z' (u, v, 1) + z (1/f, 0, 0), and so for rows; their cross product up to scale:
    z = depth_mm / focal
    towards = -(z + across * u[None] + down * v[:, None])
    normals = _unit(np.asarray(cv2.merge([across, down, towards]), np.float32), mask)
    return _unit(np.asarray(cv2.GaussianBlur(normals, (0, 0), blur), np.float32), mask) if blur >= 0.3 else normals


def _unit(vectors: Floats, mask: Mask) -> Floats:
    """Vectors of length 1 inside the mask, of length 0 outside."""
    x, y, z = cv2.split(vectors)
    scale = np.where(mask, 1 / np.maximum(np.sqrt(x * x + y * y + z * z), 1e-9), 0)
    return vectors * three(scale.astype(np.float32))


def _slope(z: Floats, mask: Mask, axis: int, jump: float) -> Floats:
    """Derivative of depth along one axis, in mm a pixel; one-sided at edges, 0 for an isolated pixel."""
    step = np.diff(z, axis=axis)
    both = mask[1:] & mask[:-1] if axis == 0 else mask[:, 1:] & mask[:, :-1]
    usable = both & (np.abs(step) < jump)
    step = np.where(usable, step, 0)
    pad_after, pad_before = ((0, 1), (1, 0))
    spread = ((pad_after, (0, 0)), (pad_before, (0, 0))) if axis == 0 else (((0, 0), pad_after), ((0, 0), pad_before))
    ahead, behind = np.pad(step, spread[0]), np.pad(step, spread[1])
    count = np.pad(usable, spread[0]).astype(np.float32) + np.pad(usable, spread[1])
    return ((ahead + behind) / np.maximum(count, 1)).astype(np.float32)
