"""Photographs prepared for a model, and points mapped back to them."""

from dataclasses import dataclass

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
    """Pixels of padding at the left and the top."""
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

    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size or size < 1:
        raise ValueError(
            f"pixels {pixels.shape} {pixels.dtype} to a square of {size}; expected [H,W,3] uint8, size > 0"
        )
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
