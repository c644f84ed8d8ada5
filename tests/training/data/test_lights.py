"""The light of a picture is what the record inside it says."""

from pathlib import Path

import numpy as np
import pytest

from acusim.pictures import encode
from acusim.weak_spots import ORIGINAL
from training.data.lights import light_of

SCENE = {"scene": "street.jpg", "scene_sha256": "ab" * 32, "light": {"mode": "wild"}}


@pytest.mark.parametrize("extension", [".png", ".jpg"])
@pytest.mark.parametrize(
    ("record", "light"),
    [
        (SCENE, ("ab" * 32, "street.jpg")),
        ({"light": {"mode": "wild"}}, ("wild", "wild")),
        ({"light": {"mode": "studio"}}, (ORIGINAL, ORIGINAL)),
        ({"light": ["wild"], "scene": 3, "scene_sha256": None}, (ORIGINAL, ORIGINAL)),
        ({"scene": "s" * 500, "scene_sha256": "x" * 500}, ("x" * 80, "s" * 80)),
        (None, (ORIGINAL, ORIGINAL)),
    ],
)
def test_light(record: dict[str, object] | None, light: tuple[str, str], extension: str, tmp_path: Path):
    path = tmp_path / f"picture{extension}"
    path.write_bytes(encode(np.zeros((16, 16, 3), np.uint8), extension, record))
    assert light_of(path) == light


def test_what_is_no_picture_counts_as_an_original(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(b"no picture")
    assert light_of(tmp_path / "a.png") == light_of(tmp_path / "b.png") == (ORIGINAL, ORIGINAL)
