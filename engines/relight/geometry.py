"""Surface of the head in an image: from a depth map, or, if there is none, inflated from the silhouette.

Camera frame (OpenCV): x right, y down, z away from the camera; a normal that faces the camera has z < 0. Lengths
in millimetres. The perspective is that of AcuSim's rig.
"""

from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.errors import PictureError
from acusim.foreground import Foreground, find_foreground
from acusim.relative_depth import HEAD_DEPTH_MM, in_millimetres
from engines.recipe import Geometry

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
SMOOTHING_PX = 5.0
"""Standard deviation of that smoothing, pixels of an image 512 wide."""
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
        even = cv2.GaussianBlur(_normals(z, *_slopes(z), mask), (0, 0), max(0.3, pixels.shape[1] / 100))
        x, y, towards = _planes(even)
        return Surface(z, _unit(x, y, towards, mask), mask, "silhouette-inflation", found)
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
    padded = np.pad(weight, 1)

    def operator(u: NDArray[np.float64]) -> NDArray[np.float64]:
        padded[1:-1, 1:-1] = u
        padded[-1] = padded[-2]
        out = 4 * u
        for neighbour in (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:]):
            out -= neighbour
        out *= weight
        return out

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

    First the slopes, as the mean of many rounded ones is the true one; then the normals, along the surface and not
    across its edges.
    """
    scale = depth_mm.shape[1] / 512
    z = np.where(mask, depth_mm, 0).astype(np.float32, copy=False)
    window = (2 * round(4.5 * scale) + 1,) * 2
    share = 1 / np.maximum(cv2.blur(mask.astype(np.float32), window), np.float32(1e-4))
    across, down, even = (plane * share for plane in _planes(cv2.blur(cv2.merge((*_slopes(z), z)), window)))
    rough = _normals(z, across, down, mask)
    guide = np.where(mask, np.where(np.abs(even - z) < DEPTH_TOLERANCE_MM, even, z), FAR_OFF_MM)
    smooth = cv2.ximgproc.dtFilter(
        guide, rough, max(0.6, SMOOTHING_PX * scale), GUIDE_MM, mode=cv2.ximgproc.DTF_NC, numIters=1
    )
    x, y, towards = _planes(smooth)
    return _unit(x, y, towards, mask)


def _planes(image: NDArray[Any]) -> list[Floats]:
    """The channels of an image, [H, W] each."""
    return [np.asarray(plane, np.float32) for plane in cv2.split(image)]


def _normals(depth_mm: Floats, across: Floats, down: Floats, mask: Mask) -> Floats:
    """[H, W, 3] unit normals by back-projection, 0 outside the mask, from the slopes of the depth in mm a pixel."""
    height, width = depth_mm.shape
    focal = rig.FOCAL * width
    u = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / focal
    v = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / focal
    # P = z (u, v, 1), so dP/dcolumn = z' (u, v, 1) + z (1/f, 0, 0), and so for rows; their cross product up to scale:
    towards = depth_mm / -focal - across * u[None] - down * v[:, None]
    return _unit(across, down, towards, mask)


def _unit(x: Floats, y: Floats, z: Floats, mask: Mask) -> Floats:
    """[H, W, 3] vectors of length 1 inside the mask, of length 0 outside."""
    square = x * x
    square += y * y
    square += z * z
    scale = mask / np.maximum(np.sqrt(square, out=square), np.float32(1e-9))
    out = np.empty((*mask.shape, 3), np.float32)
    for axis, values in enumerate((x, y, z)):
        np.multiply(values, scale, out=out[..., axis])
    return out


def _slopes(z: Floats) -> tuple[Floats, Floats]:
    """Derivatives of depth along columns and rows, in mm a pixel; one-sided at edges, 0 for an isolated pixel.

    A step to the background, whose depth is 0, is an edge like any other.
    """
    jump = JUMP_MM * max(1.0, 512 / z.shape[1])

    def along_rows(z: Floats, total: Floats) -> None:
        step = z[1:] - z[:-1]
        usable = np.abs(step) < jump
        step *= usable
        total[1:] = step
        total[:-1] += step
        total[1:-1] *= np.where(usable[1:] & usable[:-1], np.float32(0.5), np.float32(1))

    across, down = np.zeros_like(z), np.zeros_like(z)
    along_rows(z.T, across.T)
    along_rows(z, down)
    return across, down
