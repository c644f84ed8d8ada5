"""Short texts beside dots in a picture: where each has room, and how it is written there.

The font is the one that comes with Pillow. Its letters are rendered once for each text and size, because the outline
takes most of the time of a drawn picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

Pixels = NDArray[np.uint8]
Floats = NDArray[Any]
Colour = tuple[int, int, int]

OUTLINE: Colour = (12, 12, 12)
INK: Colour = (240, 240, 240)


@cache
def font_of(height: int) -> Any:
    """The font in a size of some pixels."""
    return ImageFont.load_default(height)


@dataclass(frozen=True, slots=True, eq=False)
class PlacedText:
    """A text and the place found for it, with its rim."""

    text: str
    row: int
    """Of its point."""
    corner: Floats
    """[2] upper left."""
    size: Floats
    """[2] width and height."""
    far: bool
    """Not beside its point: a line leads there."""

    def nearest(self, point: Floats) -> Floats:
        """The place of the text that is nearest to a point."""
        return point.clip(self.corner, self.corner + self.size)


def _stroke(height: int) -> int:
    """Width of the dark rim around letters."""
    return max(1, height // 8)


@lru_cache(maxsize=4096)
def _length(text: str, height: int) -> float:
    return font_of(height).getlength(text)


def placed(
    texts: Sequence[str],
    xy: Floats,
    marks: Floats,
    radius: float,
    height: int,
    shape: tuple[int, ...],
) -> list[PlacedText]:
    """A place for the text of each point within the picture, from top to bottom, off all ``marks`` [M, 2]."""
    stroke = _stroke(height)
    reach = 1.4 * radius
    occupied = np.concatenate([marks - reach, marks + reach], 1)
    extent = np.array([shape[1], shape[0]])
    out: list[PlacedText] = []
    order: list[int] = np.lexsort((xy[:, 0], xy[:, 1])).tolist()
    for row in order:
        if ((xy[row] > 0) & (xy[row] < extent)).all():
            length = sum(_length(piece, height) for piece in texts[row].partition(" "))
            size = np.array([length + 2 * stroke, height + 2 * stroke])
            corner, far = _free_place(xy[row], size, occupied, reach, height, extent)
            occupied = np.concatenate([occupied, np.concatenate([corner, corner + size])[None]])
            out.append(PlacedText(texts[row], row, corner, size, far))
    return out


def written(canvas: Pixels, texts: Sequence[PlacedText], height: int) -> Pixels:
    """The canvas with the texts at their places."""
    image, stroke = Image.fromarray(canvas), _stroke(height)
    for text in texts:
        left, base = text.corner + (stroke, stroke + 0.85 * height)
        for piece in text.text.partition(" "):  # codes and percentages recur, the whole of them less often
            if piece.strip():
                letters, mask, offset = _rendered(piece, height)
                image.paste(letters, (round(left) + offset[0], round(base) + offset[1]), mask)
            left += _length(piece, height)
    return np.array(image)


@lru_cache(maxsize=1024)
def _rendered(text: str, height: int) -> tuple[Image.Image, Image.Image, tuple[int, int]]:
    """A text with its rim, its mask, and where they are from the start of its base line."""
    font, stroke = font_of(height), _stroke(height)
    left, top, right, bottom = font.getbbox(text, anchor="ls", stroke_width=stroke)
    offset = int(np.floor(left)), int(np.floor(top))
    size = int(np.ceil(right)) - offset[0], int(np.ceil(bottom)) - offset[1]
    letters, mask = Image.new("RGB", size, OUTLINE), Image.new("L", size, 0)
    start = (-offset[0], -offset[1])
    ImageDraw.Draw(letters).text(start, text, INK, font, "ls")
    ImageDraw.Draw(mask).text(start, text, 255, font, "ls", stroke_width=stroke, stroke_fill=255)
    return letters, mask, offset


def _free_place(
    point: Floats,
    size: Floats,
    occupied: Floats,
    reach: float,
    height: int,
    extent: NDArray[np.intp],
) -> tuple[Floats, bool]:
    """Upper left corner of a text, and whether it is away from its point.

    Of the places around the point, nearest first, the one that covers least of what is ``occupied`` [T, 4] (left, top,
    right, bottom) and of what is outside the picture.
    """
    directions = np.array([(1, 0), (-1, 0), (1, -1), (-1, -1), (1, 1), (-1, 1), (0, -1), (0, 1)], np.float64)
    distances = reach + height * np.array([0.15, 0.9, 1.8, 3.0, 4.5])
    best, cost, far = point, np.inf, False
    for number, distance in enumerate(distances):
        corners = point + directions * (distance + size / 2) - size / 2
        shared = np.minimum(corners[:, None] + size, occupied[:, 2:]) - np.maximum(corners[:, None], occupied[:, :2])
        np.maximum(shared, 0, out=shared)
        covered = (shared[..., 0] * shared[..., 1]).sum(1)
        inside = np.maximum(np.minimum(corners + size, extent) - np.maximum(corners, 0), 0).prod(-1)
        costs = (covered + 4 * (size.prod() - inside)).round(3)
        least = int(costs.argmin())
        if costs[least] < cost:
            best, cost, far = corners[least], float(costs[least]), number > 0
        if cost <= 0:
            break
    return best, far
