"""Known displacements move what they say, where they say."""

import numpy as np
import pytest

from evaluation.warps import Warp, random_warp, shifted

pytestmark = pytest.mark.numeric


def _dot(side: int, x: float, y: float) -> np.ndarray:
    v, u = np.mgrid[:side, :side] + 0.5
    spot = 255 * np.exp(-((u - x) ** 2 + (v - y) ** 2) / 8)
    return np.repeat(spot[..., None], 3, axis=2).astype(np.uint8)


def _centre(picture: np.ndarray) -> np.ndarray:
    weight = picture[..., 0].astype(float)
    v, u = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(weight * u).sum(), (weight * v).sum()]) / weight.sum()


@pytest.mark.parametrize("at", [(64.0, 64.0), (72.0, 60.0), (50.0, 70.0)])
def test_a_dot_goes_where_the_field_takes_it(at: tuple[float, float]):
    warp = Warp((64, 64), 50, 5, -3)
    moved = warp.apply(_dot(128, *at))
    assert _centre(moved) - at == pytest.approx(warp.displacement(at), abs=0.35)


def test_the_centre_moves_by_the_whole_and_nothing_beyond_the_radius():
    warp = Warp((40, 50), 20, 3, 4)
    assert warp.displacement((40, 50)).tolist() == [3, 4]
    assert np.abs(warp.displacement([(61, 50), (40, 71)])).max() == 0
    picture = np.random.default_rng(0).integers(0, 255, (100, 100, 3), np.uint8)
    v, u = np.mgrid[:100, :100] + 0.5
    outside = np.hypot(u - 40, v - 50) > 21
    assert (warp.apply(picture)[outside] == picture[outside]).all()


def test_a_shift_moves_everything():
    assert _centre(shifted(_dot(64, 30, 32), 4, -2)) == pytest.approx([34, 30], abs=0.05)


def test_a_warp_that_folds_is_refused():
    with pytest.raises(ValueError, match="folds"):
        Warp((0, 0), 20, 14, 0)


def test_random_warps_centre_on_a_point():
    points = np.array([(10.0, 20.0), (30.0, 40.0)])
    warp = random_warp(points, 5, np.random.default_rng(1))
    assert list(warp.centre) in points.tolist() and 20 <= warp.radius <= 60
    assert np.hypot(warp.dx, warp.dy) == pytest.approx(5)
