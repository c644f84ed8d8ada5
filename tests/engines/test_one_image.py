"""``engines.relight``: the pixels of the engine, whatever form image, depth and scene have; clear refusals."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import engines
from acusim.errors import ConfigError, PictureError
from acusim.pictures import read_rgb
from acusim.sample_id import SampleId
from engines.base import Request, Result
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.scenes import SHIPPED, load_scenes, open_scene, pick_scene
from tests.support import add_sample

STEM = "F_Ann_N_HA_O_0010"


@pytest.fixture
def head(tmp_path: Path) -> tuple[Path, Path]:
    """Image and depth map of a sample of frame 10."""
    return add_sample(tmp_path, STEM), tmp_path / f"train/depth/img_64/{STEM}.png"


def _by_engine(image: Path, depth: Path | None, scene: Path, frame: int, seed: int, recipe: Recipe) -> np.ndarray:
    data = depth.read_bytes() if depth else None
    sample = SampleId("F", "Ann", "N", "HA", "O", frame)
    pixels = read_rgb(image).pixels
    request = Request(sample, image, pixels, b"", "", depth, data, open_scene(scene), False, "", "", "", seed)
    with RelightEngine(recipe) as engine:
        [answer] = engine.augment([request])
    assert isinstance(answer, Result)
    return answer.pixels


def test_it_gives_exactly_the_engines_pixels(head: tuple[Path, Path]):
    image, depth = head
    recipe = Recipe(engine="relight", light_strength=0.6)
    scene = SHIPPED / "golden_street.jpg"
    expected = _by_engine(image, depth, scene, 10, 7, recipe)
    got = engines.relight(image, depth, scene="golden_street", recipe=recipe, seed=7)
    assert got.dtype == np.uint8 and np.array_equal(got, expected)
    arrays = read_rgb(image).pixels, np.asarray(Image.open(depth)).astype(np.uint16)
    assert np.array_equal(engines.relight(*arrays, scene=str(scene), recipe=recipe, seed=7, frame=10), expected)
    assert not np.array_equal(engines.relight(str(image), str(depth), scene=scene, recipe=recipe, seed=8), expected)


def test_the_defaults_are_those_of_a_batch(head: tuple[Path, Path]):
    image, _ = head
    scene = pick_scene(load_scenes()[0], 3).path
    expected = _by_engine(image, None, scene, 10, 3, Recipe(engine="relight"))
    assert np.array_equal(engines.relight(image, seed=3), expected)


@pytest.mark.parametrize(
    ("how", "kind", "message"),
    [
        ({"recipe": Recipe()}, ConfigError, "engine 'comfyui' does not work on single images"),
        ({"scene": "moon"}, ConfigError, "'moon' is neither a file nor one of candle_room, clinic"),
        ({"seed": -1}, ConfigError, "seed = -1 is outside 0"),
        ({"frame": 145}, ConfigError, "frame = 145 is outside 1..144"),
        ({"image": np.zeros((8, 8), np.uint8)}, ConfigError, r"\(8, 8\) uint8; allowed is \[H, W, 3\] uint8"),
        ({"image": "none.png"}, PictureError, "no such regular file"),
        ({"depth": np.zeros((64, 64), np.float32)}, ConfigError, r"\(64, 64\) float32; allowed is \[H, W\]"),
        ({"depth": np.full((9, 9), 800, np.uint16)}, PictureError, "depth"),
    ],
)
def test_bad_arguments_are_refused(head: tuple[Path, Path], how: dict[str, Any], kind: type[Exception], message: str):
    with pytest.raises(kind, match=message):
        engines.relight(**{"image": head[0], "depth": head[1], **how})
