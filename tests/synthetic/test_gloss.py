"""Microfacet reflection against its closed forms and the conservation of energy."""

import numpy as np
import pytest

from synthetic.gloss import fresnel, ggx, rough_normals

pytestmark = pytest.mark.numeric

UP = np.array([[0.0, 0.0, 1.0]])


def _slanted(*degrees: float) -> np.ndarray:
    """[N, 3] unit vectors at angles from the normal UP."""
    angle = np.radians(degrees)
    return np.stack([np.sin(angle), np.zeros_like(angle), np.cos(angle)], 1)


def test_schlick_by_hand() -> None:
    assert fresnel(np.array([1.0, 0.0, 0.5]), 0.04) == pytest.approx([0.04, 1.0, 0.04 + 0.96 / 32])


@pytest.mark.parametrize("alpha", [0.1, 0.3, 1.0])
def test_peak_at_normal_incidence(alpha: float) -> None:
    """D is 1 / (pi alpha^2), G is 1, F is f0, and the denominator is 4."""
    assert ggx(UP, UP, UP, alpha, 0.04) == pytest.approx(0.04 / (4 * np.pi * alpha**2))


def test_light_and_view_can_be_exchanged() -> None:
    view, light = _slanted(20, 50, 80), _slanted(-60, 10, 35)
    normal = np.repeat(UP, 3, 0)
    assert ggx(normal, view, light, 0.3, 0.04) == pytest.approx(ggx(normal, light, view, 0.3, 0.04))


def test_nothing_below_the_horizon() -> None:
    assert ggx(np.repeat(UP, 2, 0), _slanted(100, 20), _slanted(20, 95), 0.3, 0.04).tolist() == [0, 0]


@pytest.mark.parametrize(("alpha", "least"), [(0.1, 0.98), (0.3, 0.85)])
@pytest.mark.parametrize("degrees", [0, 40])
def test_a_perfect_mirror_of_facets_returns_what_comes_but_for_second_bounces(
    alpha: float, least: float, degrees: float
) -> None:
    steps = 600
    cosine = (np.arange(steps) + 0.5) / steps
    turn = (np.arange(steps) + 0.5) / steps * 2 * np.pi
    cosine, turn = (values.ravel() for values in np.meshgrid(cosine, turn))
    sine: np.ndarray = np.sqrt(1 - cosine**2)
    light = np.stack([sine * np.cos(turn), sine * np.sin(turn), cosine], 1)
    view = np.broadcast_to(_slanted(degrees), light.shape)
    total = (ggx(np.broadcast_to(UP, light.shape), view, light, alpha, 1.0) * cosine).sum() * 2 * np.pi / steps**2
    # From above, facets steeper than 45 degrees, a share of alpha^2 / (1 + alpha^2), mirror to below the horizon.
    assert least < total <= (1 / (1 + alpha**2) if degrees == 0 else 1)


def test_relief_bends_normals_by_the_slope_that_is_asked_for() -> None:
    rng = np.random.default_rng(0)
    position = rng.uniform(-80, 80, (20_000, 3)).astype(np.float32)
    normal = np.repeat(UP, len(position), 0).astype(np.float32)
    slopes = []
    for seed in range(10):
        bent = rough_normals(normal, position, 0.04, np.random.default_rng(seed))
        assert np.allclose(np.linalg.norm(bent, axis=1), 1, atol=1e-5)
        slopes.append(np.sqrt((bent[:, :2] ** 2).sum(1).mean() / 2))
    assert np.mean(slopes) == pytest.approx(0.04, rel=0.1)
