"""The template's fit: exact points, noise, outliers, pose, and what it must not trust."""

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import ConfigError
from tests.training.geometry.invented import labels, person
from training.geometry.fit import MAX_RESIDUAL, fit
from training.geometry.projection import cameras_of, project, rotations
from training.geometry.template import build_template

TEMPLATE = build_template([person(seed) for seed in range(20)])
FRAMES = (1, 4, 10, 19, 28, 34, 40, 55, 80, 112)
"""From all sides, the back and above included."""
SIZE_MM = 2 * np.sqrt(((TEMPLATE.mean_mm - TEMPLATE.mean_mm.mean(0)) ** 2).sum(1).mean())


class Case:
    """New persons from cameras off the rig, with what is true of them."""

    def __init__(self, seed: int = 0, frames: tuple[int, ...] = FRAMES) -> None:
        random = np.random.default_rng(seed)
        rotation, translation, self.focal = cameras_of(frames)
        self.rotation = rotations(random.normal(0, 0.2, (len(frames), 3))) @ rotation
        self.translation = translation * [1, 1, 1] + random.uniform(-20, 20, (len(frames), 3))
        self.translation[:, 2] *= random.uniform(0.8, 1.3, len(frames))
        self.points = np.stack([person(200 + seed + k) for k in range(len(frames))])
        self.xy, self.depth = project(self.points, self.rotation, self.translation, self.focal)
        self.visible = np.concatenate([labels(p, (f,))["usable"] for p, f in zip(self.points, frames, strict=True)])
        self.weight = 0.1 + 0.8 * self.visible
        self.head = rig.FOCAL / self.translation[:, 2] * SIZE_MM
        """[B] size of the head in the picture."""

    def noisy(self, share: float, seed: int = 0) -> np.ndarray:
        noise = np.random.default_rng(seed).normal(0, share, self.xy.shape)
        return self.xy + noise * self.head[:, None, None]


def turned_by(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """[B] degrees between rotations."""
    cosine = (np.einsum("bij,bij->b", one, other) - 1) / 2
    return np.degrees(np.arccos(cosine.clip(-1, 1)))


def test_exact_points_of_new_persons_give_camera_and_head_from_all_sides():
    case = Case()
    result = fit(TEMPLATE, case.xy, case.weight)
    assert result.ok.all()
    assert turned_by(result.rotation, case.rotation).max() < 2.5
    np.testing.assert_allclose(result.translation_mm[:, 2], case.translation[:, 2], rtol=0.02)
    assert np.linalg.norm(result.xy - case.xy, axis=-1).mean() < 0.002
    assert np.linalg.norm(result.points_mm - case.points, axis=-1).mean() < 4
    assert (result.relative < 0.01).all()


def test_results_belong_together():
    case = Case()
    result = fit(TEMPLATE, case.noisy(0.02), case.weight)
    xy, depth = project(result.points_mm, result.rotation, result.translation_mm, result.focal)
    np.testing.assert_allclose(result.xy, xy, atol=1e-12)
    np.testing.assert_allclose(result.camera_mm[..., 2], depth, atol=1e-9)
    np.testing.assert_allclose(result.points_mm, TEMPLATE.head(result.coefficients), atol=1e-9)
    assert len(result) == len(FRAMES)


def test_the_mean_head_in_frame_one_has_no_angles_and_no_coefficients():
    xy, _ = project(TEMPLATE.mean_mm, *cameras_of([1]))
    result = fit(TEMPLATE, xy, np.ones((1, acupoints.COUNT)))
    np.testing.assert_allclose(result.pose_deg, 0, atol=1e-3)
    np.testing.assert_allclose(result.coefficients, 0, atol=1e-2)
    np.testing.assert_allclose(result.translation_mm, cameras_of([1])[1], atol=0.05)
    assert result.residual[0] < 1e-5


def test_the_fit_is_nearer_to_the_truth_than_its_noisy_points():
    case = Case()
    given = case.noisy(0.02)
    result = fit(TEMPLATE, given, case.weight)
    assert np.linalg.norm(result.xy - case.xy, axis=-1).mean() < 0.5 * np.linalg.norm(given - case.xy, axis=-1).mean()
    assert result.relative == pytest.approx(np.full(len(FRAMES), 0.02 * 1.18), rel=0.4)


def test_outliers_have_little_influence():
    case = Case(1)
    given = case.noisy(0.01)
    wrong = np.random.default_rng(3).random(case.visible.shape) < 0.3
    given[wrong] = np.random.default_rng(4).uniform(0, 1, (wrong.sum(), 2))
    result = fit(TEMPLATE, given, case.weight)
    assert result.ok.all()
    assert turned_by(result.rotation, case.rotation).max() < 5
    shift = np.linalg.norm(result.xy - case.xy, axis=-1) / case.head[:, None]
    assert np.median(shift) < 0.01


def test_points_without_weight_or_number_do_not_count():
    case = Case(2)
    given, weight = case.xy.copy(), case.weight.copy()
    given[:, ::3] = np.nan
    given[:, 1::3] = 5
    weight[:, 1::3] = 0
    result = fit(TEMPLATE, given, weight)
    assert result.ok.all()
    assert np.isfinite(result.xy).all()
    assert turned_by(result.rotation, case.rotation).max() < 5


def test_a_picture_does_not_depend_on_its_batch():
    case = Case(0)
    given = case.noisy(0.01)
    together = fit(TEMPLATE, given, case.weight)
    for row in (0, 3):
        alone = fit(TEMPLATE, given[row : row + 1], case.weight[row : row + 1])
        np.testing.assert_allclose(alone.xy[0], together.xy[row], atol=1e-4)


def test_the_size_of_the_head_in_the_picture_does_not_matter():
    case = Case(0)
    given = case.noisy(0.02)
    large = fit(TEMPLATE, given, case.weight)
    small = fit(TEMPLATE, 0.2 * given + 0.3, case.weight, 0.2 * rig.FOCAL)
    np.testing.assert_allclose(small.relative, large.relative, rtol=0.2)
    assert small.ok.all()


def test_a_focal_length_for_each_picture():
    case = Case(0)
    focal = np.linspace(1.5, 4, len(FRAMES))
    xy, _ = project(case.points, case.rotation, case.translation, focal)
    result = fit(TEMPLATE, xy, case.weight, focal)
    assert turned_by(result.rotation, case.rotation).max() < 2.5
    np.testing.assert_allclose(result.focal, focal)


@pytest.mark.parametrize("noise", [0.01, 0.02, 0.03, 0.05])
def test_noise_up_to_a_twentieth_of_the_head_is_trusted(noise):
    case = Case(3)
    assert fit(TEMPLATE, case.noisy(noise), case.weight).ok.all()


@pytest.mark.parametrize("points", ["anywhere", "in a heap", "exchanged", "in one place"])
def test_garbage_is_refused(points):
    case = Case(4)
    random = np.random.default_rng(0)
    given = {
        "anywhere": random.uniform(0, 1, case.xy.shape),
        "in a heap": random.normal(0.5, 0.1, case.xy.shape),
        "exchanged": np.stack([xy[random.permutation(acupoints.COUNT)] for xy in case.xy]),
        "in one place": np.full(case.xy.shape, 0.5),
    }[points]
    result = fit(TEMPLATE, given, case.weight)
    assert not result.ok.any()
    for array in (result.xy, result.pose_deg, result.translation_mm, result.relative):
        assert np.isfinite(array).all()


def test_a_mirrored_head_is_refused_by_the_side_of_its_visible_points():
    case = Case(5, (1, 3, 35, 37, 40, 109))
    mirrored = fit(TEMPLATE, case.xy * [-1, 1] + [1, 0], case.weight)
    assert (mirrored.relative < MAX_RESIDUAL).all(), "its points alone are those of a head from the other side"
    assert (mirrored.facing < -0.2).all()
    assert not mirrored.ok.any()
    assert (fit(TEMPLATE, case.xy, case.weight).facing > 0.1).all()


def test_few_points_are_refused():
    case = Case(6, (1,))
    weight = np.zeros_like(case.weight)
    weight[0, :3] = 1
    assert not fit(TEMPLATE, case.xy, weight).ok.any()
    nothing = fit(TEMPLATE, case.xy, 0 * weight)
    assert not nothing.ok.any()
    assert np.isinf(nothing.residual).all()
    assert np.isfinite(nothing.xy).all()


def test_no_pictures_give_no_fits():
    result = fit(TEMPLATE, np.zeros((0, acupoints.COUNT, 2)), np.zeros((0, acupoints.COUNT)))
    assert len(result) == 0
    assert result.xy.shape == (0, acupoints.COUNT, 2)


def test_a_template_of_one_person_is_fitted_by_its_pose_alone():
    case = Case(7)
    result = fit(build_template([person(0)]), case.xy, case.weight)
    assert result.coefficients.shape == (len(FRAMES), 0)
    assert turned_by(result.rotation, case.rotation).max() < 8
    assert result.ok.all()


def test_points_whose_weight_is_not_a_number_have_none():
    case, few = Case(7), Case(7).weight.copy()
    few[:, ::5] = 0
    unknown = np.where(few == 0, np.nan, few)
    one, two = (fit(TEMPLATE, case.xy, weight) for weight in (few, unknown))
    np.testing.assert_allclose(one.points_mm, two.points_mm, atol=0.01)
    assert not fit(TEMPLATE, case.xy, np.full_like(few, np.nan)).ok.any()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"xy": np.zeros((2, 100, 2))}, r"xy is \(2, 100, 2\)"),
        ({"weight": np.zeros((3, 174))}, r"weight \(3, 174\)"),
        ({"weight": -np.ones((2, 174))}, "negative"),
        ({"focal": 0.0}, "positive"),
        ({"focal": np.ones(3)}, "one for each picture"),
        ({"shapes": -1}, "shapes = -1"),
        ({"noise_mm": 0.0}, "noise_mm = 0.0"),
    ],
)
def test_wrong_arguments_are_refused(changes, message):
    arguments = {"xy": np.zeros((2, 174, 2)), "weight": np.ones((2, 174)), **changes}
    with pytest.raises(ConfigError, match=message):
        fit(TEMPLATE, **arguments)
