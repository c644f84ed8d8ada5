"""Light on another image's geometry: known answers."""

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from acusim.errors import PictureError
from acusim.light_transfer import SCALE, transferred_light

pytestmark = pytest.mark.numeric
Floats = NDArray[np.float32]
SIDE = 256
Y, X = np.mgrid[:SIDE, :SIDE] / SIDE
MASK = (np.hypot(X - 0.5, Y - 0.5) < 0.4).astype(np.float32)


def _head(shift: int = 0) -> Floats:
    """Mottled skin with a dark bar across it, which may be shifted."""
    random = np.random.default_rng(1)
    skin = cv2.GaussianBlur(random.standard_normal((SIDE, SIDE)).astype(np.float32), (0, 0), 2)
    out = np.repeat(0.55 + 0.4 * np.asarray(skin)[..., None], 3, axis=2) * np.array([1, 0.8, 0.7])
    out[120 + shift : 130 + shift, 90:170] *= 0.4
    return (np.clip(out, 0, 1) * MASK[..., None]).astype(np.float32)


LIGHT = (0.6 + 0.5 * X)[..., None] * np.array([1.0, 0.9, 0.8])
"""A side light of another colour; it changes slowly."""


def _lit(picture: Floats) -> Floats:
    return (picture * LIGHT).astype(np.float32)


def test_a_light_that_changes_slowly_arrives():
    original = _head()
    inside = cv2.erode(MASK, np.ones((25, 25))) > 0
    found = transferred_light(_lit(original), original, MASK)
    assert np.abs(found - _lit(original))[inside].max() < 0.03 < np.abs(original - _lit(original))[inside].max()
    assert np.abs(found - _lit(original))[inside].mean() < 0.1 * np.abs(original - _lit(original))[inside].mean()


def test_an_edge_that_moved_stays_where_it_was():
    """A bar that moved by its width darkens where it went by 60 %; what is left of that is faint and has no edge."""
    original = _head()
    still, found = (
        np.log(transferred_light(_lit(_head(shift)), original, MASK)[110:150, 100:160]) for shift in (0, 12)
    )
    left = (found - still).mean(2)
    assert np.abs(left).max() < 0.2 < 0.9 < -np.log(0.4)
    assert np.abs(np.diff(left, axis=0)).max() < 0.05, "no edge: the smoothed ratio alone"


def test_nothing_and_a_half():
    original, image = _head(), _lit(_head(12))
    assert transferred_light(image, original, MASK, 0.0) is image
    half, whole = (transferred_light(image, original, MASK, amount) for amount in (0.5, 1.0))
    assert np.allclose(half, (image + whole) / 2, atol=1e-6)
    assert (whole[MASK == 0] == image[MASK == 0]).all()
    assert np.allclose(transferred_light(original, original, MASK), original, atol=1e-5), "its own light"


def test_the_background_has_no_influence():
    original, image = _head(), _lit(_head())
    other = np.where(MASK[..., None] > 0, image, np.float32(1))
    first, second = (transferred_light(picture, original, MASK) for picture in (image, other))
    assert np.abs(first - second)[MASK > 0].max() < 1e-6


@pytest.mark.parametrize("side", [64, 250, 384])
def test_any_size(side: int):
    original = np.asarray(cv2.resize(_head(), (side, side), interpolation=cv2.INTER_AREA), np.float32)
    mask = (cv2.resize(MASK, (side, side)) > 0.5).astype(np.float32)
    found = transferred_light(original * np.float32(0.5), original, mask)
    assert np.abs(found - original * 0.5)[mask > 0].max() < 0.02
    assert SCALE * side < side / 10


@pytest.mark.parametrize(("level", "reason"), [(0.02, "black"), (0.5, "flat")])
def test_an_image_without_light_is_refused(level: float, reason: str):
    with pytest.raises(PictureError, match=f"the head is {reason}.*no light to transfer"):
        transferred_light(np.full((SIDE, SIDE, 3), level, np.float32), _head(), MASK)
