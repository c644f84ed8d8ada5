"""What a scan finds in a dataset with unusual folders: which samples are used, and why other files are not."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim.layout import scan
from tests.acusim.scanning import refusal

MakeDataset = Callable[..., Path]
STEM = "F_Ann_N_HA_O_0001"
IMAGES, LABELS = "train/image/img_64", "train/label/label"


def test_pictures_a_folder_too_deep_are_reported_with_what_to_move(root: Path):
    inner = root / IMAGES / "img_64"
    inner.mkdir()
    for path in (root / IMAGES).glob("*.png"):
        path.rename(inner / path.name)
    message = refusal(root)
    assert f"{IMAGES}/img_64: 2 images are a folder too deep; move them up into {IMAGES}" in message


def test_a_nested_folder_beside_pictures_is_listed_as_lost(root: Path):
    (root / IMAGES / "img_64/deeper").mkdir(parents=True)
    shutil.copy(root / IMAGES / f"{STEM}.png", root / IMAGES / "img_64/deeper/F_Ann_N_HA_O_0002.png")
    (root / IMAGES / "notes").mkdir()
    dataset = scan(root)
    message = {problem.path: problem for problem in dataset.problems}
    assert len(dataset.samples) == 2 and set(message) == {f"{IMAGES}/img_64/deeper", f"{IMAGES}/notes"}
    assert message[f"{IMAGES}/img_64/deeper"].is_image and "1 images are a folder too deep" in str(message)
    assert not message[f"{IMAGES}/notes"].is_image


@pytest.mark.parametrize("place", ["train/label", "train/label/label/label", "train/label/labels"])
def test_labels_in_another_folder_are_found(root: Path, place: str):
    shutil.move(root / LABELS, root / "aside")
    shutil.rmtree(root / "train/label")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "aside", root / place)
    dataset = scan(root)
    assert not dataset.samples and len(dataset.problems) == 2
    assert all(f"there are labels in {place}: move them into {LABELS}" in p.reason for p in dataset.problems)


def test_junk_is_ignored_and_is_one_note(root: Path):
    before = scan(root)
    for folder in ("", "train", "train/image", IMAGES, LABELS, "train/depth/img_64"):
        for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
            (root / folder / name).write_bytes(b"x")
        (root / folder / "@eaDir").mkdir()
        (root / folder / "__MACOSX").symlink_to("__MACOSX")
        for path in [path for path in (root / folder).iterdir() if path.suffix in (".png", ".json", ".txt")]:
            path.with_name(f"._{path.name}").write_bytes(b"\0\5\x16\7")
    after = scan(root)
    assert after.samples == before.samples and after.problems == [] and before.notes == []
    [note] = after.notes
    assert "files of operating systems are ignored" in note


def test_links_that_lead_in_circles_cost_only_themselves(root: Path):
    for folder in ("", "train", "train/image", IMAGES, LABELS, "train/depth/img_64"):
        (root / folder / "loop").symlink_to("loop")
        (root / folder / "up").symlink_to("..")
    (root / IMAGES / "M_Loop_N_HA_O_0001.png").symlink_to("M_Loop_N_HA_O_0001.png")
    (root / LABELS / f"{STEM}.json").unlink()
    (root / LABELS / f"{STEM}.json").symlink_to(f"{STEM}.json")
    (root / "train/image/img_128").symlink_to("img_128")
    dataset = scan(root)
    assert [sample.stem for sample in dataset.samples] == ["F_Ann_N_HA_O_0008"]
    message = {problem.path: problem for problem in dataset.problems}
    for path in ("loop", "train/image/loop", f"{IMAGES}/loop", f"{LABELS}/{STEM}.json", "train/image/img_128"):
        assert "leads back to itself" in message[path].reason
    assert message[f"{IMAGES}/M_Loop_N_HA_O_0001.png"].is_image and message["train/image/img_128"].is_image
    assert "leads back to itself" in message[f"{IMAGES}/{STEM}.png"].reason, "the picture says what its label is"
    assert not message["loop"].is_image


@pytest.mark.parametrize("folder", ["train/image", IMAGES, LABELS])
def test_a_folder_that_is_a_circle_is_reported_and_the_other_split_is_read(root: Path, folder: str):
    shutil.copytree(root / "train", root / "test")
    shutil.rmtree(root / folder)
    (root / folder).symlink_to(Path(folder).name)
    dataset = scan(root)
    assert {sample.split for sample in dataset.samples} == {"test"} and len(dataset.samples) == 2
    assert any(problem.is_image and "leads back to itself" in problem.reason for problem in dataset.problems)


@pytest.mark.parametrize("folder", ["train", "train/image", IMAGES, LABELS])
def test_a_folder_that_may_not_be_read_is_reported(root: Path, monkeypatch: pytest.MonkeyPatch, folder: str):
    shutil.copytree(root / "train", root / "test")
    scandir = os.scandir

    def guarded(place: object):
        if f"{place}/".startswith(f"{os.path.realpath(root)}/{folder}/"):
            raise PermissionError(13, "Permission denied", str(place))
        return scandir(place)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", guarded)
    dataset = scan(root)
    assert {sample.split for sample in dataset.samples} == {"test"} and len(dataset.samples) == 2
    assert any(problem.is_image and "Permission denied" in problem.reason for problem in dataset.problems)


def test_a_folder_of_depth_maps_that_is_a_circle_is_reported(root: Path):
    shutil.rmtree(root / "train/depth/img_64")
    (root / "train/depth/img_64").symlink_to("img_64")
    dataset = scan(root)
    [problem] = dataset.problems
    assert [sample.depth for sample in dataset.samples] == [None, None] and not problem.is_image
    assert problem.path == "train/depth/img_64" and "leads back to itself" in problem.reason
