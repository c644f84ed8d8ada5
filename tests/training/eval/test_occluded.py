"""Errors of occluded points: by hand, on heads whose points are known."""

import numpy as np
import pytest

from acusim import acupoints, rig
from training.data.records import Targets
from training.eval.occluded import occluded_errors
from training.eval.predictions import Predictions

FRAMES = (1, 4, 7, 31, 34)
OFF_MM = 7.0


def heads(visible: np.ndarray) -> tuple[Targets, np.ndarray]:
    """Two persons, the standard head, in five frames each; and the true places [10, 174, 2]."""
    frames = FRAMES * 2
    true = np.stack([rig.project(acupoints.positions_mm(), frame, 1.0)[0] for frame in frames])
    targets = Targets(
        xy=np.where(visible[..., None], true, 0).astype(np.float32),
        visible=visible,
        trusted=np.ones_like(visible),
        depth_mm=np.full(visible.shape, np.nan, np.float32),
        frame=np.array(frames, np.int16),
    )
    return targets, true


def shifted(true: np.ndarray) -> Predictions:
    """Every point OFF_MM to the right, at its own depth."""
    depth = np.stack([rig.project(acupoints.positions_mm(), frame, 1.0)[1] for frame in FRAMES * 2])
    xy = true + np.stack([OFF_MM / rig.mm_per_px(depth, 1.0), np.zeros_like(depth)], -1)
    return Predictions(np.zeros(true.shape[:2], np.float32), xy.astype(np.float32))


NAMES = ["Ann"] * 5 + ["Bob"] * 5


def test_hidden_points_are_measured_where_other_pictures_show_them():
    visible = np.ones((10, 174), bool)
    visible[0, :3] = visible[7, 5] = False  # four hidden points, each shown by four other pictures
    visible[:5, 9] = False  # never shown of Ann: does not count
    targets, true = heads(visible)
    exact = Predictions(np.zeros((10, 174), np.float32), true.astype(np.float32))
    found = occluded_errors({"model": shifted(true), "exact": exact}, targets, NAMES, NAMES)
    assert found["points"] == 4
    assert found["model"]["mean_mm"]["value"] == pytest.approx(OFF_MM, abs=0.01)
    assert found["model"]["within_5_mm"]["value"] == 0
    assert found["exact"]["mean_mm"]["value"] == pytest.approx(0, abs=0.01)
    assert found["exact"]["within_5_mm"]["value"] == 1


def test_nothing_hidden_is_no_figure():
    targets, true = heads(np.ones((10, 174), bool))
    found = occluded_errors({"model": shifted(true)}, targets, NAMES, NAMES)
    assert found == {
        "points": 0,
        "model": {name: {"value": None, "low": None, "high": None} for name in ("mean_mm", "within_5_mm")},
    }


def test_a_person_with_one_picture_has_no_head():
    visible = np.ones((10, 174), bool)
    visible[:, 0] = False
    targets, true = heads(visible)
    each = [f"person {number}" for number in range(10)]
    assert occluded_errors({"model": shifted(true)}, targets, each, each)["points"] == 0
