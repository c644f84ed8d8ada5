"""Files: layout, the same bytes for any workers and after interruptions, refusals, provenance."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, JpegImagePlugin

from acusim import acupoints, layout, pictures
from acusim.errors import ConfigError
from acusim.labels import read_label
from synthetic import cli
from synthetic.generate import generate
from synthetic.settings import HeadSettings, parse_persons

ROOT = Path(__file__).parents[2]
ARGUMENTS = ["--identities", "2", "--views", "1,55", "--size", "64", "--quiet"]


def snapshot(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "synthetic", *arguments]


@pytest.fixture(scope="module")
def heads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("heads") / "heads"
    assert cli.main(["--out", str(root), *ARGUMENTS, "--workers", "1"]) == 0
    return root


def test_layout_is_acusims(heads: Path) -> None:
    dataset = layout.scan(heads)
    assert not dataset.problems and len(dataset.samples) == 4
    assert (heads / "map.txt").read_bytes() == acupoints.MAP_TXT
    for sample in dataset.samples:
        assert sample.depth is not None and str(sample.id) == sample.stem
        # Long hair may well hide every point from behind; a face shows many.
        assert read_label(heads / sample.label).listed.sum() > 30 or sample.id.frame == 55
        assert pictures.read_rgb(heads / sample.image).pixels.shape == (64, 64, 3)
        depth, kind = pictures.read_depth(heads / sample.depth)
        assert kind == "mm16" and depth.shape == (64, 64)
        assert depth.min() == 0 and 600 < depth[depth > 0].min() < depth.max() < 1300


def test_images_name_their_generator(heads: Path) -> None:
    for sample in layout.scan(heads).samples:
        record = pictures.read_provenance(heads / sample.image)
        assert record["generator"] == "synthetic" and record["frame"] == sample.id.frame
        assert record["identity"]["name"] == sample.id.name
        assert str(heads) not in json.dumps(record)


def test_two_workers_write_the_same_bytes(heads: Path, tmp_path: Path) -> None:
    done = subprocess.run(
        command("--out", str(tmp_path / "b"), *ARGUMENTS, "--workers", "2"),
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "4 views created" in done.stdout and "MB a worker" in done.stdout
    assert snapshot(tmp_path / "b") == snapshot(heads)


def test_resumes_what_is_missing_and_nothing_else(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "c"
    settings = HeadSettings(out=root, identities=1, views="55", size=64)
    assert generate(settings).created == 1
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*_0055.*")}
    grown = generate(settings.changed(identities=2, views="1,55"))
    assert (grown.created, grown.skipped) == (3, 1)
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert snapshot(root) == snapshot(heads)
    # A sample without its picture, the file written last, is created again.
    victim = next(root.rglob("image/*/*_0001.png"))
    victim.unlink()
    assert generate(settings.changed(identities=2, views="1,55")).created == 1
    assert snapshot(root) == snapshot(heads)


@pytest.mark.parametrize("workers", ["1", "2"])
def test_interrupt_leaves_whole_samples_and_the_rest_can_follow(workers: str, tmp_path: Path) -> None:
    root = tmp_path / "d"
    # As many persons as workers: each is built anew when the rest follows.
    arguments = ["--out", str(root), "--identities", workers, "--views", "1-12", "--size", "64", "--quiet", "--workers"]
    count = 12 * int(workers)
    process = subprocess.Popen(command(*arguments, workers), cwd=ROOT, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 40
    while not any(root.glob("train/image/img_64/*.png")):
        assert process.poll() is None and time.monotonic() < deadline, "no image was created"
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130 and "run the same command again" in errors and "Traceback" not in errors
    stems = [{path.stem for path in root.glob(f"train/{kind}/*/*")} for kind in ("image", "depth", "label")]
    assert stems[0] == stems[1] == stems[2] and 0 < len(stems[0]) < count
    assert not list(root.rglob("*.part"))
    assert cli.main([*arguments, "1"]) == 0
    assert len(layout.scan(root).samples) == count


@pytest.mark.parametrize(
    ("option", "value", "words"),
    [
        ("--size", "128", "--size was 64, now 128"),
        ("--seed", "1", "--seed was 0, now 1"),
        ("--quality", "fine", "--quality was draft, now fine"),
        ("--light", "wild", "--light was studio, now wild"),
        ("--split", "test", "--split was train, now test"),
    ],
)
def test_refuses_a_folder_created_with_other_arguments(
    heads: Path, option: str, value: str, words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = snapshot(heads)
    assert cli.main(["--out", str(heads), *ARGUMENTS, option, value]) == 1
    errors = capsys.readouterr().err
    assert words in errors and "another --out" in errors
    assert snapshot(heads) == before


def test_refuses_a_folder_of_somebody_else(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("mine")
    with pytest.raises(ConfigError, match="not created by this program"):
        generate(HeadSettings(out=tmp_path, views="1"))
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_refuses_a_damaged_record(tmp_path: Path) -> None:
    (tmp_path / "synthetic.json").write_text("{")
    with pytest.raises(ConfigError, match="damaged"):
        generate(HeadSettings(out=tmp_path, views="1"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "500"], ["--size", "500", "64, 128, 256, 512, 1024", "choose"]),
        (["--identities", "0"], ["identities = 0", "1..100000"]),
        (["--identities", "many"], ["'many'", "--help"]),
        (["--workers", "0"], ["workers = 0", "1..256"]),
        (["--seed", "-1"], ["seed = -1", "0.."]),
        (["--views", "1,200"], ["--views", "200", "1..144"]),
        (["--views", "9-5"], ["--views", "'9-5'"]),
        (["--views", ""], ["--views"]),
        (["--quality", "best"], ["'best'", "'draft', 'fine'"]),
        (["--light", "sun"], ["'sun'", "'studio', 'wild', 'mixed'"]),
        (["--split", "temp"], ["'temp'", "'train', 'test'"]),
        (["--nonsense"], ["--nonsense", "--help"]),
    ],
)
def test_bad_arguments_exit_1_with_a_message(
    arguments: list[str], words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["--out", str(tmp_path / "x"), *arguments]) == 1
    errors = capsys.readouterr().err
    assert errors.startswith("error: ") and all(word in errors for word in words), errors
    assert not (tmp_path / "x").exists()


def test_out_that_is_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert cli.main(["--out", str(tmp_path / "file"), "--views", "1"]) == 1
    assert "is a file" in capsys.readouterr().err


def test_out_that_cannot_be_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--out", "/proc/heads", "--views", "1"]) == 1  # not even root makes a folder there
    assert "cannot be written" in capsys.readouterr().err


def test_help_does_not_load_the_heavy_libraries() -> None:
    code = "import sys, synthetic.cli as c; c.parser(); print({'numpy', 'cv2', 'embreex'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_wild_light_changes_the_picture_and_not_the_label(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "w"
    settings = HeadSettings(out=root, identities=1, views="1", size=64, light="wild")
    generate(settings)
    sample = layout.scan(root).samples[0]
    assert (root / sample.label).read_bytes() == (heads / sample.label).read_bytes()
    assert sample.depth and (root / sample.depth).read_bytes() == (heads / sample.depth).read_bytes()
    studio, wild = (pictures.read_rgb(folder / sample.image).pixels.astype(int) for folder in (heads, root))
    background = pictures.read_depth(root / sample.depth)[0] == 0
    assert studio[background].max() == 0 and wild[background].mean() > 15
    assert np.abs(studio - wild)[~background].mean() > 4


def test_mixed_light_changes_the_picture_and_not_the_label(heads: Path, tmp_path: Path) -> None:
    root = tmp_path / "m"
    generate(HeadSettings(out=root, identities=1, views="1", size=64, light="mixed"))
    sample = layout.scan(root).samples[0]
    assert (root / sample.label).read_bytes() == (heads / sample.label).read_bytes()
    assert sample.depth and (root / sample.depth).read_bytes() == (heads / sample.depth).read_bytes()
    assert (root / sample.image).read_bytes() != (heads / sample.image).read_bytes()
    light = pictures.read_provenance(root / sample.image)["light"]
    assert light["mode"] == "mixed" and len({lamp["name"] for lamp in light["lamps"]}) >= 2


def test_some_persons_are_jpeg_without_depth_as_acusim_ships_them(tmp_path: Path) -> None:
    settings = HeadSettings(out=tmp_path / "heads", identities=2, views="1", size=64, jpeg="2", jpeg_quality=75)
    assert generate(settings).created == 2 and generate(settings).skipped == 2
    with_depth, without = sorted(layout.scan(tmp_path / "heads").samples, key=lambda sample: sample.depth is None)
    assert with_depth.image.endswith(".png") and with_depth.depth is not None
    assert without.image.endswith(".jpg") and without.depth is None
    with Image.open(tmp_path / "heads" / without.image) as image:
        assert JpegImagePlugin.get_sampling(image) == 2, "4:2:0"
    assert pictures.read_provenance(tmp_path / "heads" / without.image)["generator"] == "synthetic"


@pytest.mark.parametrize(("text", "persons"), [("", ()), ("6", (6,)), ("1,3-5, 3", (1, 3, 4, 5))])
def test_a_choice_of_persons(text: str, persons: tuple[int, ...]) -> None:
    assert parse_persons(text) == persons


@pytest.mark.parametrize("text", ["0", "x", "5-3", "1-", "9" * 30])
def test_a_wrong_choice_of_persons_names_it(text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--out", str(tmp_path / "heads"), "--jpeg", text]) == 1
    assert f"--jpeg {text!r}" in capsys.readouterr().err and not (tmp_path / "heads").exists()


def test_cameras_around_are_in_label_and_picture_and_the_same_for_any_workers(heads: Path, tmp_path: Path) -> None:
    roots = [tmp_path / name for name in ("one", "two")]
    for root, workers in zip(roots, (1, 2), strict=True):
        settings = HeadSettings(out=root, identities=1, views="1,55", size=64, cameras="around", workers=workers)
        assert generate(settings).created == 2
    assert snapshot(roots[0]) == snapshot(roots[1])
    assert json.loads((roots[0] / "synthetic.json").read_text())["arguments"]["cameras"] == "around"
    for sample in layout.scan(roots[0]).samples:
        camera = json.loads((roots[0] / sample.label).read_bytes())["camera"]
        assert pictures.read_provenance(roots[0] / sample.image)["camera"] == camera
        assert "camera" not in pictures.read_provenance(heads / sample.image)
        assert (roots[0] / sample.image).read_bytes() != (heads / sample.image).read_bytes()


def test_records_before_cameras_are_of_the_rig(heads: Path, tmp_path: Path) -> None:
    assert "cameras" not in json.loads((heads / "synthetic.json").read_text())["arguments"]
    with pytest.raises(ConfigError, match="--cameras was rig, now around"):
        generate(HeadSettings(out=heads, identities=2, views="1,55", size=64, cameras="around"))
    around = HeadSettings(out=tmp_path / "a", identities=1, views="55", size=64, cameras="around")
    assert generate(around).created == 1
    with pytest.raises(ConfigError, match="--cameras was around, now rig"):
        generate(around.changed(cameras="rig"))
