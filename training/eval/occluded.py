"""Errors of occluded points, apart from those of visible ones: measured against each person's head in 3D.

A label lists visible points alone. The true place of a hidden one is that of the person's head, triangulated from its
labels in the other pictures that are evaluated. Points that none of them shows have no known place and do not count.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from acusim import rig
from acusim.intervals import Bounds
from acusim.statistics import cluster_sums, figures_of_sums
from training.eval.metrics import TOLERANCE_MM
from training.eval.predictions import Floats, Predictions, Targets
from training.geometry.projection import project
from training.geometry.triangulation import heads_of

FIGURES = ("mean_mm", "within_5_mm")
_BOUNDS = Bounds(np.zeros(2), np.array([np.inf, 1.0]))


def occluded_errors(
    predictions: Mapping[str, Predictions], targets: Targets, persons: Sequence[str], heads: Sequence[str]
) -> dict[str, Any]:
    """Errors at points that a picture hides and another picture of the same head shows.

    Args:
        predictions: by name, of N pictures: the model's and the baselines' that have positions.
        targets: of the same pictures.
        persons: [N] whom each shows; intervals are over persons.
        heads: [N] whose head each shows: the person, or the person in one body size.

    Returns:
        ``points``, how many count; and by name ``mean_mm`` and ``within_5_mm`` (a share) with their intervals.
    """
    cameras = targets.rotation, targets.translation_mm, targets.focal
    usable = np.asarray(targets.visible) & targets.trusted
    known = heads_of(heads, targets.xy, usable, *cameras, targets.depth_mm)
    points = np.stack([known[str(key)].points_mm for key in heads])
    xy, depth = project(points, *cameras)
    hidden = ~np.asarray(targets.visible) & np.isfinite(points[..., 0])
    hidden &= (np.nan_to_num(xy, nan=-1) >= 0).all(-1) & (np.nan_to_num(xy, nan=2) <= 1).all(-1)
    scale = rig.mm_per_px(depth, 1.0, np.asarray(targets.focal)[:, None])
    out: dict[str, Any] = {"points": int(hidden.sum())}
    for name, one in predictions.items():
        error = np.where(hidden, np.linalg.norm(one.xy - xy, axis=-1) * scale, 0)
        terms = np.stack([error.sum(1), (hidden & (error <= TOLERANCE_MM)).sum(1), hidden.sum(1)], -1)
        found = figures_of_sums(cluster_sums(terms, persons), _ratios, _BOUNDS, lambda sums: sums[..., [2, 2]])
        out[name] = {figure: found[number].as_json() for number, figure in enumerate(FIGURES)}
    return out


def _ratios(sums: Floats) -> Floats:
    """[..., 3] sums of terms to [..., 2] means; NaN over nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., :2] / sums[..., 2:]
