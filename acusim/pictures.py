"""Reads untrusted pictures safely and writes pictures that say what made them.

A picture whose geometry or colours are ambiguous is refused, because its labels might then be false: EXIF
rotation, CMYK, several frames. Alpha is laid over black, the data set's own background, and kept beside. A photograph
that has no labels is turned upright and converted instead.
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
"""16 megapixels (4096²), some 3 GB at work: AcuSim's largest picture has 1."""
MAX_BYTES = 256 << 20
EXTENSIONS = (".png", ".jpg", ".jpeg")
FORMATS = ("PNG", "JPEG")
"""By Pillow's names; what a JPEG file of a phone is, MPO, comes with JPEG."""
ORIENTATION = 0x0112
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What undoes each EXIF orientation."""
JPEG_QUALITY = 95
_BAND = 512
PNG_COMPRESSION = 2
PNG_STRATEGY = zlib.Z_RLE
"""Of zlib. On photographs run lengths take half the time of the default strategy at the same size or less."""

DepthKind = Literal["mm16", "rel8"]
"""mm16: 16-bit millimetres along the camera axis, 0 = background. rel8: 8-bit relative values."""


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A decoded picture and where it came from."""

    pixels: NDArray[np.uint8]
    """[H, W, 3] RGB."""
    data: bytes
    """The file's bytes."""
    notes: tuple[str, ...]
    """Conversions that were needed, such as "alpha over black"."""
    alpha: NDArray[np.uint8] | None = None
    """[H, W] the alpha channel, None where the file has none."""
    reduced: int = 1
    """Each pixel stands for so many by so many of the file's: a point p of the file lies at p / reduced."""


def read_file(path: Path, what: str = "picture") -> bytes:
    """The bytes of a picture file; ``what`` it is called in messages.

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


def _open(
    data: bytes,
    name: str,
    what: str = "picture",
    max_pixels: int = MAX_PIXELS,
    formats: tuple[str, ...] = FORMATS,
    max_drafted: int = 0,
) -> Image.Image:
    """An image whose header is read and whose size is allowed: a JPEG that can be drafted may be of max_drafted."""
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


def _load(image: Image.Image, name: str, what: str = "picture") -> None:
    try:
        image.load()
    except Exception as error:  # Pillow raises many types on damaged data
        raise PictureError(f"{what} {name!r}: damaged or cut off ({error or type(error).__name__})") from None


def decode_rgb(data: bytes, name: str) -> Picture:
    """Decodes the bytes of an 8-bit RGB picture, or of one that turns into one without ambiguity.

    Raises:
        PictureError: damaged, too large, rotated by EXIF, CMYK, or with several frames.
    """
    image = _open(data, name)
    if image.format not in ("PNG", "JPEG") or getattr(image, "n_frames", 1) > 1:
        raise PictureError(f"picture {name!r}: {_SEVERAL}")
    _load(image, name)
    try:
        orientation = _orientation(image)
    except Exception as error:  # a damaged EXIF block
        raise PictureError(f"picture {name!r}: damaged EXIF data ({error})") from None
    if orientation not in (0, 1):
        raise PictureError(
            f"picture {name!r}: EXIF orientation {orientation} leaves open which way up its labels are; "
            "save it upright without the EXIF tag"
        )
    if image.mode in ("CMYK", "YCbCr", "LAB", "HSV"):
        raise PictureError(f"picture {name!r}: colour mode {image.mode} is not RGB; convert it to RGB first")
    return _picture(image, data, [], with_alpha=True)


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
) -> Picture:
    """Decodes the bytes of a photograph without labels, whatever a camera made of it, upright by its EXIF tag.

    Args:
        data: the file's bytes.
        name: of the file, for messages.
        max_pixels: the largest picture that is read.
        enough: where both sides keep at least so many pixels, a JPEG is read at 1/2, 1/4 or 1/8 of its size, which
            takes less memory and time; only where the size divides its sides, so that points map exactly.
        formats: what it may be, by Pillow's names.
        most: a picture of more pixels is scaled down to about so many, for pictures without points.
        max_drafted: the largest JPEG that is read, where it is decoded at a fraction of its size.
        what: it is called in messages.

    Raises:
        PictureError: damaged, too large, or with several frames; of a phone's MPO file the first is taken.
    """
    image = _open(data, name, what, max_pixels, formats, max_drafted)
    notes: list[str] = []
    several = getattr(image, "n_frames", 1) > 1
    if image.format == "MPO" or (image.format == "HEIF" and several):
        notes.append(f"the first picture of an {image.format} file")
    elif several:
        raise PictureError(f"{what} {name!r}: {_SEVERAL}")
    elif image.format not in FORMATS:
        notes.append(f"decoded from {image.format}")
    reduced = _reduce(image, enough) if enough else 1
    size = _fitting(image.size, most) if most else image.size
    if most and size != image.size:
        notes.append(f"scaled from {image.width} x {image.height} to {size[0]} x {size[1]}")
        image.draft(None, size)
    _load(image, name, what)
    try:
        turn = _UPRIGHT.get(_orientation(image))
    except Exception as error:  # a damaged EXIF block
        turn = None
        notes.append(f"damaged EXIF data ignored ({str(error)[:60]})")
    if most:
        image = _scaled(image, size)
    if turn is not None:
        image = image.transpose(turn)
        notes.append("turned upright by its EXIF orientation")
    return _picture(image, data, notes, reduced)


_SEVERAL = "holds several frames; save one frame as PNG or JPEG"


def _orientation(image: Image.Image) -> Any:
    return image.getexif().get(ORIENTATION, 1)


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
        image = _eight_bits(image)
    elif image.mode not in ("RGB", "RGBA", "L", "LA", "CMYK", "YCbCr"):
        image = image.convert("RGB")
    return image.resize(size, Image.Resampling.LANCZOS)


def _eight_bits(image: Image.Image) -> Image.Image:
    """16-bit grey as 8-bit, in bands, because the sums need four bytes a pixel."""
    grey = np.asarray(image)
    levels = np.empty(grey.shape, np.uint8)
    for top in range(0, len(grey), _BAND):
        band = grey[top : top + _BAND].astype(np.uint32)
        levels[top : top + _BAND] = ((band + 128) // 257).clip(0, 255)
    return Image.fromarray(levels, "L")


def _picture(image: Image.Image, data: bytes, notes: list[str], reduced: int = 1, with_alpha: bool = False) -> Picture:
    """The 8-bit RGB of a loaded image, strip by strip: a large picture is not held three times over."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and data[24] == 16:
        notes.append("16 bits reduced to 8")
    width, height = image.size
    pixels, rows, added = np.empty((height, width, 3), np.uint8), max(1, _STRIP // width), ""
    alphas: list[NDArray[np.uint8]] = []
    for top in range(0, height, rows):
        strip = image if rows >= height else image.crop((0, top, width, min(top + rows, height)))
        pixels[top : top + rows], added, alpha = _rgb(strip)
        if with_alpha and alpha is not None:
            alphas.append(np.asarray(alpha))
    if added:
        notes = [*notes, added]
    return Picture(pixels, data, tuple(notes), np.concatenate(alphas) if alphas else None, reduced)


_STRIP = 1 << 20
"""Pixels that are converted at a time."""


def _rgb(image: Image.Image) -> tuple[Image.Image, str, Image.Image | None]:
    """A loaded image as 8-bit RGB, a note of how it came to be, empty where it was so before, and its alpha channel."""
    if image.mode.startswith("I"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.new("RGB", image.size)
        image.paste(rgba, mask=rgba.getchannel("A"))
        return image, "alpha over black", rgba.getchannel("A")
    return (image, "", None) if image.mode == "RGB" else (image.convert("RGB"), f"mode {image.mode} to RGB", None)


def read_rgb(path: Path) -> Picture:
    """Reads a picture file.

    Raises:
        PictureError: as read_file and decode_rgb.
    """
    return decode_rgb(read_file(path), path.name)


def picture_size(path: Path) -> tuple[int, int]:
    """Width and height in pixels by the file's header; the rest is not decoded.

    Raises:
        PictureError: as read_file, or it is no PNG or JPEG.
    """
    return _open(read_file(path), path.name).size


def read_depth(path: Path) -> tuple[NDArray[np.float32], DepthKind]:
    """Reads a depth map file: decode_depth on its bytes."""
    return decode_depth(read_file(path, "depth"), path.name)


def decode_depth(data: bytes, name: str) -> tuple[NDArray[np.float32], DepthKind]:
    """Decodes the bytes of a depth map.

    Returns:
        [H, W] float32 values as stored (millimetres for mm16, 0..255 for rel8) and which of the two it is.

    Raises:
        PictureError: damaged, in colour, or nothing but one value.
    """
    image = _open(data, name, "depth")
    _load(image, name, "depth")
    values = np.asarray(image)
    if values.ndim == 3:
        if values.dtype != np.uint8 or (values[..., :1] != values[..., :3]).any():
            raise PictureError(f"depth {name!r}: a colour picture; save one channel, 16-bit mm or 8-bit relative")
        values = values[..., 0]
    if image.mode not in ("L", "RGB", "RGBA", "LA") and not image.mode.startswith("I"):
        raise PictureError(f"depth {name!r}: mode {image.mode}; save one channel, 16-bit mm or 8-bit relative")
    if values.min() == values.max():
        raise PictureError(f"depth {name!r}: every pixel is {values.min()}; there is no surface in it")
    return values.astype(np.float32), "mm16" if image.mode.startswith("I") else "rel8"


def encode(
    pixels: NDArray[np.uint8],
    extension: str,
    record: dict[str, Any] | None = None,
    texts: Mapping[str, str] | None = None,
) -> bytes:
    """Encodes a picture: the same pixels and record always give the same bytes.

    Args:
        pixels: [H, W, 3] RGB.
        extension: .png, or .jpg / .jpeg for quality 95 without chroma subsampling.
        record: what made it, for the metadata.
        texts: further text chunks of a PNG by their keyword; a JPEG has no place for them.

    Raises:
        PictureError: the extension is neither.
    """
    out = io.BytesIO()
    image = Image.fromarray(pixels, "RGB")
    if extension.lower() == ".png":
        info = provenance.png_info(record, texts) if record is not None or texts else None
        image.save(out, "PNG", compress_level=PNG_COMPRESSION, compress_type=PNG_STRATEGY, pnginfo=info)
    elif extension.lower() in EXTENSIONS:
        comment = provenance.jpeg_comment(record) if record is not None else None
        image.save(out, "JPEG", quality=JPEG_QUALITY, subsampling=0, comment=comment)
    else:
        raise PictureError(f"extension {extension!r} is not one of {', '.join(EXTENSIONS)}")
    return out.getvalue()


def read_provenance(path: Path) -> dict[str, Any]:
    """The record of what made a picture.

    Raises:
        PictureError: the file cannot be read.
        ProvenanceError: it holds no record, or a damaged one.
    """
    return decode_provenance(read_file(path), path.name)


def decode_provenance(data: bytes, name: str) -> dict[str, Any]:
    """The record in the bytes of a picture.

    Raises:
        PictureError: they are no picture.
        ProvenanceError: it holds no record, or a damaged one.
    """
    record = provenance.from_image(_open(data, name))
    if record is None:
        raise ProvenanceError(f"picture {name!r} does not say what made it: it was not made by this project")
    return record


def check_whole(data: bytes, name: str) -> None:
    """Makes sure that a picture is not damaged, as far as its format shows it: PNG has checksums, JPEG has none.

    Raises:
        PictureError: it is.
    """
    try:
        _open(data, name).verify()
    except (OSError, SyntaxError, ValueError) as error:  # Pillow's own of wrong checksums are SyntaxErrors
        raise PictureError(f"picture {name!r}: damaged ({error or type(error).__name__})") from None
    decode_rgb(data, name)
