"""Baselines against what they must reach by their definition."""

from dataclasses import replace

import numpy as np
import pytest

from acusim import acupoints
from acusim.errors import ConfigError
from tests.training.eval.scoring import POINTS, some_truth, truth
from training.eval.baselines import (
    ALL_OCCLUDED,
    BASELINES,
    PER_POINT,
    PER_POINT_AND_FRAME,
    fit_baselines,
    through_camera,
)
from training.eval.score import score
from training.geometry.projection import cameras_of, project, rotations


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


def test_the_mean_head_through_a_camera_off_the_rig():
    baselines = fit_baselines(_two_cameras())
    mean = acupoints.positions_mm()
    rotation, translation, focal = cameras_of([1, 2, 1, 2])
    turn = rotations(np.array([[0.0, 0.0, 0.5], [0.0, 0.03, 0.0], [0.02, 0.0, 0.0], [0.0, 0.0, -2.0]]))
    rotation, translation = turn @ rotation, translation * [1, 1, 1.2]
    got = through_camera(baselines, mean, rotation, translation, 1.1 * focal)
    np.testing.assert_allclose(got.xy, project(mean, rotation, translation, 1.1 * focal)[0], atol=1e-6)
    assert got.probability[:, 0] == pytest.approx([1, 0, 1, 0]), "of cameras 1 and 2, whatever the roll"
    only = through_camera(baselines, mean, rotation, translation, focal, np.array([2, 2]))
    assert only.probability[:, 0] == pytest.approx([0, 0, 0, 0]), "camera 1 is not in training"


def test_on_the_rig_exact_heads_have_no_error_through_their_cameras():
    frames = np.array([1, 5, 40], np.int16)
    cameras = cameras_of(frames)
    visible = np.random.default_rng(0).random((3, POINTS)) < 0.5
    exact = project(acupoints.positions_mm(), *cameras)[0]
    targets = replace(
        truth(visible, frames=frames.tolist()), xy=np.where(visible[..., None], exact, 0).astype(np.float32)
    )
    got = through_camera(fit_baselines(targets), acupoints.positions_mm(), *cameras)
    figures = score(got, targets, ["p"] * 3, 512)["figures"]
    assert figures["mean_mm"].value < 1e-3
    assert figures["micro"].value == 1


def test_without_frames_no_camera_is_near():
    with pytest.raises(ConfigError, match="no frames"):
        through_camera(fit_baselines(some_truth()), acupoints.positions_mm(), *cameras_of([1]), np.array([], int))
