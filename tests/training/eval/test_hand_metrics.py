"""Hand figures against answers worked out by hand."""

import math

import numpy as np
import pytest

from acusim import keypoint_metrics
from acusim.errors import ConfigError
from training.eval.hand_metrics import (
    FIGURES,
    MetricSettings,
    box_area,
    mean_pose,
    picture_oks,
    point_terms,
    report,
)

pytestmark = pytest.mark.numeric

IDS = tuple("abcdefg")


def some(count: int = 6, seed: int = 0):
    rng = np.random.default_rng(seed)
    true = rng.uniform(20, 200, (count, 7, 2))
    return true, np.ones((count, 7), bool), [f"s{k % 3}" for k in range(count)]


def test_the_truth_scores_one() -> None:
    true, visible, subjects = some()
    found = report(true, true, visible, subjects, IDS)
    for figures in (found.overall, *found.points.values()):
        for name in FIGURES:
            if name in ("mse_px2", "mse", "error_px"):
                assert (figures[name].value, figures[name].low, figures[name].high) == (0, 0, 0)
            else:  # three subjects without an error do not show that others have none
                assert figures[name].value == figures[name].high == 1 and 0 < figures[name].low < 0.9
    assert (found.pictures, found.subjects) == (6, 3)


def test_figures_worked_out_by_hand() -> None:
    # Points span 100 x 50 px, so the area is 5000. Errors are 0, 5, 1 and 7 px, of which PCK allows 6.72.
    true = np.array([[[50.0, 60], [150, 60], [50, 110], [150, 110]]])
    predicted = true + [[[0, 0], [3, 4], [1, 0], [0, 7]]]
    terms = point_terms(predicted, true, np.ones((1, 4), bool))
    assert terms["error_px"].tolist() == [[0, 5, 1, 7]]
    assert terms["mse_px2"].tolist() == [[0, 12.5, 0.5, 24.5]]
    assert terms["mse"][0, 1] == pytest.approx(12.5 / 224**2)
    assert terms["pck"].tolist() == [[1, 1, 1, 0]] and terms["precision"].tolist() == [[1, 0, 1, 0]]
    # exp(-25 / (2 * 5000 * 0.09)) = exp(-1/36)
    np.testing.assert_allclose(terms["oks"][0], [1, math.exp(-1 / 36), math.exp(-1 / 900), math.exp(-49 / 900)])
    # Boxes of 20: 17 x 16 of 400 are shared, 19 x 20, 20 x 13.
    np.testing.assert_allclose(terms["iou"][0], [1, 272 / 528, 380 / 420, 260 / 540])
    assert picture_oks(terms)[0] == pytest.approx(
        (1 + math.exp(-1 / 36) + math.exp(-1 / 900) + math.exp(-49 / 900)) / 4
    )


def test_iou_is_that_of_boxes_around_the_points() -> None:
    rng = np.random.default_rng(3)
    true = rng.uniform(0, 224, (20, 7, 2))
    predicted = true + rng.normal(0, 9, true.shape)
    found = point_terms(predicted, true, np.ones((20, 7), bool))["iou"]
    boxes = [np.concatenate([xy - 10, xy + 10], -1) for xy in (predicted, true)]
    np.testing.assert_allclose(found, keypoint_metrics.box_iou(*boxes), atol=1e-12)
    assert found.min() == 0 < found.max()


def test_oks_is_cocos_with_half_the_constant() -> None:
    true, visible, _ = some()
    visible[0, 3] = visible[2, :5] = False
    predicted = true + np.random.default_rng(1).normal(0, 9, true.shape)
    ours = picture_oks(point_terms(predicted, true, visible))
    coco = keypoint_metrics.oks(predicted, true, visible, box_area(true, visible), sigma=0.15)
    np.testing.assert_allclose(ours, coco)


def test_limits_are_not_reached_by_distances_equal_to_them() -> None:
    true = np.full((1, 2, 2), 50.0)
    terms = point_terms(true + [[[2.0, 0], [0, 3.0]]], true, np.ones((1, 2), bool), MetricSettings(size=100))
    assert terms["precision"].tolist() == [[0, 0]] and terms["pck"].tolist() == [[1, 0]]


def test_only_visible_points_count() -> None:
    true, visible, subjects = some()
    predicted = true.copy()
    visible[:, 2] = False
    predicted[:, 2] = np.nan
    found = report(predicted, true, visible, subjects, IDS)
    assert found.overall["pck"].value == 1 and math.isnan(found.points["c"]["pck"].value)
    assert found.points["c"]["pck"].as_json()["value"] is None
    nothing = point_terms(predicted, true, np.zeros((6, 7), bool))
    assert all(np.isnan(values).all() for values in nothing.values()) and np.isnan(picture_oks(nothing)).all()


def test_points_in_a_line_have_an_area() -> None:
    true = np.array([[[0.0, 0], [10, 0]], [[0, 0], [10, 20]]])
    visible = np.array([[True, True], [True, True]])
    assert box_area(true, visible).tolist() == [1, 200]
    assert np.isnan(box_area(true, ~visible)).all()


def test_intervals_are_over_subjects() -> None:
    true, visible, _ = some(4)
    predicted = true.copy()
    predicted[:2] += 100  # one of two subjects is all wrong
    found = report(predicted, true, visible, ["a", "a", "b", "b"], IDS)
    pck = found.overall["pck"]
    assert (pck.value, pck.low, pck.high) == pytest.approx((0.5, 0.0, 1.0), abs=1e-6)
    alone = report(predicted, true, visible, ["a"] * 4, IDS).overall["pck"]
    assert alone.value == 0.5 and math.isnan(alone.low)


def test_the_mean_pose_is_the_mean_of_what_is_visible() -> None:
    xy = np.array([[[0.0, 0], [4, 4]], [[10, 20], [0, 0]]])
    visible = np.array([[True, True], [True, False]])
    assert mean_pose(xy, visible).tolist() == [[5, 10], [4, 4]]
    with pytest.raises(ValueError, match=r"points \[1\]"):
        mean_pose(xy, visible & [[True, False]])


@pytest.mark.parametrize("wrong", [{"k": 0}, {"size": -1}, {"box_px": float("nan")}, {"pck": float("inf")}])
def test_wrong_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="must be above 0"):
        MetricSettings(**wrong)


def test_shapes_that_do_not_fit_are_refused() -> None:
    true, visible, subjects = some()
    with pytest.raises(ValueError, match="shapes"):
        point_terms(true[:, :3], true, visible)
    with pytest.raises(ValueError, match="not a finite number"):
        point_terms(np.full_like(true, np.nan), true, visible)
    with pytest.raises(ValueError, match="names"):
        report(true, true, visible, subjects, IDS[:3])


def test_the_square_may_be_the_scale_of_oks():
    """Error 5 px: exp(-25 / (2 s^2 0.09)), s^2 the box of the points (40 x 30) or the square (100 x 100)."""
    true = np.array([[[10.0, 20], [50, 50]]])
    found = true + [[[5.0, 0], [0, 0]]]
    for scale, area in (("points", 1200), ("square", 10000)):
        terms = point_terms(found, true, np.ones((1, 2), bool), MetricSettings(size=100, oks_scale=scale))
        assert terms["oks"][0].tolist() == pytest.approx([np.exp(-25 / (2 * area * 0.09)), 1])
