"""Heads cut out of compressed pictures: against the true mask of a drawn head, whatever background and quality."""

import numpy as np
import pytest
from PIL import Image, ImageFilter

from acusim import foreground
from acusim.errors import PictureError
from acusim.keypoint_metrics import mask_iou
from acusim.silhouette import cut_out
from tests.jpeg_heads import SIDE, drawn, edge_distance, through_jpeg

BLACK = (0, 0, 0)


@pytest.mark.parametrize("background", [BLACK, (128, 128, 128), (255, 255, 255), (40, 150, 60)])
@pytest.mark.parametrize(("quality", "subsampling"), [(60, 2), (75, 2), (90, 2), (95, 2), (75, 0)])
def test_the_mask_of_a_jpeg_is_the_true_one(background: tuple[int, int, int], quality: int, subsampling: int):
    pixels, mask = drawn(background)
    found = cut_out(through_jpeg(pixels, quality, subsampling))
    assert mask_iou(found.mask, mask) > 0.985
    assert edge_distance(found.mask, mask) <= 1


@pytest.mark.parametrize("brightness", [0.5, 1.0])
def test_without_compression_the_mask_is_the_true_one(brightness: float):
    pixels, mask = drawn(brightness=brightness)
    found = cut_out(pixels)
    assert mask_iou(found.mask, mask) > 0.993 and edge_distance(found.mask, mask) == 0


def test_nothing_moves_with_the_head():
    """A picture shifted by whole blocks of the compression is cut out shifted by as many pixels."""
    pixels, _ = drawn()
    pixels[:16] = 0
    here = cut_out(through_jpeg(pixels, 75))
    there = cut_out(through_jpeg(np.roll(pixels, -16, 0)[: SIDE - 16], 75))
    inner = slice(16, SIDE - 48)  # the lower edge cuts the shirt elsewhere
    assert (here.mask[inner.start + 16 : inner.stop + 16] == there.mask[inner]).mean() > 0.999


def test_dark_hair_and_pupils_are_not_transparent_inside():
    pixels, mask = drawn()
    alpha = cut_out(through_jpeg(pixels, 75)).alpha
    assert (alpha[40:90, 90:166] == 1).all(), "hair"
    assert (alpha[108:117, 98:158] == 1).all(), "pupils as black as the background"
    assert not alpha[:20].any() and not alpha[100:130, :30].any(), "no haze in the background"
    assert ((alpha > 0) & (alpha < 1)).any()


def test_strands_beside_the_head_are_kept():
    pixels, mask = drawn()
    alpha = cut_out(through_jpeg(pixels, 75)).alpha
    strand = mask & (np.mgrid[:SIDE, :SIDE][1] < 66) & (np.mgrid[:SIDE, :SIDE][0] < 58)
    assert strand.sum() > 20 and alpha[strand].mean() > 0.5


def test_a_gap_through_which_the_background_shows_stays_open_in_a_jpeg():
    pixels, mask = drawn()
    pixels[120:150, 100:130] = 0
    found = cut_out(through_jpeg(pixels, 75)).mask
    assert not found[126:144, 106:124].any() and found[100, 115]


@pytest.mark.parametrize("quality", [60, 75, 90])
def test_no_ring_darker_than_the_hair_before_white(quality: int):
    """Beside the head, and on its rim, nothing is darker than the head's own darkest levels nearby."""
    pixels, mask = drawn()
    jpeg = through_jpeg(pixels, quality)
    alpha = cut_out(jpeg).alpha
    white = np.ones((SIDE, SIDE, 3), np.float32)
    levels = 255 * foreground.composed(jpeg.astype(np.float32) / 255, white, alpha).mean(2)
    rim = _reach(mask, 3) & _reach(~mask, 3)
    inside = Image.fromarray(np.where(mask, pixels.mean(2), 255).astype(np.uint8))
    darkest = np.asarray(inside.filter(ImageFilter.MinFilter(25))).astype(float)
    assert (levels < darkest - 12)[rim].mean() < 0.01
    # The measure finds the ring that a mask too large by two pixels leaves.
    wide = 255 * foreground.composed(jpeg.astype(np.float32) / 255, white, _reach(mask, 2).astype(np.float32)).mean(2)
    assert (wide < darkest - 12)[rim].mean() > 0.1


def _reach(mask: np.ndarray, pixels: int) -> np.ndarray:
    grown = Image.fromarray(mask.astype(np.uint8) * 255).filter(ImageFilter.MaxFilter(2 * pixels + 1))
    return np.asarray(grown) > 0


def test_what_is_doubtful_is_said_with_what_was_measured():
    pixels, _ = drawn()
    assert foreground.find_foreground(through_jpeg(pixels, 75), None).doubts == ()
    green = foreground.find_foreground(through_jpeg(drawn((40, 150, 60))[0], 75), None).doubts
    assert len(green) == 1 and "coloured, RGB 40, 150, 6" in green[0]
    dark = foreground.find_foreground(drawn(brightness=0.4)[0], None).doubts
    assert any("of the outline is faint" in doubt for doubt in dark)
    blurred = np.asarray(Image.fromarray(drawn()[0]).filter(ImageFilter.GaussianBlur(6)))
    assert any("grey zone" in doubt for doubt in foreground.find_foreground(blurred, None).doubts)
    wide = np.zeros((64, 64, 3), np.uint8)
    wide[20:, :] = (200, 160, 130)
    assert any("touches 3 borders" in doubt for doubt in foreground.find_foreground(wide, None).doubts)
    beside = pixels.copy()
    beside[5:30, 5:40] = (90, 90, 90)
    assert any("left out" in doubt for doubt in foreground.find_foreground(beside, None).doubts)


def test_hair_that_touches_the_upper_border_of_a_jpeg_is_no_uneven_background():
    pixels, _ = drawn()
    pixels = pixels[30:]
    assert cut_out(through_jpeg(pixels, 75)).stray < foreground.UNEVEN


def test_pictures_without_a_head_are_refused():
    with pytest.raises(PictureError, match="whole picture is of one colour"):
        cut_out(through_jpeg(np.full((64, 64, 3), 40, np.uint8), 75))
    with pytest.raises(PictureError, match="not of one colour"):
        cut_out(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
