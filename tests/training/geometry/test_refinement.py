"""The second pass: conventions of pixels, framing, and the combination of both passes."""

import cv2
import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import ConfigError
from tests.training.geometry.invented import person
from training.geometry.fit import fit
from training.geometry.projection import cameras_of, project, rotations
from training.geometry.refinement import canonical, combine, refine, weights_of
from training.geometry.similarity import invert, move_points, warp
from training.geometry.template import build_template

TEMPLATE = build_template([person(seed) for seed in range(10)])
ONES = np.ones((1, acupoints.COUNT))


def spots(places: np.ndarray, size: int, width: float) -> np.ndarray:
    """[size, size, 3] black, with Gaussian spots at places in shares."""
    grid = np.arange(size) + 0.5
    x, y = (np.exp(-(((grid - place * size) / width) ** 2)) for place in places.T[..., None])
    picture = np.einsum("ny,nx->yx", y, x).clip(0, 1) * 255
    return np.repeat(picture[..., None], 3, 2).astype(np.uint8)


def spot(picture: np.ndarray) -> np.ndarray:
    """The centre of brightness in shares."""
    light = picture[..., 0].astype(float)
    grid = (np.arange(len(light)) + 0.5) / len(light)
    return np.array([light.sum(0) @ grid, light.sum(1) @ grid]) / light.sum()


@pytest.mark.parametrize("side", [64, 100, 256])
@pytest.mark.parametrize("angle", [0, 20, -90])
def test_points_and_pixels_move_together(side, angle):
    c, s = 1.2 * np.cos(np.radians(angle)), 1.2 * np.sin(np.radians(angle))
    linear = np.array([[c, -s], [s, c]])
    matrix = np.c_[linear, np.array([0.52, 0.47]) - linear @ [0.5, 0.5]]
    place = np.array([[0.55, 0.42]])
    picture = spots(place, side, side / 40)
    moved = move_points(matrix[None], place[None])[0, 0]
    np.testing.assert_allclose(spot(warp(picture, matrix, 128)), moved, atol=0.1 / 128)


def test_the_identity_leaves_every_pixel():
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    np.testing.assert_array_equal(warp(picture, np.eye(2, 3), 32), picture)
    np.testing.assert_array_equal(
        warp(picture, np.eye(2, 3), 16), cv2.resize(picture, (16, 16), interpolation=cv2.INTER_AREA)
    )


def test_beyond_the_edge_is_the_edge():
    picture = np.full((16, 16, 3), 77, np.uint8)
    assert (warp(picture, np.array([[1, 0, 0.7], [0, 1, 0.0]]), 16) == 77).all()


def test_matrices_and_their_inverses():
    matrices = np.array([[[0.8, -0.3, 0.1], [0.3, 0.8, -0.2]]])
    xy = np.random.default_rng(0).random((1, 5, 2))
    np.testing.assert_allclose(move_points(invert(matrices), move_points(matrices, xy)), xy, atol=1e-12)
    with pytest.raises(ConfigError, match="no inverse"):
        invert(np.zeros((1, 2, 3)))


def seen(
    roll_deg: float = 0.0, scale: float = 1.0, shift_mm: tuple[float, float] = (0, 0), frame: int = 3
) -> np.ndarray:
    """[1, 174, 2] the mean head from a camera of the rig that is rolled, moved and shifted."""
    rotation, translation, _ = cameras_of([frame])
    turn = rotations(np.array([[0, 0, np.radians(roll_deg)]]))
    moved = translation * [1, 1, 1 / scale] + [*shift_mm, 0]
    return project(TEMPLATE.mean_mm, turn @ rotation, moved)[0]


def test_heads_come_to_the_framing_of_the_rig():
    rig_xy = seen()
    for view in (seen(), seen(25), seen(-40, 0.8), seen(10, 1.3, (30, -20))):
        matrix = canonical(fit(TEMPLATE, view, ONES))
        assert np.abs(move_points(matrix, view) - rig_xy).max() < 0.02, "but for perspective"
    np.testing.assert_allclose(canonical(fit(TEMPLATE, rig_xy, ONES))[0], np.eye(2, 3), atol=1e-3)


def test_the_focal_length_counts_as_the_distance_does():
    rotation, translation, _ = cameras_of([3])
    view = project(TEMPLATE.mean_mm, rotation, translation * [1, 1, 1.5], 1.5 * rig.FOCAL)[0]
    matrix = canonical(fit(TEMPLATE, view, ONES, 1.5 * rig.FOCAL))
    np.testing.assert_allclose(matrix[0, :, :2], np.eye(2), atol=1e-3)


def test_scales_are_limited_and_pictures_without_a_trusted_fit_stay():
    for view, scale in ((seen(0, 0.3), 1.6), (seen(0, 3.0), 0.6)):
        matrix = canonical(fit(TEMPLATE, view, ONES))
        assert np.sqrt(np.linalg.det(matrix[0, :, :2])) == pytest.approx(scale)
    garbage = np.random.default_rng(0).random((1, acupoints.COUNT, 2))
    np.testing.assert_array_equal(canonical(fit(TEMPLATE, garbage, ONES))[0], np.eye(2, 3))


def test_the_combination_is_a_weighted_mean():
    first, second = (np.zeros((2, 3)), np.zeros((2, 3, 2))), (np.ones((2, 3)), np.full((2, 3, 2), 2.0))
    for share, expected in (
        (0.25, [[0.25] * 3] * 2),
        ([0.0, 1.0], [[0.0] * 3, [1.0] * 3]),
        (np.eye(2, 3), np.eye(2, 3)),
    ):
        probability, xy = combine(first, second, np.asarray(share))
        np.testing.assert_allclose(probability, expected)
        np.testing.assert_allclose(xy, 2 * np.repeat(np.asarray(expected)[..., None], 2, 2))
    with pytest.raises(ConfigError, match=r"not within 0\.\.1"):
        combine(first, second, 1.5)


def test_weights_of_probabilities():
    np.testing.assert_allclose(weights_of(np.array([0, 0.5, 1])), [0.1, 0.5, 0.9])


def test_a_detector_that_is_exact_in_the_second_pass_corrects_the_first():
    """The detector finds the bright spot of a picture, and is off by a constant otherwise."""
    truth = np.concatenate([seen(30, 0.8, (20, 10)), seen(-20, 1.2)])
    place = truth[:, 17]
    pictures = [spots(place[:1], 200, 4), spots(place[1:], 160, 4)]
    first = (np.full((2, acupoints.COUNT), 0.9), truth + 0.01)
    given = []

    def predict(batch):
        given.append(batch.shape)
        found = np.stack([spot(picture) for picture in batch])
        return np.full((len(batch), acupoints.COUNT), 0.7), np.repeat(found[:, None], acupoints.COUNT, 1)

    result = refine(predict, pictures, first, TEMPLATE, 96, share=1.0)
    assert given == [(2, 96, 96, 3)]
    assert result.twice.all()
    np.testing.assert_allclose(result.xy[:, 17], place, atol=0.1 / 96)
    np.testing.assert_allclose(result.probability, 0.7, atol=1e-6)
    half = refine(predict, pictures, first, TEMPLATE, 96)
    np.testing.assert_allclose(half.xy[:, 17], place + 0.005, atol=0.1 / 96)


def test_pictures_whose_fit_is_not_trusted_are_not_predicted_again():
    truth = np.concatenate([seen(30), np.random.default_rng(0).random((1, acupoints.COUNT, 2))])
    given = []

    def predict(batch):
        given.append(len(batch))
        return np.ones((len(batch), acupoints.COUNT)), np.full((len(batch), acupoints.COUNT, 2), 0.5)

    pictures = [np.zeros((8, 8, 3), np.uint8)] * 2
    first = (np.full((2, acupoints.COUNT), 0.5), truth)
    result = refine(predict, pictures, first, TEMPLATE, 8)
    assert given == [1]
    assert result.twice.tolist() == [True, False]
    np.testing.assert_allclose(result.xy[1], truth[1], atol=1e-6)
    assert not refine(predict, pictures[:1], (first[0][1:], truth[1:]), TEMPLATE, 8).twice.any()
    assert given == [1], "nothing to predict again"


def test_pictures_that_are_not_square_are_refused():
    with pytest.raises(ConfigError, match="expected a square"):
        warp(np.zeros((4, 5, 3), np.uint8), np.eye(2, 3), 4)
