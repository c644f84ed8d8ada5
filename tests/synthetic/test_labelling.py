"""Labels against independent answers: the rig's projection and the depth buffer."""

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.labels import dump_label, parse_label
from synthetic.head import HAIR, Head
from synthetic.identity import BALD
from synthetic.labelling import make_label, visible_points
from synthetic.lights import studio_light
from synthetic.measure import real_visible_shares, visibility, visible_shares
from synthetic.render import depth_map, render

pytestmark = pytest.mark.numeric

FRAMES = (1, 5, 10, 19, 28, 40, 77, 112, 130)


@pytest.mark.parametrize("frame", FRAMES)
def test_xy_and_h_are_the_rigs_projection(person: Head, frame: int) -> None:
    label = make_label(person, frame)
    xy, depth_mm = rig.project(person.acupoints_mm, frame, 1.0)
    assert label.listed.any()
    np.testing.assert_allclose(label.xy[label.listed], xy[label.listed], atol=1e-6)
    np.testing.assert_allclose(label.h_m[label.listed] * 1000, depth_mm[label.listed], atol=1e-3)
    assert (label.n[label.listed] < 0).all()


@pytest.mark.parametrize("frame", FRAMES)
def test_visible_points_lie_on_the_depth_buffer_and_hidden_ones_do_not(person: Head, frame: int) -> None:
    """Depth at the pixel of a point: from the rays of the picture, not from those of the label."""
    size = 1024
    label = make_label(person, frame)
    buffer = depth_map(person, frame, size)
    xy, depth_mm = rig.project(person.acupoints_mm, frame, size)
    column, row = np.clip(np.floor(xy).astype(int), 0, size - 1).T
    patch = np.stack(
        [
            buffer[np.clip(row + dy, 0, size - 1), np.clip(column + dx, 0, size - 1)]
            for dy in (-1, 0, 1)
            for dx in (-1, 0, 1)
        ]
    )
    cosine = np.einsum("nc,c->n", person.acupoint_normals, rig.camera(frame).forward)
    seen = label.listed & (cosine < -0.2)
    # A pixel spans 0.3 mm across and, on a slope, more in depth: the nine around a point bracket it.
    assert (patch.min(0) - 1.5 <= depth_mm)[seen].all()
    assert (patch.max(0) + 1.5 >= depth_mm)[seen].all()
    hidden = (cosine < -0.2) & ~label.listed & ~acupoints.INNER & ((xy >= 0) & (xy < size)).all(1)
    in_front = depth_mm[hidden] - patch.min(0)[hidden]
    assert (in_front > 0.5).all(), np.array(acupoints.NAMES)[hidden][in_front <= 0.5]


def test_depth_of_a_picture_is_the_depth_buffer(person: Head) -> None:
    for quality in ("draft", "fine"):
        view = render(person, studio_light(), 3, size=128, quality=quality, seed=0)
        buffer = depth_map(person, 3, 128)
        assert view.rgb.shape == (128, 128, 3) and view.depth_mm.dtype == np.uint16
        np.testing.assert_array_equal(view.depth_mm > 0, buffer > 0)
        assert np.abs(view.depth_mm - buffer).max() <= 0.51
        assert (view.rgb[view.depth_mm == 0] < 90).mean() > 0.9  # black, but for smoothed edges


def test_bald_head_shows_its_scalp_and_hair_hides_it(bald: Head, haired: Head) -> None:
    scalp = list(acupoints.SCALP)
    assert bald.who.hair == BALD and haired.who.hair != BALD
    for frame in (1, 10, 37, 55, 73, 91):
        towards = rig.camera(frame).center_mm - bald.acupoints_mm
        facing = np.einsum("nc,nc->n", bald.acupoint_normals, towards)[scalp] > 0
        assert facing.any()
        assert visible_points(bald, frame)[scalp][facing].mean() > 0.95
        assert not visible_points(haired, frame)[scalp].any()


def test_a_point_under_hair_lies_behind_the_depth_buffer(haired: Head) -> None:
    index = acupoints.index_of("DU20_百会")
    xy, depth_mm = rig.project(haired.acupoints_mm, 73, 512)
    column, row = np.floor(xy[index]).astype(int)
    assert depth_mm[index] - depth_map(haired, 73, 512)[row, column] > 3.0
    assert (haired.material == HAIR).any()


@pytest.mark.parametrize("name", [point.name for point in acupoints.ACUPOINTS if point.inner])
def test_inner_points_are_never_listed(bald: Head, name: str) -> None:
    index = acupoints.index_of(name)
    assert not any(visible_points(bald, frame)[index] for frame in rig.KEPT_FRAMES)


def test_clothes_cover_the_shoulder_points(haired: Head, bald: Head) -> None:
    covered = [k for k, name in enumerate(acupoints.NAMES) if name.startswith(("LI16", "GB21"))]
    assert len(covered) == 4
    for head in (haired, bald):
        assert not visibility(head, rig.FRAMES)[:, covered].any()


def test_upper_back_points_are_seen_from_behind(bald: Head) -> None:
    names = ("DU14_大椎", "EX-B1_定喘_left", "BL11_大枢_right")
    assert visible_points(bald, 91)[[acupoints.index_of(name) for name in names]].all()


def test_every_outer_point_of_a_bald_head_is_seen_somewhere_but_those_under_clothes(bald: Head) -> None:
    never = ~visibility(bald, rig.FRAMES).any(0) & ~acupoints.INNER
    codes = {acupoints.NAMES[k].split("_")[0] for k in np.flatnonzero(never)}
    assert codes <= {"LI16", "GB21", "SJ15"}, codes


def test_left_is_at_larger_x_in_frame_1(person: Head) -> None:
    xy, _ = rig.project(person.acupoints_mm, 1, 512)
    sides = np.array([point.side for point in acupoints.ACUPOINTS])
    assert (xy[sides == "left", 0] > 256).all() and (xy[sides == "right", 0] < 256).all()


def test_frame_10_stands_at_plus_x_and_sees_the_left_side(bald: Head) -> None:
    assert rig.camera(10).center_mm[0] > 800
    seen = visible_points(bald, 10)
    sides = np.array([point.side for point in acupoints.ACUPOINTS])
    assert seen[sides == "left"].sum() > 40 and seen[sides == "right"].sum() == 0


def test_mirrored_cameras_see_mirrored_points(bald: Head) -> None:
    partner = {}
    for point in acupoints.ACUPOINTS:
        swapped = point.name.replace("_left", "_\0").replace("_right", "_left").replace("_\0", "_right")
        partner[point.index] = acupoints.index_of(swapped)
    mirror = np.array([partner[k] for k in range(acupoints.COUNT)])
    # 003 and 004 of EX-HN1 are a pair without left and right in their names.
    third, fourth = acupoints.index_of("EX-HN1_003"), acupoints.index_of("EX-HN1_004")
    mirror[[third, fourth]] = fourth, third
    agree = []
    for step in range(1, 18):
        for ring in range(4):
            here, there = (
                visible_points(bald, 36 * ring + 1 + step),
                visible_points(bald, 36 * ring + 37 - step),
            )
            agree.append((here == there[mirror]).mean())
    assert np.mean(agree) > 0.995, np.mean(agree)


def test_visible_share_is_near_the_real_one(haired: Head) -> None:
    """One haired man of AcuSim: 16.9 % of all, 24.0 % of the kept frames."""
    made, real = visible_shares(visibility(haired, rig.FRAMES)), real_visible_shares()
    assert real["all"]["all"] == pytest.approx(0.1695) and real["kept"]["all"] == pytest.approx(0.2398)
    assert abs(made["all"]["all"] - real["all"]["all"]) < 0.03
    assert abs(made["kept"]["all"] - real["kept"]["all"]) < 0.04
    for meridian in acupoints.MERIDIANS:
        assert abs(made["all"][meridian] - real["all"][meridian]) < 0.06, meridian


def test_label_survives_the_official_schema(person: Head) -> None:
    label = make_label(person, 7)
    again = parse_label(dump_label(label))
    np.testing.assert_array_equal(again.listed, label.listed)
    np.testing.assert_allclose(again.xy, label.xy, equal_nan=True)
    np.testing.assert_allclose(again.h_m, label.h_m, equal_nan=True)


def test_frame_1_is_framed_as_in_the_real_render(haired: Head) -> None:
    """AcuSim's frame 1 at 1024: hair begins near y 70, ears reach x 262 and 765, the chin is at y 860."""
    mask = render(haired, studio_light(), 1, size=1024, quality="draft", seed=0).mask
    assert abs(np.flatnonzero(mask.any(1))[0] - 70) < 25
    at_ears = np.flatnonzero(mask[560])
    assert abs(at_ears[0] - 258) < 15 and abs(at_ears[-1] - 768) < 15
    chin, _ = rig.project(haired.landmarks_mm[[152]], 1, 1024)
    assert abs(chin[0, 1] - 860) < 12
    eyes, _ = rig.project(haired.landmarks_mm[[159, 145, 386, 374]], 1, 1024)
    assert abs(eyes[:, 1].mean() - 495) < 8
    assert mask[-1].mean() > 0.95  # shoulders fill the lower edge
