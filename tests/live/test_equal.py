"""Engine embedded against engine comfyui on a live server: the same samples, the same models, the same pictures."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.layout import scan
from tests.live.conftest import Live, difference
from tests.support import ROOT

pytestmark = pytest.mark.comfyui
RUNS = [("fc", "scene"), ("fc", "keep"), ("fbc", "scene"), ("fbc", "black")]
LARGEST_SHARE = 0.001
"""Of all pixels of a run. Sums round differently in other versions of torch; each of them moves a pixel by a level."""


@pytest.fixture(scope="module")
def eight(ground: Path, size: int) -> Path:
    """Two synthetic heads in four views."""
    root = ground / "eight"
    line = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", "2", "--size", str(size)]
    subprocess.run([*line, "--views", "1,7,19,37"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture(scope="module")
def two(ground: Path) -> Path:
    """A synthetic head in two views, 64 px."""
    root = ground / "two"
    line = [sys.executable, "-m", "synthetic", "--out", str(root), "--identities", "1", "--size", "64"]
    subprocess.run([*line, "--views", "1,7"], cwd=ROOT, check=True, capture_output=True, timeout=300)
    return root


@pytest.fixture(scope="module")
def engines(live: Live, eight: Path, request: pytest.FixtureRequest) -> dict[str, Live]:
    """Both engines over the same samples, by name."""
    models = request.config.getoption("--comfyui-models")
    if not models:
        pytest.skip("say --comfyui-models DIR, the server's models folder, to compare engine embedded with the server")
    server = dataclasses.replace(live, heads=eight)
    return {"comfyui": server, "embedded": dataclasses.replace(server, models=Path(models))}


@pytest.fixture(scope="module")
def scenes(ground: Path) -> Path:
    """A folder with one scene, wider than high, so that the samples of a prompt set come in one batch."""
    place = ground / "one_scene"
    place.mkdir()
    y, x = np.mgrid[:120, :180]
    picture = np.stack([x * 255 // 179, 255 - y * 2, (x + y) * 255 // 298], -1)
    Image.fromarray(picture.astype(np.uint8)).save(place / "window.png")
    return place


def _compared(
    engines: dict[str, Live], pictures: Callable[[Path], dict[str, bytes]], folder: Path, wiring: str, *more: object
) -> None:
    count = len(pictures(engines["comfyui"].heads))
    for name, engine in engines.items():
        report = engine.batch(folder / name, wiring, *more)
        assert (report["created"], report["skipped"]) == (count, [])
        assert not scan(folder / name).problems
    created = {name: pictures(folder / name) for name in engines}
    assert created["comfyui"].keys() == created["embedded"].keys() == pictures(engines["comfyui"].heads).keys()
    for sample in scan(folder / "comfyui").samples:
        labels = [(folder / name / sample.label).read_bytes() for name in engines]
        assert labels[0] == labels[1], sample.label
    apart = {key: difference(data, created["embedded"][key]) for key, data in created["comfyui"].items()}
    largest, share = max(levels for levels, _ in apart.values()), sum(part for _, part in apart.values()) / count
    print(f"{wiring} {more}: at most {largest} level, in {100 * share:.3f} % of the pixels")
    assert largest <= 1 and share <= LARGEST_SHARE, apart


@pytest.mark.parametrize(
    ("wiring", "background"), [("fc", "scene"), ("fc", "keep"), ("fbc", "scene"), ("fbc", "black")]
)
def test_both_engines_make_the_same_pictures(
    engines: dict[str, Live],
    pictures: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
    wiring: str,
    background: str,
):
    _compared(engines, pictures, tmp_path, wiring, "--set", f"background={background}", "--batch-size", 1)


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_both_engines_make_the_same_pictures_in_batches(
    engines: dict[str, Live],
    pictures: Callable[[Path], dict[str, bytes]],
    scenes: Path,
    tmp_path: Path,
    wiring: str,
):
    more = ["--set", "background=keep", "--set", "denoise=0.8", "--scenes", scenes, "--batch-size", 4]
    _compared(engines, pictures, tmp_path, wiring, *more)


@pytest.mark.parametrize("steps", [24, 28, 30])
def test_both_engines_make_the_same_pictures_at_full_strength(
    engines: dict[str, Live],
    pictures: Callable[[Path], dict[str, bytes]],
    two: Path,
    tmp_path: Path,
    steps: int,
):
    """With 24 and 30 steps a time lies half-way between two timesteps, with 28 none does."""
    both = {name: dataclasses.replace(engine, heads=two) for name, engine in engines.items()}
    _compared(both, pictures, tmp_path, "fc", "--set", "denoise=1.0", "--set", f"steps={steps}", "--batch-size", 1)


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
@pytest.mark.parametrize("reference", ["scene", "sample", "both"])
def test_both_engines_hold_the_same_depth_and_see_the_same_references(
    engines: dict[str, Live],
    pictures: Callable[[Path], dict[str, bytes]],
    two: Path,
    tmp_path: Path,
    wiring: str,
    reference: str,
):
    both = {name: dataclasses.replace(engine, heads=two) for name, engine in engines.items()}
    settings = {"reference": reference, "control_strength": 0.8, "control_end": 0.9, "steps": 6, "denoise": 0.8}
    more = [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
    _compared(both, pictures, tmp_path, wiring, *more, "--batch-size", 2)


@pytest.mark.parametrize("wiring", ["fc", "fbc"])
def test_both_engines_transfer_the_same_light(
    engines: dict[str, Live], pictures: Callable[[Path], dict[str, bytes]], two: Path, tmp_path: Path, wiring: str
):
    both = {name: dataclasses.replace(engine, heads=two) for name, engine in engines.items()}
    _compared(both, pictures, tmp_path, wiring, "--set", "light_transfer=1", "--set", "steps=6", "--batch-size", 2)
