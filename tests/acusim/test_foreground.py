"""Foreground and background: against OpenCV and SciPy, and answers worked out by hand."""

import io

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from acusim import foreground
from acusim.errors import PictureError

pytestmark = pytest.mark.numeric


def _png(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def _disc(size: int = 64) -> np.ndarray:
    v, u = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(u, v) < size * 0.3


@pytest.mark.parametrize(
    ("values", "source"),
    [
        (np.where(_disc(), 870, 0).astype(np.uint16), "depth-mm16"),
        (np.where(_disc(), 120, 0).astype(np.uint8), "depth-rel8"),
        (np.where(_disc(), 120, 255).astype(np.uint8), "depth-rel8"),
    ],
)
def test_depth_tells_the_head_whatever_the_picture_shows(values: np.ndarray, source: str):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    found = foreground.find_foreground(noise, _png(values))
    assert (found.mask == _disc()).all()
    assert found.source == source


def test_without_depth_the_silhouette_is_taken_and_its_dark_pupil_filled():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[_disc()] = (180, 140, 120)
    pixels[31:33, 31:33] = 0
    found = foreground.find_foreground(pixels, None)
    assert (found.mask == _disc()).all()
    assert found.source == "silhouette" and found.depth is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.where(_disc(32), 870, 0).astype(np.uint16), "depth map is 32 x 32"),
        (np.where(_disc(), 9, 0).astype(np.uint16), "9..9 mm"),
        (np.full((64, 64), 120, np.uint8) + np.eye(64, dtype=np.uint8), "background is 120"),
    ],
)
def test_a_depth_map_that_cannot_be_true_is_refused(values: np.ndarray, message: str):
    with pytest.raises(PictureError, match=message):
        foreground.find_foreground(np.zeros((64, 64, 3), np.uint8), _png(values))


def test_a_soft_edge_lies_within_the_mask_and_is_solid_inside():
    alpha = foreground.soft_edge(_disc())
    assert not alpha[~_disc()].any()
    assert (alpha[ndimage.binary_erosion(_disc(), iterations=3)] == 1).all()
    assert 0 < alpha[_disc()].min() < 1


def test_composing_is_a_weighted_mean():
    picture, background = np.full((1, 3, 3), 0.8, np.float32), np.full((1, 3, 3), 0.2, np.float32)
    out = foreground.composed(picture, background, np.array([[0, 0.5, 1]], np.float32))
    assert np.allclose(out[0, :, 0], [0.2, 0.5, 0.8])


def test_a_scene_is_cut_at_both_sides_alike_never_stretched():
    scene = np.zeros((10, 40, 3), np.uint8)
    scene[:, 15:25] = 255  # the middle quarter of a wide scene fills a square
    assert (foreground.fitted(scene, 10, 10) == 255).all()
    checks = (np.indices((30, 60)).sum(0) // 10 % 2 * 255).astype(np.uint8)[..., None].repeat(3, 2)
    large = foreground.fitted(checks, 90, 90)  # 3 x in both directions, the middle third of the width
    assert large.shape == (90, 90, 3)
    assert (large[15::30, 15::30, 0] == checks[5::10, 20:50:10, 0]).all()


def _transparent() -> tuple[np.ndarray, np.ndarray]:
    """A head of one colour whose rim is half transparent: RGB over black, and alpha."""
    alpha = np.asarray(Image.fromarray(_disc(256).astype(np.uint8) * 255).resize((64, 64), Image.Resampling.BOX))
    pixels = np.rint(alpha[..., None] / 255 * np.array([180, 140, 120])).astype(np.uint8)
    return pixels, alpha


def test_an_alpha_channel_is_the_matte():
    pixels, alpha = _transparent()
    found = foreground.find_foreground(pixels, None, alpha)
    assert found.source == "alpha" and (found.mask == (alpha >= 128)).all() and found.doubts == ()
    assert np.allclose(found.alpha * 255, alpha)
    white = foreground.composed(pixels.astype(np.float32) / 255, np.ones((64, 64, 3), np.float32), found.alpha)
    expected = alpha[..., None] / 255 * np.array([180, 140, 120]) / 255 + 1 - alpha[..., None] / 255
    assert np.abs(white - expected).max() < 0.01, "the rim has the head's colour, not that of black behind it"


def test_an_opaque_alpha_channel_tells_nothing():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[_disc()] = (180, 140, 120)
    found = foreground.find_foreground(pixels, None, np.full((64, 64), 255, np.uint8))
    assert found.source == "silhouette" and (found.mask == _disc()).all()
    with pytest.raises(PictureError, match="alpha channel: no foreground"):
        foreground.find_foreground(pixels, None, np.zeros((64, 64), np.uint8))


def test_depth_tells_the_mask_and_alpha_how_much_of_its_rim():
    pixels, alpha = _transparent()
    depth = _png(np.where(alpha > 0, 870, 0).astype(np.uint16))
    found = foreground.find_foreground(pixels, depth, alpha)
    assert found.source == "depth-mm16" and (found.mask == (alpha > 0)).all()
    assert np.allclose(found.alpha * 255, alpha)
    without = foreground.find_foreground(pixels, depth)
    assert (without.alpha == foreground.soft_edge(alpha > 0)).all() and without.matte is None


def test_the_rim_gets_the_colour_beside_it_and_nothing_else_changes():
    alpha = np.zeros((9, 12), np.float32)
    alpha[:, 5:] = 1
    alpha[:, 3:5] = 0.5
    picture = np.random.default_rng(0).random((9, 12, 3)).astype(np.float32)
    picture[:, 6:9] = picture[:, 6:7]
    out = foreground.rim_from_inside(picture, alpha)
    assert (out[:, 5:] == picture[:, 5:]).all() and (out[:, :3] == picture[:, :3]).all()
    low, high = picture[:, 6].min(0), picture[:, 6].max(0)
    assert (out[:, 3:5] >= low - 1e-6).all() and (out[:, 3:5] <= high + 1e-6).all()
    assert (foreground.rim_from_inside(picture, np.ones_like(alpha)) == picture).all()
    assert (foreground.rim_from_inside(picture, np.full_like(alpha, 0.5)) == picture).all(), "no head to ask"
