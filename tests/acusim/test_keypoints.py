"""Data sets of keypoints that are not AcuSim's: what is read of them, and what is said of the rest."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from acusim.errors import LabelError, LayoutError
from acusim.keypoints import KeypointSet, open_any, open_keypoints
from acusim.layout import Dataset
from acusim.outlines import Runs, run_lengths
from tests.keypoint_files import CORNERS, POINTS, SIZE, add_coco, add_labelme, coco, labelme
from tests.support import add_sample


def opened(root: Path) -> KeypointSet:
    found = open_keypoints(root)
    assert found is not None
    return found


def test_a_labelme_folder(tmp_path: Path):
    add_labelme(tmp_path, "b/S2.jpg")
    add_labelme(tmp_path, "S1.png", outline=False)
    (tmp_path / "masks").mkdir()
    Image.new("L", SIZE, 255).save(tmp_path / "masks" / "S1.png")
    found = opened(tmp_path)
    assert (found.format, found.problems, found.documents) == ("labelme", [], ())
    first, second = found.pictures
    assert [str(picture.id) for picture in found.pictures] == ["S1.png", "b/S2.jpg"]
    assert first.sources == {"source": "S1.png", "label": "S1.json", "foreground": "masks/S1.png"}
    assert second.copied == {"label": "b/S2.json"} and second.mask is None and second.size == SIZE
    assert first.points.names == tuple(POINTS) and first.points.visible.all()
    np.testing.assert_array_equal(first.points.xy, [*POINTS.values()])
    assert first.points.covered(*SIZE) is None
    covered = second.points.covered(*SIZE)
    assert covered is not None and covered[40, 50] and not covered[2, 2]
    x, y = np.array(CORNERS).T  # the shoelace formula
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    assert abs(covered.sum() - area) < 0.06 * area


def test_shapes_of_one_label_have_names_of_their_own(tmp_path: Path):
    add_labelme(tmp_path, "a.png")
    document = labelme("a.png")
    document["shapes"] += [document["shapes"][0], document["shapes"][0]]
    (tmp_path / "a.json").write_text(json.dumps(document))
    assert opened(tmp_path).pictures[0].points.names == ("tip", "root", "tip (2)", "tip (3)")


def test_a_mask_of_labelme(tmp_path: Path):
    add_labelme(tmp_path, "a.png")
    buffer = io.BytesIO()
    Image.fromarray(np.array([[0, 255], [255, 255]], np.uint8)).save(buffer, "PNG")
    shape = {"label": "hand", "shape_type": "mask", "points": [[10, 20], [11, 21]]}
    shape["mask"] = base64.b64encode(buffer.getvalue()).decode()
    (tmp_path / "a.json").write_text(json.dumps(labelme("a.png", shapes=[shape])))
    [picture] = opened(tmp_path).pictures
    covered = picture.points.covered(*SIZE)
    assert covered is not None
    assert np.argwhere(covered).tolist() == [[20, 11], [21, 10], [21, 11]]
    shape["mask"] = "no base64"
    (tmp_path / "a.json").write_text(json.dumps(labelme("a.png", shapes=[shape])))
    with pytest.raises(LabelError, match="mask 'hand' is not a PNG in base64"):
        opened(tmp_path).pictures[0].points.covered(*SIZE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"imagePath": "../../secret.png"}, "leads out of the folder"),
        ({"imagePath": "other.png"}, "there is no such picture"),
        ({"imageWidth": -3}, "expected two sizes > 0"),
        ({"shapes": [{"label": "tip", "points": [[500, 3]], "shape_type": "point"}]}, "is outside the picture"),
        ({"shapes": [{"label": "tip", "points": [[float("nan"), 3]], "shape_type": "point"}]}, "not a coordinate"),
        ({"shapes": [{"points": [[1, 3]]}]}, "shape 0 has no label"),
        ({"imageWidth": 48, "imageHeight": 40}, "is for a picture of 48 x 40, this one is 96 x 80"),
    ],
)
def test_a_bad_label_costs_its_picture_alone(tmp_path: Path, changes: dict[str, object], reason: str):
    add_labelme(tmp_path, "good.png")
    add_labelme(tmp_path, "bad.png", 1, **changes)
    found = opened(tmp_path)
    assert [picture.image for picture in found.pictures] == ["good.png"]
    [problem] = found.problems
    assert reason in problem.reason and problem.is_image and problem.path.startswith("bad.")


def test_folders_of_masks_are_those_at_the_top_and_of_variants(tmp_path: Path):
    read = ["a.png", "ward/masks/b.png", "ward/point_masks/c.png", "words/v01/point_masks/d.png"]
    for seed, name in enumerate([*read, "masks/e.png", "point_masks/f.png", "v01/point_masks/g.png"]):
        add_labelme(tmp_path, name, seed)
    assert [picture.image for picture in opened(tmp_path).pictures] == read


def test_pictures_without_a_label_and_with_two(tmp_path: Path):
    add_labelme(tmp_path, "good.png")
    add_labelme(tmp_path, "twice.png", 1)
    (tmp_path / "again.json").write_text(json.dumps(labelme("twice.png")))
    Image.new("RGB", SIZE).save(tmp_path / "alone.png")
    reasons = {problem.path: problem.reason for problem in opened(tmp_path).problems}
    assert reasons["alone.png"] == "no label file names this picture"
    assert "several label files" in reasons["twice.png"]


def test_a_copy_of_the_picture_in_the_label_is_noted(tmp_path: Path):
    add_labelme(tmp_path, "a.png", imageData="aaaa")
    assert any("imageData" in note for note in opened(tmp_path).notes)


def test_a_coco_data_set(tmp_path: Path):
    add_coco(tmp_path, ["a.png", "b.png"])
    found = opened(tmp_path)
    assert (found.format, found.documents) == ("COCO keypoints", ("annotations/hands.json",))
    assert (found.problems, found.notes) == ([], [])
    first, _ = found.pictures
    assert first.sources == {"source": "images/a.png"} and first.copied == {}
    assert first.points.names == tuple(POINTS)
    covered = first.points.covered(*SIZE)
    assert covered is not None and covered[40, 50] and not covered[2, 2]


def test_objects_of_a_coco_picture_have_points_of_their_own(tmp_path: Path):
    document = coco(["a.png"])
    hidden = {**document["annotations"][0], "id": 2, "keypoints": [40, 30, 1, 0, 0, 0]}
    crowd = {**hidden, "id": 3, "iscrowd": 1}
    hidden["segmentation"] = {"size": [80, 96], "counts": [80 * 96 - 3, 3]}
    document["annotations"] += [hidden, crowd]
    add_coco(tmp_path, ["a.png"], document)
    [picture] = opened(tmp_path).pictures
    assert picture.points.names == ("1: tip", "1: root", "2: tip")
    assert picture.points.visible.tolist() == [True, True, False]
    covered = picture.points.covered(*SIZE)
    assert covered is not None and covered[77:, -1].all()  # the runs go down the columns


def test_objects_without_a_labelled_point_do_not_number_the_others(tmp_path: Path):
    document = coco(["a.png"])
    first = document["annotations"][0]
    document["annotations"] += [{**first, "id": 2, "keypoints": [0] * 6}, {**first, "id": 3, "image_id": 99}]
    add_coco(tmp_path, ["a.png"], document)
    found = opened(tmp_path)
    assert found.pictures[0].points.names == ("tip", "root")
    assert [(problem.path, problem.reason) for problem in found.problems] == [("annotation 3", "there is no image 99")]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoints": [1, 2, 2]}, "keypoints are 3 numbers; its category has 2 points of 3 numbers each"),
        ({"keypoints": [1, 2, 2, 4, 5, 6]}, "v = 6; allowed are 0, 1, 2"),
        ({"keypoints": [1, "x", 2, 4, 5, 2]}, "'x' is not a number"),
        ({"keypoints": [900, 2, 2, 4, 5, 2]}, "outside the picture"),
        ({"iscrowd": "0"}, "iscrowd is '0'; allowed are 0 and 1"),
        ({"segmentation": {"size": [96, 80], "counts": [7000, 680]}}, "its picture's [height, width] is [80, 96]"),
        ({"segmentation": {"size": [80, 96], "counts": [7000.5, 679.5]}}, "a run of 7000.5 pixels"),
    ],
)
def test_a_bad_annotation_costs_its_picture_alone(tmp_path: Path, change: dict[str, object], reason: str):
    document = coco(["a.png", "b.png"])
    document["annotations"][1] |= change
    add_coco(tmp_path, ["a.png", "b.png"], document)
    found = opened(tmp_path)
    assert [picture.image for picture in found.pictures] == ["images/a.png"]
    [problem] = found.problems
    assert reason in problem.reason and problem.is_image


def test_names_are_printable_and_of_one_point_each(tmp_path: Path):
    shapes = labelme("a.png")["shapes"]
    add_labelme(tmp_path, "a.png", shapes=[{**shapes[0], "label": "tip (2)"}, shapes[0], shapes[0], shapes[1]])
    add_labelme(tmp_path, "b.png", 1, shapes=[{**shapes[0], "label": "\ud83d"}])
    found = opened(tmp_path)
    assert found.pictures[0].points.names == ("tip (2)", "tip", "tip (3)", "root")
    assert "not valid Unicode" in found.problems[0].reason


def test_a_coco_file_names_pictures_of_its_own_folder(tmp_path: Path):
    add_coco(tmp_path, ["a.png"])
    for split in ("train", "valid"):
        (tmp_path / split).mkdir()
        (tmp_path / split / "_annotations.coco.json").write_text(json.dumps(coco(["a.png", "b.png"])))
        Image.new("RGB", SIZE).save(tmp_path / split / "a.png")
    Image.new("RGB", SIZE).save(tmp_path / "train" / "b.png")
    found = opened(tmp_path)
    assert [picture.image for picture in found.pictures] == [
        "images/a.png",
        "train/a.png",
        "train/b.png",
        "valid/a.png",
    ]
    assert {picture.image: picture.label for picture in found.pictures}["train/b.png"] == "train/_annotations.coco.json"
    [problem] = found.problems
    assert problem.reason == "there is no such picture in 'valid'"


def test_a_picture_in_two_coco_files(tmp_path: Path):
    add_coco(tmp_path, ["a.png", "b.png"])
    other = coco(["a.png", "b.png"])
    other["annotations"][1]["keypoints"][0] += 3
    (tmp_path / "annotations" / "more.json").write_text(json.dumps(other))
    found = opened(tmp_path)
    assert [picture.image for picture in found.pictures] == ["images/a.png"]  # the same labels count once
    assert "several times, differently: annotations/hands.json and annotations/more.json" in found.problems[0].reason


def test_hostile_names_of_coco_pictures(tmp_path: Path):
    names = ["\ud800.png", "\x1b[31m.png", "../../etc/secret.png", "/etc/other.png"]
    add_coco(tmp_path, ["a.png"], coco(["a.png", *names]))
    document = json.loads((tmp_path / "annotations" / "hands.json").read_text())
    document["images"][4]["file_name"] = None
    (tmp_path / "annotations" / "hands.json").write_text(json.dumps(document), "utf-16")
    found = opened(tmp_path)
    assert [picture.image for picture in found.pictures] == ["images/a.png"]
    assert len({problem.path for problem in found.problems}) == 4
    for problem in found.problems:
        f"{problem.path} {problem.reason}".encode()
        assert (problem.path + problem.reason).isprintable()


def test_compressed_runs_of_coco(tmp_path: Path):
    # Three small numbers, one character each: the second and third column of a picture of 4 x 3.
    assert run_lengths("363", "x").tolist() == [3, 6, 3]
    covered = Runs(run_lengths("363", "x")).covered(4, 3)
    np.testing.assert_array_equal(covered, np.array([[False, True, True, False]] * 3))
    assert run_lengths("P1000O", "x").tolist() == [32, 0, 0, 0, -1]  # the last two are differences
    for text in ("P", "\x7f", "PPPPPPPPPPPPPPPP1"):
        with pytest.raises(LabelError, match="compressed runs"):
            run_lengths(text, "x")


def test_stray_polygons_cover_nothing(tmp_path: Path):
    shapes = labelme("a.png")["shapes"]
    add_labelme(tmp_path, "a.png", shapes=[*shapes, {"label": "x", "points": [[1, 2]], "shape_type": "polygon"}])
    document = coco(["b.png"])
    document["annotations"][0]["segmentation"].append([1, 2, 3, 4])
    assert len(opened(tmp_path).pictures[0].points.outlines) == 1
    add_coco(tmp_path / "coco", ["b.png"], document)
    assert len(opened(tmp_path / "coco").pictures[0].points.outlines) == 1


def test_pictures_of_one_stem_have_masks_of_their_own(tmp_path: Path):
    add_labelme(tmp_path, "a.png")
    Image.new("RGB", SIZE).save(tmp_path / "a.jpg")
    (tmp_path / "other.json").write_text(json.dumps(labelme("a.jpg")))
    (tmp_path / "masks").mkdir()
    for name in ("a.png", "a.jpg.PNG"):
        Image.new("L", SIZE, 255).save(tmp_path / "masks" / name)
    assert {p.image: p.mask for p in opened(tmp_path).pictures} == {"a.jpg": "masks/a.jpg.PNG", "a.png": None}


def test_pictures_without_keypoints_are_counted(tmp_path: Path):
    document = coco(["a.png", "b.png"])
    del document["annotations"][1]
    add_coco(tmp_path, ["a.png", "b.png"], document)
    Image.new("RGB", SIZE).save(tmp_path / "images" / "more.png")
    (tmp_path / "annotations" / "captions.json").write_text(json.dumps({"images": [], "annotations": []}))
    found = opened(tmp_path)
    assert len(found.pictures) == 1
    assert found.notes == [
        "1 pictures have no labelled keypoint and are left out",
        "1 pictures are in no COCO file and are left out",
    ]
    assert [problem.path for problem in found.problems] == ["annotations/captions.json"]


def test_a_coco_file_without_keypoints_is_refused(tmp_path: Path):
    add_coco(tmp_path, ["a.png"], coco(["a.png"], categories=[{"id": 1, "name": "cat"}]))
    with pytest.raises(LabelError, match="has a category with keypoints"):
        open_keypoints(tmp_path)


def test_acusim_stays_the_default(tmp_path: Path):
    add_sample(tmp_path / "acusim", "F_Brisen_F_HA_C_0001")
    add_labelme(tmp_path / "labelme", "a.png")
    assert isinstance(open_any(tmp_path / "acusim"), Dataset)
    assert isinstance(open_any(tmp_path / "labelme"), KeypointSet)
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match="nor does it hold labelme or COCO files"):
        open_any(tmp_path / "empty")
    with pytest.raises(LayoutError, match="give the folder"):
        open_any(tmp_path / "labelme" / "a.json")
    (tmp_path / "empty" / "a.json").write_text('{"shapes": [], "imagePath": 5}')
    with pytest.raises(LayoutError, match=r"labelme or COCO files, such as a\.json: .*imagePath"):
        open_any(tmp_path / "empty")


def test_many_other_files_are_not_all_read(tmp_path: Path):
    for number in range(105):
        (tmp_path / f"{number:03d}.json").write_text("{}")
    add_labelme(tmp_path, "z.png")
    assert open_keypoints(tmp_path) is None
