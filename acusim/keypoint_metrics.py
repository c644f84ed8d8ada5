"""Keypoint metrics: one definition for everybody.

Coordinates are [..., N, 2] in pixels, ``visible`` is a boolean [..., N] of the ground truth: only visible points
count. A metric over no point at all is NaN, never 0.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def _points(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike) -> tuple[Floats, Floats, NDArray[np.bool_]]:
    p, t, v = np.asarray(predicted, np.float64), np.asarray(true, np.float64), np.asarray(visible)
    if p.shape != t.shape or p.shape[-1:] != (2,) or v.shape != p.shape[:-1]:
        raise ValueError(f"shapes {p.shape}, {t.shape} and visible {v.shape}; expected [...,N,2] twice and [...,N]")
    if v.dtype != np.bool_:
        raise ValueError(f"visible has type {v.dtype}; expected bool")
    return p, t, v


def pixel_error(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike) -> Floats:
    """Euclidean distance per point, [..., N], NaN where the point is not visible."""
    p, t, v = _points(predicted, true, visible)
    return np.where(v, np.linalg.norm(p - t, axis=-1), np.nan)


def oks(
    predicted: ArrayLike, true: ArrayLike, visible: ArrayLike, area_px: ArrayLike, sigma: ArrayLike
) -> Floats | float:
    """COCO's object keypoint similarity: mean over visible points of exp(-d² / (2 area (2 sigma)²)).

    Source: https://cocodataset.org/#keypoints-eval (there k = 2 sigma and s² = area).

    Args:
        predicted: [..., N, 2] pixels.
        true: [..., N, 2] pixels.
        visible: [..., N] bool.
        area_px: a number, or [...] the object's area in square pixels.
        sigma: a number, or [N] the spread of each keypoint.

    Returns:
        [...] one value per image (a float for a single one), NaN where nothing is visible.
    """
    p, t, v = _points(predicted, true, visible)
    variance = (2 * np.asarray(sigma, np.float64)) ** 2
    area = np.asarray(area_px, np.float64)[..., None]
    similarity = np.exp(-((p - t) ** 2).sum(-1) / (2 * area * variance))
    count = v.sum(-1)
    total = np.where(v, similarity, 0).sum(-1)
    result = np.divide(total, count, out=np.full(np.shape(total), np.nan), where=count > 0)
    return result if result.ndim else float(result)


def mask_iou(first: ArrayLike, second: ArrayLike) -> float:
    """Intersection over union of two boolean masks of one shape; NaN if both are empty."""
    a, b = np.asarray(first), np.asarray(second)
    if a.shape != b.shape or a.dtype != np.bool_ or b.dtype != np.bool_:
        raise ValueError(f"masks {a.shape} {a.dtype} and {b.shape} {b.dtype}; expected two bool masks of one shape")
    union = int((a | b).sum())
    return int((a & b).sum()) / union if union else float("nan")


def box_iou(first: ArrayLike, second: ArrayLike) -> Floats:
    """Intersection over union of boxes [..., 4] as (left, top, right, bottom); broadcasts; 0 for empty boxes."""
    a, b = np.asarray(first, np.float64), np.asarray(second, np.float64)
    corner = np.minimum(a[..., 2:], b[..., 2:]) - np.maximum(a[..., :2], b[..., :2])
    shared = corner.clip(0).prod(-1)
    union = (a[..., 2:] - a[..., :2]).clip(0).prod(-1) + (b[..., 2:] - b[..., :2]).clip(0).prod(-1) - shared
    return np.divide(shared, union, out=np.zeros(np.shape(union)), where=union > 0)
