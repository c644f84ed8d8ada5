"""Fits: similarity between point sets, smooth displacement through given points, closest surface location.

Solutions are rounded, and fields are applied without BLAS, so that heads are the same bytes for any number of
threads.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy.spatial import KDTree

FloatArray = NDArray[np.floating]
_CHUNK = 8192
_DECIMALS = 7


def similarity(source: FloatArray, target: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Least-squares similarity (Umeyama 1991) with target ~ scale * source @ R.T + t.

    Args:
        source: [N, 3].
        target: [N, 3].

    Returns:
        scale, R [3, 3], t [3], rounded.
    """
    source_mean, target_mean = source.mean(0), target.mean(0)
    a, b = source - source_mean, target - target_mean
    u, singular, vt = np.linalg.svd(b.T @ a / len(source))
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = (u * signs) @ vt
    scale = float((singular * signs).sum() / (a * a).sum() * len(source))
    return (round(scale, _DECIMALS), rotation.round(_DECIMALS), (target_mean - scale * rotation @ source_mean).round(5))


def _basis(distance: FloatArray, sigma: float | None) -> FloatArray:
    """Gaussian of the given width, or the distance itself (the thin-plate kernel of space) for sigma None."""
    return distance if sigma is None else np.exp(-0.5 * (distance / sigma) ** 2)


def _distances(points: FloatArray, centers: FloatArray) -> FloatArray:
    out = np.zeros((len(points), len(centers)))
    for axis in range(points.shape[1]):
        out += (points[:, axis, None] - centers[None, :, axis]) ** 2
    return np.sqrt(out)


@dataclass(frozen=True)
class SmoothField:
    """A smooth function through scattered values: a sum of kernels, plus an affine part for thin plates."""

    centers: FloatArray
    """[K, D] where values were given."""
    weights: FloatArray
    """[K, C] of the kernels."""
    affine: FloatArray
    """[1 + D, C] constant and linear part (zero for Gaussians)."""
    sigma: float | None
    """Width of the Gaussian in units of the centers; None for the thin-plate kernel."""

    @classmethod
    def through(
        cls, centers: FloatArray, values: FloatArray, *, sigma: float | None = None, smoothing: float = 0.0
    ) -> "SmoothField":
        """The field with values [K, C] at the centers [K, D]; with smoothing > 0 it only passes near them."""
        count, dims = centers.shape
        # |r| is conditionally negative definite, hence the sign of its ridge.
        ridge = smoothing if sigma is not None else -smoothing
        kernel = _basis(_distances(centers, centers), sigma) + ridge * np.eye(count)
        if sigma is not None:
            weights = np.linalg.solve(kernel, values)
            affine = np.zeros((dims + 1, values.shape[1]))
        else:
            linear = np.c_[np.ones(count), centers]
            system = np.block([[kernel, linear], [linear.T, np.zeros((dims + 1, dims + 1))]])
            solution = np.linalg.solve(system, np.r_[values, np.zeros((dims + 1, values.shape[1]))])
            weights, affine = solution[:count], solution[count:]
        return cls(centers, weights.round(_DECIMALS), affine.round(_DECIMALS), sigma)

    def __call__(self, points: FloatArray) -> FloatArray:
        """Values [N, C] at the points [N, D]."""
        out = np.empty((len(points), self.weights.shape[1]))
        for start in range(0, len(points), _CHUNK):
            part = points[start : start + _CHUNK]
            values = np.einsum("nk,kc->nc", _basis(_distances(part, self.centers), self.sigma), self.weights)
            if self.sigma is None:
                values += self.affine[0] + np.einsum("nd,dc->nc", part, self.affine[1:])
            out[start : start + len(part)] = values
        return out


@dataclass(frozen=True)
class SurfaceLocation:
    """Places on a mesh of fixed topology; they move with its vertices."""

    vertices: NDArray[np.int64]
    """[N, 3] corners of the triangle."""
    weights: FloatArray
    """[N, 3] barycentric weights."""
    distance_mm: FloatArray
    """[N] from the given point to this place."""

    def of(self, values: FloatArray) -> FloatArray:
        """[N, C] interpolated from values [V, C] at the vertices."""
        return np.einsum("nk,nkc->nc", self.weights, values[self.vertices])


def closest_location(
    points: FloatArray, vertices: FloatArray, faces: NDArray[np.integer], candidates: int = 32
) -> SurfaceLocation:
    """Closest place on a mesh for each point.

    Args:
        points: [N, 3] mm.
        vertices: [V, 3] mm.
        faces: [F, 3] indices.
        candidates: triangles with the nearest centroids that are tried; enough for evenly sized triangles.
    """
    corners = vertices[faces]
    _, near = KDTree(corners.mean(1)).query(points, k=candidates)
    asked = np.repeat(points, candidates, axis=0)
    triangles = corners[near.ravel()]
    # Slivers at the poles of a grid have no area: their closest point is not defined.
    closest = trimesh.triangles.closest_point(triangles, asked)
    flat = np.linalg.norm(np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1)
    distance = np.linalg.norm(closest - asked, axis=1)
    distance[flat < 1e-9] = np.inf
    best = distance.reshape(-1, candidates).argmin(1)
    pick = np.arange(len(points)) * candidates + best
    weights = trimesh.triangles.points_to_barycentric(triangles[pick], closest[pick])
    weights = np.clip(np.asarray(weights), 0.0, 1.0)
    weights /= weights.sum(1, keepdims=True)
    return SurfaceLocation(faces[near.ravel()[pick]].astype(np.int64), weights, distance[pick])


def pull_through(
    vertices: FloatArray,
    faces: NDArray[np.integer],
    targets: FloatArray,
    *,
    sigma_mm: float,
    smoothing: float,
    rounds: int,
) -> FloatArray:
    """Moves a mesh smoothly until its surface passes near the targets [N, 3] mm; returns the new vertices."""
    moved = np.array(vertices, np.float64)
    for _ in range(rounds):
        place = closest_location(targets, moved, faces)
        here = place.of(moved)
        moved += SmoothField.through(here, targets - here, sigma=sigma_mm, smoothing=smoothing)(moved)
    return moved
