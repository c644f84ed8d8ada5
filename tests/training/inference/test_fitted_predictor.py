"""Mirrored pictures, fit and second pass around a network that is known."""

import numpy as np
import pytest

from acusim import acupoints, rig
from training.data.augmentation import head_flip
from training.geometry.similarity import reduced
from training.geometry.template import build_template
from training.inference.fitted_predictor import fitted_predictor
from training.inference.predictors import Prediction

FLIP = head_flip()
TEMPLATE = build_template([acupoints.positions_mm()])


def places(frame: int = 1) -> np.ndarray:
    return rig.project(acupoints.positions_mm(), frame, 1.0)[0]


def marked(side: int) -> np.ndarray:
    """A picture that is white on its left half: the network below can tell whether it is mirrored."""
    square = np.zeros((side, side, 3), np.uint8)
    square[:, : side // 2] = 255
    return square


def network(noise: float):
    """Sees frame 1's head; its answers are off to the right by ``noise`` in whatever picture it is given."""

    def run(squares: np.ndarray) -> Prediction:
        xy = np.stack([places() if square[:, 0].mean() > 128 else mirrored() for square in squares])
        confidence = np.ones(xy.shape[:2], np.float32)
        return Prediction(confidence, (xy + [noise, 0]).astype(np.float32))

    def mirrored() -> np.ndarray:
        return (places() * [-1, 1] + [1, 0])[FLIP]

    return run


def test_errors_to_one_side_cancel_between_a_picture_and_its_mirror_image():
    found = fitted_predictor(network(0.02), TEMPLATE, 32, passes=1)(marked(64)[None])
    np.testing.assert_allclose(found.xy[0], places(), atol=2e-3)
    plain = fitted_predictor(network(0.02), TEMPLATE, 32, passes=1, mirrored=False, fit_share=0)(marked(64)[None])
    np.testing.assert_allclose(plain.xy[0] - places(), np.tile([0.02, 0], (174, 1)), atol=1e-6)


def test_the_fit_is_that_of_the_points():
    found = fitted_predictor(network(0), TEMPLATE, 32)(marked(64)[None])
    assert found.fit is not None and found.fit.ok[0]
    np.testing.assert_allclose(found.fit.pose_deg[0], 0, atol=0.5)
    np.testing.assert_allclose(found.fit.points_mm[0], acupoints.positions_mm(), atol=1)


def test_points_that_are_no_head_stay_as_they_are():
    random = np.random.default_rng(0).random((1, 174, 2)).astype(np.float32)

    def garbage(squares: np.ndarray) -> Prediction:
        return Prediction(np.full((len(squares), 174), 0.9, np.float32), random.repeat(len(squares), 0))

    found = fitted_predictor(garbage, TEMPLATE, 32, mirrored=False)(marked(32)[None])
    assert found.fit is not None and not found.fit.ok[0]
    np.testing.assert_array_equal(found.xy, random)


def test_numbers_that_are_not_finite_stay_so_and_cost_their_picture_alone():
    def broken(squares: np.ndarray) -> Prediction:
        found = network(0)(squares)
        dark = squares.reshape(len(squares), -1).max(1) == 0
        return Prediction(np.where(dark[:, None], np.nan, found.confidence), found.xy)

    squares = np.stack([marked(64), np.zeros((64, 64, 3), np.uint8)])
    found = fitted_predictor(broken, TEMPLATE, 32)(squares)
    assert np.isfinite(found.confidence[0]).all() and np.isnan(found.confidence[1]).all()
    assert found.fit is not None and found.fit.ok.tolist() == [True, False]


@pytest.mark.parametrize("side", [32, 64, 16])
def test_squares_of_any_size_are_brought_to_the_networks(side: int):
    assert reduced(marked(side), 32).shape == (32, 32, 3)
    half = reduced(marked(side), 32)
    assert (half[:, :15] == 255).all() and (half[:, 17:] == 0).all()
