"""Fits on cases whose answer is known."""

import numpy as np
import pytest

from synthetic.fitting import SmoothField, closest_location, pull_through, similarity
from synthetic.grids import grid_faces, unwarp, warp

pytestmark = pytest.mark.numeric


def test_similarity_recovers_scale_rotation_and_shift() -> None:
    points = np.random.default_rng(0).normal(size=(20, 3))
    turn = np.radians(30)
    rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    scale, found, shift = similarity(points, 2.5 * points @ rotation.T + [1, 2, 3])
    assert scale == pytest.approx(2.5, abs=1e-6)
    np.testing.assert_allclose(found, rotation, atol=1e-6)
    np.testing.assert_allclose(shift, [1, 2, 3], atol=1e-5)


def test_similarity_of_identical_sets_is_the_identity() -> None:
    points = np.random.default_rng(1).normal(size=(8, 3))
    scale, rotation, shift = similarity(points, points)
    assert scale == 1.0
    np.testing.assert_allclose(rotation, np.eye(3), atol=1e-7)
    np.testing.assert_allclose(shift, 0, atol=1e-6)


@pytest.mark.parametrize("sigma", [None, 0.7], ids=["thin plate", "gaussian"])
def test_field_takes_the_given_values(sigma: float | None) -> None:
    rng = np.random.default_rng(2)
    centers, values = rng.uniform(-1, 1, (12, 3)), rng.normal(size=(12, 2))
    np.testing.assert_allclose(SmoothField.through(centers, values, sigma=sigma)(centers), values, atol=1e-4)


def test_thin_plate_reproduces_an_affine_map_everywhere() -> None:
    rng = np.random.default_rng(3)
    centers, matrix = rng.uniform(-1, 1, (15, 3)), rng.normal(size=(3, 3))
    field = SmoothField.through(centers, centers @ matrix + 4.0, smoothing=0.5)
    far = rng.uniform(-5, 5, (7, 3))
    np.testing.assert_allclose(field(far), far @ matrix + 4.0, atol=1e-4)


def _plane(height: float, size: int = 9) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:size, 0:size].astype(float)
    return np.stack([x.ravel(), y.ravel(), np.full(x.size, height)], 1), grid_faces(size, size)


def test_closest_location_on_a_plane_is_the_foot_of_the_perpendicular() -> None:
    vertices, faces = _plane(1.0)
    place = closest_location(np.array([[3.3, 4.6, 5.0]]), vertices, faces, candidates=8)
    np.testing.assert_allclose(place.of(vertices), [[3.3, 4.6, 1.0]], atol=1e-9)
    assert place.distance_mm[0] == pytest.approx(4.0)
    assert place.weights.sum() == pytest.approx(1.0)


def test_pull_through_brings_the_surface_to_the_points() -> None:
    vertices, faces = _plane(0.0, 30)
    target = np.array([[10.0, 12.0, 2.0], [20.0, 8.0, -1.0]])
    moved = pull_through(vertices, faces, target, sigma_mm=4.0, smoothing=0.01, rounds=4)
    assert closest_location(target, moved, faces).distance_mm.max() < 0.05


def test_unwarp_inverts_warp() -> None:
    azimuth = np.linspace(-3.1, 3.1, 50)
    np.testing.assert_allclose(unwarp(warp(azimuth)), azimuth, atol=1e-6)
