"""Keypoint metrics against answers computed by hand."""

import math

import numpy as np
import pytest

from acusim import keypoint_metrics as metrics

TRUE = np.array([[[0.0, 0.0], [10.0, 0.0], [5.0, 5.0]]])
VISIBLE = np.array([[True, True, False]])
# Off by 5 (3-4-5), by 0, and far away where it does not count.
PREDICTED = np.array([[[3.0, 4.0], [10.0, 0.0], [900.0, 900.0]]])


def test_ground_truth_scores_perfectly():
    assert metrics.pixel_error(TRUE, TRUE, VISIBLE)[0, :2].tolist() == [0, 0]
    assert metrics.oks(TRUE, TRUE, VISIBLE, 100, 0.1) == pytest.approx(1)


def test_known_answers():
    error = metrics.pixel_error(PREDICTED, TRUE, VISIBLE)
    assert error[0, :2].tolist() == [5, 0] and math.isnan(error[0, 2])
    # d = 5, area = 100, sigma = .25, k = .5: exp(-25 / (2 * 100 * .25)) = exp(-.5); the other point gives 1.
    assert metrics.oks(PREDICTED, TRUE, VISIBLE, 100, 0.25) == pytest.approx((math.exp(-0.5) + 1) / 2)


def test_nothing_visible_is_nan_not_zero():
    hidden = np.zeros((1, 3), bool)
    assert np.isnan(metrics.pixel_error(PREDICTED, TRUE, hidden)).all()
    assert np.isnan(metrics.oks(PREDICTED, TRUE, hidden, 1, 1)).all()


def test_iou():
    a = np.zeros((4, 4), bool)
    b = a.copy()
    assert math.isnan(metrics.mask_iou(a, b))
    a[:2], b[1:3] = True, True
    assert metrics.mask_iou(a, b) == pytest.approx(4 / 12)
    assert metrics.box_iou([0, 0, 2, 2], [[1, 1, 3, 3], [0, 0, 2, 2], [5, 5, 6, 6]]).tolist() == [1 / 7, 1, 0]


def test_refuses_wrong_shapes_and_types():
    with pytest.raises(ValueError, match="shapes"):
        metrics.pixel_error(PREDICTED[:, :2], TRUE, VISIBLE)
    with pytest.raises(ValueError, match="bool"):
        metrics.pixel_error(PREDICTED, TRUE, VISIBLE.astype(float))
