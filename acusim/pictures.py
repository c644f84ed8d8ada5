"""Reads untrusted images safely and writes images that carry a record of how they were created.

An image whose geometry or colours are ambiguous is refused, because its labels might then be false: EXIF rotation,
CMYK, several frames. Alpha is composed over black, the dataset's own background, and kept separately. Photographs
without labels are read by ``acusim.photo_decoding``.
"""

import io
import warnings
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from acusim import provenance
from acusim.errors import PictureError, ProvenanceError
from acusim.png_metadata import without_metadata

MAX_PIXELS = 16 << 20
"""16 megapixels (4096²), some 3 GB while an engine works on it: AcuSim's largest image has 1."""
MAX_BYTES = 256 << 20
EXTENSIONS = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
"""Pillow's names; JPEG includes MPO, the JPEG files of some phones."""
ORIENTATION = 0x0112
"""EXIF's tag."""
SEVERAL_FRAMES = "holds several frames; save one frame as PNG or JPEG"
JPEG_QUALITY = 95
_PNG_COMPRESSION, _PNG_STRATEGY = 2, zlib.Z_RLE
"""Of zlib. On photographs run lengths take half the time of the default strategy at the same size or less."""
_BAND_ROWS, _STRIP_PIXELS = 512, 1 << 20
"""What is converted at a time."""

DepthKind = Literal["mm16", "rel8", "labels"]
"""mm16: 16-bit millimetres along the camera axis, 0 = background. rel8: 8-bit relative values. labels: as mm16, but
fitted to the labels (``python -m synthetic fit``): the head's shape, of which no outline is that of the picture."""
FITTED = {"geometry": "labels"}
"""In the record of a depth map that is fitted to labels."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded image and where it came from."""

    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    data: bytes
    """The file's bytes."""
    notes: tuple[str, ...]
    """Conversions that were needed, such as "alpha over black"."""
    alpha: NDArray[np.uint8] | None = None
    """[H, W] the alpha channel, None where the file has none."""
    reduced: int = 1
    """Each pixel stands for so many by so many of the file's: a point p of the file is at p / reduced."""


def read_file(path: Path, what: str = "picture") -> bytes:
    """The bytes of an image file; ``what`` is its name in messages.

    Raises:
        PictureError: missing, not a regular file, empty, or too large.
    """
    try:
        if not path.is_file():
            raise PictureError(f"{what} {path.name!r}: no such regular file")
        size = path.stat().st_size
        if not 0 < size <= MAX_BYTES:
            raise PictureError(f"{what} {path.name!r}: {size} bytes; allowed are 1..{MAX_BYTES}")
        return path.read_bytes()
    except OSError as error:
        raise PictureError(f"{what} {path.name!r}: {error.strerror or error}") from None


def open_image(
    data: bytes,
    name: str,
    what: str = "picture",
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
    max_drafted: int = 0,
) -> Image.Image:
    """An image whose header has been read and whose size is allowed.

    Args:
        data: the file's bytes, untrusted.
        name: of the file, for messages.
        what: what it is called in messages.
        max_pixels: the largest image allowed.
        formats: allowed formats by Pillow's names.
        max_drafted: the largest JPEG allowed where it can be decoded at a fraction of its size.

    Raises:
        PictureError: unreadable, of another format, or too large.
    """
    wanted = " or ".join([", ".join(formats[:-1]), formats[-1]] if len(formats) > 1 else formats)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(without_metadata(data)), formats=formats)
    except Image.DecompressionBombError:
        raise PictureError(f"{what} {name!r}: more than {max_pixels >> 20} megapixels; make it smaller") from None
    except UnidentifiedImageError:  # its text holds a memory address
        raise PictureError(f"{what} {name!r}: not a readable {wanted}") from None
    except Exception as error:  # Pillow raises many types on damaged headers
        raise PictureError(f"{what} {name!r}: not a readable {wanted} ({error or type(error).__name__})") from None
    if image.format in ("JPEG", "MPO") and "progressive" not in image.info:
        max_pixels = max(max_pixels, max_drafted)
    if image.width * image.height > max_pixels:
        raise PictureError(
            f"{what} {name!r}: {image.width} x {image.height} is more than {max_pixels >> 20} megapixels; "
            "make it smaller"
        )
    return image


def load_image(image: Image.Image, name: str, what: str = "picture") -> None:
    """Decodes an opened image in place.

    Raises:
        PictureError: it is damaged.
    """
    try:
        image.load()
    except Exception as error:  # Pillow raises many types on damaged data
        raise PictureError(f"{what} {name!r}: damaged or cut off ({error or type(error).__name__})") from None


def decode_rgb(data: bytes, name: str) -> Picture:
    """Decodes the bytes of an 8-bit RGB image, or of one that converts to it without ambiguity.

    Raises:
        PictureError: damaged, too large, rotated by EXIF, CMYK, or with several frames.
    """
    image = open_image(data, name)
    if image.format not in ("PNG", "JPEG") or getattr(image, "n_frames", 1) > 1:
        raise PictureError(f"picture {name!r}: {SEVERAL_FRAMES}")
    load_image(image, name)
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception as error:  # a damaged EXIF block
        raise PictureError(f"picture {name!r}: damaged EXIF data ({error})") from None
    if orientation not in (0, 1):
        raise PictureError(
            f"picture {name!r}: EXIF orientation {orientation} leaves open which way up its labels are; "
            "save it upright without the EXIF tag"
        )
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise PictureError(f"picture {name!r}: colour mode {image.mode} is not RGB; convert it to RGB first")
    return to_picture(image, data, [], with_alpha=True)


def to_eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit, in bands, because the sums need four bytes per pixel."""
    grey = np.asarray(image)
    levels = np.empty(grey.shape, np.uint8)
    for top in range(0, len(grey), _BAND_ROWS):
        band = grey[top : top + _BAND_ROWS].astype(np.uint32)
        levels[top : top + _BAND_ROWS] = ((band + 128) // 257).clip(0, 255)
    return Image.fromarray(levels, "L")


def to_picture(
    image: Image.Image, data: bytes, notes: list[str], reduced: int = 1, with_alpha: bool = False
) -> Picture:
    """The 8-bit RGB of a loaded image, converted strip by strip so that a large one is not held three times over."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24] == 16:
        notes.append("16 bits reduced to 8")
    width, height = image.size
    pixels, rows, added = np.empty((height, width, 3), np.uint8), max(1, _STRIP_PIXELS // width), ""
    alphas: list[NDArray[np.uint8]] = []
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows], added, alpha = _rgb(strip)
        if with_alpha and alpha is not None:
            alphas.append(np.asarray(alpha))
    if added:
        notes = [*notes, added]
    return Picture(pixels, data, tuple(notes), np.concatenate(alphas) if alphas else None, reduced)


def _rgb(image: Image.Image) -> tuple[Image.Image, str, Image.Image | None]:
    """A loaded image as 8-bit RGB, a note on the conversion (empty if there was none), and its alpha channel."""
    if image.mode.startswith("I"):
        image = to_eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(rgba, mask=rgba.getchannel("A"))
        return image, "alpha over black", rgba.getchannel("A")
    return (image, "", None) if image.mode == "RGB" else (image.convert("RGB"), f"mode {image.mode} to RGB", None)


def read_rgb(path: Path) -> Picture:
    """Reads an image file.

    Raises:
        PictureError: as read_file and decode_rgb.
    """
    return decode_rgb(read_file(path), path.name)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels from the file's header; the rest is not decoded.

    Raises:
        PictureError: as read_file, or it is not a PNG or JPEG.
    """
    return open_image(read_file(path), path.name).size


def read_depth(path: Path) -> tuple[NDArray[np.float32], DepthKind]:
    """Reads a depth map file; returns and raises as decode_depth."""
    return decode_depth(read_file(path, "depth"), path.name)


def decode_depth(data: bytes, name: str) -> tuple[NDArray[np.float32], DepthKind]:
    """Decodes the bytes of a depth map.

    Returns:
        [H, W] float32 values as stored (millimetres, 0..255 for rel8) and what they are.

    Raises:
        PictureError: damaged, in colour, or of a single value.
    """
    image = open_image(data, name, "depth")
    load_image(image, name, "depth")
    values = np.asarray(image)
    if values.ndim == 3:
        if values.dtype != np.uint8 or (values[..., :1] != values[..., :3]).any():
            raise PictureError(f"depth {name!r}: a colour picture; save one channel, 16-bit mm or 8-bit relative")
        values = values[..., 0]
    if image.mode not in ("L", "RGB", "RGBA", "LA") and not image.mode.startswith("I"):
        raise PictureError(f"depth {name!r}: mode {image.mode}; save one channel, 16-bit mm or 8-bit relative")
    if values.min() == values.max():
        raise PictureError(f"depth {name!r}: every pixel is {values.min()}; there is no surface in it")
    return values.astype(np.float32), _depth_kind(image)


def _depth_kind(image: Image.Image) -> DepthKind:
    if not image.mode.startswith("I"):
        return "rel8"
    try:
        record = provenance.from_image(image) or {}
    except ProvenanceError:  # not ours to judge: the values count
        record = {}
    return "labels" if record.get("geometry") == FITTED["geometry"] else "mm16"


def encode(
    pixels: NDArray[np.uint8],
    extension: str,
    record: dict[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """Encodes an image: the same pixels and record always give the same bytes.

    Args:
        pixels: [H, W, 3] RGB.
        extension: .png, or .jpg / .jpeg for quality 95 without chroma subsampling.
        record: how it was created, for the metadata.
        texts: further text chunks of a PNG by keyword; a JPEG cannot hold them.

    Raises:
        PictureError: the extension is neither.
    """
    out = io.BytesIO()
    image = Image.fromarray(pixels, "RGB")
    if extension.lower() == ".png":
        info = provenance.png_info(record, texts) if record is not None or texts else None
        image.save(out, "PNG", compress_level=_PNG_COMPRESSION, compress_type=_PNG_STRATEGY, pnginfo=info)
    elif extension.lower() in EXTENSIONS:
        comment = provenance.jpeg_comment(record) if record is not None else None
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, comment=comment)
    else:
        raise PictureError(f"extension {extension!r} is not one of {', '.join(EXTENSIONS)}")
    return out.getvalue()


def encode_depth(values: NDArray[np.uint16] | NDArray[np.uint8], record: dict[str, Any] | None = None) -> bytes:
    """Encodes a depth map [H, W] as PNG, as decode_depth reads it.

    Args:
        values: uint16 millimetres or uint8 relative values.
        record: how it was made, for the metadata.
    """
    out = io.BytesIO()
    info = provenance.png_info(record) if record is not None else None
    Image.fromarray(values).save(out, "PNG", pnginfo=info)
    return out.getvalue()


def read_provenance(path: Path) -> dict[str, Any]:
    """The record of how an image was created.

    Raises:
        PictureError: the file cannot be read.
        ProvenanceError: it holds no record, or a damaged one.
    """
    return decode_provenance(read_file(path), path.name)


def decode_provenance(data: bytes, name: str) -> dict[str, Any]:
    """The record in the bytes of an image.

    Raises:
        PictureError: they are not an image.
        ProvenanceError: it holds no record, or a damaged one.
    """
    record = provenance.from_image(open_image(data, name))
    if record is None:
        raise ProvenanceError(f"picture {name!r} carries no record of how it was created: it is not from this project")
    return record


def check_whole(data: bytes, name: str) -> None:
    """Checks that an image is intact, as far as its format shows it: PNG has checksums, JPEG has none.

    Raises:
        PictureError: it is damaged.
    """
    check_sums(data, name)
    decode_rgb(data, name)


def check_sums(data: bytes, name: str, what: str = "picture") -> None:
    """Checks an image's own checksums, without decoding its pixels; JPEG has none.

    Raises:
        PictureError: it is no image, or damaged.
    """
    try:
        open_image(data, name, what).verify()
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for wrong checksums
        raise PictureError(f"{what} {name!r}: damaged ({error or type(error).__name__})") from None
