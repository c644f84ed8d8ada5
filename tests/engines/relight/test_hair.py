"""Where the relight engine finds hair."""

import numpy as np
import pytest

from engines.relight.hair import _connected_to_scalp, hair_mask
from tests.engines.relight.ball import sphere


def test_hair_reaches_the_scalp_and_stays_on_the_head():
    # Two stripes of the same colour; only the left one touches scalp.
    hair = np.zeros((8, 8), np.float32)
    hair[1:7, 1], hair[1:7, 5] = 0.9, 0.9
    inside = np.arange(64)
    scalp = (inside // 8 < 2) & (inside % 8 < 3)
    kept = _connected_to_scalp(hair, inside, scalp) * hair
    assert (kept[:, :3] == hair[:, :3]).all() and not kept[:, 3:].any()
    depth, _ = sphere(512)
    rows, columns = np.mgrid[:512, :512]
    collar = (rows > 290) & (rows < 340) & (columns < 115)  # where hair may hang
    image = np.where(((rows < 150) | collar)[..., None], [0.02, 0.015, 0.012], [0.5, 0.33, 0.25])
    found = hair_mask(image.astype(np.float32), depth.astype(np.float32), depth > 0, 1)
    assert found.max() > 0.9 and not found[depth == 0].any() and not found[collar].any()


def test_a_head_between_the_examined_pixels_has_no_hair():
    mask = np.zeros((512, 512), bool)
    mask[:, 301] = True
    found = hair_mask(np.full((512, 512, 3), 0.2, np.float32), np.full((512, 512), 870, np.float32), mask, 1)
    assert found.shape == mask.shape and not found.any()


@pytest.mark.parametrize("side", [256, 512, 1024])
def test_hair_found_on_fewer_pixels_is_not_shifted(side: int):
    # Dark hair left of a column, on the upper part of a ball, which frame 1 of the rig shows as the head's top.
    depth, _ = sphere(side)
    rows, columns = np.mgrid[:side, :side]
    row, step = round(0.2 * side), side // 256
    found = []
    for first in range(side // 2, side // 2 + 2 * step):
        dark = (rows < 0.3 * side) & (columns < first)
        image = np.where(dark[..., None], [0.02, 0.015, 0.012], [0.5, 0.33, 0.25]).astype(np.float32)
        mask = hair_mask(image, depth.astype(np.float32), depth > 0, 1)[row]
        edge = np.flatnonzero((mask[:-1] > 0.5) & (mask[1:] <= 0.5))[-1]
        found.append(edge + (mask[edge] - 0.5) / (mask[edge] - mask[edge + 1]) - (first - 0.5))
    assert np.abs(found).max() <= step
    assert abs(np.mean(found)) < 0.2
