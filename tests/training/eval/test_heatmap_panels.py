"""Heatmaps over their picture: each at its place, whatever its scale."""

import numpy as np

from training.eval.heatmap_panels import _GAP, LARGEST_SIDE, LEAST_SIDE, WIDTH, over_picture, panels


def brightest(panel: np.ndarray) -> tuple[int, int]:
    """Column and row of the pixel that is reddest, as the highest value of the colour map is."""
    row, column = np.unravel_index((panel[..., 0].astype(int) - panel[..., 2]).argmax(), panel.shape[:2])
    return int(column), int(row)


def test_each_point_has_a_panel_with_its_heatmap_at_its_place():
    maps = np.zeros((174, 16, 16), np.float32)
    maps[0, 12, 3] = 1e-6  # a broad one of a network is this low
    maps[20, 4, 12] = 1.0
    out = panels(np.full((64, 64, 3), 90, np.uint8), maps, [f"P{number}" for number in range(174)])
    columns = WIDTH // LEAST_SIDE
    assert out.shape == (-(-174 // columns) * (LEAST_SIDE + _GAP), columns * (LEAST_SIDE + _GAP), 3)
    for number, wanted in ((0, (3.5 / 16, 12.5 / 16)), (20, (12.5 / 16, 4.5 / 16))):
        top, left = number // columns * (LEAST_SIDE + _GAP), number % columns * (LEAST_SIDE + _GAP)
        found = brightest(out[top : top + LEAST_SIDE, left : left + LEAST_SIDE])
        assert np.allclose(found, np.multiply(wanted, LEAST_SIDE), atol=LEAST_SIDE / 32)
    empty = out[:LEAST_SIDE, LEAST_SIDE + _GAP : 2 * LEAST_SIDE + _GAP]
    assert len(np.unique(empty[20:].reshape(-1, 3), axis=0)) == 1


def test_few_points_have_large_panels_and_hidden_ones_grey_names():
    picture, maps = np.zeros((32, 32, 3), np.uint8), np.zeros((2, 8, 8), np.float32)
    out = panels(picture, maps, ["A", "B"], np.array([True, False]))
    side = LARGEST_SIDE
    assert out.shape == (side + _GAP, 2 * (side + _GAP), 3)
    names = out[:16, :30], out[:16, side + _GAP : side + _GAP + 30]
    assert names[0].max() > 200 and 140 <= names[1].min(2).max() <= 160


def test_the_picture_shows_where_no_heatmap_is():
    picture = np.zeros((8, 8, 3), np.uint8)
    picture[2, 2] = 255
    maps = np.zeros((3, 8, 8), np.float32)
    maps[1, 6, 6] = 1
    out = over_picture(picture, maps).astype(int)
    assert out[2, 2].min() > out[3, 3].max() and out[6, 6, 0] > out[3, 3, 0] + 50
