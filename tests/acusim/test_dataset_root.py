"""Folders that are not a dataset root: the message names what they hold, and what to pass or to do instead."""

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim import dataset_root
from acusim.layout import scan
from tests.acusim.scanning import refusal

MakeDataset = Callable[..., Path]
STEM = "F_Ann_N_HA_O_0001"
IMAGES, LABELS = "train/image/img_64", "train/label/label"


def wrapped(root: Path, name: str) -> Path:
    """The data set in a folder of its own below the one that is given."""
    outer = root.parent / "outer"
    (outer / name).parent.mkdir(parents=True)
    shutil.move(root, outer / name)
    return outer


@pytest.mark.parametrize("below", ["ACUSIM", "AcuSim/data", "a b/ACUSIM", "v01"])
def test_a_data_set_unpacked_too_deep_is_named(root: Path, below: str):
    outer = wrapped(root, below)
    (outer / "__MACOSX/ACUSIM/train/image/img_64").mkdir(parents=True)
    reported = refusal(outer)
    assert repr(str(outer)) in reported and f"there is a dataset deeper: give {str(outer / below)!r}" in reported
    assert "__MACOSX" not in reported
    assert len(scan(Path(re.findall(r"give '(.*?)'", reported)[-1])).samples) == 2, "what it says to give is a root"


def test_several_data_sets_below_are_named(root: Path):
    shutil.copytree(root, root.parent / "sets/one")
    shutil.copytree(root, root.parent / "sets/two")
    sets = root.parent / "sets"
    assert f"there are 2 datasets deeper: give {str(sets / 'one')!r} or {str(sets / 'two')!r}" in refusal(sets)


@pytest.mark.parametrize("below", ["train", "train/image", IMAGES, "train/label", LABELS])
def test_a_part_of_a_data_set_leads_to_its_root(root: Path, below: str):
    reported = refusal(root / below)
    assert "the split 'train' of a dataset" in reported and reported.endswith(f"give {str(root)!r}")


@pytest.mark.parametrize("below", ["", "image", "image/img_64"])
def test_a_missing_split_is_reported_with_what_to_move(root: Path, below: str):
    for name in ("image", "label", "depth"):
        shutil.move(root / "train" / name, root / name)
    shutil.rmtree(root / "train")
    reported = refusal(root / below)
    assert "the folder of its split, such as train/, is missing" in reported
    assert f"move image/, label/ and depth/ into {str(root / 'train')!r} and give {str(root)!r}" in reported


@pytest.mark.parametrize(
    "place", ["img_64", "train/img_64", "train/Image/img_64", "train/images", "img_64/img_64", "train/image"]
)
def test_pictures_in_another_place_are_found(root: Path, place: str):
    shutil.move(root / IMAGES, root / "aside")
    shutil.rmtree(root / "train/image")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "aside", root / place)
    reported = refusal(root)
    size = "img_64" if place.endswith("img_64") else "img_<side in pixels>"
    assert f"2 images are in {str(root / place)!r}: move them into {str(root / 'train/image' / size)!r}" in reported
    assert f"their labels into {str(root / LABELS)!r}" in reported


def test_pictures_of_other_names_and_no_pictures_are_reported(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    assert refusal(tmp_path / "photos").endswith("it is empty")
    (tmp_path / "photos/a.txt").write_text("x")
    (tmp_path / "photos/b").mkdir()
    assert refusal(tmp_path / "photos").endswith("it holds a.txt, b/, and no images")
    (tmp_path / "photos/b/holiday.jpg").write_text("x")
    assert "1 images are in" in refusal(tmp_path / "photos") and "'holiday.jpg' is not a sample ID" in refusal(tmp_path)


def test_a_root_that_is_no_folder_says_why(tmp_path: Path):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "file").write_text("x")
    assert "leads back to itself" in refusal(tmp_path / "loop")
    assert "Not a directory" in refusal(tmp_path / "file")
    assert "nothing of this name" in refusal(tmp_path / "missing")


def test_a_search_through_a_large_tree_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for number in range(40):
        (tmp_path / f"{number:02d}/a/b/c/d/e").mkdir(parents=True)
    (tmp_path / "up").symlink_to("..")
    looked: list[str] = []
    listing = dataset_root.list_folder

    def counted(folder: str) -> list:
        looked.append(str(folder))
        return listing(folder)

    monkeypatch.setattr(dataset_root, "_MAX_FOLDERS", 50)
    monkeypatch.setattr(dataset_root, "list_folder", counted)
    assert "no images" in refusal(tmp_path)
    assert len(looked) < 500 and not any("/up" in path for path in looked)
