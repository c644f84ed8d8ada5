"""Meshes on regular grids: faces, normals, and the star-shaped grid of the head.

The head is a radius over azimuth and elevation seen from HEAD_CENTER_MM. Columns are equally spaced in a
warped azimuth, so the face gets three times the density of the back, in the mesh and in the texture alike.
"""

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.floating]

HEAD_CENTER_MM = np.array([0.0, 4.0, 4.0])
"""Centre of the star-shaped head in the rig's frame."""
COLUMNS, ROWS = 480, 300
"""Size of the head's grid; a column more is stored to close the seam."""
ELEVATION_LOW, ELEVATION_HIGH = np.radians(-86.0), np.radians(90.0)
_WARP = 0.5


def warp(azimuth: FloatArray) -> FloatArray:
    """Grid coordinate -pi..pi of an azimuth -pi..pi; slope 1.5 at the face, 0.5 at the back."""
    return azimuth + _WARP * np.sin(azimuth)


@cache
def _unwarp_table() -> tuple[FloatArray, FloatArray]:
    azimuth = np.linspace(-np.pi, np.pi, 20001)
    return warp(azimuth), azimuth


def unwarp(coordinate: FloatArray) -> FloatArray:
    """Inverse of warp."""
    warped, azimuth = _unwarp_table()
    return np.interp(coordinate, warped, azimuth).astype(np.float64)


def directions(azimuth: FloatArray, elevation: FloatArray) -> FloatArray:
    """[..., 3] unit vectors; azimuth 0 looks along the face (-y), 90 degrees to the subject's left (+x)."""
    horizontal = np.cos(elevation)
    unit = np.stack([np.sin(azimuth) * horizontal, -np.cos(azimuth) * horizontal, np.sin(elevation)], -1)
    return unit.astype(np.float64)


def angles(points_mm: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Azimuth, elevation (radians) and radius (mm) of points [..., 3] seen from the head's centre."""
    local = points_mm - HEAD_CENTER_MM
    x, y, z = local[..., 0], local[..., 1], local[..., 2]
    horizontal = np.hypot(x, y)
    return np.arctan2(x, -y), np.arctan2(z, horizontal), np.hypot(horizontal, z)


def grid_faces(rows: int, columns: int) -> NDArray[np.int32]:
    """[2 (rows-1) (columns-1), 3] triangles of a grid stored row by row."""
    first = (np.arange(rows - 1)[:, None] * columns + np.arange(columns - 1)[None]).ravel()
    right, up = first + 1, first + columns
    faces = np.concatenate([np.stack([first, right, up + 1], -1), np.stack([first, up + 1, up], -1)])
    return faces.astype(np.int32)


@dataclass(frozen=True)
class StarGrid:
    """Directions and topology of the head's grid, row by row from low to high elevation."""

    azimuth: FloatArray
    """[ROWS, COLUMNS + 1] radians."""
    elevation: FloatArray
    """[ROWS, COLUMNS + 1] radians."""
    direction: FloatArray
    """[ROWS, COLUMNS + 1, 3] unit vectors."""
    faces: NDArray[np.int32]
    """[F, 3] triangles, counter-clockwise from outside."""


@cache
def star_grid(rows: int = ROWS, columns: int = COLUMNS) -> StarGrid:
    """The grid; smaller ones serve for smooth fields that are then enlarged."""
    azimuth_row = unwarp(np.linspace(-np.pi, np.pi, columns + 1))
    azimuth_row[0], azimuth_row[-1] = -np.pi, np.pi
    elevation_column = np.linspace(ELEVATION_LOW, ELEVATION_HIGH, rows)
    azimuth, elevation = np.meshgrid(azimuth_row, elevation_column)
    direction = directions(azimuth, elevation)
    direction[:, -1] = direction[:, 0]  # to the last bit, or rays slip through the seam
    return StarGrid(azimuth, elevation, direction, grid_faces(rows, columns + 1))


def vertex_normals(vertices: FloatArray, faces: NDArray[np.integer]) -> FloatArray:
    """[V, 3] unit normals, area-weighted over the triangles around a vertex."""
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    out = np.zeros_like(vertices, dtype=np.float64)
    for axis in range(3):
        for corner in range(3):
            out[:, axis] += np.bincount(faces[:, corner], normal[:, axis], len(vertices))
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


def seam_normals(normals: FloatArray, rows: int, columns: int) -> FloatArray:
    """[rows * columns, 3] normals that agree where columns meet and over the last row, which is one point."""
    grid = normals.reshape(rows, columns, 3).copy()
    joined = grid[:, 0] + grid[:, -1]
    joined /= np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-12)
    grid[:, 0] = grid[:, -1] = joined
    pole = grid[-2].mean(0)
    grid[-1] = pole / np.linalg.norm(pole)
    return grid.reshape(-1, 3)


def smoothstep(value: FloatArray, low: float, high: float) -> FloatArray:
    """0 below low, 1 above high, smooth between."""
    t: FloatArray = np.clip((value - low) / (high - low), 0.0, 1.0)
    return np.asarray(t * t * (3.0 - 2.0 * t), np.result_type(value, np.float32))
