"""Certificates of labelme's and COCO's points: moved points are found, masks are written, nothing is done twice."""

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.files import sha256
from acusim.point_mask import read_point_mask
from evaluation.cli import main
from evaluation.warps import Warp
from tests.keypoint_files import POINTS, add_coco, add_labelme

Certify = Callable[..., dict[str, object]]
NAMES = ("good.png", "moved.png")


def toned(pixels: np.ndarray, exponent: float = 1.2) -> np.ndarray:
    """The same picture in another tone."""
    return (255 * (pixels / 255) ** exponent).astype(np.uint8)


@pytest.fixture
def roots(tmp_path: Path) -> tuple[Path, Path]:
    """A labelme folder, and a copy in another tone, in one picture of which the skin has moved by eight pixels."""
    original, augmented = tmp_path / "hands", tmp_path / "out"
    for seed, name in enumerate(NAMES):
        add_labelme(original, name, seed)
    shutil.copytree(original, augmented)
    for name in NAMES:
        pixels = toned(np.asarray(Image.open(original / name)))
        if name == "moved.png":
            pixels = Warp((50.0, 40.0), 34.0, 8.0, 0.0).apply(pixels)
        Image.fromarray(pixels).save(augmented / name)
    return original, augmented


@pytest.fixture
def certify(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Certify:
    def certify(original: Path, augmented: Path, *more: object, code: int = 0) -> dict[str, object]:
        line = ["certify", "--original", original, "--augmented", augmented, "--out", tmp_path / "report", *more]
        assert main([*map(str, line), "--json", "--quiet", "--workers", "1"]) == code
        return json.loads(capsys.readouterr().out)

    return certify


def test_moved_points_are_found(roots: tuple[Path, Path], certify: Certify, tmp_path: Path):
    original, augmented = roots
    results = certify(original, augmented, "--masks", augmented)
    assert results["pairs"] == 2 and results["certificate"]["accepted"] == 0.5  # type: ignore[index]
    with (tmp_path / "report" / "certificates.csv").open() as file:
        rows = {row["augmented"]: row for row in csv.DictReader(file)}
    assert {name: row["accept"] for name, row in rows.items()} == {"good.png": "1", "moved.png": "0"}
    # No point of a rejected picture is trusted, wherever it is counted.
    sure = int(rows["good.png"]["trusted"])
    assert sure > 0
    assert (rows["moved.png"]["trusted"], rows["moved.png"]["excluded_px"]) == ("0", "")
    assert results["certificate"]["trusted"] == sure / (2 * len(POINTS))  # type: ignore[index]
    assert "the images are 96 px wide" in results["notes"][-1]  # type: ignore[index]
    drop = (tmp_path / "report" / "drop.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in drop[1:] if line.split(",")[1] == ""] == ["moved.png"]
    for name in NAMES:
        mask = read_point_mask(augmented / "point_masks" / f"{name}.json", tuple(POINTS))
        assert mask.image == name and mask.image_sha256 == sha256((augmented / name).read_bytes())
        assert mask.accept == (name == "good.png") and mask.listed.all()
        assert mask.trusted.sum() == (sure if mask.accept else 0)


def test_pictures_that_lost_contrast_are_named(roots: tuple[Path, Path], certify: Certify):
    original, augmented = roots
    for name in NAMES:  # so bright that little contrast is left
        Image.fromarray(toned(np.asarray(Image.open(original / name)), 0.5)).save(augmented / name)
    results = certify(original, augmented)
    assert results["certificate"]["trusted"] == 0  # type: ignore[index]
    assert "2 of 2 accepted images keep less than" in results["notes"][-2]  # type: ignore[index]


def test_nothing_is_measured_twice(
    roots: tuple[Path, Path], certify: Certify, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    first = certify(*roots)
    tables = {path.name: path.read_bytes() for path in (tmp_path / "report").glob("*.csv")}
    measured: list[object] = []
    monkeypatch.setattr("evaluation.store.Store.add", lambda _, records: measured.extend(records))
    assert certify(*roots) == first and not measured
    assert {path.name: path.read_bytes() for path in (tmp_path / "report").glob("*.csv")} == tables


def test_what_cannot_be_measured_is_listed(roots: tuple[Path, Path], certify: Certify):
    original, augmented = roots
    (augmented / "good.png").unlink()
    (augmented / "moved.png").write_bytes(b"no picture")
    results = certify(original, augmented, code=2)
    reasons = {item["path"]: item["reason"] for item in results["problems"]["items"]}  # type: ignore[index]
    assert reasons["good.png"] == "no augmented picture of this path" and "not a readable" in reasons["moved.png"]


def test_variants_of_a_coco_data_set(certify: Certify, tmp_path: Path):
    original, augmented = tmp_path / "coco", tmp_path / "out"
    add_coco(original, ["a.png"])
    for variant in ("v01", "v02"):
        shutil.copytree(original, augmented / variant)
    results = certify(original, augmented)
    assert results["pairs"] == 2 and results["certificate"]["accepted"] == 1.0  # type: ignore[index]
    assert [row["point"] for row in results["certificate"]["by_point"]] == [*POINTS]  # type: ignore[index]


def test_folders_of_the_data_set_are_no_variants(certify: Certify, tmp_path: Path):
    original, augmented = tmp_path / "views", tmp_path / "out"
    for seed, name in enumerate(("a.png", "v01/a.png", "v02/a.png")):
        add_labelme(original, name, seed)
    shutil.copytree(original, augmented)
    results = certify(original, augmented)
    assert results["pairs"] == 3 and results["certificate"]["accepted"] == 1.0  # type: ignore[index]


@pytest.mark.parametrize("command", ["drift", "report", "calibrate"])
def test_faces_are_not_measured(
    roots: tuple[Path, Path], command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = [command, "--original", str(roots[0]), "--augmented", str(roots[1]), "--out", str(tmp_path / "r")]
    assert main(line) == 1
    assert "certify" in capsys.readouterr().err


def test_a_folder_is_not_compared_with_itself(roots: tuple[Path, Path], capsys: pytest.CaptureFixture[str]):
    line = ["certify", "--original", str(roots[0]), "--augmented", str(roots[0] / "."), "--out", str(roots[1] / "r")]
    assert main(line) == 1
    assert "are the same folder" in capsys.readouterr().err


def test_conditions_on_sample_ids_are_refused(
    roots: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    line = ["certify", "--original", str(roots[0]), "--augmented", str(roots[1]), "--out", str(tmp_path / "r")]
    for option, value in (("--select", "gender=F"), ("--bald-codes", "HB")):
        assert main([*line, option, value]) == 1
        assert option in capsys.readouterr().err
