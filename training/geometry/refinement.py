"""A second pass: pictures brought to the framing of the rig by the first pass's fit, predicted again, and combined.

A detector is best on heads as its training pictures show them: upright, centred, of one size. The fit of its first
answer tells how a picture deviates from that; a similarity undoes it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import rig
from acusim.errors import ConfigError
from training.geometry.fit import SHAPES, Fit, fit
from training.geometry.projection import roll_of
from training.geometry.similarity import invert, move_points, warp
from training.geometry.template import Template

Floats = NDArray[np.float64]
Predict = Callable[[NDArray[np.uint8]], tuple[NDArray[np.floating], NDArray[np.floating]]]
"""Pictures [B, S, S, 3] -> probabilities [B, 174] and positions [B, 174, 2] in 0..1."""

SCALES = (0.6, 1.6)
"""Least and largest magnification of the second pass."""
HIDDEN_WEIGHT = 0.1
"""Weight in the fit of a point that is certainly hidden."""
VISIBLE_WEIGHT = 0.9
"""Weight of one that is certainly visible."""
SECOND_SHARE = 0.5
"""Share of the second pass in the combination."""
_PIVOT = (0.5, 0.5 + rig.FOCAL * rig.CAMERA_DROP_MM / rig.ORBIT_RADIUS_MM)
"""Where the rig's cameras see the head's pivot."""


@dataclass(frozen=True, slots=True, eq=False)
class Refined:
    """Two passes over B pictures, combined."""

    probability: NDArray[np.float32]
    """[B, 174] that the point is visible."""
    xy: NDArray[np.float32]
    """[B, 174, 2] mean of both passes in 0..1 of the given pictures; the fit is not mixed in."""
    fit: Fit
    """Of these points; its ``xy`` are the template's."""
    twice: NDArray[np.bool_]
    """[B] pictures with a second pass; the others' first fit was not trusted."""


def weights_of(probability: NDArray[np.floating]) -> Floats:
    """Weights for the fit from probabilities of being visible: hidden points count a little, none fully."""
    return HIDDEN_WEIGHT + (VISIBLE_WEIGHT - HIDDEN_WEIGHT) * np.asarray(probability, np.float64)


def canonical(result: Fit, scales: tuple[float, float] = SCALES) -> Floats:
    """[B, 2, 3] similarities that bring pictures to the rig's framing.

    Roll is undone, the pivot moved to its place, and the size brought to that at the rig's distance and focal length,
    magnified by no less and no more than ``scales``. Where a fit is not ``ok`` the matrix leaves the picture as it is.
    """
    roll = -roll_of(result.rotation)
    depth = np.maximum(result.translation_mm[:, 2], 1.0)
    scale = np.clip(depth / result.focal * (rig.FOCAL / rig.ORBIT_RADIUS_MM), *scales)
    cosine, sine = scale * np.cos(roll), scale * np.sin(roll)
    linear = np.stack([cosine, -sine, sine, cosine], 1).reshape(-1, 2, 2)
    pivot = result.focal[:, None] * result.translation_mm[:, :2] / depth[:, None] + 0.5
    shift = np.array(_PIVOT) - np.einsum("bij,bj->bi", linear, pivot)
    matrices = np.concatenate([linear, shift[..., None]], 2)
    return np.where(result.ok[:, None, None], matrices, np.eye(2, 3))


def combine(
    first: tuple[NDArray[np.floating], NDArray[np.floating]],
    second: tuple[NDArray[np.floating], NDArray[np.floating]],
    share: float | NDArray[np.floating] = SECOND_SHARE,
) -> tuple[Floats, Floats]:
    """The weighted mean of two passes.

    Args:
        first: probability [B, 174] and xy [B, 174, 2] of the first pass.
        second: of the second pass, in shares of the same pictures.
        share: of the second pass in 0..1; a number, [B] or [B, 174].

    Returns:
        probability and xy.

    Raises:
        ConfigError: the share is not within 0..1.
    """
    part = np.asarray(share, np.float64)
    if not ((part >= 0) & (part <= 1)).all():
        raise ConfigError(f"the share of the second pass is {share}, not within 0..1")
    part = part.reshape(*part.shape, *[1] * (2 - part.ndim)) if part.ndim else part
    probability = first[0] + part * (second[0] - first[0])
    wide = part[..., None] if part.ndim else part
    return probability, first[1] + wide * (second[1] - first[1])


def refine(
    predict: Predict,
    pictures: Sequence[NDArray[np.uint8]],
    first: tuple[NDArray[np.floating], NDArray[np.floating]],
    template: Template,
    size: int,
    *,
    focal: ArrayLike = rig.FOCAL,
    shapes: int = SHAPES,
    share: float = SECOND_SHARE,
) -> Refined:
    """Predicts pictures a second time in the rig's framing, where the fit of the first pass is trusted.

    Args:
        predict: the detector.
        pictures: B square pictures, best larger than the detector's; their sizes may differ.
        first: its probability [B, 174] and xy [B, 174, 2] for them, of the first pass.
        template: for the fits.
        size: side in pixels of the detector's input.
        focal: as fit.
        shapes: as fit.
        share: of the second pass in the result.

    Raises:
        ConfigError: as fit, warp and combine.
    """
    probability, xy = (np.asarray(array, np.float64) for array in first)
    result = fit(template, xy, weights_of(probability), focal, shapes=shapes)
    rows = np.flatnonzero(result.ok)
    if len(rows):
        matrices = canonical(result)[rows]
        warped = np.stack([warp(pictures[row], matrix, size) for row, matrix in zip(rows, matrices, strict=True)])
        again, moved = predict(warped)
        back = move_points(invert(matrices), np.asarray(moved, np.float64))
        probability, xy = probability.copy(), xy.copy()
        probability[rows], xy[rows] = combine((probability[rows], xy[rows]), (np.asarray(again), back), share)
        result = fit(template, xy, weights_of(probability), focal, shapes=shapes)
    twice = np.zeros(len(xy), bool)
    twice[rows] = True
    return Refined(probability.astype(np.float32), xy.astype(np.float32), result, twice)
