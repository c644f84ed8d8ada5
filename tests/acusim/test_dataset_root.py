"""Roots with odd folders: what lies there is told, with what to give or to do instead."""

import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from acusim import dataset_root
from acusim.errors import LayoutError
from acusim.layout import scan
from tests.support import add_sample

MakeDataset = Callable[..., Path]
STEM = "F_Ann_N_HA_O_0001"
IMAGES, LABELS = "train/image/img_64", "train/label/label"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of two pictures."""
    for frame in (1, 8):
        add_sample(tmp_path / "ACUSIM", f"F_Ann_N_HA_O_{frame:04d}")
    return tmp_path / "ACUSIM"


def refusal(root: Path) -> str:
    with pytest.raises(LayoutError) as error:
        scan(root)
    return str(error.value)


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
    told = refusal(outer)
    assert repr(str(outer)) in told and f"a data set lies deeper: give {str(outer / below)!r}" in told
    assert "__MACOSX" not in told
    assert len(scan(Path(re.findall(r"give '(.*?)'", told)[-1])).samples) == 2, "what it says to give is a root"


def test_several_data_sets_below_are_named(root: Path):
    shutil.copytree(root, root.parent / "sets/one")
    shutil.copytree(root, root.parent / "sets/two")
    sets = root.parent / "sets"
    assert f"2 data sets lie deeper: give {str(sets / 'one')!r} or {str(sets / 'two')!r}" in refusal(sets)


@pytest.mark.parametrize("below", ["train", "train/image", IMAGES, "train/label", LABELS])
def test_a_part_of_a_data_set_leads_to_its_root(root: Path, below: str):
    told = refusal(root / below)
    assert "the split 'train' of a data set" in told and told.endswith(f"give {str(root)!r}")


@pytest.mark.parametrize("below", ["", "image", "image/img_64"])
def test_a_missing_split_is_told_with_what_to_move(root: Path, below: str):
    for name in ("image", "label", "depth"):
        shutil.move(root / "train" / name, root / name)
    shutil.rmtree(root / "train")
    told = refusal(root / below)
    assert "the folder of its split, such as train/, is missing" in told
    assert f"move image/, label/ and depth/ into {str(root / 'train')!r} and give {str(root)!r}" in told


@pytest.mark.parametrize(
    "place", ["img_64", "train/img_64", "train/Image/img_64", "train/images", "img_64/img_64", "train/image"]
)
def test_pictures_in_another_place_are_found(root: Path, place: str):
    shutil.move(root / IMAGES, root / "aside")
    shutil.rmtree(root / "train/image")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "aside", root / place)
    told = refusal(root)
    size = "img_64" if place.endswith("img_64") else "img_<side in pixels>"
    assert f"2 pictures lie in {str(root / place)!r}: move them into {str(root / 'train/image' / size)!r}" in told
    assert f"their labels into {str(root / LABELS)!r}" in told


def test_pictures_of_other_names_and_no_pictures_are_told(tmp_path: Path):
    (tmp_path / "photos").mkdir()
    assert refusal(tmp_path / "photos").endswith("it is empty")
    (tmp_path / "photos/a.txt").write_text("x")
    (tmp_path / "photos/b").mkdir()
    assert refusal(tmp_path / "photos").endswith("it holds a.txt, b/, and no pictures")
    (tmp_path / "photos/b/holiday.jpg").write_text("x")
    assert "1 pictures lie in" in refusal(tmp_path / "photos") and "'holiday.jpg' is no sample ID" in refusal(tmp_path)


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

    monkeypatch.setattr(dataset_root, "_LOOKED_AT", 50)
    monkeypatch.setattr(dataset_root, "list_folder", counted)
    assert "no pictures" in refusal(tmp_path)
    assert len(looked) < 500 and not any("/up" in path for path in looked)


def test_pictures_a_folder_too_deep_are_told_with_what_to_move(root: Path):
    inner = root / IMAGES / "img_64"
    inner.mkdir()
    for path in (root / IMAGES).glob("*.png"):
        path.rename(inner / path.name)
    told = refusal(root)
    assert f"{IMAGES}/img_64: 2 pictures lie a folder too deep; move them up into {IMAGES}" in told


def test_a_nested_folder_beside_pictures_is_listed_as_lost(root: Path):
    (root / IMAGES / "img_64/deeper").mkdir(parents=True)
    shutil.copy(root / IMAGES / f"{STEM}.png", root / IMAGES / "img_64/deeper/F_Ann_N_HA_O_0002.png")
    (root / IMAGES / "notes").mkdir()
    dataset = scan(root)
    told = {problem.path: problem for problem in dataset.problems}
    assert len(dataset.samples) == 2 and set(told) == {f"{IMAGES}/img_64/deeper", f"{IMAGES}/notes"}
    assert told[f"{IMAGES}/img_64/deeper"].is_image and "1 pictures lie a folder too deep" in str(told)
    assert not told[f"{IMAGES}/notes"].is_image


@pytest.mark.parametrize("place", ["train/label", "train/label/label/label", "train/label/labels"])
def test_labels_in_another_folder_are_found(root: Path, place: str):
    shutil.move(root / LABELS, root / "aside")
    shutil.rmtree(root / "train/label")
    (root / place).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(root / "aside", root / place)
    dataset = scan(root)
    assert not dataset.samples and len(dataset.problems) == 2
    assert all(f"there are labels in {place}: move them into {LABELS}" in p.reason for p in dataset.problems)


def test_litter_takes_no_part_and_is_one_note(root: Path):
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
    assert "files of operating systems are left out" in note


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
    told = {problem.path: problem for problem in dataset.problems}
    for path in ("loop", "train/image/loop", f"{IMAGES}/loop", f"{LABELS}/{STEM}.json", "train/image/img_128"):
        assert "leads back to itself" in told[path].reason
    assert told[f"{IMAGES}/M_Loop_N_HA_O_0001.png"].is_image and told["train/image/img_128"].is_image
    assert "leads back to itself" in told[f"{IMAGES}/{STEM}.png"].reason, "the picture says what its label is"
    assert not told["loop"].is_image


@pytest.mark.parametrize("folder", ["train/image", IMAGES, LABELS])
def test_a_folder_that_is_a_circle_is_told_and_the_other_split_is_read(root: Path, folder: str):
    shutil.copytree(root / "train", root / "test")
    shutil.rmtree(root / folder)
    (root / folder).symlink_to(Path(folder).name)
    dataset = scan(root)
    assert {sample.split for sample in dataset.samples} == {"test"} and len(dataset.samples) == 2
    assert any(problem.is_image and "leads back to itself" in problem.reason for problem in dataset.problems)


@pytest.mark.parametrize("folder", ["train", "train/image", IMAGES, LABELS])
def test_a_folder_that_may_not_be_read_is_told(root: Path, monkeypatch: pytest.MonkeyPatch, folder: str):
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


def test_a_folder_of_depth_maps_that_is_a_circle_is_told(root: Path):
    shutil.rmtree(root / "train/depth/img_64")
    (root / "train/depth/img_64").symlink_to("img_64")
    dataset = scan(root)
    [problem] = dataset.problems
    assert [sample.depth for sample in dataset.samples] == [None, None] and not problem.is_image
    assert problem.path == "train/depth/img_64" and "leads back to itself" in problem.reason
