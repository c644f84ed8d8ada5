"""Mirrored pictures and a second pass around a network that is known."""

import numpy as np
import pytest

from training.config import load_config
from training.data.photographs import Transform
from training.geometry.similarity import move_points
from training.inference.hand_passes import (
    SCALES,
    SPAN,
    closer,
    has_passes,
    predict_squares,
    repeated_predictor,
    single_predictor,
)
from training.inference.predictors import Prediction
from training.tasks.hand_config import HandConfig

SIDE = 64


def dots(*places: tuple[float, float], side: int = SIDE) -> np.ndarray:
    """A black square with white dots of 4 pixels whose centres are at places in 0..1."""
    square = np.zeros((side, side, 3), np.uint8)
    for x, y in places:
        column, row = round(x * side), round(y * side)
        square[row - 2 : row + 2, column - 2 : column + 2] = 255
    return square


def upper_and_lower(squares: np.ndarray, off: float = 0.0) -> Prediction:
    """Finds two points, the upper and the lower dot, too far to the right by ``off``; takes a hand whose upper dot is
    on the left for a left one, and sees palms only."""
    xy, types = [], []
    for square in squares:
        lit = np.argwhere(square[..., 0] > 127) + 0.5  # row, column
        upper = lit[:, 0] < lit[:, 0].mean()
        points = np.stack([lit[upper].mean(0), lit[~upper].mean(0)])[:, ::-1] / len(square)
        xy.append(points + [off, 0])
        types.append([points[0, 0] < points[1, 0], True])
    return Prediction(np.ones((len(squares), 2)), np.array(xy), np.array(types, float))


def test_errors_to_one_side_cancel_in_both_passes():
    places = np.array([(0.25, 0.25), (0.5, 0.5)])
    squares = dots(*places)[None]
    assert np.abs(upper_and_lower(squares, 0.03).xy - places).max() == pytest.approx(0.03)
    found = repeated_predictor(lambda given: upper_and_lower(given, 0.03), SIDE)(squares)
    np.testing.assert_allclose(found.xy[0], places, atol=0.005)


def test_the_side_changes_in_a_mirror_image_and_the_face_does_not():
    for places, left in (((0.2, 0.3), (0.3, 0.6)), 1), (((0.3, 0.3), (0.2, 0.6)), 0):
        found = repeated_predictor(upper_and_lower, SIDE)(dots(*places)[None])
        assert found.hand_types is not None and found.hand_types.tolist() == [[left, 1]]


def test_the_second_pass_sees_the_hand_in_the_middle_in_its_usual_size():
    seen: list[np.ndarray] = []

    def network(given: np.ndarray) -> Prediction:
        seen.append(given)
        return upper_and_lower(given)

    repeated_predictor(network, SIDE)(dots((0.1, 0.2), (0.4, 0.3), side=2 * SIDE)[None])
    assert [given.shape for given in seen] == [(1, SIDE, SIDE, 3)] * 4
    low, high = (place(upper_and_lower(seen[2]).xy[0], axis=0) for place in (np.min, np.max))
    np.testing.assert_allclose((low + high) / 2, 0.5, atol=0.02)
    assert (high - low).max() == pytest.approx(SPAN, abs=0.02)


def test_one_look_is_the_network_alone_on_pictures_of_its_size():
    seen = []

    def network(given: np.ndarray) -> Prediction:
        seen.append(given.shape)
        return upper_and_lower(given)

    squares = dots((0.1, 0.2), (0.4, 0.3), side=2 * SIDE)[None]
    found = single_predictor(network, SIDE)(squares)
    assert seen == [(1, SIDE, SIDE, 3)]
    assert np.allclose(found.xy[0], [(0.1, 0.2), (0.4, 0.3)], atol=1 / SIDE)


def test_similarities_by_hand():
    wide = np.array([[[0.2, 0.4], [0.6, 0.5], [0.3, 0.45]]])
    moved = move_points(closer(wide), wide)
    np.testing.assert_allclose(moved.min(1)[0, 0], 0.5 - SPAN / 2)
    np.testing.assert_allclose(moved.max(1)[0, 0], 0.5 + SPAN / 2)
    np.testing.assert_allclose((moved.min(1) + moved.max(1)) / 2, [[0.5, 0.5]])
    one = np.full((1, 3, 2), 0.25)  # all points in one place
    np.testing.assert_allclose(closer(one)[0, 0, 0], SCALES[1])
    np.testing.assert_allclose(closer(np.array([[[0.0, 0.0], [1.0, 1.0]]]))[0, 0, 0], SCALES[0])


def test_only_networks_that_know_mirrored_pictures_have_passes():
    for name, flip, expected in (("hand_light", "0.5", True), ("hand_light", "0", False), ("hand_hrnet", "0.5", False)):
        config = load_config(name).with_settings([f"online.flip={flip}"])
        assert isinstance(config, HandConfig)
        assert has_passes(config) == expected


def test_predictions_are_in_order_and_in_shares_of_the_other_squares(monkeypatch: pytest.MonkeyPatch):
    class Pictures:
        def __init__(self, size: int, transform: Transform):
            self.size, self.transforms = size, (transform,) * 5

        def __len__(self) -> int:
            return 5

        def read(self, numbers: np.ndarray, out: np.ndarray) -> None:
            for row, number in enumerate(numbers):
                out[row] = number

    def network(given: np.ndarray) -> Prediction:
        value = given[:, 0, 0, 0].astype(float) / 8
        return Prediction(np.tile(value[:, None], 2), np.tile(value[:, None, None], (2, 2)))

    monkeypatch.setattr("training.tasks.base.PREDICT_BATCH", 2)
    done: list[int] = []
    wide = Pictures(64, Transform((0.5, 0.5), (0.0, 13.0), 64))
    narrow = Pictures(32, Transform((0.25, 0.25), (0.0, 6.0), 32))  # 6.5 pixels of padding, rounded
    found = predict_squares(network, wide, narrow, done.append)  # type: ignore[arg-type]
    np.testing.assert_allclose(found.xy[:, 0, 0], np.arange(5) / 8)
    np.testing.assert_allclose(found.xy[:, 0, 1], np.arange(5) / 8 - 0.5 / 32)
    assert found.confidence is not None and found.confidence.shape == (5, 2) and found.types is None
    assert done == [2, 2, 1] and found.of_visibility
