"""Photographs that serve as scenes: read as cameras and phones write them, upright, and no larger than useful.

A scene sets light and background and has no labels, so it may be turned, converted and scaled. Engines and nodes read
scenes here, so that they see the same pixels.
"""

import importlib

from PIL import features

from acusim.errors import PictureError
from acusim.photo_decoding import decode_photograph
from acusim.pictures import EXTENSIONS, Picture

SCENE_EXTENSIONS = (*EXTENSIONS, ".jfif", ".jpe", ".mpo", ".webp", ".heic", ".heif", ".hif", ".avif")
KEPT_PIXELS = 4 << 20
"""A larger scene is scaled down to about so many pixels: four times those of the dataset's largest image."""
MAX_PIXELS = 64 << 20
"""64 megapixels. While they are decoded and scaled down they take up to 650 MB, as WebP 1 GB."""
MAX_JPEG_PIXELS = 170 << 20
"""Of a JPEG that is not progressive: it is decoded at 1/2, 1/4 or 1/8 of its sides, in some 100 MB. Pillow's limit
for a whole process is just above."""
_AVIF_BRANDS = {b"avif", b"avis"}


def decode_scene(data: bytes, name: str) -> Picture:
    """Decodes a scene's file: PNG, JPEG, MPO (its first image), WebP; HEIC and AVIF where there is a decoder.

    Args:
        data: the file's bytes, untrusted.
        name: of the file, for messages.

    Returns:
        At most about KEPT_PIXELS, upright. Notes list conversions: without notes the pixels are the file's own.

    Raises:
        PictureError: damaged, animated, too large, or of another kind; the message says what to do.
    """
    formats = ("PNG", "JPEG", "WEBP")
    if data[4:8] == b"ftyp":
        formats = (_container(data, name),)
    return decode_photograph(
        data, name, MAX_PIXELS, formats=formats, most=KEPT_PIXELS, max_drafted=MAX_JPEG_PIXELS, what="scene"
    )


def _container(data: bytes, name: str) -> str:
    """Pillow's name for the kind of a file in the container of HEIF."""
    length = min(int.from_bytes(data[:4]), 256)
    brands = {data[8:12], *(data[at : at + 4] for at in range(16, length, 4))}
    if brands & _AVIF_BRANDS:
        if not features.check("avif"):
            raise PictureError(f"scene {name!r}: an AVIF file, which this Pillow cannot decode; save it as JPEG")
        return "AVIF"
    try:
        importlib.import_module("pillow_heif").register_heif_opener()
    except ImportError:
        raise PictureError(
            f"scene {name!r}: a HEIC photograph, and no decoder is installed; save it as JPEG, or install one: "
            "pip install pillow-heif"
        ) from None
    return "HEIF"
