"""A folder as people have it: 140 pictures of every odd kind at once. What can be made is made, the rest is listed."""

import json
import os
import shutil
import socket
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from acusim.layout import scan
from evaluation.pairs import pair_up
from tests.support import ROOT, add_sample
from training.data.sources import find

IMAGES, LABELS, DEPTHS = "train/image/img_64", "train/label/label", "train/depth/img_64"
PICTURES = 140
LITTER = (".DS_Store", "Thumbs.db", "desktop.ini", ".directory", "ehthumbs.db", ".~lock.map.txt#", "Icon\r")
LITTER_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", ".Spotlight-V100", ".git")

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Kind:
    """A way in which a sample is odd."""

    change: Change
    """Of the picture's path."""
    reason: str | None = None
    """What its entry in the manifest says; None if it is made."""


def _label(picture: Path) -> Path:
    return picture.parents[2] / "label/label" / f"{picture.stem}.json"


def _depth(picture: Path) -> Path:
    return picture.parents[2] / "depth/img_64" / picture.name


def _converted(convert: Callable[[Image.Image], Image.Image], **how: object) -> Change:
    def change(picture: Path) -> None:
        image = Image.open(picture)
        image.load()
        convert(image).save(picture, **how)  # type: ignore[arg-type]

    return change


def _texts() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", "x" * (2 << 20), zip=True)
    return info


def _exif(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def _renamed(picture: Path, stem: str, extension: str = ".png") -> None:
    for path, ending in ((_label(picture), ".json"), (_depth(picture), ".png"), (picture, extension)):
        path.rename(path.with_name(stem + ending))


def _as_jpeg(picture: Path) -> None:
    Image.open(picture).save(picture.with_suffix(".JPG"), "JPEG", quality=95)
    picture.unlink()


def _linked(to: Callable[[Path], Path | str], of: Callable[[Path], Path] = lambda path: path) -> Change:
    def change(picture: Path) -> None:
        path = of(picture)
        target = to(path)
        path.unlink()
        path.symlink_to(target)

    return change


def _inside(path: Path) -> Path:
    """The file in another folder of the root."""
    place = path.parents[3] / "pool" / path.name
    place.parent.mkdir(exist_ok=True)
    shutil.copy(path, place)
    return place


def _outside(path: Path) -> Path:
    place = path.parents[4] / "outside" / path.name
    place.parent.mkdir(exist_ok=True)
    shutil.copy(path, place)
    return place


def _pipe(of: Callable[[Path], Path] = lambda path: path) -> Change:
    return lambda picture: (of(picture).unlink(), os.mkfifo(of(picture)))


def _socket(picture: Path) -> None:
    picture.unlink()
    before = os.getcwd()
    os.chdir(picture.parent)  # the address of a socket has at most 100 characters
    try:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(picture.name)
    finally:
        os.chdir(before)


def _grey16(image: Image.Image) -> Image.Image:
    return Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)


MADE = {
    "alpha": Kind(_converted(lambda image: image.convert("RGBA"))),
    "grey": Kind(_converted(lambda image: image.convert("L"))),
    "palette": Kind(_converted(lambda image: image.quantize(64))),
    "16 bits": Kind(_converted(_grey16)),
    "a profile of 2 MB": Kind(_converted(lambda image: image, icc_profile=bytes(2 << 20))),
    "an XMP text of 2 MB": Kind(_converted(lambda image: image, pnginfo=_texts())),
    "EXIF, upright": Kind(_converted(lambda image: image, exif=_exif(1))),
    "JPEG, upper case": Kind(_as_jpeg),
    "PNG, upper case": Kind(lambda path: path.rename(path.with_suffix(".PNG"))),
    "a link inside": Kind(_linked(_inside)),
    "a label that is a link inside": Kind(_linked(_inside, _label)),
    "a Chinese name": Kind(lambda path: _renamed(path, "F_王小明_N_HA_O_0001")),
    "a decomposed name": Kind(lambda path: _renamed(path, unicodedata.normalize("NFD", "F_Zoé_N_HA_O_0001"))),
    "a long name": Kind(lambda path: _renamed(path, f"F_{'a' * 235}_N_HA_O_0001")),
    "without depth": Kind(lambda path: _depth(path).unlink()),
}
LOST = {
    "cut off": Kind(lambda path: path.write_bytes(path.read_bytes()[:900]), "damaged or cut off"),
    "empty": Kind(lambda path: path.write_bytes(b""), "0 bytes"),
    "text": Kind(lambda path: path.write_text("hello"), "not a readable PNG or JPEG"),
    "WebP by its content": Kind(_converted(lambda image: image, format="WEBP"), "not a readable PNG or JPEG"),
    "CMYK": Kind(_converted(lambda image: image.convert("CMYK"), format="JPEG"), "CMYK"),
    "EXIF, turned": Kind(_converted(lambda image: image, exif=_exif(6)), "EXIF orientation 6"),
    "MPO": Kind(
        _converted(lambda image: image, format="MPO", save_all=True, append_images=[Image.new("RGB", (64, 64))]),
        "several frames",
    ),
    "animated": Kind(
        _converted(lambda image: image, save_all=True, append_images=[Image.new("RGB", (64, 64))]), "several frames"
    ),
    "too large": Kind(lambda path: Image.new("1", (20_000, 20_000)).save(path), "megapixels"),
    "a folder": Kind(lambda path: (path.unlink(), path.mkdir()), "not a regular file: a folder"),
    "a pipe": Kind(_pipe(), "not a regular file: a pipe"),
    "a socket": Kind(_socket, "not a regular file: a socket"),
    "a link to itself": Kind(_linked(lambda path: path.name), "leads back to itself"),
    "a link to nowhere": Kind(_linked(lambda path: "missing.png"), "leads nowhere"),
    "a link outside": Kind(_linked(_outside), "leads out"),
    "no label": Kind(lambda path: _label(path).unlink(), "no label"),
    "a label cut off": Kind(lambda path: _label(path).write_bytes(b'{"label": ['), "not a JSON file"),
    "an empty label": Kind(lambda path: _label(path).write_bytes(b""), "not a JSON file"),
    "a label that is a list": Kind(lambda path: _label(path).write_bytes(b"[]"), 'no list "label"'),
    "a label that is a link to itself": Kind(_linked(lambda path: path.name, _label), "leads back to itself"),
    "a label that is a pipe": Kind(_pipe(_label), "a pipe"),
    "a label that is a link outside": Kind(_linked(_outside, _label), "leads out"),
    "no sample ID": Kind(lambda path: _renamed(path, "holiday"), "grammar"),
    "an unknown gender": Kind(lambda path: _renamed(path, "X_Ann_N_HA_O_0001"), "gender 'X'"),
}
NESTED = 3


def _litter(root: Path) -> None:
    for folder in ("", "train", "train/image", IMAGES, "train/label", LABELS, DEPTHS):
        for path in [path for path in (root / folder).iterdir() if path.suffix in (".png", ".json", ".txt")]:
            name = os.fsencode(f"._{path.name}")
            if len(name) <= 255:
                (root / folder / os.fsdecode(name)).write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
        for name in LITTER:
            (root / folder / name).write_bytes(b"x")
        for name in LITTER_FOLDERS:
            (root / folder / name / "img_64").mkdir(parents=True)
            shutil.copy(root / "map.txt", root / folder / name / "img_64/F_Ann_N_HA_O_0001.png")
        (root / folder / "circle").symlink_to("circle")
        (root / folder / "up").symlink_to("..")


def _scenes(folder: Path) -> None:
    folder.mkdir()
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (5, 8, 3), np.uint8)).resize((80, 50))
    image.save(folder / "plain.png")
    image.rotate(90, expand=True).save(folder / "turned.jpg", exif=_exif(6))
    image.save(folder / "phone.jpg", "MPO", save_all=True, append_images=[image.rotate(180)])
    image.convert("CMYK").save(folder / "print.jpg")
    image.save(folder / "small.webp")
    image.save(folder / "deep.png", icc_profile=bytes(3 << 20))
    for name in (*LITTER, "._plain.png"):
        (folder / name).write_bytes(b"x")
    (folder / "loop.jpg").symlink_to("loop.jpg")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "notes.txt").write_text("x")


@dataclass(frozen=True)
class Hostile:
    """The folder, and what a batch made of it."""

    root: Path
    out: Path
    done: "subprocess.CompletedProcess[str]"


def _controller(*arguments: object) -> "subprocess.CompletedProcess[str]":
    line = [sys.executable, str(ROOT / "controller/controller.py"), *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=300)


def _stems(kinds: Sequence[str], prefix: str) -> dict[str, str]:
    return {kind: f"M_{prefix}{number:02d}_N_HA_O_0001" for number, kind in enumerate(kinds)}


ODD, BAD = _stems(list(MADE), "Odd"), _stems(list(LOST), "Bad")
GOOD = PICTURES - len(MADE) - len(LOST) - NESTED


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Hostile:
    folder = tmp_path_factory.mktemp("hostile") / ".git" / "$RECYCLE.BIN"  # the root may lie anywhere
    folder.mkdir(parents=True)
    root, out = folder / "ACUSIM", folder / "out"
    for number in range(GOOD):
        add_sample(root, f"F_Good{number:03d}_N_HA_O_{number % 144 + 1:04d}")
    for kinds, stems in ((MADE, ODD), (LOST, BAD)):
        for kind, stem in stems.items():
            kinds[kind].change(add_sample(root, stem))
    (root / IMAGES / "img_64").mkdir()
    for number in range(NESTED):
        add_sample(root, f"F_Deep{number}_N_HA_O_0001").rename(root / IMAGES / f"img_64/F_Deep{number}_N_HA_O_0001.png")
    _litter(root)
    _scenes(folder / "scenes")
    out.mkdir()
    (out / ".DS_Store").write_bytes(b"x")  # a file manager looked into it
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--scenes", folder / "scenes")
    return Hostile(root, out, _controller(*line))


def _manifest(out: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text(encoding="utf-8").splitlines()]


def test_what_can_be_made_is_made(hostile: Hostile):
    assert hostile.done.returncode == 2, hostile.done.stderr
    assert "Traceback" not in hostile.done.stderr and "unexpected" not in hostile.done.stdout
    made = [line for line in _manifest(hostile.out) if line["status"] == "done"]
    assert len(made) == GOOD + len(MADE) == 113
    assert len(scan(hostile.out).samples) == len(made) and not scan(hostile.out).problems
    assert {line["scene"] for line in made} == {
        *("plain.png", "turned.jpg", "phone.jpg", "print.jpg", "small.webp", "deep.png")
    }


def test_the_rest_is_listed_with_its_reason(hostile: Hostile):
    aside = {str(line["image"]): str(line["reason"]) for line in _manifest(hostile.out) if line["status"] != "done"}
    assert len(aside) == len(LOST) + 1
    assert f"{NESTED} images are a folder too deep" in aside.pop(f"{IMAGES}/img_64")
    renamed = {"no sample ID": "holiday", "an unknown gender": "X_Ann_N_HA_O_0001"}
    for kind, stem in BAD.items():
        reason = aside.pop(f"{IMAGES}/{renamed.get(kind, stem)}.png")
        assert str(LOST[kind].reason) in reason and len(reason) < 400, kind
    assert not aside


def test_litter_and_circles_are_few_notes(hostile: Hostile):
    notes = [line for line in hostile.done.stderr.splitlines() if line.startswith("note:")]
    message = "\n".join(notes)
    assert sum("files of operating systems" in note for note in notes) == 1
    for name in ("Thumbs.db", "__MACOSX", "._M_Odd00", "desktop.ini"):
        assert message.count(name) <= 1
    scenes = [line for line in hostile.done.stderr.splitlines() if line.startswith("scene ")]
    assert len(scenes) == 3, "notes.txt, the pipe and the link"


def test_the_same_again_makes_nothing_and_what_is_there_verifies(hostile: Hostile, tree: Callable[[Path], dict]):
    before = tree(hostile.out)
    assert _controller("--verify", "--output", hostile.out).returncode == 0
    scenes = hostile.root.parent / "scenes"
    line = ("--dataset", hostile.root, "--output", hostile.out, "--scenes", scenes)
    again = _controller("--batch", "--engine", "relight", *line, "--json")
    assert again.returncode == 2 and json.loads(again.stdout)["created"] == 0
    assert json.loads(again.stdout)["already"] == 113 and tree(hostile.out) == before


def test_evaluation_and_training_walk_the_same_folders(hostile: Hostile):
    for name in LITTER:
        for folder in ("", IMAGES, LABELS):
            (hostile.out / folder / name).write_bytes(b"x")
    assert sum(pair.augmented_label is not None for pair in pair_up(hostile.root, hostile.out).pairs) == 113
    frames = range(1, 145)
    records = find([hostile.root, hostile.out], 64, frames, None, "none").records
    assert sum(bool(record.variant) for record in records) == 113
    assert sum(not record.variant for record in records) == len(scan(hostile.root).samples)
