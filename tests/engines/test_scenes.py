"""Scene pictures: loaded safely, drawn by content."""

import io
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.errors import ConfigError
from comfy_nodes.scene import load_scene
from engines.recipe import Recipe
from engines.relight.engine import RelightEngine
from engines.scenes import SHIPPED, load_scenes, pick_scene, scene_file, scene_pixels, scenes_digest
from tests.support import ROOT
from tools.make_scenes import clinic


def _scene(folder: Path, name: str, shade: int) -> None:
    folder.mkdir(exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), shade, np.uint8)).save(folder / name)


def test_shipped_scenes_differ_in_light():
    scenes, warnings = load_scenes()
    assert len(scenes) == 8 and not warnings
    means = [np.asarray(Image.open(scene.path)).reshape(-1, 3).mean(0) for scene in scenes]
    assert min(np.abs(a - b).max() for i, a in enumerate(means) for b in means[:i]) > 5
    assert all(scene.path.stat().st_size < 100_000 for scene in scenes)


def test_shipped_scenes_are_what_the_script_draws():
    """Within JPEG's and the platform's rounding."""
    shipped = np.asarray(Image.open(SHIPPED / "clinic.jpg")).astype(int)
    assert np.abs(shipped - clinic()).mean() < 1.0


def test_pick_depends_on_seed_and_content_only(tmp_path: Path):
    for number in range(5):
        _scene(tmp_path / "a", f"{number}.png", 40 * number)
        _scene(tmp_path / "b", f"other{9 - number}.png", 40 * number)  # same pictures, other names and order
    (a, _), (b, _) = load_scenes(tmp_path / "a"), load_scenes(tmp_path / "b")
    assert scenes_digest(a) == scenes_digest(b)
    picks = [pick_scene(a, seed) for seed in range(2000)]
    assert [p.sha256 for p in picks] == [pick_scene(b, seed).sha256 for seed in range(2000)]
    counts = Counter(p.name for p in picks)
    assert len(counts) == 5 and min(counts.values()) > 320  # 400 expected
    _scene(tmp_path / "a", "new.png", 250)
    more, _ = load_scenes(tmp_path / "a")
    changed = [new.name for seed, old in enumerate(picks) if (new := pick_scene(more, seed)) != old]
    assert set(changed) == {"new.png"} and 250 < len(changed) < 420  # 333 expected


def test_unusable_files_are_reported(tmp_path: Path):
    folder = tmp_path / "scenes"
    _scene(folder, "good.png", 9)
    _scene(folder, "twin.png", 9)
    (folder / "bad.jpg").write_bytes(b"no")
    (folder / "notes.txt").write_text("x")
    (folder / ".hidden.png").write_text("x")
    scenes, warnings = load_scenes(folder)
    assert [scene.name for scene in scenes] == ["good.png"]
    assert sorted(text.split("'")[1] if "'" in text else text.split(":")[0] for text in warnings) == [
        "bad.jpg",
        "notes.txt",
        "twin.png",
    ]


def test_no_scene_at_all(tmp_path: Path):
    with pytest.raises(ConfigError, match="not a folder"):
        load_scenes(tmp_path / "none")
    (tmp_path / "bad.jpg").write_bytes(b"no")
    with pytest.raises(ConfigError, match="bad.jpg"):
        load_scenes(tmp_path)


@pytest.mark.slow
def test_the_script_draws_the_same_bytes_twice(tmp_path: Path):
    for name in ("one", "two"):
        subprocess.run([sys.executable, "-m", "tools.make_scenes", str(tmp_path / name)], cwd=ROOT, check=True)
    pairs = [(path, tmp_path / "two" / path.name) for path in (tmp_path / "one").iterdir()]
    assert len(pairs) == 8 and all(a.read_bytes() == b.read_bytes() for a, b in pairs)


def _photographs(folder: Path) -> None:
    """What people keep in a folder of photographs, all of one size as it is seen."""
    upright = Image.fromarray(np.random.default_rng(0).integers(0, 256, (6, 9, 3), np.uint8)).resize((90, 60))
    exif = Image.Exif()
    exif[0x0112] = 6
    folder.mkdir()
    upright.save(folder / "plain.png")
    upright.transpose(Image.Transpose.ROTATE_90).save(folder / "turned.jpg", exif=exif, quality=95)
    upright.save(folder / "phone.jpeg", "MPO", save_all=True, append_images=[upright.rotate(180)])
    upright.convert("CMYK").save(folder / "print.jpg", quality=95)
    upright.save(folder / "small.webp", lossless=True)
    upright.convert("L").save(folder / "grey.png")
    upright.convert("RGBA").save(folder / "alpha.PNG", "PNG")
    upright.quantize(8).save(folder / "palette.png")
    Image.fromarray(np.asarray(upright.convert("L")).astype(np.uint16) * 257).save(folder / "deep.png")


def test_photographs_are_scenes(tmp_path: Path):
    _photographs(tmp_path / "scenes")
    scenes, warnings = load_scenes(tmp_path / "scenes")
    assert not warnings and len(scenes) == 9
    assert {scene_pixels(scene).shape for scene in scenes} == {(60, 90, 3)}


def test_engines_nodes_and_servers_see_the_same_scene(tmp_path: Path):
    """What goes to a server is read there, by our node or any other program, as the pixels that engines see."""
    _photographs(tmp_path / "scenes")
    for scene in load_scenes(tmp_path / "scenes")[0]:
        pixels = scene_pixels(scene)
        assert (load_scene(scene.path, scene.name)[0] * 255 == pixels).all()
        data, extension = scene_file(scene)
        assert extension in (".png", ".jpg")
        assert (np.asarray(Image.open(io.BytesIO(data)).convert("RGB")) == pixels).all()
        assert (data == scene.path.read_bytes()) == (scene.name == "plain.png")


def test_the_relight_engine_takes_a_turned_scene_upright(tmp_path: Path):
    _photographs(tmp_path / "scenes")
    [turned] = [scene for scene in load_scenes(tmp_path / "scenes")[0] if scene.name == "turned.jpg"]
    with RelightEngine(Recipe(engine="relight")) as engine:
        assert engine._scene(turned).shape == (60, 90, 3)


def test_a_folder_of_scenes_with_everything_else_in_it(tmp_path: Path):
    folder = tmp_path / "scenes"
    _scene(folder, "good.png", 9)
    for name in ("._good.png", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (folder / name).write_bytes(b"x")
    (folder / "__MACOSX").mkdir()
    (folder / "more").mkdir()
    (folder / "loop.png").symlink_to("loop.png")
    (folder / "up").symlink_to("..")
    os.mkfifo(folder / "pipe.jpg")
    scenes, warnings = load_scenes(folder)
    assert [scene.name for scene in scenes] == ["good.png"]
    assert sorted(warnings) == [
        "loop.png: a link that leads back to itself",
        "more: a folder; scenes in it are not read",
        "pipe.jpg: a pipe",
        "up: a folder; scenes in it are not read",
    ]


def test_a_folder_of_scenes_that_cannot_be_read_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(ConfigError, match="--scenes .*loop' is not a folder: a link that leads back to itself"):
        load_scenes(tmp_path / "loop")

    def denied(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    with pytest.raises(ConfigError, match="--scenes: folder .* cannot be read: Permission denied"):
        load_scenes(tmp_path)
