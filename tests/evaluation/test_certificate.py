"""The certificate on pictures whose geometry is known."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from acusim import rig
from acusim.keypoint_metrics import mask_iou
from acusim.labels import parse_label
from acusim.pictures import FITTED, encode_depth
from evaluation.analysis import faded_note
from evaluation.certificate import Certificate, Judge
from evaluation.matching import bounds, match
from evaluation.outline import compare, offsets, silhouette_of
from evaluation.reference import make_reference, sample_reference
from evaluation.structure import Inside, agreement, maps_of, squeezed
from evaluation.thresholds import Thresholds
from evaluation.warps import Warp, shifted
from tests.evaluation.conftest import draw_skin, relit
from tests.support import label_json

pytestmark = pytest.mark.numeric

Skin = tuple[NDArray[np.uint8], NDArray[np.bool_]]
POINTS = np.array([(x, y) for x in (80.0, 128.0, 176.0) for y in (80.0, 128.0, 176.0)])


def _judge(skin: Skin, augmented: NDArray[np.uint8], **thresholds: float) -> Certificate:
    pixels, mask = skin
    return Judge(Thresholds(**thresholds)).judge(pixels, augmented, coords_px=POINTS, mask=mask)


def test_a_copy_is_the_same_in_everything(skin: Skin):
    certificate = _judge(skin, skin[0].copy())
    assert certificate.valid and not certificate.reason
    assert certificate.structure == pytest.approx(1, abs=1e-3) and certificate.texture == pytest.approx(1, abs=1e-3)
    assert certificate.trusted.all() and np.abs(certificate.displacement_px).max() < 0.1
    assert certificate.excluded_px.max() <= 2 and certificate.found_px == 0 and certificate.shift_px == (0, 0)
    assert certificate.outline.iou == 1 and certificate.outline.distance_px == 0


def test_other_light_moves_nothing(skin: Skin):
    certificate = _judge(skin, relit(skin[0]))
    assert certificate.valid and certificate.trusted.all() and certificate.structure > 0.9
    assert np.abs(certificate.displacement_px).max() < 0.5


@pytest.mark.parametrize("step", [(3.0, -2.0), (-6.0, 4.0), (0.0, 9.0)])
def test_a_shift_is_measured_under_other_light(skin: Skin, step: tuple[float, float]):
    certificate = _judge(skin, shifted(relit(skin[0]), *step))
    assert not certificate.valid
    assert np.median(certificate.displacement_px, axis=0) == pytest.approx(step, abs=0.5)
    assert (certificate.excluded_px >= np.hypot(*step) - 0.5).all()


def test_a_local_warp_is_found_where_it_is(skin: Skin):
    warp = Warp((128, 128), 45, 4, 3)
    certificate = _judge(skin, warp.apply(relit(skin[0])))
    assert not certificate.valid and "point 4 moved by" in certificate.reason
    assert not certificate.trusted.any() and certificate.summary()["excluded_px"] is None
    assert certificate.displacement_px[4] == pytest.approx((4, 3), abs=1.0)
    others = np.delete(certificate.displacement_px, 4, axis=0)
    assert np.abs(others).max() < 1
    assert certificate.found_px == pytest.approx(5, abs=1.0)


def test_bare_skin_is_not_trusted_and_an_edge_tells_only_across():
    side = 256
    v, u = np.mgrid[:side, :side] + 0.5
    mask = np.hypot(u - 128, v - 128) < 120
    pixels = np.full((side, side, 3), 150, np.uint8)
    pixels[:, 128:] = 90
    pixels[~mask] = 0
    certificate = Judge().judge(pixels, pixels.copy(), coords_px=[(64, 128), (128, 128)], mask=mask)
    assert certificate.valid, "a lack of evidence is no reason to reject"
    assert np.isinf(certificate.excluded_px).all() and not certificate.trusted.any()
    assert certificate.summary()["excluded_px"] is None


def test_bounds_follow_the_likelihood():
    local = np.full((2, 625), -50.0, np.float32)
    local[:, 312] = 0  # no shift
    local[0, 312 + 3] = -5  # 3 px to the right
    local[1, 0] = -5  # the corner
    assert bounds(local, 4).tolist() == [1, 1]
    assert bounds(local, 8).tolist() == [4, np.inf]


def test_matching_takes_the_points_it_is_given(skin: Skin):
    inside = Inside.of(skin[1])
    maps = maps_of(skin[0], inside)
    one, other = squeezed(maps, maps_of(shifted(skin[0], 5, 0), inside), inside)
    none = match(one, other, np.zeros((0, 2)), 1.0)
    assert none.displacement_px.shape == (0, 2) and none.strength.shape == (0,)
    edge = match(one, other, np.array([(0.0, 0.0), (255.9, 255.9)]), 1.0)
    assert np.isfinite(edge.displacement_px).all()
    texture, structure = agreement(maps, maps, inside)
    assert texture == pytest.approx(1, abs=1e-5) and structure == pytest.approx(1, abs=1e-5)


def test_iou_of_shifted_discs_by_hand():
    side, radius, step = 200, 60.0, 6.0
    v, u = np.mgrid[:side, :side] + 0.5
    disc = np.hypot(u - 100, v - 100) < radius
    outline = silhouette_of(disc)
    away = outline.points - 100
    assert ((away / np.linalg.norm(away, axis=1, keepdims=True)) * outline.normals).sum(1).min() > 0.99
    moved = (outline.normals[:, 0] * step).astype(np.float32)
    score = compare(moved, np.ones(len(moved), bool), outline, disc)
    lens = 2 * radius**2 * np.arccos(step / (2 * radius)) - step / 2 * np.sqrt(4 * radius**2 - step**2)
    by_hand = lens / (2 * np.pi * radius**2 - lens)
    assert score.iou == pytest.approx(by_hand, abs=0.01)
    assert mask_iou(disc, np.hypot(u - 106, v - 100) < radius) == pytest.approx(by_hand, abs=0.01)
    assert score.distance_px == pytest.approx(step, abs=0.2) and score.seen == 1


@pytest.mark.parametrize("growth", [-5, 0, 7])
def test_an_outline_is_found_before_another_background(skin: Skin, growth: int):
    side = 256
    v, u = np.mgrid[:side, :side] + 0.5
    head = np.hypot(u - 128, v - 128) < 0.42 * side
    grown = np.hypot(u - 128, v - 128) < 0.42 * side + growth
    pixels = np.where(grown[..., None], 190, np.array([60, 90, 40])).astype(np.uint8)
    found, seen = offsets(pixels, silhouette_of(head))
    assert seen.mean() > 0.9 and np.median(found[seen]) == pytest.approx(growth, abs=1)


def test_depth_tells_outlines_inside_the_head():
    side = 256
    v, u = np.mgrid[:side, :side] + 0.5
    head, nose = np.hypot(u - 128, v - 128) < 100, np.hypot(u - 128, v - 128) < 30
    depth = np.where(head, 850.0, 0) - 40 * nose
    pixels = (np.where(nose, 200, 120) * head)[..., None].repeat(3, axis=2).astype(np.uint8)
    judge = Judge()
    reference = make_reference(pixels, depth)
    assert judge.compare(reference, pixels).depth_agreement == 1
    larger = np.hypot(u - 128, v - 128) < 36
    other = (np.where(larger, 200, 120) * head)[..., None].repeat(3, axis=2).astype(np.uint8)
    agreed = judge.compare(reference, other).depth_agreement
    assert agreed is not None and agreed < 0.1


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda p: np.zeros_like(p), "black"),
        (lambda p: np.full_like(p, 128), "flat"),
        (lambda p: np.full(p.shape, np.nan, np.float32), "NaN"),
        (lambda p: p.astype(np.float32), "float32"),
        (lambda p: p[:100], "its size is 256 x 100"),
        (lambda p: p[..., 0], "not a colour picture"),
        (lambda p: draw_skin(99)[0], "not the same head"),
        (lambda p: np.ascontiguousarray(p[::-1]), "not the same head"),
    ],
)
def test_pictures_that_cannot_be_right(skin: Skin, make: object, reason: str):
    certificate = _judge(skin, make(skin[0]))  # type: ignore[operator]
    assert not certificate.valid and reason in certificate.reason
    assert len(certificate.trusted) == len(POINTS)
    assert certificate.summary()["accept"] is False


def test_a_shape_that_does_not_fit_is_the_callers_fault(skin: Skin):
    pixels, mask = skin
    with pytest.raises(ValueError, match=r"depth_mm is \(3, 4\)"):
        make_reference(pixels, np.zeros((3, 4)))
    with pytest.raises(ValueError, match=r"coords_px is \(4,\)"):
        make_reference(pixels, coords_px=[1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"visible is \(1,\)"):
        make_reference(pixels, coords_px=[(1, 2), (3, 4)], visible=np.array([True]))
    with pytest.raises(ValueError, match="uint8"):
        make_reference(mask)  # type: ignore[arg-type]


def test_points_that_are_not_visible_or_not_in_the_picture_are_left_out(skin: Skin):
    coords = np.array([(128.0, 128.0), (np.nan, 5.0), (400.0, 10.0), (90.0, 90.0)])
    visible = np.array([True, True, True, False])
    certificate = Judge().judge(skin[0], relit(skin[0]), coords_px=coords, visible=visible, mask=skin[1])
    assert certificate.visible.tolist() == [True, False, False, False]
    assert np.isnan(certificate.excluded_px[1:]).all() and not certificate.trusted[1:].any()
    assert Judge().judge(skin[0], relit(skin[0]), mask=skin[1]).valid, "no labels: the head is looked at"


def test_without_depth_the_silhouette_tells_the_head(skin: Skin):
    assert make_reference(skin[0]).mask_source == "silhouette"
    noise = np.random.default_rng(0).integers(0, 255, skin[0].shape, np.uint8)
    reference = make_reference(noise)
    assert reference.mask_source == "whole picture"
    assert Judge().compare(reference, noise.copy()).valid


def test_large_pictures_are_judged_at_work_size():
    pixels, mask = draw_skin(side=1024)
    certificate = Judge().judge(pixels, shifted(relit(pixels), 12, 0), coords_px=4 * POINTS, mask=mask)
    assert np.median(certificate.displacement_px, axis=0) == pytest.approx((12, 0), abs=1)
    assert not certificate.valid


def test_threads_and_repetition_change_nothing(skin: Skin):
    judge, pixels = Judge(), relit(skin[0])
    reference = make_reference(skin[0], coords_px=POINTS, mask=skin[1])
    first = judge.compare(reference, pixels)
    with ThreadPoolExecutor(4) as pool:
        for certificate in pool.map(lambda _: judge.compare(reference, pixels), range(8)):
            np.testing.assert_array_equal(certificate.displacement_px, first.displacement_px)
            np.testing.assert_array_equal(certificate.excluded_px, first.excluded_px)
            assert certificate.summary() == first.summary()


def test_thresholds_decide(skin: Skin):
    pixels = shifted(relit(skin[0]), 2, 0)
    assert not _judge(skin, pixels).valid
    assert _judge(skin, pixels, allowed_px=3.0, most_outline_px=12.0, global_gain=2.0, least_structure=-1.0).valid
    assert "trusted" in _judge(skin, relit(skin[0]), tolerance_mm=0.1, least_trusted=0.5).reason


def test_outlines_of_depth_that_was_fitted_to_labels_are_not_the_pictures(skin: Skin):
    pixels, mask = skin
    right = np.arange(pixels.shape[1]) >= pixels.shape[1] // 2
    depth = np.where(mask, 800 + 100 * right, 0).astype(np.uint16)  # a step that no pixel shows
    measured, _ = sample_reference(pixels, encode_depth(depth), None, 1)
    fitted, notes = sample_reference(pixels, encode_depth(depth, FITTED), None, 1)
    assert len(measured.inner.points) and not len(fitted.inner.points)
    assert fitted.depth is None and not notes


def test_millimetres_are_those_of_the_labels_camera():
    side = 256
    pixels = np.full((side, side, 3), 120, np.uint8)
    nominal = rig.camera(1)
    longer = rig.camera_at(nominal.R, nominal.t_mm, 2 * rig.FOCAL)
    label = parse_label(label_json(1, bald=True))
    by_frame, _ = sample_reference(pixels, None, label, 1)
    by_camera, _ = sample_reference(pixels, None, replace(label, camera=longer), 1)
    assert len(by_frame.mm_per_px) > 50 and np.allclose(by_camera.mm_per_px, by_frame.mm_per_px / 2)
    depth = np.full((side, side), 900.0)
    reference = make_reference(pixels, depth, POINTS, frame=longer)
    assert np.allclose(reference.mm_per_px, 900 / (2 * rig.FOCAL * side))


@pytest.mark.parametrize("factor", [0.4, 0.7])
def test_less_light_takes_no_contrast(skin: Skin, factor: float):
    certificate = _judge(skin, np.rint(factor * skin[0].astype(float)).clip(0, 255).astype(np.uint8))
    assert certificate.valid and certificate.trusted.all()
    assert certificate.contrast == pytest.approx(1, abs=0.05)


def test_an_image_that_lost_contrast_is_accepted_without_trusted_points(skin: Skin):
    pixels = skin[0].astype(float)
    faded = np.rint(0.8 * pixels + 0.2 * pixels[skin[1]].mean(0)).astype(np.uint8)
    certificate = _judge(skin, faded)
    assert certificate.valid and not certificate.trusted.any()
    assert certificate.contrast == pytest.approx(0.8, abs=0.05)
    summaries = [certificate.summary(), *({"accept": accept, "contrast": 1.0} for accept in (True, False))]
    note = faded_note([*summaries, {"accept": True, "contrast": None}], 0.9)
    assert note.startswith("1 of 3 accepted images keep less than 0.9 of the contrast")
    assert faded_note(summaries[1:], 0.9) == ""
