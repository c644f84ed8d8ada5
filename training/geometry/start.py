"""The first guess of a head's pose: the best of many directions under a similarity of the picture's plane."""

from functools import cache

import numpy as np
from numpy.typing import NDArray

from training.geometry.projection import rotations

Floats = NDArray[np.float64]

_AZIMUTHS_DEG = range(0, 360, 30)
_ELEVATIONS_DEG = (-40, 0, 40)
_FINALISTS = 6
_ROUNDS = 4
_LEAST_SHARE = 1e-3
"""Of the largest error, below which an error is no better."""


@cache
def _directions() -> Floats:
    """[C, 3, 3] rotations, world to camera, of cameras all around; the first is that of frame 1."""
    out = []
    for elevation in np.radians(_ELEVATIONS_DEG):
        for azimuth in np.radians(_AZIMUTHS_DEG):
            se, ce, sa, ca = np.sin(elevation), np.cos(elevation), np.sin(azimuth), np.cos(azimuth)
            out.append([[ca, sa, 0.0], [se * sa, -se * ca, -ce], [-ce * sa, ce * ca, -se]])
    return np.array(out)


def first_guess(mean_mm: Floats, xy: Floats, weight: Floats, focal: Floats) -> tuple[Floats, Floats]:
    """A pose from which the fit converges; outliers and hidden points are allowed for.

    Args:
        mean_mm: [N, 3] the template's points.
        xy: [B, N, 2] given places.
        weight: [B, N] of at least 0.
        focal: [B].

    Returns:
        rotation [B, 3, 3] and translation_mm [B, 3].
    """
    directions = _directions()
    flat = mean_mm @ directions.transpose(0, 2, 1)
    model = flat[..., 0] + 1j * flat[..., 1]  # [C, N]
    place = xy[..., 0] + 1j * xy[..., 1]  # [B, N]
    weight = weight + 1e-9  # without any weight, all candidates are equal
    scores = _plain_scores(model, place, weight)
    best = np.argsort(scores, axis=1, kind="stable")[:, :_FINALISTS]
    turn, shift, score = _robust_similarity(model[best], place[:, None], weight[:, None])
    row = np.arange(len(xy))
    winner = score.argmin(1)
    turn, shift, chosen = turn[row, winner], shift[row, winner], best[row, winner]
    scale = np.maximum(np.abs(turn), 1e-6)
    about = np.zeros((len(xy), 3))
    about[:, 2] = np.angle(turn)
    depth = focal / scale
    translation = np.stack([(shift.real - 0.5) * depth / focal, (shift.imag - 0.5) * depth / focal, depth], 1)
    return rotations(about) @ directions[chosen], translation


def _plain_scores(model: NDArray[np.complex128], place: NDArray[np.complex128], weight: Floats) -> Floats:
    """[B, C] weighted sum of squares that the best similarity of each candidate leaves."""
    total = weight.sum(1, keepdims=True)
    centred = place - (weight * place).sum(1, keepdims=True) / total
    cross = (weight * centred) @ model.conj().T
    spread = weight @ (np.abs(model) ** 2).T - np.abs(weight @ model.T) ** 2 / total
    return (weight * np.abs(centred) ** 2).sum(1, keepdims=True) - np.abs(cross) ** 2 / np.maximum(spread, 1e-9)


def _robust_similarity(
    model: NDArray[np.complex128], place: NDArray[np.complex128], weight: Floats
) -> tuple[NDArray[np.complex128], NDArray[np.complex128], Floats]:
    """place ~ turn * model + shift with the least sum of distances, for arrays [B, C, N]; results are [B, C]."""
    used = np.broadcast_to(weight, model.shape)
    turn = shift = np.zeros(model.shape[:2], np.complex128)
    error = np.zeros(model.shape)
    for _ in range(_ROUNDS):
        total = used.sum(-1)
        model_mean, place_mean = (used * model).sum(-1) / total, (used * place).sum(-1) / total
        centred = model - model_mean[..., None]
        power = (used * np.abs(centred) ** 2).sum(-1)
        turn = (used * centred.conj() * place).sum(-1) / np.maximum(power, 1e-12)
        shift = place_mean - turn * model_mean
        error = np.abs(place - turn[..., None] * model - shift[..., None])
        used = weight / np.maximum(error, _LEAST_SHARE)
    return turn, shift, (weight * error).sum(-1)
