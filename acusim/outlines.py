"""What labels say of the pixels of what is labelled: polygons, and masks in COCO's runs."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from acusim.errors import LabelError


class Outline(Protocol):
    """Something that covers pixels of a picture."""

    def plain(self) -> object:
        """Everything that decides it, as plain values."""
        ...

    def covered(self, width: int, height: int) -> NDArray[np.bool_]:
        """[height, width] its pixels.

        Raises:
            LabelError: it is damaged, or of a picture of another size.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Polygon:
    """The pixels within some corners."""

    corners: NDArray[np.float64]
    """[N, 2] pixels from the picture's left and top edge."""

    def plain(self) -> object:
        return self.corners.tolist()

    def covered(self, width: int, height: int) -> NDArray[np.bool_]:
        canvas = Image.new("1", (width, height))
        if len(self.corners) > 2:
            ImageDraw.Draw(canvas).polygon([(x - 0.5, y - 0.5) for x, y in self.corners.tolist()], fill=1)
        return np.array(canvas, bool)


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """COCO's run lengths: pixels outside and inside by turns, column by column."""

    lengths: NDArray[np.int64]

    def plain(self) -> object:
        return self.lengths.tolist()

    def covered(self, width: int, height: int) -> NDArray[np.bool_]:
        if (self.lengths < 0).any():
            raise LabelError(f"a segmentation has a run of {self.lengths.min()} pixels")
        if self.lengths.sum() != width * height:
            raise LabelError(f"a segmentation has {self.lengths.sum()} pixels, its picture {width * height}")
        return np.repeat(np.arange(len(self.lengths)) % 2 == 1, self.lengths).reshape((height, width), order="F")


def run_lengths(text: str, what: str) -> NDArray[np.int64]:
    """The run lengths of COCO's compressed text, which messages call ``what``.

    Each character holds five bits of a number, the low ones first, and whether more follow; from the fourth number on
    the difference to the one before the last is written.

    Raises:
        LabelError: it is cut off, or holds another character.
    """
    lengths: list[int] = []
    number = shift = 0
    for character in text:
        code = ord(character) - 48
        if not 0 <= code < 64 or shift > 40:
            raise LabelError(f"{what}: not COCO's compressed runs")
        number |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            number -= 1 << shift
        lengths.append(number + (lengths[-2] if len(lengths) > 2 else 0))
        number = shift = 0
    if shift:
        raise LabelError(f"{what}: its compressed runs are cut off")
    return np.array(lengths, np.int64)
