"""Triangulated heads: known points in space, real labels, wrong labels, and what views cannot determine."""

import re
from pathlib import Path

import numpy as np
import pytest

from acusim.errors import ConfigError
from acusim.labels import read_label
from tests.support import ROOT
from tests.training.geometry.invented import FRAMES, labels, person
from training.geometry.projection import cameras_of, rotations
from training.geometry.triangulation import heads_of, triangulate

WIDTH = 2048


def real() -> dict[str, np.ndarray]:
    """Ten views of a real person's label files."""
    paths = sorted((ROOT / "tests/data/acusim").glob("*.json"))
    found = [read_label(path) for path in paths]
    rotation, translation, focal = cameras_of([int(Path(path).stem[-4:]) for path in paths])
    xy, usable = np.stack([label.xy for label in found]), np.stack([label.listed for label in found])
    return {"xy": xy, "usable": usable, "rotation": rotation, "translation_mm": translation, "focal": focal}


def test_exact_labels_give_the_points_back():
    points = person(0)
    views = labels(points)
    head = triangulate(**views)
    count = views["usable"].sum(0)
    assert (head.views == count).all()
    assert (head.known == (count > 0)).all()
    several = head.mm_per_error < 5000
    assert several.sum() > 60
    assert np.abs(head.points_mm - points)[several].max() < 1e-6
    assert head.rms(WIDTH) < 1e-6


def test_cameras_off_the_rig_do_as_well():
    points = person(1)
    views = labels(points)
    turn = rotations(np.random.default_rng(0).normal(0, 0.2, (len(FRAMES), 3)))
    views["rotation"] = turn @ views["rotation"]
    views["focal"] = views["focal"] * np.linspace(0.8, 1.3, len(FRAMES))
    local = points @ views["rotation"].transpose(0, 2, 1) + views["translation_mm"][:, None]
    views["xy"] = local[..., :2] / local[..., 2:] * views["focal"][:, None, None] + 0.5
    views["depth_mm"] = local[..., 2]
    head = triangulate(**views)
    assert np.nanmax(np.abs(head.points_mm - points)) < 1e-5


def test_real_labels_are_reprojected_within_a_pixel_and_a_half():
    head = triangulate(**real())
    assert head.known.sum() > 60
    assert head.rms(WIDTH) < 1.5


def test_labels_rounded_as_released_stay_within_the_grid():
    points = person(2)
    views = labels(points)
    views["xy"] = np.floor(views["xy"] * 1024) / 1024
    head = triangulate(**views)
    several = head.mm_per_error < 2000
    assert head.rms(WIDTH) < 1.5
    assert np.abs(head.points_mm - points)[several].max() < 2


def test_views_with_a_wrong_label_are_left_out():
    points = person(3)
    views = labels(points)
    several = np.flatnonzero(views["usable"].sum(0) >= 6)
    for place, index in enumerate(several):
        view = np.flatnonzero(views["usable"][:, index])[place % 6]
        views["xy"][view, index] += (0.03, -0.02)
    head = triangulate(**views)
    assert np.abs(head.points_mm - points)[several].max() < 0.05
    assert (views["usable"].sum(0) - head.used.sum(0))[several].min() >= 1
    wrong = ~head.used & views["usable"]
    assert np.linalg.norm(head.residual[wrong], axis=-1).max() == pytest.approx(np.hypot(0.03, 0.02), rel=0.05)


def test_a_single_view_needs_the_depth_of_its_label():
    points = person(4)
    views = labels(points, (1,))
    head = triangulate(**views)
    seen = views["usable"][0]
    assert np.abs(head.points_mm[seen] - points[seen]).max() < 1e-6
    without = triangulate(**{**views, "depth_mm": None})
    assert not without.known.any()
    assert (without.views == seen).all()
    assert not without.used.any()


def test_the_same_view_twice_is_no_second_view():
    views = labels(person(4), (1, 1))
    assert not triangulate(**{**views, "depth_mm": None}).known.any()
    assert (triangulate(**views).known == views["usable"].any(0)).all()


def test_points_that_nobody_sees_stay_unknown():
    views = labels(person(5))
    views["usable"][:, 7] = False
    head = triangulate(**views)
    assert np.isnan(head.points_mm[7]).all()
    assert head.views[7] == 0
    assert np.isnan(head.residual[:, 7]).all()
    nothing = triangulate(**{**views, "usable": np.zeros_like(views["usable"])})
    assert not nothing.known.any()
    assert np.isnan(nothing.rms())


def test_unlisted_points_may_be_nan():
    views = labels(person(5))
    views["xy"][~views["usable"]] = np.nan
    assert triangulate(**views).rms(WIDTH) < 1e-6


def test_persons_are_told_apart_by_their_key():
    one, two = labels(person(6)), labels(person(7))
    mixed = {name: np.concatenate([one[name], two[name]])[::-1] for name in one}
    keys = ["b"] * len(FRAMES) + ["a"] * len(FRAMES)
    heads = heads_of(keys, **mixed)
    assert list(heads) == ["a", "b"]
    for name, number in (("a", 6), ("b", 7)):
        assert np.nanmax(np.abs(heads[name].points_mm - person(number))) < 1e-5
    assert heads_of([], **{name: array[:0] for name, array in one.items()}) == {}


@pytest.mark.parametrize("name", ["xy", "rotation", "translation_mm", "focal", "depth_mm"])
def test_arrays_of_another_shape_are_refused_by_name(name):
    views = labels(person(0))
    views[name] = views[name][:-1]
    with pytest.raises(ConfigError, match=name + re.escape(f" is {views[name].shape}, not ")):
        triangulate(**views)


def test_keys_must_be_as_many_as_pictures():
    with pytest.raises(ConfigError, match="one for each picture"):
        heads_of(["a"], **labels(person(0)))


def test_with_a_guess_an_open_depth_is_that_of_the_nearest_point_on_the_ray():
    points = person(8)
    views = {**labels(points, (1,)), "depth_mm": None}
    head = triangulate(**views, guess_mm=points + [0, 30, 0])
    seen = views["usable"][0]
    assert (head.known == seen).all()
    assert np.nanmax(np.linalg.norm(head.residual, axis=-1)) < 1e-5, "it is on the ray of its label"
    assert np.linalg.norm(head.points_mm - points, axis=1)[seen].min() > 25
    assert np.linalg.norm(head.points_mm - points, axis=1)[seen].max() < 31
    forward = -views["rotation"][0, 2]
    along = np.einsum("i,nij,j->n", forward, head.information, forward)
    assert (along[seen] < 0.05 * np.trace(head.information, axis1=1, axis2=2)[seen]).all()
    exact = labels(points)
    with_guess = triangulate(**exact, guess_mm=points + 50).points_mm
    np.testing.assert_array_equal(with_guess, triangulate(**exact).points_mm)
