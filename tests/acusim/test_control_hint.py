"""What a ControlNet sees of a head: levels that can be worked out by hand."""

import io

import numpy as np
import pytest
from PIL import Image

from acusim.control_hint import control_hint
from acusim.errors import PictureError
from acusim.foreground import Foreground, find_foreground

MASK = np.zeros((6, 8), bool)
MASK[1:5, 2:7] = True


def _head(depth: np.ndarray | None, kind: str = "mm16") -> Foreground:
    return Foreground(MASK, "test", depth, depth_kind=None if depth is None else kind)


def test_levels_are_inverse_depth_from_the_nearest_point_to_twice_its_distance():
    depth = np.where(MASK, 500.0, 0).astype(np.float32)
    depth[2, 3], depth[3, 4], depth[4, 5] = 750, 1000, 4000
    hint = control_hint(_head(depth))
    assert hint.dtype == np.uint8 and not hint[~MASK].any()
    assert (hint[1, 2], hint[2, 3], hint[3, 4], hint[4, 5]) == (255, 85, 0, 0)  # 2 * 500 / 750 - 1 = 1/3 of 255


def test_a_stray_near_pixel_does_not_darken_the_head():
    mask = np.ones((40, 40), bool)
    depth = np.full(mask.shape, 800.0, np.float32)
    depth[0, 0] = 100
    hint = control_hint(Foreground(mask, "test", depth, depth_kind="mm16"))
    assert (hint == 255).all()


def test_pixels_of_the_head_without_depth_are_black():
    depth = np.where(MASK, 500.0, 0).astype(np.float32)
    depth[2, 2:7] = 0
    hint = control_hint(_head(depth, "labels"))
    assert not hint[2].any() and (hint[3, 2:7] == 255).all()


@pytest.mark.parametrize("near_bright", [True, False])
def test_relative_depth_is_bright_where_it_is_near_whichever_way_it_was_saved(near_bright: bool):
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    inside = x**2 + y**2 < 0.8
    bulge = np.sqrt(np.clip(0.8 - x**2 - y**2, 0, None))
    level = np.where(inside, 40 + 200 * bulge / bulge.max(), 0)
    if not near_bright:
        level = np.where(inside, 280 - level, 0)
    file = io.BytesIO()
    Image.fromarray(level.astype(np.uint8)).save(file, "PNG")
    pixels = np.where(inside[..., None], 180, 0).repeat(3, 2).astype(np.uint8)
    hint = control_hint(find_foreground(pixels, file.getvalue()))
    assert hint[32, 32] > 250 > hint[32, 8] > 100 and hint[2, 2] == 0


def test_without_depth_it_says_what_to_do():
    with pytest.raises(PictureError, match="synthetic fit --dataset ROOT"):
        control_hint(_head(None))
    with pytest.raises(PictureError, match="made for another picture"):
        control_hint(_head(np.where(MASK, 0, 500).astype(np.float32)))
