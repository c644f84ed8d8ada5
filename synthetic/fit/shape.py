"""A person's head from the labels of its views: the mean head, moved smoothly until its acupoints are where they are.

The displacement of space from the mean head is a Gaussian process (Lüthi et al., "Gaussian process morphable models",
TPAMI 2018): an affine part for size and place, and smooth parts of several lengths for the shape. Each label of each
view measures where an acupoint's line of sight passes. What no label says stays as in the mean head, so that one view
alone can be fitted, too: its depth is then the mean head's, as far as the label agrees with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.errors import LabelError
from acusim.labels import Label
from acusim.rig import Camera
from synthetic.anatomy import mean_head
from synthetic.fitting import SurfaceLocation

Floats = NDArray[np.float64]

MOVED_BY_HAND = tuple(
    acupoints.index_of(name)
    for name in acupoints.NAMES
    if name.partition("_")[0] in ("BL1", "BL2", "GB1", "ST1", "ST4")
)
"""Acupoints whose released labels AcuSim's authors shifted up or down by hand, up to 0.015 of the image: not used."""
LEAST_POINTS = 8
"""Acupoints that must be seen in at least one view."""
PLACE_MM, STRETCH = 15.0, 0.06
"""Standard deviations of the affine part: where the head is, and how its axes are scaled, turned and sheared."""
SMOOTH_MM = ((60.0, 8.0), (25.0, 4.0), (12.0, 3.0))
"""Lengths over which shapes differ smoothly, and by how much, in millimetres."""
NOISE_PX = 1.0
"""Of a label, in an image 512 wide: the released ones are cut off to whole steps."""
OUTLIER_PX = 6.0
"""Labels that lie farther off count less and less (Geman and McClure's weights), and a view whose median is beyond fits
no head."""
_ROUNDS = 6
_CHUNK = 8192
_SIDE = 512


@dataclass(frozen=True)
class LabelledView:
    """One view of a person."""

    name: str
    label: Label
    camera: Camera


@dataclass(frozen=True)
class FittedHead:
    """A person's bare head."""

    vertices: NDArray[np.float32]
    """[V, 3] mm in the rig's frame, on the mean head's topology."""
    faces: NDArray[np.int32]
    """[F, 3]."""
    head: slice
    """The vertices of the head itself, without ears and body."""
    places: SurfaceLocation
    """[174] where the acupoints sit on the mesh."""
    acupoints_mm: Floats
    """[174, 3] where the acupoints are, those that no view shows as the mean head's shape suggests."""
    mean_acupoints_mm: Floats
    """[174, 3] where they are on the mean head."""
    views: tuple[str, ...]
    """Those that it was fitted to."""
    left_out: dict[str, str]
    """View -> why it fits no head with the others."""
    residual_px: float
    """Median distance of the labels that were used, in an image 512 wide."""
    points: int
    """Acupoints that at least one view shows."""


def fit_head(gender: str, views: Sequence[LabelledView], without: Sequence[int] = ()) -> FittedHead:
    """Fits the mean head of a gender to the labels of one person.

    Args:
        gender: F or M.
        views: at least one; more of them tell the depth.
        without: acupoints whose labels are not used, to measure how well they are predicted.

    Raises:
        LabelError: too few acupoints are seen, or no view fits a head.
    """
    mean = mean_head(gender)
    points = mean.places.of(mean.vertices) + mean.offsets_mm
    used, left_out = list(views), dict[str, str]()
    while True:
        seen = _seen(used, without)
        if seen.any(0).sum() < LEAST_POINTS:
            least = f"{seen.any(0).sum()} acupoints are seen in {len(used)} views; a fit needs {LEAST_POINTS}"
            raise LabelError("; ".join([least, *(f"{name}: {why}" for name, why in left_out.items())]))
        weights, error = _solve(points, used, seen)
        medians = np.array([np.median(row[at]) if at.any() else 0.0 for row, at in zip(error, seen, strict=True)])
        worst = int(medians.argmax())
        if medians[worst] <= OUTLIER_PX:
            break
        left_out[used[worst].name] = (
            f"its labels are {medians[worst]:.1f} px of 512 off the head of the other views, at most {OUTLIER_PX:g}"
        )
        del used[worst]
    vertices = mean.vertices + _displacement(mean.vertices, points, weights)
    moved = points + _displacement(points, points, weights)
    return FittedHead(
        vertices.astype(np.float32),
        mean.faces,
        mean.spans["head"],
        mean.places,
        moved,
        points,
        tuple(view.name for view in used),
        left_out,
        float(np.median(error[seen])),
        int(seen.any(0).sum()),
    )


def _seen(views: Sequence[LabelledView], without: Sequence[int]) -> NDArray[np.bool_]:
    """[N, 174] which labels are used."""
    out = np.array([view.label.listed for view in views]).reshape(len(views), acupoints.COUNT)
    out[:, acupoints.INNER] = False
    out[:, [*MOVED_BY_HAND, *without]] = False
    return out


def _solve(points: Floats, views: Sequence[LabelledView], seen: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """[174, 3] weights of the kernels, and [N, 174] distances of the labels in px of 512.

    The most probable displacement u = K w at the acupoints, where (I + A K) w = b holds for the normal equations (A, b)
    of the labels: linear in the displacement but for the perspective, which Gauss-Newton steps settle.
    """
    kernel = _kernel(points, points)
    moved, weights = points, np.zeros((acupoints.COUNT, 3))
    error = np.zeros(seen.shape)
    for _ in range(_ROUNDS):
        blocks, right = np.zeros((acupoints.COUNT, 3, 3)), np.zeros((acupoints.COUNT, 3))
        for row, (view, at) in enumerate(zip(views, seen, strict=True)):
            slope, off = _measured(moved, view)
            error[row] = np.where(at, np.sqrt((off**2).sum(1)), 0)
            trust = np.where(at, (OUTLIER_PX**2 / (OUTLIER_PX**2 + error[row] ** 2)) ** 2 / NOISE_PX**2, 0)
            # Relative to the mean head, not to the last step.
            off = off + np.einsum("nij,nj->ni", slope, moved - points)
            off, slope = np.where(at[:, None], off, 0), np.where(at[:, None, None], slope, 0)
            blocks += trust[:, None, None] * np.einsum("nki,nkj->nij", slope, slope)
            right += trust[:, None] * np.einsum("nki,nk->ni", slope, off)
        count = 3 * acupoints.COUNT
        system = np.eye(count) + np.einsum("nij,nm->nimj", blocks, kernel).reshape(count, count)
        weights = np.linalg.solve(system, right.ravel()).reshape(-1, 3)
        moved = points + kernel @ weights
    return weights, error


def _measured(points: Floats, view: LabelledView) -> tuple[Floats, Floats]:
    """[174, 2, 3] px of 512 by which a millimetre moves each acupoint's image, and [174, 2] how far the label is."""
    local = points @ view.camera.R.T + view.camera.t_mm
    xy, depth = rig.project(points, view.camera, _SIDE)
    scale = (view.camera.focal * _SIDE / depth)[:, None, None]
    # d(x / z) = (dx - x/z dz) / z
    towards = view.camera.R[None, :2] - (local[:, :2] / depth[:, None])[:, :, None] * view.camera.R[None, 2:3]
    return scale * towards, np.where(view.label.listed[:, None], view.label.xy * _SIDE - xy, 0)


def _kernel(a: Floats, b: Floats) -> Floats:
    """[N, M] covariance of one coordinate of the displacement at points [N, 3] and [M, 3]."""
    return PLACE_MM**2 + STRETCH**2 * np.einsum("nc,mc->nm", a, b) + _smooth_kernel(a, b)


def _smooth_kernel(a: NDArray[np.floating], b: NDArray[np.floating]) -> NDArray[np.floating]:
    """[N, M] its smooth parts, of the points' precision."""
    square = np.zeros((len(a), len(b)), a.dtype)
    for axis in range(3):
        square += (a[:, None, axis] - b[None, :, axis]) ** 2
    out = np.zeros_like(square)
    for length, amount in SMOOTH_MM:
        out += amount**2 * np.exp(square * (-0.5 / length**2))
    return out


def _displacement(at: Floats, points: Floats, weights: Floats) -> Floats:
    """[N, 3] mm by which places of the mean head move."""
    weights = weights.round(9)
    affine = PLACE_MM**2 * weights.sum(0) + STRETCH**2 * np.einsum(
        "nc,cd->nd", at, np.einsum("mc,md->cd", points, weights)
    )
    # Single precision is a thousandth of a millimetre here, and twice as fast.
    near, single = at.astype(np.float32), (points.astype(np.float32), weights.astype(np.float32))
    parts = [near[start : start + _CHUNK] for start in range(0, len(at), _CHUNK)]
    smooth = [np.einsum("nm,mc->nc", _smooth_kernel(part, single[0]), single[1]) for part in parts]
    return affine + np.concatenate(smooth)
