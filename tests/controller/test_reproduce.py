"""One image regenerated from its own record: the same bytes, and clean errors for records of others."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from acusim.pictures import read_provenance, read_rgb
from controller.cli import main

Run = Callable[..., object]
IMAGES, VICTIM = "train/image/img_64", "F_Ann_N_HA_O_0001"


def test_reproduce(make_dataset: Run, batch: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,), extension=".jpg"), tmp_path / "out"
    batch(root, out, "--variants", 2)
    image = out / "v02/train/image/img_64/M_Bob_F_HC_C_0001.jpg"
    assert "the same bytes" in command("--reproduce", image, check=0).stdout
    away = tmp_path / "away.jpg"
    shutil.copy(image, away)  # away from its OUT it needs --dataset
    assert "--dataset" in command("--reproduce", away, check=1).stderr
    command("--reproduce", away, "--dataset", root, check=0)
    tampered = Image.open(image)
    record = tampered.info["comment"]
    tampered.save(image, quality=50, comment=record)
    assert "differs" in command("--reproduce", image, check=2).stdout
    plain = tmp_path / "plain.png"
    Image.fromarray(np.zeros((9, 9, 3), np.uint8)).save(plain)
    assert "carries no record of how it was created" in command("--reproduce", plain, check=1).stderr


EVIL = (
    "../../etc/passwd",
    "/etc/passwd",
    "",
    3,
    -1,
    10**400,
    1.5,
    True,
    None,
    [],
    {},
    ["x"],
    "\ud800",
    "\x1b[31m",
    "x" * 9000,
)


def test_reproduce_of_a_malicious_record_is_a_clean_error(
    make_dataset: Run, command: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O",)), tmp_path / "out"
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    image = out / IMAGES / f"{VICTIM}.png"
    record, pixels = read_provenance(image), read_rgb(image).pixels
    used = ("image", "source", "label", "depth", "sample", "scene_sha256", "source_sha256", "prompt_set", "positive")
    for field in (*used, "variant", "attempt", "seed", "bald", "recipe"):
        for value in EVIL:
            if type(value) is type(record[field]) and field not in ("image", "source", "label", "depth", "sample"):
                continue
            info = PngImagePlugin.PngInfo()
            info.add_text("acusim", json.dumps({**record, field: value}))  # ASCII: surrogates travel as escapes
            Image.fromarray(pixels).save(image, pnginfo=info)
            assert main(["--reproduce", str(image)]) in (1, 2), (field, value)
            assert "Traceback" not in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"data", "out"}
