"""Labels of other machines: which picture they speak of, what is noted, and that no path is followed out."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim.errors import LayoutError
from acusim.labelled_files import Pictures
from acusim.tolerances import BESIDE, ELSEWHERE, OTHER_CASE, OUTSIDE_CLIPPED, Change
from tests.training.labelme_files import PLACES, document, pixels
from training.data.hand_dataset import HandSettings, read_hands
from training.io.labelme import LabelmeFolder, scan_labelme
from training.tasks.hand_points import read_points


def scan(root: Path) -> LabelmeFolder:
    return scan_labelme(root, read_points())


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., None]:
    """Writes pictures, each unlike the others, and a label for an imagePath."""

    def write(pictures: list[str], label: str, path: str, **changes: Any) -> None:
        for name in pictures:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels(sum(name.encode()))).save(tmp_path / name)
        (tmp_path / label).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / label).write_text(json.dumps(document(path, **changes)))

    return write


@pytest.mark.parametrize(
    ("path", "tolerance"),
    [
        ("D:\\hands\\2024\\a.png", ELSEWHERE),
        ("d:a.png", ELSEWHERE),
        ("\\\\server\\share\\hands\\a.png", ELSEWHERE),
        ("//server/a.png", ELSEWHERE),
        ("/home/me/hands/a.png", ELSEWHERE),
        ("file:///home/me/a.png", ELSEWHERE),
        ("..\\images\\a.png", ELSEWHERE),
        ("../../a.png", ELSEWHERE),
        ("images/a.png", BESIDE),
        ("old\\a.png", BESIDE),
        ("A.png", OTHER_CASE),
        ("a.PNG", OTHER_CASE),
        ("D:\\HANDS\\A.PNG", ELSEWHERE),
        ("IMAGES\\A.PNG", BESIDE),
        ("./a.png", None),
        (".\\a.png", None),
    ],
)
def test_the_picture_beside_is_found_by_its_name(write: Any, tmp_path: Path, path: str, tolerance: Any) -> None:
    write(["a.png", "b.png"], "a.json", path)
    write([], "b.json", "b.png")
    folder = scan(tmp_path)
    assert not folder.problems and [(hand.image, hand.label) for hand in folder.hands] == [
        ("a.png", "a.json"),
        ("b.png", "b.json"),
    ]
    assert [change.tolerance for change in folder.changes] == ([tolerance] if tolerance else [])
    if tolerance:
        assert folder.changes[0].path == "a.json" and repr(path) in folder.changes[0].detail


def test_a_path_that_fits_comes_before_the_name_beside(write: Any, tmp_path: Path) -> None:
    write(["img/a.png", "json/a.png"], "json/a.json", "..\\img\\a.png")
    write([], "json/b.json", "C:\\img\\a.png")
    folder = scan(tmp_path)
    assert [(hand.label, hand.image) for hand in folder.hands] == [
        ("json/a.json", "img/a.png"),
        ("json/b.json", "json/a.png"),
    ]


def test_names_that_differ_in_case_only_must_match_exactly(write: Any, tmp_path: Path) -> None:
    write(["a.png", "A.PNG"], "a.json", "a.PNG")
    folder = scan(tmp_path)
    message = {problem.path: problem.reason for problem in folder.problems}
    assert not folder.hands and "several differ from it in case only: A.PNG, a.png" in message["a.json"]
    write([], "a.json", "A.PNG")
    folder = scan(tmp_path)
    assert [hand.image for hand in folder.hands] == ["A.PNG"] and not folder.changes


def test_pictures_of_other_names_and_of_other_folders_are_never_taken(write: Any, tmp_path: Path) -> None:
    write(["a.png"], "a.json", "D:\\old\\IMG_1.png")
    write(["b.png"], "b.json", "IMG_2.png")
    write(["far/c.png"], "c.json", "/data/c.png")
    message = {problem.path: problem.reason for problem in scan(tmp_path).problems}
    assert "leads out of the folder, and no picture 'IMG_1.png' is beside the label" in message["a.json"]
    assert (
        "there is no such picture" in message["b.json"] and "if it is 'b.png' now, write this name" in message["b.json"]
    )
    assert "no picture 'c.png' is beside the label" in message["c.json"] and "that of far/c.png" in message["c.json"]


def test_two_labels_of_one_picture_are_reported_however_they_name_it(write: Any, tmp_path: Path) -> None:
    write(["a.png"], "a.json", "a.png")
    write([], "copy.json", "C:\\old\\a.png")
    (problem,) = scan(tmp_path).problems
    assert problem.path == "a.png" and "a.json, copy.json" in problem.reason


def test_a_link_that_leads_out_is_not_followed_by_its_name(write: Any, tmp_path: Path) -> None:
    secret = tmp_path.parent / f"{tmp_path.name}-secret.png"
    Image.fromarray(pixels(1)).save(secret)
    os.symlink(secret, tmp_path / "a.png")
    write([], "a.json", f"{tmp_path.parent}/a.png")
    folder = scan(tmp_path)
    assert not folder.hands and "symbolic link" in {p.path: p.reason for p in folder.problems}["a.json"]


@pytest.mark.parametrize("point", [(-0.31, 20), (-0.4, 50.5), (40.4, 20), (20, 50.5)])
def test_a_point_just_outside_is_moved_to_the_edge_and_noted(write: Any, tmp_path: Path, point: Any) -> None:
    write(["a.png"], "a.json", "a.png", shapes=document("a.png", {**PLACES, "2": point})["shapes"])
    before = (tmp_path / "a.json").read_bytes()
    data = read_hands(tmp_path, HandSettings())
    edge = np.clip(point, 0, (40, 50))
    assert data.xy[0, 0].tolist() == edge.tolist() and data.visible.all() and not data.problems
    (change,) = data.changes
    assert change == Change(
        OUTSIDE_CLIPPED, "a.png", f"SI1 at ({point[0]:g}, {point[1]:g}) to ({edge[0]:g}, {edge[1]:g})"
    )
    assert [note for note in data.notes if OUTSIDE_CLIPPED.note in note] == [f"{OUTSIDE_CLIPPED.note} (1): {change}"]
    assert (tmp_path / "a.json").read_bytes() == before


@pytest.mark.parametrize(("point", "share"), [((-0.42, 20), "1.05"), ((20, 51), "2")])
def test_a_point_further_outside_is_refused_with_the_limit(write: Any, tmp_path: Path, point: Any, share: str) -> None:
    write(["a.png"], "a.json", "a.png", shapes=document("a.png", {**PLACES, "2": point})["shapes"])
    (problem,) = scan(tmp_path).problems
    for words in (f"({point[0]:g}, {point[1]:g})", "40 x 50", f"by {share} % of the side", "up to 1 %", "labelme"):
        assert words in problem.reason
    assert not scan(tmp_path).changes


def test_whole_floats_are_sizes_and_labels(write: Any, tmp_path: Path) -> None:
    shapes = document("a.png")["shapes"]
    shapes[0]["label"] = 2.0
    write(["a.png"], "a.json", "a.png", imageWidth=40.0, imageHeight=50.0, shapes=shapes)
    folder = scan(tmp_path)
    assert not folder.problems and not folder.changes and folder.hands[0].xy[0].tolist() == list(PLACES["2"])


@pytest.mark.parametrize("size", [40.5, "40", True, -40, 0.0, float("nan"), float("inf"), [40]])
def test_other_sizes_are_none(write: Any, tmp_path: Path, size: Any) -> None:
    write(["a.png"], "a.json", "a.png", imageWidth=size)
    (problem,) = scan(tmp_path).problems
    assert repr(size) in problem.reason and "whole numbers" in problem.reason


def test_a_clean_folder_gives_no_note(write: Any, tmp_path: Path) -> None:
    write(["a.png"], "a.json", "a.png")
    data = read_hands(tmp_path, HandSettings())
    assert not data.changes and not data.notes and not data.problems


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("a.png", "a.png"),
        ("sub/b.PNG", "sub/b.png"),
        ("b.png", "sub/b.png"),
        ("x/A.PNG", "a.png"),
        ("no.png", "no.png"),
    ],
)
def test_pictures_of_coco_names(path: str, found: str) -> None:
    changes: list[Change] = []
    pictures = Pictures({name: name for name in ("a.png", "sub/b.png", "one/c.png", "two/c.png")})
    assert pictures.of_item(path, changes.append) == found
    assert bool(changes) == (path != found)
    with pytest.raises(LayoutError, match="one/c.png, two/c.png"):
        pictures.of_item("c.png", changes.append)
