"""Predictions as files."""

import pickle

import numpy as np
import pytest

from acusim.errors import LayoutError
from tests.training.eval.scoring import POINTS, noisy, some_truth
from training.eval.predictions import Predictions


def test_predictions_come_back_from_their_file(tmp_path):
    predictions = noisy(some_truth())
    predictions.save(tmp_path / "p.safetensors")
    back = Predictions.load(tmp_path / "p.safetensors")
    assert (back.probability == predictions.probability).all() and (back.xy == predictions.xy).all()


def test_files_that_are_no_predictions_are_refused(tmp_path):
    from safetensors.numpy import save_file

    path = tmp_path / "p.safetensors"
    path.write_bytes(pickle.dumps({"probability": 1}))
    with pytest.raises(LayoutError, match="pickled"):
        Predictions.load(path)
    good = {"probability": np.zeros((2, POINTS), np.float32), "xy": np.zeros((2, POINTS, 2), np.float32)}
    for change in (
        {"xy": np.zeros((3, POINTS, 2), np.float32)},
        {"probability": np.zeros((2, 21), np.float32)},
        {"xy": np.zeros((2, POINTS, 2), np.float16)},
        {"more": np.zeros(1, np.float32)},
        {"xy": np.full((2, POINTS, 2), np.nan, np.float32)},
        {"probability": np.full((2, POINTS), 1.5, np.float32)},
    ):
        save_file(good | change, path)
        with pytest.raises(LayoutError, match="no predictions"):
            Predictions.load(path)
    with pytest.raises(LayoutError, match="read"):
        Predictions.load(tmp_path / "none.safetensors")
