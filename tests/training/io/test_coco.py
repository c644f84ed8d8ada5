"""COCO keypoints: known answers, round trips of real labels, and files one should not believe."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from acusim import acupoints, rig
from acusim.errors import LabelError
from acusim.labels import dump_label, empty_label, parse_label, read_label
from acusim.layout import Problem
from tests.support import ROOT, add_sample
from training.io.coco import Category, Item, dump_dataset, parse_dataset
from training.io.coco_labels import HEAD, item_of, items_of_root, label_of, write_labels

REAL = sorted((ROOT / "tests" / "data" / "acusim").glob("*.json"))
HAND = Category("hand", ("SI1", "SJ3", "LI1"), ((0, 1), (1, 2)))
XY = np.array([(10.5, 20.25), (0, 0), (30, 60)], np.float64)
ITEM = Item("a.png", 100, 80, XY, np.array([2, 0, 2], np.int8))


def _document(**changes: Any) -> dict[str, Any]:
    """A good file of the hand, with something else in its annotation or (``image_…``) its picture."""
    document = json.loads(dump_dataset([ITEM], HAND))
    for name, value in changes.items():
        place = document["images"][0] if name.startswith("image_") else document["annotations"][0]
        place[name.removeprefix("image_")] = value
    return document


def _bytes(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_a_file_by_hand():
    document = json.loads(dump_dataset([ITEM], HAND, {"description": "three points"}))
    assert document == {
        "info": {"description": "three points"},
        "images": [{"id": 1, "file_name": "a.png", "width": 100, "height": 80}],
        "annotations": [
            {
                "id": 1,
                "image_id": 1,
                "category_id": 1,
                "iscrowd": 0,
                "bbox": [10.5, 20.25, 19.5, 39.75],
                "area": 19.5 * 39.75,
                "num_keypoints": 2,
                "keypoints": [10.5, 20.25, 2, 0, 0, 0, 30, 60, 2],
            }
        ],
        "categories": [
            {
                "id": 1,
                "name": "hand",
                "supercategory": "hand",
                "keypoints": ["SI1", "SJ3", "LI1"],
                "skeleton": [[1, 2], [2, 3]],
            }
        ],
    }


@pytest.mark.parametrize(
    ("v", "box"), [([0, 0, 0], [0, 0, 100, 80]), ([2, 0, 0], [10, 19.75, 1, 1]), ([1, 0, 2], [29.5, 59.5, 1, 1])]
)
def test_boxes_of_few_points(v: list[int], box: list[float]):
    document = json.loads(dump_dataset([Item("a.png", 100, 80, XY, np.array(v, np.int8))], HAND))
    assert document["annotations"][0]["bbox"] == box


@pytest.mark.parametrize("path", REAL, ids=lambda path: path.stem)
def test_real_labels_come_back(path: Path):
    label = read_label(path)
    (item,), problems = parse_dataset(dump_dataset([item_of(label, "a.png", 640, 480)], HEAD), HEAD)
    assert not problems and (item.v == 2).sum() == label.listed.sum() > 0
    back = label_of(item)
    for name in ("xy", "n", "h_m", "listed"):
        np.testing.assert_allclose(getattr(back, name), getattr(label, name), rtol=0, atol=1e-6)


def test_the_camera_of_a_label_comes_back():
    camera = rig.camera_at(rig.rotation_of(12, 3, 7), [1, 2, 900], 3.5)
    label = replace(read_label(REAL[0]), camera=camera)
    (item,), problems = parse_dataset(dump_dataset([item_of(label, "a.png", 640, 480)], HEAD), HEAD)
    back = label_of(item).camera
    assert not problems and back is not None and back.focal == 3.5
    assert np.array_equal(back.R, camera.R) and np.array_equal(back.t_mm, camera.t_mm)
    with pytest.raises(LabelError, match="camera"):
        label_of(replace(item, camera={"focal": 3}))


def test_a_label_without_points_comes_back():
    (item,), _ = parse_dataset(dump_dataset([item_of(empty_label(), "a.png", 64, 64)], HEAD), HEAD)
    assert not label_of(item).listed.any()


def test_lines_run_along_the_meridians():
    names = [tuple(acupoints.NAMES[index] for index in pair) for pair in HEAD.skeleton]
    assert ("LI18_扶突_right", "LI19_口禾髎_right") in names and ("LI19_口禾髎_right", "LI120_迎香_right") in names
    assert ("RN23_廉泉", "RN24_承浆") in names
    for first, second in names:
        one, other = (acupoints.ACUPOINTS[acupoints.index_of(name)] for name in (first, second))
        assert (one.meridian, one.side) == (other.meridian, other.side) and one.meridian != "EX"
    assert len(names) == 143 - 14, "each of the other eight has a line a side, RN and DU one"


def test_another_order_and_fewer_keypoints():
    document = _document(keypoints=[30, 60, 2, 10.5, 20.25, 1], acusim={"n": [-0.5, -0.25]})
    document["categories"][0]["keypoints"] = ["LI1", "SI1"]
    (item,), problems = parse_dataset(_bytes(document), HAND)
    assert not problems and item.v.tolist() == [1, 0, 2]
    assert item.xy_px.tolist() == [[10.5, 20.25], [0, 0], [30, 60]]
    assert item.extra["n"] == [-0.25, None, -0.5]


def test_labels_of_other_origin_get_numbers_that_say_unknown():
    item = Item("a.png", 100, 50, np.full((174, 2), 25.0), np.r_[2, 1, np.zeros(172)].astype(np.int8))
    label = label_of(item)
    assert np.flatnonzero(label.listed).tolist() == [0], "a hidden point is not listed"
    assert label.xy[0].tolist() == [0.25, 0.5] and (label.n[0], label.h_m[0]) == (0, 0)
    assert parse_label(dump_label(label)).listed.sum() == 1


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"keypoints": [1, 2, 2]}, "3 entries; expected a list of 9"),
        ({"keypoints": "none"}, "expected a list of 9"),
        ({"keypoints": [1, 2, 3, 0, 0, 0, 0, 0, 0]}, "v is not always 0, 1 or 2"),
        ({"keypoints": [1, float("nan"), 2, 0, 0, 0, 0, 0, 0]}, "nan is not a number"),
        ({"keypoints": [1, float("inf"), 2, 0, 0, 0, 0, 0, 0]}, "inf is not a number"),
        ({"keypoints": [1, 10**400, 2, 0, 0, 0, 0, 0, 0]}, "is not a number"),
        ({"keypoints": [1, True, 2, 0, 0, 0, 0, 0, 0]}, "True is not a number"),
        ({"keypoints": [1, "2", 2, 0, 0, 0, 0, 0, 0]}, "'2' is not a number"),
        ({"keypoints": [150, 20, 2, 0, 0, 0, 0, 0, 0]}, "outside the picture of 100 x 80"),
        ({"bbox": [0, 0, -5, 5]}, "bbox of -5 x 5"),
        ({"bbox": [0, 0, 5]}, "expected a list of 4"),
        ({"area": -1}, "area -1 is below 0"),
        ({"iscrowd": 1}, "crowd"),
        ({"acusim": {"n": [1]}}, "is not a list of 3"),
        ({"acusim": 7}, "not an object"),
        ({"image_width": 0}, "width is 0"),
        ({"image_height": "80"}, "height is '80'"),
        ({"image_width": 10**9}, "allowed are 1..100000"),
        ({"image_file_name": "../../etc/passwd"}, "not a plain relative path"),
        ({"image_file_name": "/etc/passwd"}, "not a plain relative path"),
        ({"image_file_name": "a\nb.png"}, "not a printable name"),
        ({"image_file_name": None}, "not a printable name"),
        ({"category_id": 7}, "0 annotations of 'hand'"),
    ],
)
def test_a_bad_picture_is_skipped(changes: dict[str, Any], reason: str):
    document = _document(**changes)
    document["images"].append({"id": 2, "file_name": "good.png", "width": 100, "height": 80})
    document["annotations"].append({**_document()["annotations"][0], "id": 2, "image_id": 2})
    items, problems = parse_dataset(_bytes(document), HAND)
    assert [item.file_name for item in items] == ["good.png"]
    assert len(problems) == 1 and reason in problems[0].reason and problems[0].is_image


def test_two_annotations_and_annotations_of_nothing():
    document = _document()
    document["annotations"] += [{**document["annotations"][0], "id": 2}, {**document["annotations"][0], "image_id": 9}]
    items, problems = parse_dataset(_bytes(document), HAND)
    assert not items
    assert {problem.reason for problem in problems} == {"2 annotations of 'hand'; expected one", "there is no image 9"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\xff\xfe", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (b"[]", "not a COCO data set"),
        (_bytes({**_document(), "images": [1]}), "no list of objects 'images'"),
        (_bytes({**_document(), "categories": []}), "expected one"),
        (_bytes({**_document(), "images": 2 * _document()["images"]}), "image id 1 is given twice"),
        (
            _bytes({**_document(), "categories": [{"id": 1, "name": "hand", "keypoints": ["SI1", "SI9", "LI1"]}]}),
            "keypoint 'SI9' is not one of the 3",
        ),
        (
            _bytes({**_document(), "categories": [{"id": 1, "name": "hand", "keypoints": ["SI1", "SI1", "LI1"]}]}),
            "lists a keypoint twice",
        ),
    ],
)
def test_a_bad_file_is_refused(data: bytes, reason: str):
    with pytest.raises(LabelError, match=reason):
        parse_dataset(data, HAND)


def test_a_root_goes_out_and_its_labels_come_in(tmp_path: Path):
    for stem in ("F_Ann_N_HA_O_0001", "M_Bob_F_HB_C_0008"):
        add_sample(tmp_path / "data", stem)
    broken = add_sample(tmp_path / "data", "M_Dan_N_HB_C_0001")
    broken.write_text("no picture")
    found = list(items_of_root(tmp_path / "data"))
    items = [entry for entry in found if isinstance(entry, Item)]
    assert [entry.path for entry in found if isinstance(entry, Problem)] == [str(broken.relative_to(tmp_path / "data"))]
    written, problems = write_labels(dump_dataset(items, HEAD), tmp_path / "back")
    assert not problems and len(written) == 2
    for name in written:
        before, after = (read_label(tmp_path / root / name) for root in ("data", "back"))
        np.testing.assert_allclose(after.xy, before.xy, rtol=0, atol=1e-9)
        assert (after.listed == before.listed).all()
    again, problems = write_labels(dump_dataset(items, HEAD), tmp_path / "back")
    assert again == written and not problems


def test_labels_that_are_there_are_kept(tmp_path: Path):
    path = tmp_path / "train" / "label" / "label" / "a.json"
    path.parent.mkdir(parents=True)
    before = dump_label(empty_label())
    path.write_bytes(before)
    item = item_of(read_label(REAL[0]), "a.png", 64, 64)
    written, problems = write_labels(dump_dataset([item], HEAD), tmp_path)
    assert not written and "other content" in problems[0].reason
    assert path.read_bytes() == before


def test_labels_do_not_leave_their_root(tmp_path: Path):
    (tmp_path / "out" / "train").mkdir(parents=True)
    (tmp_path / "out" / "train" / "label").symlink_to(tmp_path)
    item = item_of(read_label(REAL[0]), "a.png", 64, 64)
    written, problems = write_labels(dump_dataset([item], HEAD), tmp_path / "out")
    assert not written and "symbolic link" in problems[0].reason
    assert [entry.name for entry in tmp_path.iterdir()] == ["out"]
