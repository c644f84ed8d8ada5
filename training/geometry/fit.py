"""Camera, pose and shape of a head for given points: the template fitted robustly to many pictures at once.

Minimised is, for each picture, the sum over points of weight * Cauchy(distance / noise), plus the sum of the squared
coefficients of the shapes in their standard deviations (a Gaussian prior), by Levenberg-Marquardt steps with weights
renewed each time (IRLS). The noise is in mm at the head, so neither size nor distance of the head matters. The first
guess is the best of the rig's directions around the head under a similarity (Umeyama's, in two dimensions).
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints, rig
from acusim.errors import ConfigError
from training.geometry.projection import head_pose_deg, rotations
from training.geometry.start import first_guess
from training.geometry.template import Template

Floats = NDArray[np.float64]

SHAPES = 8
"""Shapes that are fitted by default."""
NOISE_MM = 3.75
"""Standard deviation of a point's coordinate that the prior of the shapes is weighed against."""
MAX_RESIDUAL = 0.12
"""Largest ``relative`` residual of a fit that is trusted; see docs/guide/pose.md for what was measured."""
MIN_FACING = -0.1
"""Least ``facing`` of a fit that is trusted."""
MIN_WEIGHT = 4.0
"""Least sum of the weights of a picture's points."""
_ROUNDS = 16
_TAIL = (8.0, 4.0, 1.7)
"""From how many standard deviations on a point loses weight: in the first rounds, and from then on the last."""
_MIN_DEPTH_MM = 50.0
_DONE = 1e-5
"""Steps below this, in radians and shares of the distance, end the search."""
_CHUNK = 64


@dataclass(frozen=True, slots=True, eq=False)
class Fit:
    """Heads fitted to B pictures."""

    rotation: Floats
    """[B, 3, 3] the head's frame (that of acusim.rig) to the camera's."""
    translation_mm: Floats
    """[B, 3] the head's pivot in the camera's frame. If the focal length is only assumed, its depth is so, too."""
    focal: Floats
    """[B] focal lengths that were assumed, multiples of the picture's width."""
    coefficients: Floats
    """[B, k] of the template's shapes."""
    points_mm: Floats
    """[B, 174, 3] in the head's frame."""
    camera_mm: Floats
    """[B, 174, 3] in the camera's frame: x right, y down, z forward."""
    xy: Floats
    """[B, 174, 2] projections in 0..1 of the picture, those of hidden points too."""
    pose_deg: Floats
    """[B, 3] yaw, pitch, roll; see projection.head_pose_deg."""
    residual: Floats
    """[B] weighted median distance of the given points from their projections, in shares of the picture."""
    relative: Floats
    """[B] the same in shares of the head's size in the picture: twice the root mean square distance of the template's
    points from their centre, about 200 mm."""
    facing: Floats
    """[B] how much more the points with large weights face the camera than all points do, as a mean cosine. Clearly
    negative: the points that should be visible are on the far side, as of a mirrored head."""
    ok: NDArray[np.bool_]
    """[B] relative is at most MAX_RESIDUAL, facing at least MIN_FACING, and the weights add up to MIN_WEIGHT."""

    def __len__(self) -> int:
        return len(self.ok)


def fit(
    template: Template,
    xy: NDArray[np.floating],
    weight: NDArray[np.floating],
    focal: ArrayLike = rig.FOCAL,
    *,
    shapes: int = SHAPES,
    noise_mm: float = NOISE_MM,
    max_residual: float = MAX_RESIDUAL,
) -> Fit:
    """Fits the template to the points of B pictures.

    Args:
        template: mean head and shapes.
        xy: [B, 174, 2] points in 0..1 of each picture; NaN has no weight.
        weight: [B, 174] from 0, no influence, to 1; for example 0.1 + 0.8 * probability that the point is visible. NaN
            counts as 0.
        focal: focal length as a multiple of the picture's width, one or [B].
        shapes: most shapes to fit.
        noise_mm: standard deviation of the points, in mm at the head.
        max_residual: largest relative residual with ``ok``.

    Raises:
        ConfigError: an array has another shape, or a value is out of its range.
    """
    places, weights, focals = _checked(xy, weight, focal)
    if shapes < 0 or not noise_mm > 0:
        raise ConfigError(f"shapes = {shapes} and noise_mm = {noise_mm}; expected at least 0, and above 0")
    problem = _Problem(template, min(shapes, len(template.deviations_mm)), noise_mm)
    parts = [
        problem.solve(places[start : start + _CHUNK], weights[start : start + _CHUNK], focals[start : start + _CHUNK])
        for start in range(0, len(places), _CHUNK)
    ]
    if not parts:
        parts = [(np.zeros((0, 3, 3)), np.zeros((0, 3)), np.zeros((0, problem.kept)))]
    rotation, translation, coefficients = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    return _result(template, places, weights, focals, (rotation, translation, coefficients), max_residual)


def _checked(xy: NDArray[np.floating], weight: NDArray[np.floating], focal: ArrayLike) -> tuple[Floats, Floats, Floats]:
    """Places without NaN, weights, and a focal length for each picture."""
    count = len(xy)
    if xy.shape != (count, acupoints.COUNT, 2) or weight.shape != (count, acupoints.COUNT):
        raise ConfigError(f"xy is {xy.shape} and weight {weight.shape}; expected [B, 174, 2] and [B, 174]")
    focals = np.asarray(focal, np.float64)
    if focals.shape not in ((), (count,)) or not (np.isfinite(focals) & (focals > 0)).all():
        raise ConfigError(
            "focal must be one positive number, or one for each picture: multiples of the picture's width"
        )
    if (weight < 0).any():
        raise ConfigError("a weight is negative")
    usable = np.isfinite(xy).all(-1) & np.isfinite(weight)
    places = np.where(usable[..., None], xy, 0.5).astype(np.float64)
    return places, np.where(usable, weight, 0).astype(np.float64), np.broadcast_to(focals, (count,)).copy()


class _Problem:
    """What all pictures share, and the search."""

    def __init__(self, template: Template, kept: int, noise_mm: float) -> None:
        self.template, self.kept, self.noise_mm = template, kept, noise_mm
        self.shapes = template.shapes[:kept]
        self.precision = 1 / template.deviations_mm[:kept] ** 2

    def solve(self, xy: Floats, weight: Floats, focal: Floats) -> tuple[Floats, Floats, Floats]:
        """Rotation [B, 3, 3], translation [B, 3], coefficients [B, k]."""
        rotation, translation = first_guess(self.template.mean_mm, xy, weight, focal)
        coefficients = np.zeros((len(xy), self.kept))
        damping = np.full(len(xy), 1e-3)
        for turn in range(_ROUNDS):
            tail = _TAIL[min(turn // 2, len(_TAIL) - 1)]
            state = (rotation, translation, coefficients)
            local, error = self._errors(state, xy, focal)
            spread = self.noise_mm * focal / np.maximum(translation[:, 2], _MIN_DEPTH_MM)
            squared = (error**2).sum(-1) / spread[:, None] ** 2
            robust = weight / (1 + squared / tail**2) / spread[:, None] ** 2
            step = self._step(state, local, error, robust, focal, damping)
            new = self._moved(state, step)
            before, after = (
                self._cost(s, e, weight, spread, tail)
                for s, e in ((state, error), (new, self._errors(new, xy, focal)[1]))
            )
            better = (after <= before) & (new[1][:, 2] > _MIN_DEPTH_MM)
            rotation, translation, coefficients = (
                np.where(better.reshape(-1, *[1] * (new_.ndim - 1)), new_, old)
                for new_, old in zip(new, state, strict=True)
            )
            damping = np.where(better, damping / 5, np.minimum(damping * 10, 1e6))
            relative = np.abs(step[:, :6]) / np.r_[np.ones(3), np.full(3, rig.ORBIT_RADIUS_MM)]
            if turn >= 2 * len(_TAIL) and relative.max(initial=0) < _DONE:
                break
        return rotation, translation, coefficients

    def _errors(self, state: tuple[Floats, Floats, Floats], xy: Floats, focal: Floats) -> tuple[Floats, Floats]:
        """Points in the camera's frame [B, N, 3], and given minus projected places [B, N, 2]."""
        rotation, translation, coefficients = state
        heads = self.template.head(coefficients)
        local = heads @ rotation.transpose(0, 2, 1) + translation[:, None]
        depth = np.maximum(local[..., 2:], _MIN_DEPTH_MM / 2)
        return local, xy - (local[..., :2] / depth * focal[:, None, None] + 0.5)

    def _cost(
        self, state: tuple[Floats, Floats, Floats], error: Floats, weight: Floats, spread: Floats, tail: float
    ) -> Floats:
        """[B] what is minimised."""
        squared = (error**2).sum(-1) / (spread[:, None] * tail) ** 2
        return tail**2 * (weight * np.log1p(squared)).sum(1) + state[2] ** 2 @ self.precision

    def _step(
        self,
        state: tuple[Floats, Floats, Floats],
        local: Floats,
        error: Floats,
        robust: Floats,
        focal: Floats,
        damping: Floats,
    ) -> Floats:
        """[B, 6 + k] change of rotation (a vector), translation and coefficients."""
        rotation, translation, coefficients = state
        count, points = robust.shape
        depth = np.maximum(local[..., 2], _MIN_DEPTH_MM / 2)
        ahead = np.zeros((count, points, 2, 3))  # derivative of the projection by the point in the camera's frame
        ahead[..., 0, 0] = ahead[..., 1, 1] = focal[:, None] / depth
        ahead[..., 2] = -local[..., :2] / depth[..., None] * ahead[..., :1, 0]
        x, y, z = np.moveaxis(local - translation[:, None], -1, 0)
        a, b = ahead[..., 2], ahead[..., 0, 0]
        jacobian = np.empty((count, points, 2, 6 + self.kept))
        # ahead @ (w cross p) for unit vectors w
        jacobian[..., 0] = a * y[..., None]
        jacobian[..., 1, 0] -= b * z
        jacobian[..., 1] = -a * x[..., None]
        jacobian[..., 0, 1] += b * z
        jacobian[..., 0, 2], jacobian[..., 1, 2] = -b * y, b * x
        jacobian[..., 3:6] = ahead
        flat = ahead.reshape(count, points * 2, 3) @ rotation
        turned = flat.reshape(count, points, 2, 3).transpose(1, 0, 2, 3).reshape(points, count * 2, 3)
        by_shape = turned @ self.shapes.transpose(1, 2, 0)
        jacobian[..., 6:] = by_shape.reshape(points, count, 2, self.kept).transpose(1, 0, 2, 3)
        design = jacobian.reshape(count, points * 2, 6 + self.kept)
        weighted = design * np.repeat(robust, 2, axis=1)[..., None]
        normal = weighted.transpose(0, 2, 1) @ design
        right = (weighted.transpose(0, 2, 1) @ error.reshape(count, -1, 1))[..., 0]
        diagonal = np.arange(6 + self.kept)
        normal[:, diagonal[6:], diagonal[6:]] += self.precision
        right[:, 6:] -= coefficients * self.precision
        normal[:, diagonal, diagonal] *= 1 + damping[:, None]
        normal[:, diagonal, diagonal] += 1e-9
        return np.linalg.solve(normal, right[..., None])[..., 0]

    def _moved(self, state: tuple[Floats, Floats, Floats], step: Floats) -> tuple[Floats, Floats, Floats]:
        rotation, translation, coefficients = state
        return rotations(step[:, :3]) @ rotation, translation + step[:, 3:6], coefficients + step[:, 6:]


def _result(
    template: Template,
    xy: Floats,
    weight: Floats,
    focal: Floats,
    state: tuple[Floats, Floats, Floats],
    max_residual: float,
) -> Fit:
    rotation, translation, coefficients = state
    heads = template.head(coefficients)
    local = heads @ rotation.transpose(0, 2, 1) + translation[:, None]
    places = local[..., :2] / np.maximum(local[..., 2:], _MIN_DEPTH_MM / 2) * focal[:, None, None] + 0.5
    residual = _weighted_median(np.linalg.norm(xy - places, axis=-1), weight)
    size_mm = 2 * np.sqrt(((template.mean_mm - template.mean_mm.mean(0)) ** 2).sum(1).mean())
    relative = residual / (size_mm * focal / translation[:, 2])
    normals = acupoints.normals() @ rotation.transpose(0, 2, 1)
    cosine = -(normals * local).sum(-1) / np.linalg.norm(local, axis=-1)
    total = weight.sum(1)
    facing = (cosine * weight).sum(1) / np.maximum(total, 1e-9) - cosine.mean(1)
    ok = (relative <= max_residual) & (facing >= MIN_FACING) & (total >= MIN_WEIGHT)
    pose = head_pose_deg(rotation)
    return Fit(
        rotation, translation, focal, coefficients, heads, local, places, pose, residual, relative, facing, ok
    )  # fmt: skip


def _weighted_median(values: Floats, weight: Floats) -> Floats:
    """[B] of values [B, N]; infinite where all weights are 0."""
    order = values.argsort(1)
    ordered = np.take_along_axis(weight, order, 1).cumsum(1)
    middle = (ordered < ordered[:, -1:] / 2).sum(1)
    out = np.take_along_axis(values, np.take_along_axis(order, middle[:, None].clip(max=values.shape[1] - 1), 1), 1)
    return np.where(ordered[:, -1] > 0, out[:, 0], np.inf)
