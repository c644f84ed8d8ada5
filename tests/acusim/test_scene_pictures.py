"""Scenes as cameras and phones write them: upright, converted, scaled down, or refused by name."""

import io
import struct
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image, features

from acusim.errors import PictureError
from acusim.pictures import decode_rgb
from acusim.scene_pictures import KEPT_PIXELS, decode_scene
from tests.support import ROOT

PHONES = ROOT / "tests/data/scenes"
CORNERS = np.array([[(250, 20, 20), (20, 250, 20)], [(20, 20, 250), (240, 240, 240)]], np.uint8)
"""Red and green above blue and white."""
UNDO = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera held an upright scene that it marks with each orientation."""


def upright(width: int = 96, height: int = 64) -> Image.Image:
    return Image.fromarray(CORNERS).resize((width, height), Image.Resampling.NEAREST)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, kind, **how)
    return out.getvalue()


def corners(pixels: np.ndarray) -> np.ndarray:
    """[2, 2, 3] the colour in the middle of each quarter."""
    height, width = pixels.shape[:2]
    return pixels[height // 4 :: height // 2, width // 4 :: width // 2][:2, :2].astype(int)


def assert_upright(pixels: np.ndarray, shape: tuple[int, int] = (64, 96), within: int = 12) -> None:
    assert pixels.shape == (*shape, 3) and pixels.dtype == np.uint8
    assert np.abs(corners(pixels) - CORNERS).max() <= within


@pytest.mark.parametrize("orientation", UNDO)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_turned_photograph_is_upright(kind: str, orientation: int):
    exif, turn = Image.Exif(), UNDO[orientation]
    exif[0x0112] = orientation
    image = upright() if turn is None else upright().transpose(turn)
    picture = decode_scene(saved(image, kind, exif=exif, quality=95), "a")
    assert_upright(picture.pixels)
    assert ("turned upright by its EXIF orientation" in picture.notes) == (orientation != 1)


CONVERTED = {
    "MPO": lambda: saved(upright(), "MPO", save_all=True, append_images=[upright().rotate(180)], quality=95),
    "CMYK": lambda: saved(upright().convert("CMYK"), "JPEG", quality=95),
    "WebP": lambda: saved(upright(), "WEBP", lossless=True),
    "WebP with alpha": lambda: saved(upright().convert("RGBA"), "WEBP", lossless=True),
    "progressive": lambda: saved(upright(), "JPEG", progressive=True, quality=95),
    "palette": lambda: saved(upright().quantize(8), "PNG"),
    "palette with a transparent colour": lambda: saved(upright().quantize(8), "PNG", transparency=7),
    "alpha": lambda: saved(upright().convert("RGBA"), "PNG"),
    "large profile": lambda: saved(upright(), "JPEG", icc_profile=bytes(2 << 20), quality=95),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_every_kind_of_photograph_is_read(kind: str):
    assert_upright(decode_scene(CONVERTED[kind](), "a").pixels)


def test_grey_and_sixteen_bits_are_read():
    grey = np.add.outer(np.arange(64), np.arange(96)).astype(np.uint16) * 400
    wanted = np.repeat(((grey.astype(int) + 128) // 257)[..., None], 3, 2)
    assert (decode_scene(saved(Image.fromarray(grey), "PNG"), "a").pixels == wanted).all()
    low = Image.fromarray(wanted[..., 0].astype(np.uint8))
    assert (decode_scene(saved(low, "PNG"), "a").pixels == wanted).all()
    one_bit = decode_scene(saved(low.convert("1"), "PNG"), "a").pixels
    assert set(np.unique(one_bit)) == {0, 255}


def test_pictures_of_phones_are_read():
    """One that is turned by its EXIF tag, and one with a second picture inside."""
    turned, several = (
        decode_scene((PHONES / name).read_bytes(), name) for name in ("phone_rotated.jpg", "samsung.jpg")
    )
    assert turned.pixels.shape == several.pixels.shape == (48, 64, 3)
    as_stored = np.asarray(Image.open(PHONES / "phone_rotated.jpg").transpose(Image.Transpose.ROTATE_270))
    assert (turned.pixels == as_stored).all() and several.notes == ("the first picture of an MPO file",)


@pytest.mark.parametrize("extension", [".png", ".jpg"])
def test_a_plain_scene_is_what_it_always_was(extension: str):
    data = saved(upright(), "PNG" if extension == ".png" else "JPEG")
    scene = decode_scene(data, "a")
    assert (scene.pixels == decode_rgb(data, "a").pixels).all() and scene.notes == ()


@pytest.mark.parametrize(
    ("kind", "mode", "how"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True}),
        ("JPEG", "CMYK", {}),
        ("PNG", "RGBA", {"compress_level": 0}),
        ("PNG", "P", {"compress_level": 0}),
        ("PNG", "I;16", {"compress_level": 0}),
        ("WEBP", "RGB", {"method": 0, "quality": 50}),
    ],
)
def test_a_large_photograph_is_scaled_down(kind: str, mode: str, how: dict[str, Any]):
    image = upright(3000, 2000)
    exif = Image.Exif()
    exif[0x0112] = 6
    large = image.transpose(Image.Transpose.ROTATE_90)
    if mode == "I;16":
        large = Image.fromarray(np.asarray(large.convert("L")).astype(np.uint16) * 257)
    elif mode == "P":
        large = large.quantize(8)
    else:
        large = large.convert(mode)
    picture = decode_scene(saved(large, kind, exif=exif, **how), "a")
    height, width = picture.pixels.shape[:2]
    assert 0.99 * KEPT_PIXELS < height * width <= KEPT_PIXELS and width / height == pytest.approx(1.5, abs=0.002)
    wanted = np.asarray(image.convert("L").convert("RGB") if mode == "I;16" else image)
    assert np.abs(corners(picture.pixels) - corners(wanted)).max() <= 12
    assert f"scaled from 2000 x 3000 to {height} x {width}" in picture.notes


def test_a_photograph_of_48_megapixels_is_scaled_while_it_is_decoded(monkeypatch: pytest.MonkeyPatch):
    data = saved(Image.fromarray(CORNERS).resize((8000, 6000), Image.Resampling.NEAREST), "JPEG", quality=50)
    decoded: list[tuple[int, int]] = []
    resize = Image.Image.resize

    def watched(self: Image.Image, *arguments: Any, **how: Any) -> Image.Image:
        decoded.append(self.size)
        return resize(self, *arguments, **how)

    monkeypatch.setattr(Image.Image, "resize", watched)
    picture = decode_scene(data, "a")
    assert decoded == [(4000, 3000)], "a quarter of the pixels was decoded"
    assert_upright(picture.pixels, (1773, 2364))


def _of_size(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header speaks of another size."""
    at = next(data.index(b"\xff" + bytes([kind])) for kind in (0xC0, 0xC2) if b"\xff" + bytes([kind, 0, 17]) in data)
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def test_what_would_take_too_much_memory_is_refused_by_its_header():
    plain, progressive = saved(upright(), "JPEG"), saved(upright(), "JPEG", progressive=True)
    with pytest.raises(PictureError, match="scene 'a': 9000 x 8000 is more than 64 megapixels; make it smaller"):
        decode_scene(_of_size(progressive, 9000, 8000), "a")
    with pytest.raises(PictureError, match="megapixels"):
        decode_scene(_of_size(plain, 20_000, 20_000), "a")
    # The same size is allowed where it is decoded at a fraction; what the file lacks is grey.
    assert decode_scene(_of_size(plain, 9000, 8000), "a").pixels.shape == (1930, 2172, 3)
    png = saved(upright(), "PNG")
    header = b"IHDR" + struct.pack(">II", 9000, 8000) + png[24:29]
    with pytest.raises(PictureError, match="9000 x 8000 is more than 64 megapixels"):
        decode_scene(png[:12] + header + struct.pack(">I", zlib.crc32(header)) + png[33:], "a")


def test_what_is_no_scene_is_refused_by_name():
    frames = [upright(), upright().rotate(180)]
    for data, words in (
        (saved(frames[0], "WEBP", save_all=True, append_images=frames[1:]), "several frames"),
        (saved(frames[0], "PNG", save_all=True, append_images=frames[1:]), "several frames"),
        (saved(upright(), "GIF"), "not a readable PNG, JPEG or WEBP"),
        (saved(upright(), "WEBP")[:100], "damaged|not a readable"),
        (saved(upright(), "JPEG")[:300], "damaged or cut off|not a readable"),
        (b"hello", "not a readable"),
    ):
        with pytest.raises(PictureError, match=f"scene 'a'.*({words})"):
            decode_scene(data, "a")


def _container(brand: bytes, *others: bytes) -> bytes:
    body = brand + b"\0\0\0\0" + b"".join(others)
    return struct.pack(">I", 8 + len(body)) + b"ftyp" + body + b"\0" * 64


@pytest.mark.parametrize("brands", [(b"heic",), (b"mif1", b"mif1", b"heic"), (b"hevc",)])
def test_heic_without_a_decoder_says_what_to_do(brands: tuple[bytes, ...], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(
        PictureError, match="'a.heic': a HEIC photograph, .* save it as JPEG, .* pip install pillow-heif"
    ):
        decode_scene(_container(*brands), "a.heic")


def test_heic_with_a_decoder_is_read(monkeypatch: pytest.MonkeyPatch):
    """By a stand-in of pillow-heif, which registers itself with Pillow in the same way."""

    class StandIn(Image.Image):
        format = "HEIF"

    def opened(stream: Any, name: Any) -> Any:
        image = StandIn()
        image.im, image._size, image._mode = upright().im, (96, 64), "RGB"
        return image

    def register() -> None:
        Image.register_open("HEIF", opened, lambda prefix: prefix[4:8] == b"ftyp")

    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))  # type: ignore[arg-type]
    picture = decode_scene(_container(b"heic"), "a.heic")
    assert_upright(picture.pixels)
    assert picture.notes == ("decoded from HEIF",)


def test_avif_is_read_or_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(PictureError, match="'a.avif': an AVIF file, which this Pillow cannot decode; save it as JPEG"):
        decode_scene(_container(b"avif"), "a.avif")


def test_the_file_formats_of_scenes_are_not_those_of_the_data_set(tmp_path: Path):
    """Labels are true of a picture as it is stored: nothing of the data set is turned or scaled."""
    for data in (CONVERTED["WebP"](), CONVERTED["MPO"](), CONVERTED["CMYK"]()):
        with pytest.raises(PictureError):
            decode_rgb(data, "a")
