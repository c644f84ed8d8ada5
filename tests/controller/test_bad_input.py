"""Bad input, each kind injected: one bad item is set aside with its reason, and nothing leaves OUT."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.layout import scan
from tests.support import ROOT, add_sample, label_json

Run = Callable[..., object]
IMAGES, LABELS, DEPTHS = "train/image/img_64", "train/label/label", "train/depth/img_64"
VICTIM = "F_Ann_N_HA_O_0001"


def _aside(out: Path) -> dict[str, str]:
    lines = [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
    return {Path(line["image"]).name: line["reason"] for line in lines if line["status"] == "set aside"}


def _truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _exif(path: Path) -> None:
    image = Image.open(path)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(path, exif=exif)


def _bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path)


def _several_frames(path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), (shade, 0, 0)) for shade in (10, 200)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


def _rename(path: Path, stem: str) -> None:
    label = path.parents[2] / "label/label" / f"{path.stem}.json"
    label.rename(label.with_name(f"{stem}.json"))
    path.rename(path.with_name(f"{stem}.png"))


def _label(content: bytes) -> Callable[[Path], None]:
    return lambda path: (path.parents[2] / "label/label" / f"{path.stem}.json").write_bytes(content)  # type: ignore


def _edited(name: str | None = None, **coordinate: object) -> bytes:
    document = json.loads(label_json(1, False))
    entry = document["label"][0]
    entry["name"] = name or entry["name"]
    entry["coordinate"].update(coordinate)
    return json.dumps(document, ensure_ascii=False).encode()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated picture": (_truncate, "damaged or cut off"),
    "zero bytes": (lambda path: path.write_bytes(b""), "0 bytes"),
    "text renamed to .png": (lambda path: path.write_text("hello"), "not a readable PNG or JPEG"),
    "CMYK": (lambda path: Image.new("CMYK", (64, 64)).save(path, "JPEG"), "CMYK"),
    "EXIF rotation": (_exif, "EXIF orientation 6"),
    "decompression bomb": (_bomb, "megapixels"),
    "animation": (_several_frames, "several frames"),
    "a folder named like a picture": (lambda path: (path.unlink(), path.mkdir()), "not a regular file"),
    "a pipe named like a picture": (lambda path: (path.unlink(), os.mkfifo(path)), "not a regular file"),
    "label missing": (lambda path: (path.parents[2] / "label/label" / f"{path.stem}.json").unlink(), "no label"),
    "label corrupt": (_label(b'{"label": ['), "not a JSON file"),
    "label of zero bytes": (_label(b""), "not a JSON file"),
    "label with unknown name": (_label(_edited("LI20_迎香_left")), "LI120_迎香_left"),
    "label out of range": (_label(_edited(x=1.7)), "x = 1.7"),
    "label with a huge integer": (_label(_edited(x=10**400)), "is outside"),
    "label with a long text": (_label(_edited(x="y" * 10**6)), "1000002 characters"),
    "label NaN": (_label(_edited(y=float("nan"))), "y = nan"),
    "label with a name twice": (
        _label(json.dumps({"label": json.loads(label_json(1, False))["label"][:1] * 2}).encode()),
        "twice",
    ),
    "unknown gender": (lambda path: _rename(path, "X_Ann_N_HA_O_0001"), "gender 'X'"),
    "unknown size": (lambda path: _rename(path, "F_Ann_Q_HA_O_0001"), "size 'Q'"),
    "frame out of range": (lambda path: _rename(path, "F_Ann_N_HA_O_0999"), "'0999'"),
    "depth of another size": (
        lambda path: Image.fromarray(np.full((32, 32), 800, np.uint16)).save(
            path.parents[2] / "depth/img_64" / path.name
        ),
        "depth",
    ),
    "depth truncated": (lambda path: _truncate(path.parents[2] / "depth/img_64" / path.name), "depth"),
}


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """One data set with every kind of damage at once, and the OUT of a batch over it."""
    folder = tmp_path_factory.mktemp("faults")
    root, out = folder / "data", folder / "out"
    for number in range(len(DAMAGE)):
        add_sample(root, f"M_Victim{number:02d}_N_HA_O_0001")
    for frame in (1, 8):
        add_sample(root, f"M_Whole_N_HA_O_{frame:04d}")
    for number, (damage, _) in enumerate(DAMAGE.values()):
        damage(root / IMAGES / f"M_Victim{number:02d}_N_HA_O_0001.png")
    line = [sys.executable, ROOT / "controller/controller.py", "--batch", "--engine", "relight"]
    done = subprocess.run([*line, "--dataset", root, "--output", out], capture_output=True, text=True, timeout=300)
    assert done.returncode == 2, done.stderr
    return root, out


def test_the_whole_ones_are_made(shared: tuple[Path, Path]):
    root, out = shared
    assert [s.stem for s in scan(out).samples] == ["M_Whole_N_HA_O_0001", "M_Whole_N_HA_O_0008"]
    assert not list(out.rglob("*.part"))


@pytest.mark.parametrize("kind", DAMAGE)
def test_a_bad_item_is_set_aside_with_its_reason(shared: tuple[Path, Path], kind: str):
    number = list(DAMAGE).index(kind)
    found = _aside(shared[1])
    renamed = {"unknown gender": "X_Ann", "unknown size": "F_Ann_Q", "frame out of range": "F_Ann_N_HA_O_0999"}
    stem = renamed.get(kind, f"M_Victim{number:02d}_")
    [reason] = [reason for name, reason in found.items() if name.startswith(stem)]
    assert DAMAGE[kind][1] in reason
    assert "unexpected" not in reason and len(reason) < 400
    assert not list((shared[1] / IMAGES).glob(f"{stem}*"))


def test_the_manifest_of_bad_items_is_the_same_twice(shared: tuple[Path, Path], command: Run, tmp_path: Path):
    root, out = shared
    command(
        "--batch", "--engine", "relight", "--dataset", root, "--output", tmp_path / "again", "--workers", 1, check=2
    )
    assert (tmp_path / "again/manifest.jsonl").read_bytes() == (out / "manifest.jsonl").read_bytes()


def test_mended_items_are_made_when_run_again(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    picture = root / IMAGES / f"{VICTIM}.png"
    whole = picture.read_bytes()
    _truncate(picture)
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out)
    command(*line, check=2)
    command(*line, check=2)
    picture.write_bytes(whole)
    assert json.loads(command(*line, "--json", check=0).stdout)["created"] == 1


CONVERTED = {
    "alpha": (lambda image: image.convert("RGBA"), "alpha over black"),
    "grey": (lambda image: image.convert("L"), "mode L to RGB"),
    "palette": (lambda image: image.quantize(64), "mode P to RGB"),
    "16-bit grey": (lambda image: Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257), "16 bits"),
}


@pytest.mark.parametrize("kind", CONVERTED)
def test_unambiguous_pictures_are_converted_and_say_so(make_dataset: Run, command: Run, tmp_path: Path, kind: str):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O",)), tmp_path / "out"
    picture = root / IMAGES / f"{VICTIM}.png"
    convert, note = CONVERTED[kind]
    convert(Image.open(picture)).save(picture)
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    [line] = [json.loads(text) for text in (out / "manifest.jsonl").read_text().splitlines()]
    assert note in " ".join(line["source_notes"])
    assert Image.open(out / line["image"]).mode == "RGB"


STRANGE = {
    "CJK": "王小明",
    "NFC": "Zoé",
    "NFD": "Zoe\u0301",
    "space": "Mary Ann",
    "long": "a" * 200,
    "dots": "..",
    "dash": "-rf",
    "quote": "'; DROP",
    "percent": "x%2f..",
    "emoji": "🙂",
}


@pytest.fixture(scope="module")
def strange(tmp_path_factory: pytest.TempPathFactory, command: Run) -> Path:
    """A folder with a data set of all these names, and the OUT of a batch over it."""
    folder = tmp_path_factory.mktemp("strange")
    for name in STRANGE.values():
        add_sample(folder / "data", f"F_{name}_N_HA_O_0001")
    line = ("--batch", "--engine", "relight", "--dataset", folder / "data", "--output", folder / "out")
    command(*line, check=0)
    assert len(list((folder / "out" / IMAGES).iterdir())) == len(STRANGE)
    return folder


@pytest.mark.parametrize("name", STRANGE.values(), ids=STRANGE)
def test_strange_names_stay_in_their_place(strange: Path, command: Run, name: str):
    picture = strange / "out" / IMAGES / f"F_{name}_N_HA_O_0001.png"
    assert picture.name in os.listdir(picture.parent)
    command("--reproduce", picture, check=0)
    assert {path.name for path in strange.iterdir()} == {"data", "out"}


def test_a_name_that_is_no_utf8_is_set_aside(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    picture = root / IMAGES / f"{VICTIM}.png"
    os.rename(os.fsencode(picture), os.fsencode(picture.parent) + b"/F_\xff\xfe_N_HA_O_0001.png")
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=2)
    [reason] = _aside(out).values()
    assert "UTF-8" in reason


def test_links_that_lead_out_are_not_followed(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    secret = tmp_path / "secret"
    secret.mkdir()
    for folder, suffix in ((IMAGES, ".png"), (LABELS, ".json"), (DEPTHS, ".png")):
        path = root / folder / f"{VICTIM}{suffix}"
        shutil.move(path, secret / path.name)
        path.symlink_to(secret / path.name)
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=2)
    assert "leads out" in _aside(out)[f"{VICTIM}.png"]
    # A whole folder that leads out ends the run before anything is written.
    shutil.rmtree(root / LABELS)
    (root / LABELS).symlink_to(secret)
    done = command("--batch", "--engine", "relight", "--dataset", root, "--output", tmp_path / "out2", check=1)
    assert "leads out" in done.stderr and not (tmp_path / "out2").exists()


def test_links_inside_out_that_lead_out_are_not_written_through(make_dataset: Run, command: Run, tmp_path: Path):
    root, out, elsewhere = make_dataset(frames=(1,)), tmp_path / "out", tmp_path / "elsewhere"
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out)
    command(*line, "--limit", 1, check=0)
    elsewhere.mkdir()
    shutil.rmtree(out / "train/image")
    (out / "train/image").symlink_to(elsewhere)
    before = (out / "manifest.jsonl").read_text()
    assert "symbolic link" in command(*line, check=1).stderr
    assert not list(elsewhere.iterdir()) and (out / "manifest.jsonl").read_text() == before
    report = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert report["counts"]["done"] == 1  # what was done is not forgotten


def test_colliding_names_both_live_on_a_disk_that_tells_them_apart(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_HA_O", "F_ANN_N_HA_O")), tmp_path / "out"
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    assert len(list((out / IMAGES).iterdir())) == 2


def test_an_unknown_hair_code_is_listed_and_taken_for_haired(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,), models=("F_Ann_N_Q9_O",)), tmp_path / "out"
    done = command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    assert "Q9" in done.stderr and "haired" in done.stderr
    assert json.loads((out / "manifest.jsonl").read_text())["prompt_set"] == "female"


def test_the_datasets_map_is_not_read_through_a_link(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    (tmp_path / "secret").write_text("secret")
    (root / "map.txt").unlink()
    (root / "map.txt").symlink_to(tmp_path / "secret")
    assert "leads out" in command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=1).stderr
    assert not (out / "map.txt").exists()


@pytest.mark.parametrize("kind", ["a link to itself", "a pipe", "a folder"])
def test_a_map_that_is_no_file_is_reported_and_stops_nothing(
    make_dataset: Run, command: Run, tmp_path: Path, kind: str
):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    place = root / "map.txt"
    place.unlink()
    {
        "a link to itself": lambda: place.symlink_to("map.txt"),
        "a pipe": lambda: os.mkfifo(place),
        "a folder": place.mkdir,
    }[kind]()
    done = command("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--limit", 1, check=0)
    assert "map.txt of the dataset is no regular file: none is written" in done.stderr
    command("--verify", "--output", out, check=0)


def test_a_wrong_root_says_which_folder_to_give(make_dataset: Run, command: Run, tmp_path: Path):
    root = make_dataset(frames=(1,), name="outer/ACUSIM")
    for given in (root.parent, root / "train", root / IMAGES):
        done = command("--batch", "--dry-run", "--engine", "relight", "--dataset", given, check=1)
        assert f"give {str(root)!r}" in done.stderr


def test_an_output_that_a_file_manager_looked_into_counts_as_empty(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    out.mkdir()
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--limit", 1)
    (out / "letter.txt").write_text("x")
    assert "holds files but no ledger" in command(*line, check=1).stderr
    (out / "letter.txt").unlink()
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (out / name).write_bytes(b"x")
    command(*line, check=0)
