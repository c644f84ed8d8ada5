"""Heads fitted to labels: against heads whose shape is known, and answers worked out by hand."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import LabelError
from acusim.labels import Label, empty_label
from synthetic.fit.hair import cover_of, with_hair
from synthetic.fit.joining import joined_depth
from synthetic.fit.shape import MOVED_BY_HAND, FittedHead, LabelledView, fit_head
from synthetic.fit.skin import skin_in
from synthetic.head import PLAIN_SKIN, SKIN, Head
from synthetic.labelling import make_label
from synthetic.rays import camera_rays, depth_from, origins
from synthetic.scene import Scene

pytestmark = pytest.mark.numeric

FRAMES = (1, 4, 7, 31, 34, 42, 109)


def views_of(head: Head, frames: Sequence[int] = FRAMES) -> list[LabelledView]:
    return [LabelledView(f"view {frame}", make_label(head, frame), rig.camera(frame)) for frame in frames]


def seen_points(views: Sequence[LabelledView]) -> np.ndarray:
    seen = np.array([view.label.listed for view in views]).any(0) & ~acupoints.INNER
    seen[list(MOVED_BY_HAND)] = False
    return seen


@pytest.fixture(scope="module")
def fit(person: Head) -> FittedHead:
    return fit_head(person.who.gender, views_of(person))


def errors_on_skin(head: Head, fitted: FittedHead, frame: int, size: int = 256) -> np.ndarray:
    """Distances along the rays in mm, on skin that both heads have."""
    camera = rig.camera(frame)
    rays = camera_rays(camera, size)
    hit = head.scene.first_hit(origins(camera, len(rays)), rays)
    skin = (hit["primID"] >= 0) & np.isin(head.material[hit["primID"]], (SKIN, PLAIN_SKIN))
    found = depth_from(Scene(fitted.vertices, fitted.faces), camera, size).ravel()
    both = skin & (found > 0)
    assert both.sum() > 0.97 * skin.sum()
    return np.abs(found - hit["tfar"])[both]


def test_acupoints_and_skin_are_where_the_labels_have_them(person: Head, fit: FittedHead) -> None:
    apart = np.linalg.norm(fit.acupoints_mm - person.acupoints_mm, axis=1)
    assert np.percentile(apart[seen_points(views_of(person))], 95) < 0.5
    assert fit.views == tuple(f"view {frame}" for frame in FRAMES) and not fit.left_out
    for frame in (1, 7, 40):  # the last one was not fitted
        assert np.median(errors_on_skin(person, fit, frame)) < 1.0


def test_another_mean_head_is_pulled_to_the_person_too(person: Head) -> None:
    """As if nobody like her had shaped the prior: the fit, not the prior, has to bring her shape."""
    other = "FM"["MF".index(person.who.gender)]
    fitted = fit_head(other, views_of(person))
    seen = seen_points(views_of(person))
    before, after = (
        np.linalg.norm(points - person.acupoints_mm, axis=1)[seen]
        for points in (fitted.mean_acupoints_mm, fitted.acupoints_mm)
    )
    assert np.median(before) > 5 and np.median(after) < 0.5
    assert np.median(errors_on_skin(person, fitted, 1)) < 2.5


def test_left_out_acupoints_are_predicted(person: Head) -> None:
    other, chosen = "FM"["MF".index(person.who.gender)], np.flatnonzero(seen_points(views_of(person)))[::6]
    without = fit_head(other, views_of(person), without=tuple(chosen))
    before, after = (
        np.median(np.linalg.norm(points - person.acupoints_mm, axis=1)[chosen])
        for points in (without.mean_acupoints_mm, without.acupoints_mm)
    )
    assert 0.5 < after < 0.6 * before


def test_what_the_authors_moved_by_hand_changes_nothing(person: Head, fit: FittedHead) -> None:
    """Released labels have BL1, BL2, GB1 higher and ST1, ST4 lower than the surface."""
    moved = []
    for view in views_of(person):
        xy = view.label.xy.copy()
        xy[list(MOVED_BY_HAND), 1] -= 0.015
        moved.append(replace(view, label=replace(view.label, xy=xy)))
    assert len(MOVED_BY_HAND) == 10
    again = fit_head(person.who.gender, moved)
    assert (again.vertices == fit.vertices).all()


def test_a_view_that_fits_no_head_is_named_and_left_out(person: Head, bald: Head, fit: FittedHead) -> None:
    views = views_of(person)
    wrong = replace(views[1], label=make_label(person, 10))  # another camera's label
    found = fit_head(person.who.gender, [views[0], wrong, *views[2:]])
    assert list(found.left_out) == ["view 4"] and "at most 6" in found.left_out["view 4"]
    assert "view 4" not in found.views
    assert np.abs(found.acupoints_mm - fit.acupoints_mm)[seen_points(views)].max() < 5


def test_one_view_alone_says_where_its_lines_of_sight_pass(person: Head) -> None:
    [view] = views_of(person, (4,))
    fitted = fit_head(person.who.gender, [view])
    seen = seen_points([view])
    xy, _ = rig.project(fitted.acupoints_mm, 4, 512)
    assert np.abs(xy - 512 * view.label.xy)[seen].max() < 1.5
    assert fitted.views == ("view 4",)


def test_too_few_acupoints_are_refused(person: Head) -> None:
    def only(count: int) -> Label:
        label, full = empty_label(), make_label(person, 1)
        for index in np.flatnonzero(seen_points(views_of(person, (1,))))[:count]:
            label.xy[index], label.n[index], label.h_m[index] = full.xy[index], full.n[index], full.h_m[index]
            label.listed[index] = True
        return label

    with pytest.raises(LabelError, match="7 acupoints are seen in 1 views; a fit needs 8"):
        fit_head("F", [LabelledView("a", only(7), rig.camera(1))])
    assert fit_head("F", [LabelledView("a", only(8), rig.camera(1))]).points == 8
    with pytest.raises(LabelError, match="0 acupoints are seen in 0 views"):
        fit_head("F", [])


def test_hair_is_where_labels_lack_what_the_head_would_show(bald: Head, haired: Head) -> None:
    frames = (*FRAMES, 10, 19, 28)
    skin = fit_head("M", views_of(bald, frames))
    assert not cover_of(skin, views_of(bald, frames)).any()
    views = views_of(haired, frames)
    bare = fit_head("M", views)
    cover = cover_of(bare, views)
    at = bare.places.of(cover[:, None])[:, 0]
    assert at[acupoints.index_of("DU20_百会")] == 1
    assert (at[seen_points(views)] < 0.5).mean() > 0.9
    camera = rig.camera(10)
    mask = depth_from(haired.scene, camera, 128) > 0
    grown, thickness = with_hair(bare, cover, [(camera, mask)])
    assert 5 < thickness < 30

    def wrong(head: FittedHead) -> int:
        return int(((depth_from(Scene(head.vertices, head.faces), camera, 128) > 0) ^ mask).sum())

    assert wrong(grown) < 0.7 * wrong(bare)
    assert with_hair(bare, cover, [])[1] == 0


def test_depth_of_hair_and_clothes_hangs_on_the_skin() -> None:
    bare = np.zeros((64, 64))
    bare[20:44, 20:44] = 800
    mask = np.zeros((64, 64), bool)
    mask[10:54, 10:54] = True
    depth = joined_depth(bare, mask, px_mm=1.0)
    assert depth.dtype == np.uint16 and ((depth > 0) == mask).all()
    assert (depth[24:40, 24:40] == 800).all()
    ring = depth[32, 10:21].astype(int)
    assert (np.diff(ring) <= 0).all() and 800 < ring[0] < 840  # it rounds off towards the outline
    assert (joined_depth(np.where(mask, 700.0, 0), mask, 1.0)[mask] == 700).all()  # nothing to join
    apart = mask.copy()
    apart[0:4, 0:4] = True  # what hangs on nothing is as deep as the nearest skin
    assert 800 < joined_depth(bare, apart, 1.0)[1, 1] < 840


def test_the_colour_of_skin_is_learned_around_visible_acupoints() -> None:
    pixels = np.full((128, 128, 3), (200, 150, 120), np.uint8)
    pixels[:, 64:] = (100, 75, 60)  # the same skin in half the light
    pixels[:20] = (30, 25, 25)
    pixels[20:40] = (150, 150, 150)  # grey hair, as bright as skin
    points = np.array([(x, y) for x in (20.0, 44.0, 84.0, 108.0) for y in (60.0, 84.0, 108.0)])
    column, row = points.astype(int).T
    for dx in (0, 1):
        pixels[row + dx, column + dx] = (255, 0, 0)  # marks
    skin = skin_in(pixels, points)
    assert skin[44:].mean() > 0.97 and not skin[:36].any()
    assert not skin_in(pixels, points[:4]).any()
