"""From another program's COCO file to a trained model: what ``coco import`` writes, ``train`` reads."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.training.spots import PEOPLE, SETTINGS, add_hand, tiny_networks
from training.cli import main as cli
from training.data.hand_dataset import read_hands
from training.history import History
from training.tasks.hand_points import read_points


@pytest.fixture(autouse=True, scope="module")
def tiny() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch, tiny_networks():
        patch.setattr(History, "_curves", lambda *_: b"")
        yield


IMAGES_OF = (
    "D:\\hands\\{}.png",
    "{}.PNG",
    "images/{}.png",
    "images\\{}.png",
    "..\\{}.png",
    "/home/me/{}.png",
    "{}.png",
)
"""How programs name a picture that lies in ``images/``."""


@pytest.fixture
def odd(tmp_path: Path) -> tuple[Path, Path, dict[str, np.ndarray]]:
    """Pictures without labels, an odd COCO file of them, and their points in its order."""
    root, ids = tmp_path / "hands", read_points().ids
    document: dict[str, Any] = {"images": [], "annotations": [], "categories": [{"id": "1", "name": "Hand"}]}
    order = list(reversed(range(len(ids))))
    document["categories"][0]["keypoints"] = [ids[index].lower() for index in order]
    truth: dict[str, np.ndarray] = {}
    for number, stem in enumerate(PEOPLE):
        truth[stem] = add_hand(root / "images", stem, number)
        (root / "images" / f"{stem}.json").unlink()
        name = IMAGES_OF[number % len(IMAGES_OF)].format(stem)
        document["images"].append({"id": str(number), "file_name": name, "width": 40.0, "height": 50.0})
        keypoints = [value for x, y in truth[stem][order] for value in (x, y, 2)]
        good = {"image_id": float(number), "category_id": 1, "keypoints": keypoints, "num_keypoints": 3}
        crowd = {"image_id": number, "category_id": 1, "iscrowd": 1, "segmentation": {"counts": [9], "size": [50, 40]}}
        empty = {"image_id": number, "category_id": 1.0, "keypoints": [0] * 21}
        document["annotations"] += [[good], [crowd, good], [good, empty]][number % 3]
    document["annotations"][0]["keypoints"][0:2] = [-0.3, 50.4]
    truth[PEOPLE[0]][order[0]] = 0, 50
    path = tmp_path / "odd.json"
    path.write_bytes(json.dumps(document).encode("utf-16"))
    return root, path, truth


def test_what_import_writes_train_reads(odd: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    root, path, truth = odd
    assert cli.main(["coco", "import", str(path), "--kind", "hand", "--out", str(root)]) == cli.OK
    output = capsys.readouterr().err
    notes = [line for line in output.splitlines() if "note: " in line]
    for words, count in (
        ("paths to another place", 4),
        ("moved to its edge", 1),
        ("the one of that name", 7),
        ("without regard to case", 0),
        ("annotations of crowds", 3),
        ("without a labelled keypoint", 3),
        ("num_keypoints was wrong", 10),
        ("the category has another name", 1),
        ("keypoints have other names", 7),
    ):
        found = [note for note in notes if words in note]
        assert len(found) == (count > 0) and all(f"({count}): " in note for note in found), (words, notes)
    assert f"10 labels in {root}" in output and "skipped" not in output
    data = read_hands(root)
    assert not data.problems and not data.changes and not data.notes
    assert [Path(record.image).stem for record in data.records] == sorted(truth)
    for record, xy in zip(data.records, data.xy, strict=True):
        np.testing.assert_allclose(xy, truth[Path(record.image).stem], rtol=0, atol=1e-9)
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    where = ["--cache", str(tmp_path / "cache"), "--workers", "1", "--device", "cpu", "--quiet"]
    train = ["train", "--config", "hand_simplebaseline", "--data", str(root), "--out", str(tmp_path / "run")]
    assert cli.main([*train, *where, *settings]) == cli.OK
    document = json.loads((tmp_path / "run" / "data.json").read_text())
    assert sum(document["pictures"].values()) == 10 and document["problems"] == document["changes"] == []
    assert cli.main(["coco", "import", str(path), "--kind", "hand", "--out", str(root)]) == cli.OK, (
        "again is no conflict"
    )


def test_import_before_the_pictures_are_there(odd: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, path, _ = odd
    assert cli.main(["coco", "import", str(path), "--kind", "hand", "--out", str(tmp_path / "new")]) == cli.OK
    assert "10 labels" in capsys.readouterr().err
    written = sorted(found.relative_to(tmp_path / "new").as_posix() for found in (tmp_path / "new").rglob("*.json"))
    assert len(written) == 10 and all(name.removeprefix("images/").count("/") == 0 for name in written)


def test_changes_of_labelme_files_are_reported_and_kept_with_the_run(
    odd: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root, path, _ = odd
    assert cli.main(["coco", "import", str(path), "--kind", "hand", "--out", str(root)]) == cli.OK
    label = root / "images" / f"{PEOPLE[1]}.json"
    document = json.loads(label.read_text())
    document["imagePath"] = f"D:\\{PEOPLE[1]}.PNG"
    label.write_bytes(b"\xef\xbb\xbf" + json.dumps(document).encode())
    capsys.readouterr()
    assert (
        cli.main(["coco", "export", "--data", str(root), "--out", str(tmp_path / "o.json"), "--kind", "hand"]) == cli.OK
    )
    assert "note: paths to another place" in capsys.readouterr().err
    settings = [word for setting in SETTINGS for word in ("--set", setting)]
    where = ["--cache", str(tmp_path / "cache"), "--workers", "1", "--device", "cpu", "--quiet"]
    train = ["train", "--config", "hand_simplebaseline", "--data", str(root), "--out", str(tmp_path / "run")]
    assert cli.main([*train, *where, *settings]) == cli.OK
    (change,) = json.loads((tmp_path / "run" / "data.json").read_text())["changes"]
    assert change["path"] == f"images/{PEOPLE[1]}.json" and f"D:\\\\{PEOPLE[1]}.PNG" in change["how"]
