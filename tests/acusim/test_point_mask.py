"""Point masks: what is written is what is read, and nothing else is."""

import json
from pathlib import Path

import numpy as np
import pytest

from acusim import acupoints
from acusim.errors import LabelError
from acusim.point_mask import PointMask, dump_point_mask, mask_path, parse_point_mask, read_point_mask


def _mask() -> PointMask:
    count = acupoints.COUNT
    listed = np.zeros(count, bool)
    listed[[0, 5, 173]] = True
    displacement, pixels = np.full((count, 2), np.nan), np.full(count, np.nan)
    displacement[[0, 5]] = [(0.5, -1.25), (0, 0)]
    pixels[[0, 5, 173]] = (2.0, 1.0, np.inf)
    trusted = np.zeros(count, bool)
    trusted[[0, 5]] = True
    return PointMask(
        "train/image/img_512/x.png", "ab", True, "", 5.0, listed, displacement, pixels, pixels / 2, trusted
    )


def test_round_trip():
    mask = _mask()
    again = parse_point_mask(dump_point_mask(mask))
    for name in ("image", "image_sha256", "accept", "reason", "tolerance_mm"):
        assert getattr(again, name) == getattr(mask, name)
    for name in ("listed", "displacement_px", "excluded_px", "excluded_mm", "trusted"):
        np.testing.assert_array_equal(getattr(again, name), getattr(mask, name))
    assert dump_point_mask(again) == dump_point_mask(mask)


def test_names_are_the_labels():
    document = json.loads(dump_point_mask(_mask()))
    assert [point["name"] for point in document["points"]] == [acupoints.NAMES[row] for row in (0, 5, 173)]
    assert document["points"][2] == {
        "name": acupoints.NAMES[173],
        "displacement_px": [None, None],
        "excluded_px": None,
        "excluded_mm": None,
        "trusted": False,
    }
    assert mask_path("train/image/img_512/a.b.png") == "train/label/mask/a.b.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format=2), "not a point mask of format 1"),
        (lambda d: d.update(points=3), "points = 3 is not of type list"),
        (lambda d: d["points"][0].update(name="LI99"), "not one of AcuSim's 174 names"),
        (lambda d: d["points"].append(d["points"][0]), "occurs twice"),
        (lambda d: d["points"][0].update(trusted=1), "trusted = 1 is not of type bool"),
        (lambda d: d["points"][0].update(displacement_px=[1]), "is not a pair"),
        (lambda d: d["points"][0].update(excluded_px="far"), "'far' is not a number"),
        (lambda d: d["points"].append("x"), "a point has no name"),
        (lambda d: d.pop("accept"), "accept = None"),
    ],
)
def test_damaged_masks_are_reported(change: object, message: str):
    document = json.loads(dump_point_mask(_mask()))
    change(document)  # type: ignore[operator]
    with pytest.raises(LabelError, match=message):
        parse_point_mask(json.dumps(document).encode())


def test_files(tmp_path: Path):
    path = tmp_path / "x.json"
    with pytest.raises(LabelError, match=r"'x\.json': not a regular file"):
        read_point_mask(path)
    path.write_bytes(b"\xff{")
    with pytest.raises(LabelError, match="not a JSON file"):
        read_point_mask(path)
    path.write_bytes(dump_point_mask(_mask()))
    assert read_point_mask(path).listed.sum() == 3
