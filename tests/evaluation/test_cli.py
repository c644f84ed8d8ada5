"""The commands from end to end, and their answers to bad input."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from acusim.point_mask import read_point_mask
from evaluation.cli import main
from evaluation.drift import KEYPOINTS
from tests.commands import run_here
from tests.evaluation.conftest import draw_skin, relit
from tests.support import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]
MakeDataset = Callable[..., Path]
Augment = Callable[..., Path]
SHAPE = "train/image/img_64"


@pytest.fixture
def run() -> Run:
    """Runs the command with some arguments."""

    def call(*arguments: object, check: int | None = None) -> "subprocess.CompletedProcess[str]":
        done = run_here(main, ["evaluation", *map(str, arguments)])
        if check is not None:
            assert done.returncode == check, f"exit {done.returncode}, not {check}\n{done.stdout}\n{done.stderr}"
        return done

    return call


def _roots(original: Path, augmented: Path, out: Path) -> list[object]:
    return ["--original", original, "--augmented", augmented, "--out", out, "--workers", 1]


def test_report_from_end_to_end(run: Run, heads: Path, augment: Augment, tmp_path: Path):
    augmented, out = augment(heads), tmp_path / "out"
    arguments = ["report", *_roots(heads, augmented, out), "--null", 2, "--baselines", 2, "--masks", augmented]
    first = run(*arguments, check=0)
    assert "detection failed in" in first.stdout and "0 items known from before" in first.stdout
    results = json.loads((out / "report.json").read_text())
    assert results["pairs"] == 8 and results["persons"] == 2 and results["problems"]["count"] == 0
    drift, certificate = results["drift"], results["certificate"]
    assert set(drift["px"]) == {*KEYPOINTS, "all keypoints"} and drift["discards"]["total"]["kept"] > 0
    assert drift["detection_failure_rate"] is not None and len(drift["null"]) == 9
    assert certificate["pictures"] == 8 and certificate["accepted"] == 1 and certificate["trusted"] > 0.5
    baselines = {row["baseline"]: row for row in results["baselines"]}
    assert baselines["identity copy"]["px"]["max"]["value"] in (0, None)
    assert baselines["identity copy"]["accepted"] == 1 and baselines["shift of 5 px"]["accepted"] == 0

    page = (out / "report.html").read_text()
    assert certificate["verdict"].startswith("Labels hold in 8 of 8 pictures: ") and certificate["verdict"] in page
    with open(out / "drop.csv", newline="") as stream:
        dropped = list(csv.DictReader(stream))
    uncertain = round((1 - certificate["trusted"]) * certificate["visible"])
    assert len(dropped) == uncertain and {row["reason"] for row in dropped} <= {"not certain"}
    assert not re.findall(r"(?:src|href)\s*=\s*[\"'](?!data:)", page) and "@import" not in page and "url(" not in page
    assert "http" not in re.sub(r"base64,[A-Za-z0-9+/=]+", "", page)
    assert all(
        part in page for part in ("acupoints on a head", "median drift by camera", "Drawn at random", "most_copy")
    )
    assert page.count('class="pair"') == 8 and '<span class="good">100.0 %</span>' in page
    assert page.count("<img") >= 4 and "width=device-width" in page

    with open(out / "report.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 8 and rows[0]["accept"] == "1" and "Philtrum_dx" in rows[0]

    masks = sorted((augmented / "train/label/mask").glob("*.json"))
    assert len(masks) == 8
    mask = read_point_mask(masks[0])
    assert mask.accept and mask.trusted.sum() <= mask.listed.sum() and (augmented / mask.image).is_file()

    again = run(*arguments, check=0)
    assert "12 items known from before" in again.stdout
    assert (out / "report.html").read_text() == page, "a second run finds the same"


def test_drift_and_certify_write_their_own_files(run: Run, heads: Path, augment: Augment, tmp_path: Path):
    augmented, out = augment(heads), tmp_path / "out"
    run("drift", *_roots(heads, augmented, out), "--null", 1, "--limit", 2, check=0)
    done = run("certify", *_roots(heads, augmented, out), "--limit", 2, "--json", "--quiet", check=0)
    assert json.loads(done.stdout)["certificate"]["pictures"] == 2 and not done.stderr
    assert {path.name for path in out.iterdir()} == {
        "drift.json", "drift.csv", "certificates.json", "certificates.csv", "drop.csv", "measured.sqlite"
    }  # fmt: skip
    assert not (augmented / "train/label/mask").exists(), "the data set is written to only if asked"
    assert "certificate" not in json.loads((out / "drift.json").read_text())


def test_images_that_lost_contrast_are_named(run: Run, heads: Path, augment: Augment, tmp_path: Path):
    def faded(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
        head = pixels.max(2) > 0
        return np.where(head[..., None], np.rint(0.7 * pixels + 0.3 * pixels[head].mean(0)), 0).astype(np.uint8)

    out = tmp_path / "out"
    line = ["certify", *_roots(heads, augment(heads, faded), out), "--limit", 2, "--json", "--quiet"]
    results = json.loads(run(*line, check=0).stdout)
    assert results["certificate"]["trusted"] == 0
    assert any("accepted images keep less than" in note for note in results["notes"])
    with open(out / "certificates.csv", newline="") as stream:
        assert all(0.6 < float(row["contrast"]) < 0.85 for row in csv.DictReader(stream))


def test_no_face_anywhere_is_a_result(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    for image in (*(original / SHAPE).iterdir(), *(augmented / SHAPE).iterdir()):
        Image.fromarray(draw_skin(side=64)[0]).save(image)  # the detector takes the spheres of make_dataset for faces
    run("report", *_roots(original, augmented, tmp_path / "out"), "--null", 2, "--baselines", 1, check=0)
    drift = json.loads((tmp_path / "out/report.json").read_text())["drift"]
    assert drift["detection_failure_rate"] == 1 and drift["px"]["Philtrum"]["median"]["value"] is None
    assert drift["discards"]["total"] == {"no face in the original": 8}
    assert all("undecided" in row["text"] for row in drift["verdicts"])


def test_another_light_is_part_of_the_null(run: Run, heads: Path, augment: Augment, tmp_path: Path):
    augmented, still = augment(heads), augment(heads, lambda pixels: relit(pixels, seed=5), name="still", labels=False)
    roots = _roots(heads, augmented, tmp_path / "out")
    run("drift", *roots, "--null", 2, "--still", still, check=0)
    drift = json.loads((tmp_path / "out/drift.json").read_text())["drift"]
    assert len(drift["null"]) == 10 and drift["null"]["another light"]["px"]["all keypoints"]["count"] > 0
    assert all("too few to tell" in row["text"] for row in drift["verdicts"])
    for image in (still / "train/image/img_256").iterdir():
        image.unlink()
    done = run("drift", *roots, "--null", 2, "--still", still, check=2)
    assert "the image below --still is not used" in done.stdout + done.stderr
    for wrong, words in ((heads, "is one of the data sets compared"), (tmp_path / "none", "is not a folder")):
        assert words in run("drift", *roots, "--still", wrong, check=1).stderr


def test_bad_items_are_reported_one_by_one(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    images = sorted((augmented / SHAPE).iterdir())
    images[0].write_bytes(images[0].read_bytes()[:300])
    images[1].write_bytes(b"no picture")
    Image.fromarray(np.zeros((32, 48, 3), np.uint8)).save(images[2])
    images[3].unlink()
    labels = sorted((original / "train/label/label").iterdir())
    labels[4].write_text("{")
    labels[5].unlink()
    depths = sorted((original / "train/depth/img_64").iterdir())
    depths[6].write_bytes(b"x")
    (augmented / "train/label/label" / labels[7].name).write_text("{}")
    run("report", *_roots(original, augmented, tmp_path / "out"), "--null", 1, "--baselines", 0, check=2)
    results = json.loads((tmp_path / "out/report.json").read_text())
    reasons = {Path(item["path"]).stem: item["reason"] for item in results["problems"]["items"]}
    expected = ("damaged or cut off", "not a readable PNG or JPEG", "it is 48 x 32", "no augmented picture")
    expected += ("label", "no label", "depth map is not used", "the label beside it differs")
    for image, words in zip(images, expected, strict=True):
        assert words in reasons[image.stem], reasons[image.stem]
    certificate = results["certificate"]
    assert certificate["pictures"] == 5 and certificate["reasons"]["not usable"] == 1, "sizes that differ are judged"
    page = (tmp_path / "out/report.html").read_text()
    assert "damaged or cut off" in page


def test_black_pictures_are_rejected_not_measured(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    for image in (augmented / SHAPE).iterdir():
        Image.fromarray(np.zeros((64, 64, 3), np.uint8)).save(image)
    run("certify", *_roots(original, augmented, tmp_path / "out"), check=0)
    certificate = json.loads((tmp_path / "out/certificates.json").read_text())["certificate"]
    assert certificate["accepted"] == 0 and certificate["trusted"] == 0 and certificate["reasons"] == {"black": 8}


def test_a_hostile_name_stays_text(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    models = ("F_<img src=x onerror=alert(1)>_N_HA_O",)
    original, augmented = make_dataset(models=models, name="a"), make_dataset(models=models, name="b")
    run("report", *_roots(original, augmented, tmp_path / "out"), "--null", 0, "--baselines", 0, check=0)
    page = (tmp_path / "out/report.html").read_text()
    assert "<img src=x" not in page and "&lt;img src=x" in page


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (["--original", "nowhere"], "--original 'nowhere' is not a folder"),
        (["--workers", "0"], "workers = 0 is outside 1..256"),
        (["--select", "colour=red"], "'colour' is not one of"),
        (["--size", "99"], "has pictures of size 99"),
        (["--thresholds", "none.toml"], "cannot be read"),
        (["--nonsense"], "unrecognized arguments"),
    ],
)
def test_wrong_usage_is_reported(run: Run, make_dataset: MakeDataset, tmp_path: Path, change: list[str], message: str):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    done = run("certify", *_roots(original, augmented, tmp_path / "out"), *change, check=1)
    assert message in done.stderr and "Traceback" not in done.stderr


def test_out_may_not_be_a_data_set_or_a_file(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    assert "is one of the data sets" in run("drift", *_roots(original, augmented, augmented), check=1).stderr
    (tmp_path / "file").write_text("x")
    assert "is not a folder" in run("drift", *_roots(original, augmented, tmp_path / "file"), check=1).stderr
    arguments = [*_roots(original, augmented, tmp_path / "out"), "--masks", original]
    assert "data set of the originals" in run("certify", *arguments, check=1).stderr


def test_an_interrupted_run_is_resumed(run: Run, heads: Path, augment: Augment, tmp_path: Path):
    augmented, out = augment(heads), tmp_path / "out"
    arguments = ["certify", *_roots(heads, augmented, out)]
    line = [sys.executable, "-m", "evaluation", *map(str, arguments)]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (out / "measured.sqlite").exists() and time.monotonic() < deadline:
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGTERM)  # its workers are starting: seconds before the first pair is done
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and "run the same command again" in errors
    assert "8 pairs" in run(*arguments, check=0).stdout


def test_a_damaged_store_is_reported(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a"), make_dataset(name="b")
    out = tmp_path / "out"
    out.mkdir()
    (out / "measured.sqlite").write_bytes(b"this is not a database at all" * 100)
    done = run("certify", *_roots(original, augmented, out), check=1)
    assert "measured.sqlite" in done.stderr and "Traceback" not in done.stderr


def test_calibration_of_few_pictures_is_refused(run: Run, make_dataset: MakeDataset, tmp_path: Path):
    original, augmented = make_dataset(name="a", frames=(1,)), make_dataset(name="b", frames=(1,))
    done = run("calibrate", *_roots(original, augmented, tmp_path / "out"), check=1)
    assert "at least 100 are needed" in done.stderr
    shutil.rmtree(augmented)
    augmented = make_dataset(name="b", frames=(1,), models=("F_Ann_N_HA_O",))
    assert "one person" in run("calibrate", *_roots(original, augmented, tmp_path / "out"), check=1).stderr
