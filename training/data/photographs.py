"""Photographs prepared for a model, and points mapped back to them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.photo_decoding import decode_photograph

MAX_PIXELS = 64 << 20
"""64 megapixels: more than phones have, some 400 MB while decoding."""

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Photograph:
    """A decoded photograph, upright."""

    pixels: Pixels
    """[H, W, 3] RGB."""
    notes: tuple[str, ...]
    """Conversions that were needed."""
    reduced: int = 1
    """Each pixel stands for so many by so many of the file's: a point p here is ``p * reduced`` there."""

    @property
    def size_px(self) -> tuple[int, int]:
        """Width and height of the file's picture, upright."""
        return self.pixels.shape[1] * self.reduced, self.pixels.shape[0] * self.reduced


def read_photograph(data: bytes, name: str, enough: int | None = None) -> Photograph:
    """Decodes a photograph's bytes: EXIF orientation applied, CMYK and 16 bits converted.

    Args:
        data: the file's bytes, untrusted.
        name: of the file, for messages.
        enough: pixels that both sides should keep; large JPEGs are then read at 1/2, 1/4 or 1/8 where that is exact.
            None reads all.

    Raises:
        PictureError: not a PNG or JPEG, damaged, over 64 megapixels, or animated.
    """
    picture = decode_photograph(data, name, MAX_PIXELS, enough)
    return Photograph(picture.pixels, picture.notes, picture.reduced)


@dataclass(frozen=True, slots=True)
class Transform:
    """From pixels of a picture to pixels of its square: ``square = picture * scale + offset``."""

    scale: tuple[float, float]
    """Of x and y. They differ by less than a pixel over the square's side, because sizes are whole."""
    offset: tuple[float, float]
    """Of the picture's left upper corner in the square: pixels of padding, or less than 0 where the square begins
    within the picture."""
    size: int
    """Side of the square in pixels."""

    def to_square(self, xy_px: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 2] of the picture, in pixels from its left and top edge, in the square."""
        return np.asarray(xy_px, np.float64) * self.scale + self.offset

    def to_picture(self, xy_px: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 2] of the square in the picture."""
        return (np.asarray(xy_px, np.float64) - self.offset) / self.scale

    def from_unit(self, xy: ArrayLike) -> NDArray[np.float64]:
        """Points [..., 2] in 0..1 of the square, as models give them, in the picture's pixels."""
        return self.to_picture(np.asarray(xy, np.float64) * self.size)


class Square(NamedTuple):
    """A square of whole pixels of a picture; it may reach beyond the picture."""

    left: int
    top: int
    side: int


def whole_square(pixels: Pixels) -> Square:
    """The smallest square around a picture [H, W, ...], which letterbox shows but for the rounding of its padding."""
    height, width = pixels.shape[:2]
    side = max(height, width)
    return Square((width - side) // 2, (height - side) // 2, side)


def crop_square(pixels: Pixels, square: Square, size: int) -> tuple[Pixels, Transform]:
    """Scales a square of a picture; beyond the picture its edge is repeated.

    It is resampled once: shrinking averages areas, enlarging is cubic; both keep edges on edges.

    Args:
        pixels: [H, W, 3].
        square: it need not touch the picture.
        size: side of the result.

    Returns:
        [size, size, 3] and the transform to it.

    Raises:
        ValueError: the picture is not [H, W, 3] uint8, or a side is not positive.
    """
    import cv2

    _check(pixels, min(size, square.side))
    height, width = pixels.shape[:2]
    # Where the square does not touch the picture, the nearest row or column stands for it.
    left, top = min(max(square.left, 0), width - 1), min(max(square.top, 0), height - 1)
    right, bottom = max(square.left + square.side, left + 1), max(square.top + square.side, top + 1)
    part = pixels[top:bottom, left:right]
    more = square.side - part.shape[0], square.side - part.shape[1]
    above, before = min(max(0, -square.top), more[0]), min(max(0, -square.left), more[1])
    if any(more):
        part = cv2.copyMakeBorder(part, above, more[0] - above, before, more[1] - before, cv2.BORDER_REPLICATE)
    factor = size / square.side
    if factor != 1:
        part = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC)
    out = np.ascontiguousarray(part, np.uint8)
    return out, Transform((factor, factor), (-square.left * factor, -square.top * factor), size)


def _check(pixels: Pixels, size: int) -> None:
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size or size < 1:
        raise ValueError(
            f"pixels {pixels.shape} {pixels.dtype} to a square of {size}; expected [H,W,3] uint8, size > 0"
        )


def letterbox(pixels: Pixels, size: int, fill: int = 0) -> tuple[Pixels, Transform]:
    """Scales a picture to fit a square, keeping its aspect, and pads it in the middle.

    A square picture is not padded. Shrinking averages areas, enlarging is cubic; both keep edges on edges.

    Args:
        pixels: [H, W, 3].
        size: side of the square.
        fill: grey value of the padding; black is the background of AcuSim's pictures.

    Returns:
        [size, size, 3] and the transform to it.

    Raises:
        ValueError: the picture is not [H, W, 3] uint8, or the size is not positive.
    """
    import cv2

    _check(pixels, size)
    height, width = pixels.shape[:2]
    factor = size / max(height, width)
    inner = (max(1, round(width * factor)), max(1, round(height * factor)))
    left, top = (size - inner[0]) // 2, (size - inner[1]) // 2
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    square = np.full((size, size, 3), fill, np.uint8)
    square[top : top + inner[1], left : left + inner[0]] = (
        pixels if inner == (width, height) else cv2.resize(pixels, inner, interpolation=how)
    )
    return square, Transform((inner[0] / width, inner[1] / height), (float(left), float(top)), size)
