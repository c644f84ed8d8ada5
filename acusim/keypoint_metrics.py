"""Keypoint metrics: one definition for everybody.

Coordinates are [..., N, 2] in pixels, ``visible`` is a boolean [..., N] of the ground truth: only visible points
count. A figure over no point at all is NaN, never 0.
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


def _ratio(part: Floats | NDArray[np.bool_], visible: NDArray[np.bool_]) -> float:
    return float(part[visible].mean()) if visible.any() else float("nan")


def pixel_error(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike) -> Floats:
    """Euclidean distance per point, [..., N], NaN where the point is not visible."""
    p, t, v = _points(predicted, true, visible)
    return np.where(v, np.linalg.norm(p - t, axis=-1), np.nan)


def mean_pixel_error(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike) -> float:
    """Mean of pixel_error over the visible points."""
    p, t, v = _points(predicted, true, visible)
    return _ratio(np.linalg.norm(p - t, axis=-1), v)


def pck(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike, threshold_px: ArrayLike) -> float:
    """Percentage of correct keypoints as a fraction: visible points with error <= threshold.

    Args:
        predicted: [..., N, 2] pixels.
        true: [..., N, 2] pixels.
        visible: [..., N] bool.
        threshold_px: a number, or [...] one per picture (such as alpha times the head's size).
    """
    p, t, v = _points(predicted, true, visible)
    limit = np.asarray(threshold_px, np.float64)
    return _ratio(np.linalg.norm(p - t, axis=-1) <= limit[..., None], v)


def nme(predicted: ArrayLike, true: ArrayLike, visible: ArrayLike, normaliser_px: ArrayLike) -> float:
    """Normalised mean error: mean error over visible points, divided by a length per picture.

    Args:
        predicted: [..., N, 2] pixels.
        true: [..., N, 2] pixels.
        visible: [..., N] bool.
        normaliser_px: a number > 0, or [...] one per picture (interocular distance, head size).
    """
    p, t, v = _points(predicted, true, visible)
    length = np.asarray(normaliser_px, np.float64)
    if not (length > 0).all():
        raise ValueError(f"normaliser {length} must be above 0")
    return _ratio(np.linalg.norm(p - t, axis=-1) / length[..., None], v)


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
        [...] one figure per picture (a float for a single one), NaN where nothing is visible.
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
