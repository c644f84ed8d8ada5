"""Whether the head's outline, and the outlines inside it known from depth, are where they were.

The background of an augmented image may be anything, so its silhouette cannot be cut out by colour. But it is known
where the outline should be: along each normal of the original's outline the step between the colours on its two sides
is measured at every offset up to REACH, neighbours along the outline are averaged, and the best offset is taken.
"""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.keypoint_metrics import mask_iou
from evaluation.structure import Bytes, Floats, Mask

REACH = 12
"""Largest offset examined, pixels."""
SIDE = 4
"""Pixels on each side whose mean colours are compared."""
STEP = 4
"""Pixels along the outline between two samples."""
NEIGHBOURS = 17
"""Samples averaged along the outline: 68 pixels."""
FLAT = 6.0
"""Levels of contrast at which an edge counts half."""
SURE = 2.0
"""An outline is seen where the best offset's step is this many times the median offset's."""
LEAST_LENGTH = 60
"""Outlines of fewer pixels are left out."""
JUMP_MM = 8.0
"""Neighbours whose depth differs by more are on different surfaces (at 512 pixels)."""
MOST_INNER = 160
"""Points on inner outlines, at most."""
BESIDE = 24.0
"""A point this near to the silhouette shares its fate, pixels."""
NEAR_PX = 2.0
"""An inner outline agrees if its offset changed by no more."""
_OFFSETS = np.arange(-REACH, REACH + 1)


@dataclass(frozen=True, slots=True, eq=False)
class Outline:
    """Points on outlines with the direction across them."""

    points: NDArray[np.float32]
    """[M, 2] pixels from the left and top edge."""
    normals: NDArray[np.float32]
    """[M, 2] unit vectors out of the head, or towards the farther surface."""
    starts: tuple[int, ...]
    """Where each closed curve starts; empty for points that form no curve."""

    @classmethod
    def empty(cls) -> "Outline":
        """No outline at all."""
        return cls(np.zeros((0, 2), np.float32), np.zeros((0, 2), np.float32), ())


@dataclass(frozen=True, slots=True)
class OutlineScore:
    """How far the silhouette moved."""

    iou: float
    """Intersection over union of the head's mask and the mask within the moved outline; NaN where none is seen."""
    distance_px: float
    """90th percentile of the outline's distance, where it is seen; NaN where none is seen."""
    seen: float
    """Share of the outline that the augmented image shows."""


def silhouette_of(mask: Mask) -> Outline:
    """The outer curves of a mask [H, W], without the stretches along the image's edge."""
    curves, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    points: list[NDArray[np.float32]] = []
    normals: list[NDArray[np.float32]] = []
    starts: list[int] = []
    count = 0
    for curve in curves:
        if len(curve) < LEAST_LENGTH:
            continue
        path = curve[:, 0].astype(np.float32) + np.float32(0.5)
        smooth = np.stack([_smoothed(path[:, axis], 5) for axis in (0, 1)], axis=1)
        tangent = np.roll(smooth, -2, axis=0) - np.roll(smooth, 2, axis=0)
        # cv2 walks an outer curve counter-clockwise on the screen, with y down: outwards is to the walker's right.
        normal = np.stack([-tangent[:, 1], tangent[:, 0]], axis=1)
        normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-6)
        starts.append(count)
        points.append(path[::STEP])
        normals.append(normal[::STEP].astype(np.float32))
        count += len(points[-1])
    if not points:
        return Outline.empty()
    return Outline(np.concatenate(points), np.concatenate(normals), tuple(starts))


def inner_outlines(depth_mm: NDArray[np.floating], mask: Mask) -> Outline:
    """Points where one surface of the head hides another, found by jumps of depth; evenly thinned.

    Args:
        depth_mm: [H, W] 0 in the background.
        mask: [H, W] the head.
    """
    depth = np.asarray(depth_mm, np.float32) * mask
    jump = np.float32(JUMP_MM * 512 / mask.shape[1])
    found: list[NDArray[np.float32]] = []
    for axis in (0, 1):
        # Every second row of columns is enough for the few points that are kept.
        before, after = (depth[:-1, ::2], depth[1:, ::2]) if axis == 0 else (depth[::2, :-1], depth[::2, 1:])
        step = after - before
        rows, columns = np.nonzero((np.abs(step) > jump) & (before > 0) & (after > 0))
        sign = np.sign(step[rows, columns])
        x, y = (2 * columns + 0.5, rows + 1.0) if axis == 0 else (columns + 1.0, 2 * rows + 0.5)
        normal = (np.zeros_like(sign), sign) if axis == 0 else (sign, np.zeros_like(sign))
        found.append(np.stack([x, y, *normal], axis=1).astype(np.float32))
    every = np.concatenate(found)
    every = every[:: max(1, len(every) // MOST_INNER)][:MOST_INNER]
    return Outline(np.ascontiguousarray(every[:, :2]), np.ascontiguousarray(every[:, 2:]), ())


def offsets(pixels: Bytes, outline: Outline) -> tuple[Floats, Mask]:
    """Where across each point the image has its outline.

    Args:
        pixels: [H, W, 3] RGB.
        outline: M points.

    Returns:
        [M] offsets along the normals in pixels, and [M] True where an outline is seen.
    """
    count = len(outline.points)
    if not count:
        return np.zeros(0, np.float32), np.zeros(0, bool)
    along = np.arange(-REACH - SIDE, REACH + SIDE + 1, dtype=np.float32)
    places = outline.points[:, None] + along[:, None] * outline.normals[:, None] - np.float32(0.5)
    sampled = cv2.remap(pixels, places[..., 0], places[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    # The mean of SIDE pixels from each one on.
    mean = cv2.boxFilter(sampled, cv2.CV_32F, (SIDE, 1), anchor=(0, 0), borderType=cv2.BORDER_REPLICATE)
    size = 2 * REACH + 1
    sides = np.ascontiguousarray(mean[:, :size]), np.ascontiguousarray(mean[:, SIDE + 1 : SIDE + 1 + size])
    red, green, blue = cv2.split(cv2.absdiff(*sides))
    contrast = np.asarray(cv2.max(cv2.max(red, green), blue), np.float32)
    step = contrast / (contrast.max(1, keepdims=True) + np.float32(FLAT))
    step = _averaged(step, outline.starts)
    best = step.argmax(1)
    seen = step[np.arange(count), best] > SURE * np.median(step, axis=1)
    height, width = pixels.shape[:2]
    edge = REACH + SIDE
    x, y = outline.points.T
    seen &= (x > edge) & (x < width - edge) & (y > edge) & (y < height - edge)
    return _OFFSETS[best].astype(np.float32), seen


def compare(moved: Floats, seen: Mask, outline: Outline, mask: Mask) -> OutlineScore:
    """The score of a silhouette whose points moved along their normals.

    Args:
        moved: [M] pixels, positive outwards.
        seen: [M] where the movement is known; elsewhere the outline is assumed to stay.
        outline: the M points.
        mask: [H, W] the head in the original.
    """
    if not seen.any():
        return OutlineScore(float("nan"), float("nan"), 0.0)
    path = outline.points + np.where(seen, moved, 0)[:, None] * outline.normals
    both = np.zeros((2, *mask.shape), np.uint8)
    ends = (*outline.starts[1:], len(path))
    for layer, points in enumerate((outline.points, path)):
        curves = [
            np.round((points[start:end] - 0.5) * 16).astype(np.int32)
            for start, end in zip(outline.starts, ends, strict=True)
        ]
        cv2.fillPoly(both[layer], curves, (1,), shift=4)
    iou = mask_iou(both[0] > 0, both[1] > 0)
    return OutlineScore(iou, float(np.percentile(np.abs(moved[seen]), 90)), float(seen.mean()))


def moved_beside(moved: Floats, seen: Mask, outline: Outline, points: NDArray[np.floating]) -> Floats:
    """[P] the farthest that an outline moved within BESIDE pixels of each point; 0 where none is seen there.

    Args:
        moved: [M] pixels along the normals.
        seen: [M] where the movement is known.
        outline: the M points.
        points: [P, 2]
    """
    if not len(points) or not seen.any():
        return np.zeros(len(points), np.float32)
    apart = np.linalg.norm(points[:, None] - outline.points[seen][None], axis=2)
    return np.where(apart <= BESIDE, np.abs(moved[seen])[None], 0).max(1).astype(np.float32)


def _smoothed(values: NDArray[np.float32], reach: int) -> NDArray[np.float32]:
    """Mean of each value and its neighbours on a closed curve."""
    wrapped = np.concatenate([values[-reach:], values, values[:reach]])
    total = np.cumsum(np.concatenate([[0.0], wrapped]))
    return ((total[2 * reach + 1 :] - total[: -2 * reach - 1]) / (2 * reach + 1)).astype(np.float32)


def _averaged(step: Floats, starts: tuple[int, ...]) -> Floats:
    """Averages [M, S] over neighbours along each closed curve."""
    out = step.copy()
    reach = NEIGHBOURS // 2
    for start, end in zip(starts, (*starts[1:], len(step)), strict=False):
        if end - start > NEIGHBOURS:
            curve = step[start:end]
            wrapped = np.concatenate([curve[-reach:], curve, curve[:reach]])
            out[start:end] = cv2.blur(wrapped, (1, NEIGHBOURS))[reach:-reach]
    return out
