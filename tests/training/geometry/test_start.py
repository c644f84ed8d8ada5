"""The first guess: near enough for the fit to converge, from all sides."""

import numpy as np
import pytest

from acusim import acupoints
from tests.training.geometry.invented import person
from training.geometry.projection import cameras_of, project, rotations
from training.geometry.start import first_guess

MEAN = acupoints.positions_mm()
ONES = np.ones((1, acupoints.COUNT))


@pytest.mark.parametrize("frame", [1, 10, 19, 28, 43, 80, 118, 127])
@pytest.mark.parametrize("roll", [0, 70, 180])
def test_the_nearest_direction_is_found_with_its_roll_and_distance(frame: int, roll: float):
    rotation, translation, focal = cameras_of([frame])
    turned = rotations(np.array([[0, 0, np.radians(roll)]])) @ rotation
    xy, _ = project(person(3), turned, translation * [1, 1, 0.8], focal)
    xy[0, ::4] = np.random.default_rng(frame).uniform(0, 1, xy[0, ::4].shape)
    guess, moved = first_guess(MEAN, xy, ONES, focal)
    cosine = (np.trace(guess[0] @ turned[0].T) - 1) / 2
    assert np.degrees(np.arccos(cosine)) < 40
    assert moved[0, 2] == pytest.approx(0.8 * translation[0, 2], rel=0.4)


def test_a_view_among_the_directions_is_found_exactly_but_for_perspective():
    rotation, translation, focal = cameras_of([1])
    guess, moved = first_guess(MEAN, project(MEAN, rotation, translation, focal)[0], ONES, focal)
    np.testing.assert_allclose(guess, rotation, atol=0.02)
    np.testing.assert_allclose(moved[0, :2], translation[0, :2], atol=3)


def test_without_weights_or_with_all_points_in_one_place_a_guess_is_finite():
    _, _, focal = cameras_of([1])
    for weight, xy in ((0 * ONES, np.random.default_rng(0).random((1, 174, 2))), (ONES, np.full((1, 174, 2), 0.5))):
        for array in first_guess(MEAN, xy, weight, focal):
            assert np.isfinite(array).all()
