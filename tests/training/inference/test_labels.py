"""Places of texts, and how they are written."""

import numpy as np

from training.inference import labels
from training.inference.drawing import HEAD


def test_names_cover_neither_each_other_nor_dots_where_there_is_room():
    grid = np.stack(np.meshgrid(np.arange(60, 500, 90.0), np.arange(60, 500, 90.0)), -1).reshape(-1, 2)
    texts = labels.placed([HEAD.codes[index] for index in range(25)], grid, grid, 3.0, 10, (512, 512))
    boxes = np.array([(*text.corner, *(text.corner + text.size)) for text in texts])
    dots = np.concatenate([grid - 3, grid + 3], 1)
    every = np.concatenate([boxes, dots])
    shared = np.minimum(boxes[:, None, 2:], every[:, 2:]) - np.maximum(boxes[:, None, :2], every[:, :2])
    overlaps = (shared > 0).all(-1)
    assert len(texts) == 25
    assert overlaps.sum() == 25, "each text overlaps itself only"
    assert boxes.min() >= 0 and boxes.max() <= 512


def test_names_of_crowded_points_go_further_away():
    middle = np.full((9, 2), 256.0)
    texts = labels.placed(["GB21L"] * 9, middle, middle, 3.0, 10, (512, 512))
    assert any(text.far for text in texts) and not texts[0].far


def test_a_text_is_written_at_its_place_with_a_rim():
    [text] = labels.placed(["GB21L 87%"], np.array([[30.0, 60.0]]), np.array([[30.0, 60.0]]), 3.0, 20, (120, 240))
    grey = np.full((120, 240, 3), 128, np.uint8)
    out = labels.written(grey, [text], 20)
    left, top = np.floor(text.corner).astype(int) - 1
    right, bottom = np.ceil(text.corner + text.size).astype(int) + 1
    changed = (out != grey).any(-1)
    inside = np.zeros_like(changed)
    inside[top:bottom, left:right] = True
    assert changed.any() and not (changed & ~inside).any()
    assert (out == labels.INK).all(-1).any() and (out == labels.OUTLINE).all(-1).any()
    columns = np.flatnonzero(changed.any(0))
    assert columns[0] - text.corner[0] < 4 and text.corner[0] + text.size[0] - columns[-1] < 6, "both words are there"
