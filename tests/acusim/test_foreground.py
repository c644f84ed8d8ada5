"""Foreground and background: against OpenCV and SciPy, and answers worked out by hand."""

import io

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

from acusim import foreground
from acusim.errors import PictureError


def _png(values: np.ndarray) -> bytes:
    out = io.BytesIO()
    Image.fromarray(values).save(out, "PNG")
    return out.getvalue()


def _disc(size: int = 64) -> np.ndarray:
    v, u = np.mgrid[:size, :size] - (size - 1) / 2
    return np.hypot(u, v) < size * 0.3


@pytest.mark.parametrize("seed", range(20))
def test_connected_parts_are_those_of_scipy(seed: int):
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 50, 2)) < random.uniform(0.1, 0.9)
    values = random.integers(0, 9, mask.shape)
    expected, count = ndimage.label(mask)
    parts = foreground._Parts(mask)
    assert parts.count == count
    for part in range(count):
        assert (parts.painted(np.arange(count) == part) == (expected == part + 1)).all()
        assert parts.area[part] == (expected == part + 1).sum()
        assert parts.sums(values)[part] == values[expected == part + 1].sum()
        edge = np.concatenate([expected[0], expected[-1], expected[:, 0], expected[:, -1]])
        assert parts.touches_edge[part] == (part + 1 in edge)


@pytest.mark.parametrize("reach", [1, 2, 3, 4, 8])
def test_closing_is_opencv_s(reach: int):
    mask = np.random.default_rng(reach).random((40, 53)) < 0.3
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    expected = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_CLOSE, kernel) > 0
    assert (foreground._closed(mask, reach) == expected).all()


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
    ("values", "told"),
    [
        (np.where(_disc(32), 870, 0).astype(np.uint16), "depth map is 32 x 32"),
        (np.where(_disc(), 9, 0).astype(np.uint16), "9..9 mm"),
        (np.full((64, 64), 120, np.uint8) + np.eye(64, dtype=np.uint8), "background is 120"),
    ],
)
def test_a_depth_map_that_cannot_be_true_is_refused(values: np.ndarray, told: str):
    with pytest.raises(PictureError, match=told):
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
