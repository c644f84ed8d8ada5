"""Light as spherical harmonics of order 2: estimated from a scene, fitted to a sample, and applied to normals.

Irradiance of a distant environment L on a surface with normal n (Ramamoorthi & Hanrahan, "An Efficient
Representation for Irradiance Environment Maps", SIGGRAPH 2001):

    E(n) = sum over l, m of A_l L_lm Y_lm(n),   A_0 = pi, A_1 = 2 pi / 3, A_2 = pi / 4

with real, orthonormal Y_lm. Directions are in the camera frame (x right, y down, z away); light on a visible
surface comes from z < 0.
"""

from collections.abc import Callable
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.relight.tones import luminance

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

A = np.array([np.pi] + [2 * np.pi / 3] * 3 + [np.pi / 4] * 5)
"""[9] factor of the cosine lobe for each coefficient."""
_Y = (0.282095, 0.488603, 1.092548, 0.315392, 0.546274)
SCENE_GRID = 32
"""Scenes are reduced to this resolution: order 2 has no finer detail."""
HIGHLIGHT_BOOST = 6.0
"""A clipped pixel of a photograph was in reality many times brighter; white counts 1 + this many times."""
BEHIND_SHARE = 0.5
"""Light from behind the head, as a share of the scene's mean."""
SAMPLES = 3_000
"""Pixels on which a sample's own shading is fitted."""
SHADING_LIMITS = (0.3, 2.0)
"""Limits of a sample's own shading, as multiples of its median."""
RIDGE = np.diag([0.0, *[0.01] * 3, *[0.03] * 5])
"""Pulls the fit to flat light where a view shows too few directions."""
TABLE_SIDE = 128
"""Cells of a table of directions along each axis."""
_TABLE_ROW = 1024
"""Pixels of a row when a table is read."""
CHROMA_WIDTH = 0.35
"""Pixels whose log chroma is farther from the head's median (clothes, lips) have little weight in the fit."""


def basis(normals: NDArray[np.floating]) -> list[NDArray[np.floating]]:
    """The nine Y_lm at unit vectors [..., 3], each [...]: 1, y, z, x, xy, yz, 3z²-1, xz, x²-y²."""
    x, y, z = normals[..., 0], normals[..., 1], normals[..., 2]
    return [
        np.full_like(x, _Y[0]),
        _Y[1] * y,
        _Y[1] * z,
        _Y[1] * x,
        _Y[2] * x * y,
        _Y[2] * y * z,
        _Y[3] * (3 * z * z - 1),
        _Y[2] * x * z,
        _Y[4] * (x * x - y * y),
    ]


def irradiance(coefficients: Doubles, normals: Floats) -> Floats:
    """E(n) for each colour channel.

    Args:
        coefficients: [9, C] of the radiance.
        normals: [N, 3] unit vectors.

    Returns:
        [N, C]; may be slightly negative, as order 2 is an approximation.
    """
    weights = (A[:, None] * coefficients).astype(np.float32)
    out = np.zeros((coefficients.shape[1], len(normals)), np.float32)
    # Added up term by term: a matrix product may sum in another order on another number of threads.
    for values, weight in zip(basis(normals), weights, strict=True):
        for channel, factor in enumerate(weight):
            out[channel] += values * factor
    return np.ascontiguousarray(out.T)


def project(directions: Doubles, radiance: Doubles, solid_angle: Doubles) -> Doubles:
    """[9, C] coefficients of radiance [N, C] seen along unit directions [N, 3], each for a solid angle [N]."""
    return np.stack([(values * solid_angle)[:, None] * radiance for values in basis(directions)]).sum(1)


def reduced(scene: Floats) -> Floats:
    """[SCENE_GRID, SCENE_GRID, 3] a linear scene [H, W, 3]: all that its light depends on."""
    return np.asarray(cv2.resize(scene, (SCENE_GRID, SCENE_GRID), interpolation=cv2.INTER_AREA), np.float32)


def light_of_scene(scene: Floats, turn: float, mirrored: bool) -> Doubles:
    """The light of a scene, as if it were reflected in a mirror ball at the head's position.

    What is bright at the left of the scene lights the head from the left, and so on; an even share of the mean comes
    from behind.

    Args:
        scene: [H, W, 3] linear RGB, 0..1; reduced or not.
        turn: turns the light about the viewing axis, in radians.
        mirrored: swaps left and right.

    Returns:
        [9, 3] coefficients, scaled to a luminance of 1 for a surface that faces the camera.
    """
    small = reduced(scene)
    if mirrored:
        small = small[:, ::-1]
    brightness = luminance(small)[..., None]
    radiance = (small * (1 + HIGHLIGHT_BOOST * brightness**3)).reshape(-1, 3).astype(np.float64)
    directions = _near_hemisphere(SCENE_GRID, turn)
    angle = np.full(len(directions), 2 * np.pi / len(directions))
    behind = directions * [1, 1, -1]
    mean = np.broadcast_to(radiance.mean(0) * BEHIND_SHARE, radiance.shape)
    coefficients = project(directions, radiance, angle) + project(behind, mean, angle)
    facing = irradiance(coefficients, np.array([[0, 0, -1]], np.float32)).mean()
    return coefficients / max(float(facing), 1e-6)


def _near_hemisphere(side: int, turn: float) -> Doubles:
    """[side², 3] directions of a square image's pixels; equal areas become equal solid angles.

    Square to disk by Shirley & Chiu's concentric map (1997), disk to hemisphere by Lambert's equal-area projection.
    """
    step = (np.arange(side) + 0.5) / side * 2 - 1
    across, down = np.meshgrid(step, step)
    wide = np.abs(across) > np.abs(down)
    radius = np.where(wide, across, down)
    divisor = np.where(radius == 0, 1.0, radius)
    angle = np.where(wide, np.pi / 4 * down / divisor, np.pi / 2 - np.pi / 4 * across / divisor) + turn
    z = -(1 - radius**2)
    flat = np.sqrt(1 - z**2) * np.sign(divisor)
    return np.stack([flat * np.cos(angle), flat * np.sin(angle), z], -1).reshape(-1, 3).astype(np.float64)


def adjusted(coefficients: Doubles, contrast: float, colour: float) -> Doubles:
    """A light with its directional component scaled by ``contrast`` and its colour by ``colour`` (0 is white)."""
    grey = coefficients.mean(1, keepdims=True)
    out = grey + colour * (coefficients - grey)
    out[1:] *= contrast
    return out


def chosen(count: int) -> NDArray[np.intp]:
    """At most SAMPLES places, evenly among so many."""
    return np.linspace(0, count - 1, min(SAMPLES, count)).astype(np.intp)


def own_light(linear: Floats, normals: Floats) -> Floats:
    """The sample's own light, from a robust fit of its luminance to its normals.

    Solved by iteratively reweighted least squares (Cauchy weights), so that hair, eyes and clothes have little weight.

    Args:
        linear: [N, 3] linear RGB of pixels of the head.
        normals: [N, 3] their normals.

    Returns:
        [9] coefficients of the shading, whose median over these pixels is 1.
    """
    colours = linear.astype(np.float64)
    brightness = luminance(colours)
    logs = np.log(colours + 0.004)
    chroma = logs - luminance(logs)[:, None]
    near = np.exp(-3 * luminance((chroma - np.median(chroma, axis=0)) ** 2) / CHROMA_WIDTH**2)
    rows = np.stack(basis(normals.astype(np.float64)), 1)
    weight = near
    solution, normal_matrix, upper = np.zeros(9), np.zeros((9, 9)), np.triu_indices(9)
    products, targets, shading = rows[:, upper[0]] * rows[:, upper[1]], rows * brightness[:, None], brightness
    for _ in range(4):
        # Sums in einsum's own order: the same on any number of threads, unlike a matrix product.
        normal_matrix[upper] = normal_matrix.T[upper] = np.einsum("sk,s->k", products, weight)
        ridge = weight.sum() * RIDGE + 1e-9 * np.eye(9)
        solution = _solved(normal_matrix + ridge, np.einsum("sk,s->k", targets, weight))
        shading = (rows * solution).sum(1)
        residual = np.abs(brightness - shading)
        weight = near / (1 + (residual / max(1.5 * float(np.median(residual)), 1e-4)) ** 2)
    return (solution / max(float(np.median(shading)), 1e-4)).astype(np.float32)


def shading(coefficients: Floats, normals: Floats) -> Floats:
    """[N] the sample's own shading at normals [N, 3] by its own light, within SHADING_LIMITS."""
    out = np.zeros(len(normals), np.float32)
    for values, factor in zip(basis(normals), coefficients, strict=True):
        out += values * factor
    return np.clip(out, *SHADING_LIMITS)


@lru_cache(1)
def _table_directions() -> Floats:
    """[TABLE_SIDE², 3] the unit vectors of a table's cells.

    Lambert's equal-area projection of the whole sphere, the direction to the camera in the middle.
    """
    step = ((np.arange(TABLE_SIDE) + 0.5) / TABLE_SIDE * 4 - 2).astype(np.float32)
    across, down = np.meshgrid(step, step)
    square = np.minimum(across**2 + down**2, 4)
    flat = np.sqrt(1 - square / 4)
    vectors = np.stack([across * flat, down * flat, square / 2 - 1], -1).reshape(-1, 3)
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-6))


def tabulated(function: Callable[[Floats], Floats], normals: Floats) -> Floats:
    """A smooth function [K, 3] -> [K, C] of unit vectors at many normals, between the cells of a table.

    Args:
        function: calculated TABLE_SIDE² times.
        normals: [N, 3] unit vectors.

    Returns:
        [N, C]; for shading, within 0.2 % of the function.
    """
    table = function(_table_directions()).reshape(TABLE_SIDE, TABLE_SIDE, -1)
    places = np.zeros((2, -(-len(normals) // _TABLE_ROW), _TABLE_ROW), np.float32)
    # OpenCV's images have fewer than 32768 rows and columns: some rows instead of one.
    flat = places.reshape(2, -1)[:, : len(normals)]
    scale = np.sqrt(2 / np.maximum(1 - normals[:, 2], np.float32(1e-6))) * np.float32(TABLE_SIDE / 4)
    for axis in (0, 1):
        np.multiply(normals[:, axis], scale, out=flat[axis])
        flat[axis] += np.float32(TABLE_SIDE / 2 - 0.5)
    found = cv2.remap(table, places[0], places[1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.float32).reshape(-1, table.shape[2])[: len(normals)]


def _solved(matrix: Doubles, right: Doubles) -> Doubles:
    """The solution [N] of a symmetric positive definite system, by elimination.

    Nothing depends on the processor or on threads, as LAPACK's may, whose threads also cost more than the solution.
    """
    system = np.column_stack([matrix, right])
    for k in range(len(right)):
        system[k] /= system[k, k]
        others = system[:, k].copy()
        others[k] = 0
        system -= others[:, None] * system[k]
    return system[:, -1].copy()
