"""Decodes photographs without labels: turned upright, converted and scaled, where a labelled image would be refused."""

from pathlib import Path

from PIL import Image

from acusim.errors import PictureError
from acusim.pictures import (
    FORMATS,
    ORIENTATION,
    SEVERAL_FRAMES,
    Picture,
    load_image,
    open_image,
    read_file,
    to_eight_bits,
    to_picture,
)

TURNED = "turned upright by its EXIF orientation"
"""Note on a picture that was not upright in its file."""
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> what undoes it."""
_QUARTER_TURNS = tuple(_UPRIGHT[orientation] for orientation in (5, 6, 7, 8))


def decode_photograph(
    data: bytes,
    name: str,
    max_pixels: int,
    enough: int | None = None,
    *,
    formats: tuple[str, ...] = FORMATS,
    most: int | None = None,
    max_drafted: int = 0,
    what: str = "picture",
    with_alpha: bool = False,
) -> Picture:
    """Decodes the bytes of a photograph without labels in any form that cameras write, upright by its EXIF tag.

    Args:
        data: the file's bytes.
        name: of the file, for messages.
        max_pixels: the largest image that is read.
        enough: where both sides keep at least so many pixels, a JPEG is read at 1/2, 1/4 or 1/8 of its size, which
            takes less memory and time; only where the size divides its sides, so that points map exactly.
        formats: allowed formats by Pillow's names.
        most: an image of more pixels is scaled down to about so many, for images without points.
        max_drafted: the largest JPEG that is read, where it is decoded at a fraction of its size.
        what: what it is called in messages.
        with_alpha: keeps the alpha channel.

    Raises:
        PictureError: damaged, too large, or with several frames; of a phone's MPO file the first is taken.
    """
    image = open_image(data, name, what, max_pixels, formats, max_drafted)
    notes: list[str] = []
    several = getattr(image, "n_frames", 1) > 1
    if image.format == "MPO" or (image.format == "HEIF" and several):
        notes.append(f"the first picture of an {image.format} file")
    elif several:
        raise PictureError(f"{what} {name!r}: {SEVERAL_FRAMES}")
    elif image.format not in FORMATS:
        notes.append(f"decoded from {image.format}")
    reduced = _reduce(image, enough) if enough else 1
    size = _fitting(image.size, most) if most else image.size
    if most and size != image.size:
        notes.append(f"scaled from {image.width} x {image.height} to {size[0]} x {size[1]}")
        image.draft(None, size)
    load_image(image, name, what)
    turn, damage = _turn(image)
    if damage:
        notes.append(f"damaged EXIF data ignored ({damage})")
    if most:
        image = _scaled(image, size)
    if turn is not None:
        image = image.transpose(turn)
        notes.append(TURNED)
    return to_picture(image, data, notes, reduced, with_alpha)


def upright_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels of an image file as decode_photograph turns it; its pixels are not decoded.

    Raises:
        PictureError: it cannot be read, or is no PNG or JPEG.
    """
    with open_image(read_file(path), path.name) as image:
        turn, _ = _turn(image)
        return (image.height, image.width) if turn in _QUARTER_TURNS else image.size


def _turn(image: Image.Image) -> tuple[Image.Transpose | None, str]:
    """What turns an image upright, None if it is; and what is wrong with its EXIF block, empty if nothing is."""
    try:
        return _UPRIGHT.get(image.getexif().get(ORIENTATION, 1)), ""
    except Exception as error:  # a damaged block
        return None, str(error)[:60] or type(error).__name__


def _reduce(image: Image.Image, enough: int) -> int:
    """Lets a JPEG be decoded at the largest of 1/8, 1/4, 1/2 that leaves enough and divides its sides; the divisor."""
    width, height = image.size
    for divisor in (8, 4, 2):
        if min(width, height) >= divisor * enough and not (width % divisor or height % divisor):
            image.draft(None, (width // divisor, height // divisor))
            return width // image.width
    return 1


def _fitting(size: tuple[int, int], most: int) -> tuple[int, int]:
    """A size of the same shape with at most so many pixels."""
    factor = min(1.0, (most / (size[0] * size[1])) ** 0.5)
    return max(1, int(size[0] * factor)), max(1, int(size[1] * factor))


def _scaled(image: Image.Image, size: tuple[int, int]) -> Image.Image:
    if image.size == size:
        return image
    if "transparency" in image.info or image.mode == "PA":
        image = image.convert("RGBA")
    elif image.mode.startswith("I"):
        image = to_eight_bits(image)
    elif image.mode not in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    return image.resize(size, Image.Resampling.LANCZOS)
