"""Equal heads are found whatever their views; different ones are not."""

import numpy as np
import pytest

from acusim import acupoints
from tests.training.geometry.invented import FRAMES, labels, person
from training.geometry.comparison import Heads, same_heads
from training.geometry.triangulation import triangulate

JITTER = 0.3 / 512


def head(seed: int, frames: tuple[int, ...], jitter: float = JITTER) -> tuple[np.ndarray, np.ndarray]:
    views = labels(person(seed), frames)
    views["xy"] = views["xy"] + np.random.default_rng(seed + sum(frames)).uniform(-jitter, jitter, views["xy"].shape)
    found = triangulate(**{**views, "depth_mm": None}, guess_mm=acupoints.positions_mm())
    return found.points_mm, found.information


def pairs(*heads: tuple[np.ndarray, np.ndarray], apart: np.ndarray | None = None) -> list[tuple[int, int]]:
    points, information = (np.stack(arrays) for arrays in zip(*heads, strict=True))
    among = np.ones((len(heads), len(heads)), bool) if apart is None else apart
    return [tuple(pair) for pair in same_heads(points, information, among).tolist()]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (FRAMES, FRAMES),
        ((1, 3, 37), (2, 36, 109)),
        ((1, 4), (2, 5, 40)),
        ((1,), (1,)),
        ((1,), (35, 4, 110)),
        ((5,), FRAMES),
        ((19, 21), (17, 20, 56)),
    ],
)
def test_one_head_is_found_in_any_views_and_others_are_not(first, second):
    assert pairs(head(0, first), head(1, second), head(2, second), head(0, second)) == [(0, 3)]


def test_only_the_pairs_that_are_asked_for_are_compared():
    apart = np.zeros((3, 3), bool)
    apart[0, 2] = True
    same = head(0, FRAMES)
    assert pairs(same, same, same, apart=apart) == [(0, 2)]
    assert pairs(same, same, apart=np.zeros((2, 2), bool)) == []


def test_a_few_moved_points_do_not_hide_a_head():
    points, information = head(0, FRAMES)
    moved = points.copy()
    moved[np.flatnonzero(np.isfinite(points[:, 0]))[:5]] += 9
    assert pairs((points, information), (moved, information)) == [(0, 1)]
    assert pairs((points, information), (points + 3, information)) == []


def test_few_or_no_common_points_prove_nothing():
    left, right = head(0, (10,)), head(0, (28,))
    assert pairs(left, right) == []
    empty = np.full_like(left[0], np.nan), np.zeros_like(left[1])
    assert pairs(empty, empty, left) == []


def test_the_difference_is_that_of_the_text():
    random = np.random.default_rng(0)
    factors = random.normal(0, 1, (2, 4, 3, 3)) * 1e-3
    information = factors @ factors.transpose(0, 1, 3, 2)
    points = random.normal(0, 1, (2, 4, 3))
    got = Heads(points, information).differences(0, np.array([1]), np.arange(4))[0]
    weight = information / 1e-3**2
    weight = weight / (1 + np.trace(weight, axis1=2, axis2=3) * 0.25**2 / 3)[..., None, None]
    covariance = np.linalg.inv(weight).sum(0)
    d = points[0] - points[1]
    expected = [vector @ np.linalg.inv(matrix) @ vector for vector, matrix in zip(d, covariance, strict=True)]
    np.testing.assert_allclose(got, expected, rtol=1e-2)
