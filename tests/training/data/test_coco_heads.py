"""Heads labelled by another program: what ``coco import`` writes, training reads."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from training.cli import main as cli
from training.data.records import HeadData


def test_an_odd_coco_file_becomes_labels_that_training_reads(
    heads: Callable[..., Path], read: Callable[..., HeadData], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = heads()
    before = read(root)
    path = tmp_path / "odd.json"
    assert cli.main(["coco", "export", "--data", str(root), "--out", str(path)]) == cli.OK
    assert "note" not in capsys.readouterr().err
    document = json.loads(path.read_text())
    document["categories"][0]["id"] = "1"
    for number, image in enumerate(document["images"]):
        name = image["file_name"]
        image["file_name"] = ("D:\\AcuSim\\" + name.replace("/", "\\"), Path(name).name, f"/data/{name}")[number % 3]
        image |= {"width": float(image["width"]), "id": float(image["id"])}
        crowd = {"image_id": image["id"], "category_id": 1, "iscrowd": 1, "segmentation": {"counts": []}}
        document["annotations"].append(crowd)
        document["annotations"][number]["num_keypoints"] = 174
        del document["annotations"][number]["acusim"]
    path.write_bytes(json.dumps(document).encode("utf-16"))
    shutil.rmtree(root / "train" / "label")
    assert cli.main(["coco", "import", str(path), "--out", str(root)]) == cli.OK
    output = capsys.readouterr().err
    count = len(document["images"])
    for words in ("annotations of crowds were omitted", "num_keypoints was wrong"):
        assert f"note: {words}" in output and f"({count}): " in output
    assert "paths to another place" in output and "skipped" not in output
    after = read(root)
    assert not after.problems and [record.image for record in after.records] == [r.image for r in before.records]
    np.testing.assert_array_equal(after.targets.visible, before.targets.visible)
    np.testing.assert_allclose(after.targets.xy, before.targets.xy, rtol=0, atol=1e-6)


def test_a_map_in_utf16_is_read(heads: Callable[..., Path], read: Callable[..., HeadData]) -> None:
    root = heads()
    names = (root / "map.txt").read_text(encoding="utf-8")
    (root / "map.txt").write_bytes(names.encode("utf-16"))
    assert not [note for note in read(root).notes if "map.txt" in note]
    (root / "map.txt").write_bytes(names.encode("gbk"))
    (note,) = [note for note in read(root).notes if "map.txt" in note]
    assert "which is not UTF-8" in note and "GBK" in note and "labels are read by name" in note
