"""COCO files as other programs write them: what is read all the same, what is noted, what stays refused."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acusim import tolerances
from acusim.errors import LabelError
from acusim.labels import read_label
from acusim.layout import Problem
from acusim.tolerances import Change, Tolerance
from tests.support import ROOT
from training.io.coco import Category, Item, dump_dataset, parse_dataset
from training.io.coco_labels import HEAD, item_of, label_of, write_labels
from training.io.coco_results import parse_results

HAND = Category("hand", ("SI1", "SJ3", "LI1"), ((0, 1),), {"少泽": 0, "Shangyang": 2})
GOOD = [10.5, 20.25, 2, 0, 0, 0, 30, 60, 2]


def _annotation(**changes: Any) -> dict[str, Any]:
    return {"id": 1, "image_id": 1, "category_id": 1, "keypoints": GOOD, **changes}


def _document(*annotations: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """One picture of 100 x 80; ``image_…`` changes it, all else the document."""
    image = {"id": 1, "file_name": "a.png", "width": 100, "height": 80}
    image |= {name[6:]: value for name, value in changes.items() if name.startswith("image_")}
    document = {
        "images": [image],
        "annotations": list(annotations) or [_annotation(image_id=image["id"])],
        "categories": [{"id": 1, "name": "hand", "keypoints": list(HAND.keypoints)}],
    }
    return document | {name: value for name, value in changes.items() if not name.startswith("image_")}


def _read(document: Any) -> tuple[list[Item], list[Problem], list[Change]]:
    changes: list[Change] = []
    items, problems = parse_dataset(json.dumps(document).encode(), HAND, changes.append)
    return items, problems, changes


def _good(item: Item) -> bool:
    return item.xy_px.tolist() == [[10.5, 20.25], [0, 0], [30, 60]] and item.v.tolist() == [2, 0, 2]


def test_a_clean_file_gives_no_note() -> None:
    (item,), problems, changes = _read(_document())
    assert _good(item) and not problems and not changes


RLE = {"counts": [1, 2, 3], "size": [80, 100]}
CROWD = _annotation(id=2, iscrowd=1, segmentation=RLE, keypoints=[0] * 9, num_keypoints=0)
ZEROS = _annotation(id=3, keypoints=[0] * 9)


@pytest.mark.parametrize(
    ("beside", "tolerance"),
    [
        (CROWD, tolerances.CROWD),
        ({**CROWD, "keypoints": GOOD}, tolerances.CROWD),
        (_annotation(iscrowd=True), tolerances.CROWD),
        (ZEROS, tolerances.EMPTY),
        (_annotation(keypoints=[5, 5, 0] * 3), tolerances.EMPTY),
        (_annotation(keypoints=[]), tolerances.EMPTY),
        (_annotation(keypoints=None, segmentation=RLE), tolerances.EMPTY),
        ({"image_id": 1, "category_id": 1, "bbox": [1, 2, 3, 4]}, tolerances.EMPTY),
        (_annotation(area=0), tolerances.FLAT),
        (_annotation(bbox=[5, 5, 0, 9]), tolerances.FLAT),
        (_annotation(bbox=[5, 5, 9, 0.0], area=5), tolerances.FLAT),
        (_annotation(category_id=2), tolerances.OTHER_CATEGORY),
    ],
)
@pytest.mark.parametrize("first", [True, False])
def test_what_stands_beside_a_good_annotation_is_left_out(beside: Any, tolerance: Tolerance, first: bool) -> None:
    pair = (beside, _annotation(iscrowd=0, area=900, bbox=[5, 5, 30, 30]))
    (item,), problems, changes = _read(_document(*(pair if first else pair[::-1])))
    assert _good(item) and not problems and [change.tolerance for change in changes] == [tolerance]


def test_of_annotations_without_a_good_one_the_only_one_with_keypoints_counts() -> None:
    (item,), problems, changes = _read(_document(CROWD, ZEROS, _annotation(area=0, bbox=[0, 0, 0, 0])))
    assert _good(item) and not problems
    assert {change.tolerance for change in changes} == {tolerances.CROWD, tolerances.EMPTY}
    (item,), problems, changes = _read(_document(ZEROS))
    assert not item.v.any() and not problems and not changes, "a picture in which nothing is visible"


@pytest.mark.parametrize(
    ("annotations", "reason"),
    [
        ([CROWD], "the annotation is of a crowd"),
        ([CROWD, CROWD], "all annotations are of crowds"),
        ([_annotation(), _annotation(id=2, keypoints=[9, 9, 2] * 3), CROWD], "2 annotations of 'hand'; expected one"),
        ([_annotation(iscrowd="yes")], "iscrowd is 'yes'; allowed are 0 and 1"),
        ([_annotation(keypoints=None)], "keypoints: None; expected a list of 9 numbers"),
        ([_annotation(category_id=3)], "0 annotations of 'hand'"),
    ],
)
def test_where_none_or_several_may_be_meant_the_picture_is_skipped(annotations: Any, reason: str) -> None:
    items, problems, _ = _read(_document(*annotations))
    assert not items and [problem.is_image for problem in problems] == [True] and reason in problems[0].reason


@pytest.mark.parametrize("count", [0, 3, 2.5, "2", -1, True, [2]])
def test_a_wrong_count_is_made_again(count: Any) -> None:
    (item,), problems, changes = _read(_document(_annotation(num_keypoints=count)))
    assert _good(item) and not problems
    assert changes == [Change(tolerances.NUM_KEYPOINTS, "a.png", f"{count!r}, but 2 have v > 0")]
    again = json.loads(dump_dataset([item], HAND))
    assert again["annotations"][0]["num_keypoints"] == 2


@pytest.mark.parametrize("count", [2, 2.0, None])
def test_a_right_count_gives_no_note(count: Any) -> None:
    assert not _read(_document(_annotation(num_keypoints=count)))[2]


def test_whole_floats_are_sizes_and_ids() -> None:
    document = _document(_annotation(image_id=7.0, category_id="1"), image_id="7", image_width=100.0, image_height=80.0)
    document["categories"][0]["id"] = 1.0
    (item,), problems, changes = _read(document)
    assert _good(item) and (item.width, item.height, item.image_id) == (100, 80, 7) and type(item.width) is int
    assert not problems and not changes


@pytest.mark.parametrize("size", [100.5, "100", True, 0, -100.0, float("nan"), 1e300, None, [100]])
def test_other_sizes_set_their_picture_aside(size: Any) -> None:
    items, (problem,), _ = _read(_document(image_width=size))
    assert not items and problem.path == "a.png" and repr(size) in problem.reason and "whole numbers" in problem.reason


def test_texts_are_ids_and_bad_ids_lose_their_own_image_only() -> None:
    document = _document(
        _annotation(image_id="hand-a"), _annotation(image_id=5), _annotation(image_id=6), image_id="hand-a"
    )
    image = document["images"][0]
    document["images"] += [{**image, "id": 5}, {**image, "id": 5.0}, {**image, "id": None}, {**image, "id": 1.5}, 7]
    items, problems, _ = _read(document)
    assert [item.image_id for item in items] == ["hand-a"] and _good(items[0])
    reasons = [problem.reason for problem in problems if problem.is_image]
    assert sum("image id 5 is given twice" in reason for reason in reasons) == 2
    assert sum("expected a whole number or a text" in reason for reason in reasons) == 2
    assert "7 is not an object" in reasons
    assert [problem.reason for problem in problems if not problem.is_image] == [
        "there is no image 5",
        "there is no image 6",
    ]


@pytest.mark.parametrize(
    ("path", "name", "noted"),
    [
        ("sub\\deep\\a.png", "sub/deep/a.png", False),
        ("sub/a.png", "sub/a.png", False),
        ("./sub/../a.png", "a.png", False),
        ("D:\\hands\\a.png", "a.png", True),
        ("\\\\server\\x\\a.JPG", "a.JPG", True),
        ("/home/me/a.jpeg", "a.jpeg", True),
        ("..\\images\\a.png", "a.png", True),
        ("D:\\AcuSim\\test\\image\\img_512\\F.png", "test/image/img_512/F.png", True),
    ],
)
def test_file_names_of_any_system(path: str, name: str, noted: bool) -> None:
    (item,), problems, changes = _read(_document(image_file_name=path))
    assert item.file_name == name and not problems
    assert [change.tolerance for change in changes] == [tolerances.ELSEWHERE] * noted


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "C:\\Windows\\win.ini", "..", "/", "", ".", "a\x00.png", "\ud800.png", 7]
)
def test_file_names_that_are_none_set_their_picture_aside(path: Any) -> None:
    items, (problem,), _ = _read(_document(image_file_name=path))
    assert not items and problem.is_image


def test_two_images_of_one_name() -> None:
    document = _document(_annotation(), _annotation(image_id=2), image_file_name="C:\\one\\a.png")
    document["images"].append({**document["images"][0], "id": 2, "file_name": "C:\\two\\a.png"})
    (item,), problems, changes = _read(document)
    assert not problems and [change.tolerance for change in changes] == 2 * [tolerances.ELSEWHERE] + [
        tolerances.SAME_IMAGE
    ]
    document["annotations"][1] = _annotation(image_id=2, keypoints=[9, 9, 2] * 3)
    items, (problem,), _ = _read(document)
    assert not items and "2 images have this file_name and different labels" in problem.reason


def test_points_just_outside_are_moved_and_noted() -> None:
    (item,), problems, changes = _read(_document(_annotation(keypoints=[-0.31, 80.8, 2, -9, 999, 0, 30, 60, 1])))
    assert not problems and item.xy_px.tolist() == [[0, 80], [0, 0], [30, 60]]
    assert changes == [Change(tolerances.OUTSIDE_CLIPPED, "a.png", "SI1 at (-0.31, 80.8) to (0, 80)")]
    items, (problem,), changes = _read(
        _document(_annotation(keypoints=[30, 60, 2, 0, 0, 0, 102, 20, 2], num_keypoints=9))
    )
    assert not items and not changes, "what is set aside gives no note beside its reason"
    assert "LI1 at (102, 20) is outside the picture of 100 x 80, by 2 % of the side; up to 1 %" in problem.reason


def test_points_of_acusim_stay_where_the_released_files_have_them() -> None:
    label = read_label(next(iter(sorted((ROOT / "tests" / "data" / "acusim").glob("*.json")))))
    row = int(np.flatnonzero(label.listed)[0])
    label.xy[row] = 0.5, 1.00146484375
    changes: list[Change] = []
    (item,), problems = parse_dataset(dump_dataset([item_of(label, "a.png", 512, 512)], HEAD), HEAD, changes.append)
    assert not problems and not changes and label_of(item).xy[row].tolist() == [0.5, 1.00146484375]


@pytest.mark.parametrize("place", [None, float("nan"), "none", [], 1e300])
def test_what_stands_at_an_unlabelled_point_is_not_looked_at(place: Any) -> None:
    (item,), problems, changes = _read(_document(_annotation(keypoints=[10.5, 20.25, 2, place, place, 0, 30, 60, 2])))
    assert _good(item) and not problems and not changes


def test_odd_names_of_the_category_and_its_keypoints() -> None:
    document = _document(categories=[{"id": 1, "name": "Left Hand", "keypoints": ["少泽", " sj3 ", "shangyang"]}])
    document["categories"].append({"id": 2, "name": "person"})
    (item,), problems, changes = _read(document)
    assert _good(item) and not problems
    assert [change.detail for change in changes] == [
        "'Left Hand' as 'hand'",
        "'少泽' as 'SI1'",
        "' sj3 ' as 'SJ3'",
        "'shangyang' as 'LI1'",
    ]


@pytest.mark.parametrize(
    ("keypoints", "reason"),
    [
        (["SI1", "SJ33", "LI1"], "keypoint 'SJ33' is not one of the 3 of 'hand'; did you mean 'SJ3'"),
        (["SI1", "wrist", "LI1"], "keypoint 'wrist' is not one of the 3 of 'hand'; they are SI1, SJ3, LI1"),
        (["SI1", "少泽", "LI1"], "lists a keypoint twice"),
        (["SI1", 7, "LI1"], "keypoint 7 is not one"),
        (["SI1", ["SJ3"], "LI1"], "is not one"),
    ],
)
def test_unknown_keypoints_are_refused_with_the_known_ones(keypoints: Any, reason: str) -> None:
    with pytest.raises(LabelError, match=reason):
        _read(_document(categories=[{"id": 1, "name": "hand", "keypoints": keypoints}]))


def test_results_may_have_ids_of_other_types() -> None:
    entry = {"image_id": 4.0, "category_id": 1, "keypoints": [1, 2, 0.5] * 3, "score": 0.5}
    results, problems = parse_results(
        json.dumps([entry, {**entry, "image_id": "5"}, {**entry, "image_id": 5}]).encode(), 3
    )
    assert [result.image_id for result in results] == [4, 5] and "second result for image 5" in problems[0].reason


def test_labels_of_heads_go_to_the_split_of_their_picture(tmp_path: Path) -> None:
    for split, stem in (("test", "one"), ("train", "two"), ("test", "two")):
        folder = tmp_path / split / "image" / "img_64"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{stem}.png").write_bytes(b"")
    label = read_label(next((ROOT / "tests" / "data" / "acusim").glob("*.json")))
    names = ("images/one.png", "two.png", "none.png", "E:/data/temp/image/img_512/far.png")
    written, problems = write_labels(dump_dataset([item_of(label, name, 64, 64) for name in names], HEAD), tmp_path)
    assert written == ["test/label/label/one.json", "train/label/label/none.json", "temp/label/label/far.json"]
    assert [problem.path for problem in problems] == ["two.png"] and "test, train have a picture" in problems[0].reason
