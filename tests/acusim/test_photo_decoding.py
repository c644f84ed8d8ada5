"""A picture converted in strips is the picture converted whole."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim import photo_decoding, pictures

RGBA = np.random.default_rng(0).integers(0, 256, (83, 57, 4), np.uint8)
FULL = Image.fromarray(RGBA)
RGB = Image.fromarray(RGBA[..., :3].copy())
PALETTE = RGB.quantize(40)


def _encoded(image: Image.Image, format: str = "PNG", **how: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **how)
    return out.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        _encoded(RGB),
        _encoded(FULL),
        _encoded(FULL.convert("LA")),
        _encoded(FULL.convert("L")),
        _encoded(FULL.convert("1")),
        _encoded(PALETTE),
        _encoded(PALETTE, transparency=3),
        _encoded(PALETTE, transparency=bytes(range(40))),
        _encoded(RGB, transparency=tuple(RGBA[5, 5, :3].tolist())),
        _encoded(Image.fromarray(np.arange(83 * 57, dtype=np.uint16).reshape(83, 57) * 13)),
        _encoded(Image.merge("CMYK", FULL.split()), "JPEG"),
        _encoded(RGB, "JPEG"),
    ],
)
def test_strips(data: bytes, monkeypatch: pytest.MonkeyPatch):
    whole = photo_decoding.decode_photograph(data, "a", 1 << 20)
    for pixels in (1, 57, 400, 83 * 57 - 1):
        monkeypatch.setattr(pictures, "_STRIP_PIXELS", pixels)
        found = photo_decoding.decode_photograph(data, "a", 1 << 20)
        assert (found.pixels == whole.pixels).all() and found.notes == whole.notes


def test_alpha_over_black_is_the_colour_times_alpha():
    found = photo_decoding.decode_photograph(_encoded(FULL), "a", 1 << 20).pixels
    wanted = RGBA[..., :3].astype(float) * RGBA[..., 3:] / 255
    assert np.abs(found - wanted).max() <= 0.5 + 1e-9
