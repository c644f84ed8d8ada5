"""Masks as regions: against OpenCV and SciPy, and means worked out by hand."""

from typing import Any

import cv2
import numpy as np
import pytest
from scipy import ndimage

from acusim.regions import CELL, Components, closed, enlarged, eroded, largest, local_means, summed


@pytest.mark.parametrize("seed", range(20))
def test_connected_parts_are_those_of_scipy(seed: int):
    random = np.random.default_rng(seed)
    mask = random.random(random.integers(1, 50, 2)) < random.uniform(0.1, 0.9)
    values = random.integers(0, 9, mask.shape)
    found: Any = ndimage.label(mask)
    expected, count = found
    parts = Components(mask)
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
    assert (closed(mask, reach) == expected).all()


@pytest.mark.parametrize("side", [1, 3, 9, 17])
def test_largest_and_sum_of_a_square_are_those_of_scipy(side: int):
    values = np.random.default_rng(side).integers(0, 256, (40, 53), dtype=np.uint8)
    assert (largest(values, side) == ndimage.maximum_filter(values, side, mode="constant")).all()
    mask = values > 240
    assert (largest(mask, side) == ndimage.maximum_filter(mask, side, mode="constant")).all()
    expected = ndimage.uniform_filter(values.astype(float), side, mode="constant") * side**2
    assert np.allclose(summed(values.astype(np.float32), side), expected, atol=0.01)


def test_the_edge_of_the_picture_takes_nothing_away():
    mask = np.zeros((20, 20), bool)
    mask[5:] = True
    assert (eroded(mask, 2)[7:]).all() and not eroded(mask, 2)[:7].any()


def test_local_means_are_those_of_the_mask_alone():
    """Two halves of different value; what lies outside the mask has a say nowhere."""
    plane = np.full((64, 96), 1000, np.float32)
    mask = np.zeros(plane.shape, bool)
    mask[8:56, 8:88] = True
    plane[8:56, 8:48], plane[8:56, 48:88] = 10, 30
    [mean] = local_means([plane], mask)
    assert mean.shape == (64 // CELL, 96 // CELL)
    full = enlarged(mean, *plane.shape)
    assert np.allclose(full[:, :36], 10, atol=0.01) and np.allclose(full[:, 60:], 30, atol=0.01)
    assert full.min() >= 9.99 and full.max() <= 30.01, "nothing but means, far from the mask, too"
