"""Baselines against what they must reach by their definition."""

from dataclasses import replace

import numpy as np
import pytest

from acusim.errors import ConfigError
from tests.training.eval.scoring import POINTS, some_truth, truth
from training.eval.baselines import ALL_OCCLUDED, BASELINES, PER_POINT, PER_POINT_AND_FRAME, fit_baselines
from training.eval.score import score


def _score(targets, training, baseline):
    predictions = fit_baselines(training).predict(targets.frame)[baseline]
    figures = score(predictions, targets, ["p"] * len(targets.frame), 512)["figures"]
    return {name: figure.value for name, figure in figures.items()}


def test_all_occluded_is_right_where_points_are_occluded():
    targets = some_truth()
    got = _score(targets, targets, ALL_OCCLUDED)
    assert got["micro"] == pytest.approx(1 - targets.visible.mean())
    assert got["fnr"] == 1 and got["fpr"] == 0


def test_the_majority_is_the_best_constant_answer_on_what_it_was_fitted_on():
    targets = some_truth(31)
    share = targets.visible.mean(0)
    assert _score(targets, targets, PER_POINT)["micro"] == pytest.approx(np.maximum(share, 1 - share).mean())


def _two_cameras():
    # Point 0: visible in all of camera 1 and in none of camera 2. Point 1: visible in two of three everywhere.
    visible = np.zeros((6, POINTS), bool)
    visible[:3, 0] = True
    visible[[0, 1, 3, 4], 1] = True
    targets = truth(visible, frames=[1, 1, 1, 2, 2, 2])
    targets.xy[visible[:, 0], 0] = [[0.1, 0.2], [0.2, 0.2], [0.3, 0.5]]
    targets.xy[[0, 1, 3, 4], 1] = [[0.5, 0.5], [0.7, 0.5], [0.1, 0.1], [0.3, 0.1]]
    return targets


def test_positions_and_frequencies_by_hand():
    baselines = fit_baselines(_two_cameras()).predict(np.array([1, 2, 7], np.int16))
    assert tuple(baselines) == BASELINES
    point, camera = baselines[PER_POINT], baselines[PER_POINT_AND_FRAME]
    assert point.probability[:, 0] == pytest.approx([0.5] * 3)
    assert camera.probability[:, 0] == pytest.approx([1, 0, 0.5])  # camera 7 is not in training
    assert camera.probability[:, 1] == pytest.approx([2 / 3] * 3)
    assert point.xy[:, 0] == pytest.approx(np.array([[0.2, 0.3]] * 3))
    assert camera.xy[:, 0] == pytest.approx(np.array([[0.2, 0.3]] * 3))  # camera 2 never sees it
    assert point.xy[0, 1] == pytest.approx([0.4, 0.3])
    assert camera.xy[:, 1] == pytest.approx(np.array([[0.6, 0.5], [0.2, 0.1], [0.4, 0.3]]))
    # Never visible anywhere: the mean of all visible points.
    assert point.xy[0, 2] == pytest.approx([(0.6 + 1.6) / 7, (0.9 + 1.2) / 7])


def test_who_knows_the_camera_does_better_where_the_camera_decides():
    targets = _two_cameras()
    assert _score(targets, targets, PER_POINT_AND_FRAME)["recall"] == 1
    # What a camera told is worth: point 0 is told apart, which its frequency alone cannot do.
    assert _score(targets, targets, PER_POINT_AND_FRAME)["fpr"] < _score(targets, targets, PER_POINT)["fpr"]


def test_labels_that_are_not_trusted_move_no_mean():
    targets = _two_cameras()
    trusted = np.ones_like(targets.visible)
    trusted[2, 0] = False
    baseline = fit_baselines(replace(targets, trusted=trusted)).predict(targets.frame)[PER_POINT]
    assert baseline.xy[0, 0] == pytest.approx([0.15, 0.2])
    assert baseline.probability[0, 0] == 0.5


def test_nothing_visible_and_nothing_at_all():
    baselines = fit_baselines(truth(np.zeros((2, POINTS), bool))).predict(np.array([5], np.int16))
    assert (baselines[PER_POINT_AND_FRAME].xy == 0.5).all() and not baselines[PER_POINT].probability.any()
    with pytest.raises(ConfigError, match="no pictures"):
        fit_baselines(some_truth(0))
