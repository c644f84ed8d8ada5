"""Where the relight engine finds hair."""

import numpy as np
import pytest

from engines.relight.hair import hair_mask
from tests.engines.relight.ball import sphere


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
