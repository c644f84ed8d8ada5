"""Heads in three dimensions from labels: each acupoint of a person by least squares over the views that show it.

Used for the true positions of points that a view hides, and to compare persons. A label may be wrong in a few views
(released AcuSim files list hand-moved points, and round coordinates to a grid), so views that disagree lose weight,
and those that stay far off are left out. What is constant over all views cannot be seen from them: a picture-wide
offset in y is taken for a head that is higher by as much.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

MAX_MM_PER_ERROR = 5000.0
"""A point with a larger ``mm_per_error`` has no depth of its own: its views are less than some 5 degrees apart."""
_ROUNDS = 6
_SCALE_FLOOR = 0.25 / 2048
"""Residuals below this, in shares of the picture, are never an outlier's."""
_OUTLIER = 4.0
"""In robust standard deviations."""
_MAD = 1.4826 / 1.1774
"""From the median length of a residual in two dimensions to the standard deviation of one coordinate, times 1.4826
for safety: the median of few lengths is often small."""
_RIDGE = 1e-14
"""Of the trace: keeps the equations of a single view solvable."""
_PULL = 1e-6
"""Of the trace: how strongly a guess draws."""
_CONVERGED_MM = 1e-5


@dataclass(frozen=True, slots=True, eq=False)
class Head3D:
    """One person's acupoints, in the world frame of acusim.rig."""

    points_mm: Floats
    """[174, 3], NaN where the views do not determine the point."""
    views: NDArray[np.int64]
    """[174] views that show the point, outliers included."""
    used: Bools
    """[V, 174] views that the position rests on."""
    residual: Floats
    """[V, 174, 2] label minus reprojection in shares of the picture, also of views left out; NaN where not usable or
    where the position is unknown."""
    mm_per_error: Floats
    """[174] movement in the least certain direction that changes the root of the sum of squared residuals by one
    picture width; infinite where never seen. A point that needed the depth of a label has that of a single view."""
    information: Floats
    """[174, 3, 3] in picture widths² per mm²: d @ information @ d is by how much the sum of squared residuals of the
    views used grows if the point moves by d. Without a label's depth; zero where never seen."""

    @property
    def known(self) -> Bools:
        """[174] whether there is a position."""
        return np.isfinite(self.points_mm[:, 0])

    def rms(self, width_px: float = 1.0) -> float:
        """Root mean square length of the residuals of the views used, in pixels of a picture; NaN without any."""
        squared = (self.residual[self.used & np.isfinite(self.residual[..., 0])] ** 2).sum(-1)
        return float(np.sqrt(squared.mean()) * width_px) if len(squared) else float("nan")


def triangulate(
    xy: NDArray[np.floating],
    usable: Bools,
    rotation: NDArray[np.floating],
    translation_mm: NDArray[np.floating],
    focal: NDArray[np.floating],
    depth_mm: NDArray[np.floating] | None = None,
    guess_mm: NDArray[np.floating] | None = None,
) -> Head3D:
    """Triangulates the acupoints of one person.

    Args:
        xy: [V, N, 2] positions in 0..1 of each picture.
        usable: [V, N] where the position is a label that can be trusted.
        rotation: [V, 3, 3] world to camera.
        translation_mm: [V, 3] of the camera.
        focal: [V] focal length as a multiple of the picture's width.
        depth_mm: [V, N] along the camera's axis, NaN where unknown. Only used for points whose views (often a single
            one) leave the depth open.
        guess_mm: [N, 3] positions of a generic head. A point whose depth is open still then has the position nearest to
            it that its labels allow; without a guess it is unknown.

    Raises:
        ConfigError: the shapes do not fit each other.
    """
    _check_shapes(xy, usable, rotation, translation_mm, focal, depth_mm)
    usable = usable & np.isfinite(xy).all(-1)
    views, count = usable.shape
    out = Head3D(
        np.full((count, 3), np.nan),
        usable.sum(0),
        np.zeros((views, count), bool),
        np.full((views, count, 2), np.nan),
        np.full(count, np.inf),
        np.zeros((count, 3, 3)),
    )
    point, view = np.nonzero(usable.T)
    if not len(point):
        return out
    seen, start = np.unique(point, return_index=True)
    labels = _Labels(xy[view, point], rotation[view], translation_mm[view], focal[view], start)
    positions, used, information = _robust(labels)
    mm_per_error = _mm_per_error(information)
    weak = mm_per_error > MAX_MM_PER_ERROR
    if weak.any():
        depth = np.full(len(point), np.nan) if depth_mm is None else depth_mm[view, point]
        among = np.flatnonzero(weak)
        positions[among], mm_per_error[among] = _from_depth(labels, np.asarray(depth, np.float64), among)
        if guess_mm is not None:
            still = among[np.isnan(positions[among, 0])]
            positions[still] = labels.nearest(np.asarray(guess_mm, np.float64)[seen])[still]
        used = used | weak[labels.group]
    out.points_mm[seen], out.mm_per_error[seen], out.information[seen] = positions, mm_per_error, information
    out.residual[view, point] = -labels.errors(positions).T
    out.used[view, point] = used & np.isfinite(positions[labels.group, 0])
    return out


def heads_of(
    person: Sequence[str] | NDArray[np.generic],
    xy: NDArray[np.floating],
    usable: Bools,
    rotation: NDArray[np.floating],
    translation_mm: NDArray[np.floating],
    focal: NDArray[np.floating],
    depth_mm: NDArray[np.floating] | None = None,
    guess_mm: NDArray[np.floating] | None = None,
) -> dict[str, Head3D]:
    """Triangulates each person among N pictures.

    Args:
        person: [N] the key by which pictures belong to one head. The caller decides: a name where body size, hair and
            eyes do not move acupoints, a longer key where they do.
        xy, usable, rotation, translation_mm, focal, depth_mm, guess_mm: as triangulate, over N pictures.

    Returns:
        A head for each person, in the order of the sorted keys.

    Raises:
        ConfigError: as triangulate, or the number of keys differs from that of pictures.
    """
    keys = np.asarray(person)
    if keys.shape != (len(xy),):
        raise ConfigError(f"{keys.shape} keys of persons for {len(xy)} pictures; give one for each picture")
    names, number = np.unique(keys, return_inverse=True)
    order = np.argsort(number, kind="stable")
    groups = np.split(order, np.flatnonzero(np.diff(number[order])) + 1) if len(order) else []
    out: dict[str, Head3D] = {}
    for name, rows in zip(names, groups, strict=True):
        depth = None if depth_mm is None else depth_mm[rows]
        cameras = rotation[rows], translation_mm[rows], focal[rows]
        out[str(name)] = triangulate(xy[rows], usable[rows], *cameras, depth, guess_mm)
    return out


def _check_shapes(
    xy: NDArray[np.floating],
    usable: Bools,
    rotation: NDArray[np.floating],
    translation_mm: NDArray[np.floating],
    focal: NDArray[np.floating],
    depth_mm: NDArray[np.floating] | None,
) -> None:
    if usable.ndim != 2:
        raise ConfigError(f"usable is {usable.shape}; expected [views, points]")
    views, points = usable.shape
    arrays = {
        "xy": (xy, (views, points, 2)),
        "rotation": (rotation, (views, 3, 3)),
        "translation_mm": (translation_mm, (views, 3)),
        "focal": (focal, (views,)),
    }
    if depth_mm is not None:
        arrays["depth_mm"] = (depth_mm, (views, points))
    for name, (array, shape) in arrays.items():
        if array.shape != shape:
            raise ConfigError(f"{name} is {array.shape}, not {shape}, as usable has {views} views of {points} points")


class _Labels:
    """L labels, sorted by the point they show, as two linear equations each: (R[i] - u R[2]) X = u t[2] - t[i]."""

    def __init__(
        self,
        xy: NDArray[np.floating],
        rotation: NDArray[np.floating],
        translation_mm: NDArray[np.floating],
        focal: NDArray[np.floating],
        start: NDArray[np.int64],
    ) -> None:
        """xy [L, 2] and each label's camera; start [P] is where each point's labels begin."""
        self.start, self.count = start, np.diff([*start, len(xy)])
        self.group = np.repeat(np.arange(len(start)), self.count)
        self.rotation, self.translation_mm, self.focal = rotation, translation_mm, focal
        self.directions = ((xy - 0.5) / focal[:, None]).T
        """[2, L] x and y at depth one."""
        axes = rotation.transpose(1, 2, 0)
        self._rows = axes[:2] - self.directions[:, None] * axes[2]
        self._right = self.directions * translation_mm[:, 2] - translation_mm[:, :2].T
        self._forward = axes[2]
        pairs = [(i, j) for i in range(3) for j in range(3)]
        self._squares = np.stack([(self._rows[:, i] * self._rows[:, j]).sum(0) for i, j in pairs])
        self._moments = (self._rows * self._right[:, None]).sum(0)

    def depths(self, points: Floats) -> Floats:
        """[L] depth of points [P, 3] in the cameras of their labels, at least a millimetre."""
        x, y, z = points.T[:, self.group]
        depth = self._forward[0] * x + self._forward[1] * y + self._forward[2] * z
        return np.maximum(depth + self.translation_mm[:, 2], 1.0)

    def errors(self, points: Floats) -> Floats:
        """[2, L] reprojections minus labels, in shares of the picture."""
        x, y, z = points.T[:, self.group]
        error = self._rows[:, 0] * x + self._rows[:, 1] * y + self._rows[:, 2] * z - self._right
        return error * (self.focal / self.depths(points))

    def solve(self, weight: Floats) -> tuple[Floats, Floats]:
        """[P, 3] least-squares points and [P, 3, 3] their information, with weights [L] of the squared equations."""
        information = np.add.reduceat(self._squares * weight, self.start, axis=1).T.reshape(-1, 3, 3)
        ridge = _RIDGE * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        moments = np.add.reduceat(self._moments * weight, self.start, axis=1).T
        return np.linalg.solve(information + ridge, moments[..., None])[..., 0], information

    def nearest(self, guess: Floats) -> Floats:
        """[P, 3] least-squares points of all labels, nearest to guess [P, 3] in directions that they leave open."""
        weight = (self.focal / self.depths(guess)) ** 2
        information = np.add.reduceat(self._squares * weight, self.start, axis=1).T.reshape(-1, 3, 3)
        moments = np.add.reduceat(self._moments * weight, self.start, axis=1).T
        ridge = _PULL * np.trace(information, axis1=1, axis2=2)[:, None, None] * np.eye(3)
        return np.linalg.solve(information + ridge, moments[..., None] + ridge @ guess[..., None])[..., 0]

    def deviations(self, length: Floats) -> Floats:
        """[L] for each label the robust standard deviation of its point's residuals, from their lengths [L]."""
        ordered = length[np.lexsort((length, self.group))]
        middle = ordered[self.start + self.count // 2]
        return np.maximum(middle * _MAD, _SCALE_FLOOR)[self.group]


def _robust(labels: _Labels) -> tuple[Floats, Bools, Floats]:
    """Positions [P, 3], which labels [L] they rest on, and their information [P, 3, 3] in picture widths² per mm²."""
    distance = np.linalg.norm(labels.translation_mm, axis=1)
    points, _ = labels.solve((labels.focal / distance.clip(1.0)) ** 2)
    for _ in range(_ROUNDS):
        length = np.hypot(*labels.errors(points))
        weight = 1 / (1 + (length / labels.deviations(length)) ** 2)
        before = points
        points, _ = labels.solve(weight * (labels.focal / labels.depths(points)) ** 2)
        if np.abs(points - before).max() < _CONVERGED_MM:
            break
    length = np.hypot(*labels.errors(points))
    used = length <= _OUTLIER * labels.deviations(length)
    points, information = labels.solve(used * (labels.focal / labels.depths(points)) ** 2)
    return points, used, information


def _mm_per_error(information: Floats) -> Floats:
    """[P] one over the root of the smallest eigenvalue."""
    smallest = np.linalg.eigvalsh(information)[:, 0]
    with np.errstate(divide="ignore"):
        return 1 / np.sqrt(np.maximum(smallest, 0))


def _from_depth(labels: _Labels, depth_mm: Floats, among: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Medians of the labels carried back by their depths [L], for some points, and their mm_per_error."""
    points, spread = np.full((len(among), 3), np.nan), np.full(len(among), np.inf)
    for place, group in enumerate(among):
        rows = np.arange(labels.start[group], labels.start[group] + labels.count[group])
        rows = rows[np.isfinite(depth_mm[rows]) & (depth_mm[rows] > 0)]
        if len(rows):
            local = np.vstack([labels.directions[:, rows] * depth_mm[rows], depth_mm[rows]]).T
            local -= labels.translation_mm[rows]
            points[place] = np.median(np.einsum("ni,nij->nj", local, labels.rotation[rows]), 0)
            spread[place] = np.median(depth_mm[rows] / labels.focal[rows])
    return points, spread
