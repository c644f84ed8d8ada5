"""Drawn points: where they lie, that they can be told apart, and that nothing else is touched."""

import numpy as np
import pytest

from acusim import acupoints
from training.inference.drawing import HEAD, MERIDIAN_COLOURS, Palette, draw_points

BLACK = np.zeros((64, 96, 3), np.uint8)
BLINDNESS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}
"""Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB."""


def _centroid(picture: np.ndarray, colour: tuple[int, int, int]) -> np.ndarray:
    """Of the dot's colour on black: the outline is nearly black, so that its channel-wise share tells the weight."""
    share = (picture.astype(float) @ np.array(colour) / np.dot(colour, colour)).clip(0.1, 1) - 0.1
    y, x = np.mgrid[: picture.shape[0], : picture.shape[1]] + 0.5
    return np.array([(share * x).sum(), (share * y).sum()]) / share.sum()


@pytest.mark.parametrize("scale", [1, 3])
@pytest.mark.parametrize("point", [(40.0, 20.0), (40.5, 20.5), (33.3, 41.7), (50.9, 30.1)])
def test_a_dot_lies_where_its_point_is(point: tuple[float, float], scale: int):
    out = draw_points(BLACK, [point], [85], scale=scale, legend=False)
    assert out.shape == (64 * scale, 96 * scale, 3)
    assert _centroid(out, MERIDIAN_COLOURS["GB"]) == pytest.approx(np.array(point) * scale, abs=0.1)


def test_a_ring_and_a_line_show_the_true_position():
    out = draw_points(BLACK, [(20, 32.5)], [85], true_xy_px=[(60, 32.5)], legend=False).astype(int)
    colour = np.array(MERIDIAN_COLOURS["GB"])
    ring = out.copy()
    ring[:, :50] = 0
    assert _centroid(ring, MERIDIAN_COLOURS["GB"])[1] == pytest.approx(32.5, abs=0.1)
    assert np.abs(out[32, 35:45] - colour).sum(-1).max() < 60, "the line between the two"
    assert np.abs(out[31, 61] - colour).sum() > 200, "the ring's inside is open"


def test_no_ring_where_the_true_position_is_unknown():
    plain = draw_points(BLACK, [(20, 32)], [85])
    assert (plain == draw_points(BLACK, [(20, 32)], [85], true_xy_px=[(np.nan, np.nan)])).all()


def test_the_enlarged_picture_keeps_its_place():
    random = np.random.default_rng(0)
    pixels = np.repeat(np.repeat(random.integers(0, 256, (8, 12, 3)), 16, 0), 16, 1).astype(np.uint8)
    out = draw_points(pixels, np.empty((0, 2)), [], scale=3)
    assert out.shape == (384, 576, 3)
    centres = np.arange(8) * 48 + 24, np.arange(12) * 48 + 24
    assert (out[np.ix_(*centres)] == pixels[8::16, 8::16]).all()


def test_the_given_picture_is_not_modified_and_points_outside_are_harmless():
    pixels = BLACK.copy()
    everywhere = [(-1e9, 5), (0, 0), (96, 64), (1e9, 1e9), (-3, 30)]
    draw_points(pixels, everywhere, range(5), true_xy_px=everywhere[::-1], names=True, confidence=[0.5] * 5)
    assert not pixels.any()


def test_the_legend_lists_the_meridians_that_are_there():
    without = draw_points(BLACK, [(10, 10), (30, 30)], [0, 173], legend=False)
    out = draw_points(BLACK, [(10, 10), (30, 30)], [0, 173])
    assert (out[:64, :96] == without).all()
    strip = out[64:].reshape(-1, 3)
    there = [name for name, colour in MERIDIAN_COLOURS.items() if (strip == colour).all(1).any()]
    assert there == ["LI", "DU"]


def test_colours_are_reported_apart_with_any_sight():
    linear = np.array(list(MERIDIAN_COLOURS.values())) / 255
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)
    assert list(MERIDIAN_COLOURS) == list(acupoints.MERIDIANS)
    to_xyz = [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    for sight, matrix in BLINDNESS.items():
        xyz = (linear @ np.array(matrix).T).clip(0, 1) @ np.array(to_xyz).T / [0.95047, 1, 1.08883]
        f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
        lab = np.stack([116 * f[:, 1], 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], 1)
        apart = np.linalg.norm(lab[:, None] - lab, axis=-1)[np.triu_indices(9, 1)]
        assert apart.min() > 20, sight
    assert ((linear @ to_xyz[1] + 0.05) / 0.05).min() >= 4.5


@pytest.mark.parametrize(
    ("name", "code"),
    [("LI17_天鼎_left", "LI17L"), ("DU20_百会", "DU20"), ("EX-HN1_001_四神聪", "EX-HN1.1"), ("EX-HN1_004", "EX-HN1.4")],
)
def test_codes_are_short_and_plain(name: str, code: str):
    assert HEAD.codes[acupoints.index_of(name)] == code
    assert len(set(HEAD.codes)) == 174 and "".join(HEAD.codes).isascii()


def test_other_palettes():
    palette = Palette(("one", "two"), ("A", "B"), ("x", "y"), {"x": (255, 0, 0), "y": (0, 255, 0)})
    out = draw_points(BLACK, [(20, 20)], [1], palette=palette, legend=False)
    assert tuple(out[20, 20]) == (0, 255, 0)
    with pytest.raises(ValueError, match="allowed are 0..1"):
        draw_points(BLACK, [(20, 20)], [2], palette=palette)


@pytest.mark.parametrize(
    ("xy", "indices", "more"),
    [([(1, 1)], [0, 1], {}), ([(1, np.nan)], [0], {}), ([(1, 1)], [174], {}), ([(1, 1)], [0], {"scale": 0})],
)
def test_what_does_not_belong_together_is_refused(xy: list, indices: list, more: dict):
    with pytest.raises(ValueError):
        draw_points(BLACK, xy, indices, **more)


def test_hidden_points_are_rings_below_the_others_without_a_percentage():
    places = [(30.0, 30.0), (70.0, 30.0)]
    out = draw_points(BLACK, places, [0, 0], confidence=[0.2, 1.0], hollow=[True, False], legend=False)
    colour = MERIDIAN_COLOURS[HEAD.groups[0]]
    assert tuple(out[30, 70]) == colour and not out[29:31, 29:31].any()
    assert (out[:, :50] == colour).all(-1).any()
    named = [
        draw_points(BLACK, [(30, 30)], [0], names=True, confidence=[sure], hollow=[hollow], legend=False)
        for sure, hollow in ((0.2, True), (1.0, True), (0.2, False))
    ]
    assert (named[0] == named[1]).all() and (named[0] != named[2]).any()
    over = draw_points(BLACK, [(30, 30), (30, 30)], [0, 0], confidence=[1, 0.1], hollow=[True, False], legend=False)
    assert tuple(over[30, 30]) == colour, "the visible one is on top"
