"""What a batch says of masks that are doubtful and of depth maps that cannot be used: in records and in the summary."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.layout import scan
from acusim.pictures import read_provenance
from controller.cli import main
from controller.printing import _print_kinds
from tests.jpeg_heads import drawn, jpeg
from tests.support import add_sample

STEM = "F_Ann_N_HA_O_0001"
DEPTH = f"train/depth/img_64/{STEM}.png"


def _lines(out: Path) -> dict[str, dict]:
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return {Path(line["image"]).stem: line for line in lines}


def test_reasons_are_counted_by_kind_and_none_is_lost(capsys: pytest.CaptureFixture[str]):
    kinds = [f"reason {chr(ord('a') + number)}" for number in range(10)]
    _print_kinds([*kinds, "save it as masks/S0010_L.png", "save it as masks/S0011_L.png"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  2 x save it as …" and len(lines) == 9
    assert lines[-1] == "  3 x other reasons"


def _leaving(path: Path) -> None:
    elsewhere = path.parents[4] / "elsewhere.png"
    shutil.move(path, elsewhere)
    path.symlink_to(elsewhere)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def _dangling(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.with_name("gone.png"))


ABSENT: dict[str, tuple[Callable[[Path], object], str]] = {
    "a link that leads out": (_leaving, "leads out of the dataset root"),
    "a pipe": (_pipe, "not a regular file"),
    "a folder": (_folder, "not a regular file"),
    "a link to nothing": (_dangling, "not a regular file"),
    "no PNG": (lambda path: path.rename(path.with_suffix(".tif")), "not a map, only .png is one"),
}
"""What lies in a map's place and is none: the picture is made as if there was nothing, and that is said."""


@pytest.mark.parametrize("kind", ABSENT)
def test_a_map_that_is_none_is_named_in_record_and_summary(
    kind: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    spoil, message = ABSENT[kind]
    root, out = tmp_path / "data", tmp_path / "out"
    picture = add_sample(root, STEM)
    add_sample(root, "F_Ann_N_HA_O_0008")
    spoil(root / DEPTH)
    [problem] = scan(root).problems
    assert message in problem.reason and not problem.is_image and Path(problem.path).stem == STEM
    line = ["--batch", "--engine", "relight", "--dataset", str(root), "--output", str(out), "--workers", "1"]
    assert main([*line, "--json"]) == 0
    output = capsys.readouterr()
    assert message in output.err, "noted before it is made"
    [[key, reason]] = json.loads(output.out)["unused_depths"]
    assert Path(key).stem == STEM and message in reason and Path(reason.split(": ")[0]).stem == STEM
    made = _lines(out)
    assert message in made[STEM]["unused_depth"] and "unused_depth" not in made["F_Ann_N_HA_O_0008"]
    assert made[STEM]["facts"]["geometry"] == "silhouette-inflation"
    image = out / made[STEM]["image"]
    assert message in read_provenance(image)["unused_depth"] and picture.suffix == image.suffix
    assert main(["--reproduce", str(image)]) == 0, "the same bytes, its note among them"


def test_the_summary_counts_them_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, out = tmp_path / "data", tmp_path / "out"
    for frame in (1, 8):
        add_sample(root, f"F_Ann_N_HA_O_{frame:04d}")
        _pipe(root / f"train/depth/img_64/F_Ann_N_HA_O_{frame:04d}.png")
    assert main(["--batch", "--engine", "relight", "--dataset", str(root), "--output", str(out)]) == 0
    message = capsys.readouterr().out
    assert "created 2 without their depth maps" in message and "2 x not a regular file" in message


def test_a_map_that_contradicts_its_picture_sets_it_aside_by_name(tmp_path: Path):
    root, out = tmp_path / "data", tmp_path / "out"
    add_sample(root, STEM)
    Image.fromarray(np.full((32, 32), 800, np.uint16)).save(root / DEPTH)
    assert main(["--batch", "--engine", "relight", "--dataset", str(root), "--output", str(out), "--quiet"]) == 2
    line = _lines(out)[STEM]
    assert line["status"] == "set aside" and line["reason"].startswith(DEPTH)


def test_doubtful_masks_are_made_counted_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    root, out = tmp_path / "data", tmp_path / "out"
    for frame, background in ((1, (0, 0, 0)), (8, (40, 150, 60))):
        path = add_sample(root, f"F_Ann_N_HA_O_{frame:04d}", size=256, depth=False, extension=".jpg")
        path.write_bytes(jpeg(drawn(background)[0], 75))
    line = ["--batch", "--engine", "relight", "--dataset", str(root), "--output", str(out), "--workers", "1"]
    assert main([*line, "--json"]) == 0
    [[key, doubts]] = json.loads(capsys.readouterr().out)["doubtful"]
    assert key.endswith("0008.jpg") and "background is coloured" in doubts[0]
    made = _lines(out)
    assert made["F_Ann_N_HA_O_0008"]["doubts"] == doubts and "doubts" not in made["F_Ann_N_HA_O_0001"]
    assert read_provenance(out / made["F_Ann_N_HA_O_0008"]["image"])["doubts"] == doubts
    shutil.rmtree(out)
    assert main(line) == 0
    message = capsys.readouterr().out
    assert "1 images whose mask is doubtful" in message and "1 x the background is coloured, RGB" in message
