"""Pictures with large profiles and texts are read, and Pillow's limits stay as they are."""

import io
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from acusim.errors import PictureError
from acusim.photo_decoding import decode_photograph
from acusim.pictures import decode_depth, decode_rgb, encode, picture_size, read_provenance
from acusim.png_metadata import without_metadata

MIB = 1 << 20
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 16, 3), np.uint8)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*chunks: bytes, at_end: bool = False, picture: bytes | None = None) -> bytes:
    """A PNG with further chunks behind its header, or before its end."""
    data = picture or encode(PIXELS, ".png")
    place = len(data) - 12 if at_end else 33
    return data[:place] + b"".join(chunks) + data[place:]


PROFILE = chunk(b"iCCP", b"camera\0\0" + zlib.compress(os.urandom(3 * MIB), 1))
LARGE = {
    "profile": PROFILE,
    "profile that unpacks to more": chunk(b"iCCP", b"camera\0\0" + zlib.compress(bytes(40 * MIB))),
    "text": chunk(b"tEXt", b"Comment\0" + b"a" * 2 * MIB),
    "packed text": chunk(b"zTXt", b"Comment\0\0" + zlib.compress(b"a" * 2 * MIB)),
    "XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + b"a" * 2 * MIB),
    "packed XMP": chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + zlib.compress(b"a" * 2 * MIB)),
    "many texts": chunk(b"tEXt", b"Comment\0" + b"a" * MIB) * 66,
    "EXIF": chunk(b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0" + bytes(2 * MIB)),
    "a chunk of its own": chunk(b"prVt", os.urandom(2 * MIB)),
}


@pytest.mark.parametrize("kind", LARGE)
@pytest.mark.parametrize("at_end", [False, True])
def test_a_png_with_large_metadata_is_the_same_picture(kind: str, at_end: bool, tmp_path: Path):
    data = png(LARGE[kind], at_end=at_end)
    assert (decode_rgb(data, "a.png").pixels == PIXELS).all()
    assert (decode_photograph(data, "a.png", 1 << 20).pixels == PIXELS).all()
    (tmp_path / "a.png").write_bytes(data)
    assert picture_size(tmp_path / "a.png") == (16, 24)


@pytest.mark.parametrize("size", [2 * MIB, 12 * MIB])
def test_a_jpeg_with_a_large_profile_is_the_same_picture(size: int):
    plain, large = io.BytesIO(), io.BytesIO()
    Image.fromarray(PIXELS).save(plain, "JPEG")
    Image.fromarray(PIXELS).save(large, "JPEG", icc_profile=os.urandom(size))
    assert len(large.getvalue()) > size
    pixels = [decode_rgb(data.getvalue(), "a.jpg").pixels for data in (plain, large)]
    assert (pixels[0] == pixels[1]).all()


def test_a_depth_map_with_a_large_profile_is_read():
    depth = np.arange(24 * 16, dtype=np.uint16).reshape(24, 16) + 700
    out = io.BytesIO()
    Image.fromarray(depth).save(out, "PNG")
    values, kind = decode_depth(png(PROFILE, picture=out.getvalue()), "a.png")
    assert kind == "mm16" and (values == depth).all()


def test_what_made_a_picture_is_read_beside_large_metadata(tmp_path: Path):
    made = encode(PIXELS, ".png", {"engine": "relight", "name": "Zoé"}, {"workflow": "x" * 2 * MIB})
    (tmp_path / "a.png").write_bytes(png(PROFILE, LARGE["packed XMP"], picture=made))
    assert read_provenance(tmp_path / "a.png") == {"engine": "relight", "name": "Zoé"}


def test_what_decides_a_picture_stays():
    out, exif = io.BytesIO(), Image.Exif()
    exif[0x0112] = 6
    palette = Image.fromarray(PIXELS).quantize(8)
    palette.save(out, "PNG", transparency=3, exif=exif)
    with_profile = png(PROFILE, picture=out.getvalue())
    with pytest.raises(PictureError, match="EXIF orientation 6"):
        decode_rgb(with_profile, "a.png")
    one, other = (decode_photograph(data, "a.png", 1 << 20) for data in (out.getvalue(), with_profile))
    assert (one.pixels == other.pixels).all() and one.notes == other.notes
    assert one.notes == ("turned upright by its EXIF orientation", "alpha over black")
    frames, out = [Image.fromarray(PIXELS), Image.fromarray(255 - PIXELS)], io.BytesIO()
    frames[0].save(out, "PNG", save_all=True, append_images=frames[1:])
    with pytest.raises(PictureError, match="several frames"):
        decode_rgb(png(PROFILE, picture=out.getvalue()), "a.png")


def test_nothing_else_is_changed():
    plain = png()
    assert without_metadata(plain) is plain
    for data in (b"", b"\xff\xd8\xff", plain[:20], plain[:-5], plain[:8] + b"\xff" * 40):
        assert without_metadata(data) == data
    cut = png(PROFILE)[: 33 + len(PROFILE) // 2]
    with pytest.raises(PictureError, match="damaged|not a readable"):
        decode_rgb(cut, "a.png")
    assert without_metadata(png(PROFILE)) == without_metadata(png(PROFILE, at_end=True)) == plain


def test_pillows_limits_stay():
    """They guard the whole process, also against files that come another way."""
    assert PngImagePlugin.MAX_TEXT_CHUNK == MIB and PngImagePlugin.MAX_TEXT_MEMORY == 64 * MIB
    assert Image.MAX_IMAGE_PIXELS == 1024 * MIB // 4 // 3
    with pytest.raises(ValueError, match="too large"):
        Image.open(io.BytesIO(png(PROFILE))).load()
