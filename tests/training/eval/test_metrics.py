"""Parts of the figures against answers worked out by hand."""

import math

import numpy as np
import pytest

from training.eval import metrics

pytestmark = pytest.mark.numeric


def test_expected_calibration_error_by_hand():
    # Four points at .1 of which one is visible: off by .15; two at 1 that are visible: off by 0.
    p = np.array([[0.1, 0.1, 0.1, 0.1, 1, 1]], np.float32)
    error, table = metrics.reliability(p, np.array([[0, 0, 0, 1, 1, 1]], bool))
    assert error == pytest.approx(4 / 6 * 0.15)
    assert [row["points"] for row in table] == [0, 4, *[0] * 12, 2]
    assert table[1]["visible"] == 0.25 and table[1]["probability"] == pytest.approx(0.1)
    assert math.isnan(table[0]["visible"])


def test_the_threshold_without_false_positives_lies_just_above_the_surest_occluded_point():
    visible = np.array([[True, True, True, False, False]])
    p = np.array([[0.9, 0.6, 0.4, 0.6, 0.1]], np.float32)
    threshold = metrics.zero_fpr_threshold(p, visible)
    assert threshold > np.float32(0.6) and threshold == pytest.approx(0.6)
    assert metrics.confusion(p, visible, threshold)[0].sum() == 1
    assert not metrics.confusion(p, visible, threshold)[1].any()
    assert metrics.confusion(p, visible, float(np.float32(0.6)))[1].any(), "one step lower there is a false positive"
    assert math.isnan(metrics.zero_fpr_threshold(p, np.ones_like(visible)))


def test_the_public_codes_loss_and_its_jump():
    got = metrics.soft_wing_of_public_code([0, 0.01, 1 - 1e-9, 1, 2])
    assert got[:3] == pytest.approx([0, math.log(2), math.log(101)], rel=1e-5)  # 4.615
    assert got[3:] == pytest.approx([99, 199], rel=1e-5)
