"""Light as spherical harmonics, against what is known of it."""

import numpy as np
import pytest

from engines.relight import light, tones
from tests.engines.relight.ball import sphere

pytestmark = pytest.mark.numeric


def test_harmonics_are_orthonormal():
    random = np.random.default_rng(1)
    directions = random.standard_normal((400_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    rows = np.stack(light.basis(directions))
    assert np.abs(rows @ rows.T * 4 * np.pi / rows.shape[1] - np.eye(9)).max() < 0.03


def test_irradiance_of_even_light_is_pi_and_of_a_beam_is_its_cosine():
    directions = np.random.default_rng(2).standard_normal((200_000, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    angle = np.full(len(directions), 4 * np.pi / len(directions))
    even = light.project(directions, np.ones((len(directions), 1)), angle)
    normals = np.array([[0, 0, -1], [0.6, 0, -0.8], [-1, 0, 0]], np.float32)
    assert np.allclose(light.irradiance(even, normals), np.pi, rtol=0.02)
    # A beam of unit irradiance from the camera; order 2 keeps 1/4 + t/2 + 5/64 (3t² - 1) * 2 of max(0, t).
    beam = light.project(np.array([[0, 0, -1.0]]), np.ones((1, 1)), np.ones(1))
    t = -normals[:, 2]
    assert np.allclose(light.irradiance(beam, normals)[:, 0], 1 / 4 + t / 2 + 5 / 32 * (3 * t**2 - 1), atol=1e-5)


def test_a_ball_lit_from_one_side_is_relit_from_the_other():
    """Own shading divided out, new light laid on, against a render under the new light itself."""
    depth, normals = sphere(128)
    seen = normals[depth > 0].astype(np.float32)
    beam = np.array([[0.6, 0, -0.8]]), np.array([[-0.5, -0.5, -0.7071]])
    old, new = (light.project(d, np.full((1, 3), 2.0), np.ones(1)) + np.eye(9)[:, :1] * 0.8 for d in beam)
    shaded = (0.3 * light.irradiance(old, seen)).astype(np.float32)
    estimate = light.shading(light.own_light(shaded, seen), seen)
    true = shaded[:, 0] / np.median(shaded[:, 0])
    before = np.abs(true - 1).mean()
    assert np.abs(estimate - true).mean() < 0.25 * before
    relit = shaded / estimate[:, None] * light.irradiance(new, seen)
    wanted = light.irradiance(new, seen)
    error = np.abs(relit / relit.mean() - wanted / wanted.mean()).mean()
    untouched = np.abs(shaded / shaded.mean() - wanted / wanted.mean()).mean()
    assert error < 0.3 * untouched


def test_a_table_of_directions_is_its_function_at_any_normal():
    random = np.random.default_rng(3)
    directions = random.standard_normal((70_000, 3)).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions[directions[:, 2] < 0.5]
    directions[:2] = [0, 0, -1], [1, 0, 0]
    lit = random.normal(size=(9, 3)) * [[1]] * 0.3
    wanted = light.irradiance(lit, directions)
    found = light.tabulated(lambda normals: light.irradiance(lit, normals), directions)
    assert found.shape == wanted.shape and np.abs(found - wanted).max() < 0.004 * np.abs(wanted).max()


def test_normal_equations_are_solved_without_lapack():
    assert np.allclose(light._solved(np.array([[4.0, 2], [2, 3]]), np.array([10.0, 8])), [1.75, 1.5], rtol=1e-14)
    rows = np.random.default_rng(0).normal(size=(40, 9))
    matrix, right = (rows[:, :, None] * rows[:, None, :]).sum(0), rows.sum(0)
    assert np.allclose(light._solved(matrix, right), np.linalg.solve(matrix, right), rtol=1e-9)


def test_light_comes_from_where_the_scene_is_bright():
    levels = np.linspace(255, 0, 64).astype(np.uint8)  # bright at its left, dark at its right
    ramp = tones.to_linear(np.repeat(np.tile(levels, (64, 1))[..., None], 3, 2))
    left, right = np.array([[-0.8, 0, -0.6], [0.8, 0, -0.6]], np.float32)[:, None]
    lit = light.light_of_scene(ramp, 0, False)
    assert light.irradiance(lit, left).mean() > 1.5 * light.irradiance(lit, right).mean()
    mirrored = light.light_of_scene(ramp, 0, True)
    assert np.allclose(light.irradiance(mirrored, right), light.irradiance(lit, left), rtol=1e-4)
    assert light.irradiance(lit, np.array([[0, 0, -1]], np.float32)).mean() == pytest.approx(1)
    top = light.light_of_scene(np.transpose(ramp, (1, 0, 2)), 0, False)  # bright above: -y in the camera's frame
    up, down = np.array([[0, -0.8, -0.6], [0, 0.8, -0.6]], np.float32)[:, None]
    assert light.irradiance(top, up).mean() > 1.5 * light.irradiance(top, down).mean()
