"""Label files: real ones, round trips, and refusals."""

import json
from pathlib import Path

import numpy as np
import pytest

from acusim import labels
from acusim.errors import LabelError

REAL_LABELS = sorted((Path(__file__).parents[1] / "data" / "acusim").glob("*.json"))


def test_label_round_trip():
    original = labels.read_label(REAL_LABELS[0])
    again = labels.parse_label(labels.dump_label(original))
    for field in ("xy", "n", "h_m", "listed"):
        assert np.array_equal(getattr(original, field), getattr(again, field), equal_nan=True)


def _entry(name: str = "DU25_素髎", **change: object) -> dict[str, object]:
    return {"name": name, "coordinate": {"x": 0.5, "y": 0.5, "n": -1.0, "h": 0.8, **change}}


def _with_camera(**change: object) -> dict[str, object]:
    camera = {"focal": 3, "rotation": [[1, 0, 0], [0, 0, -1], [0, 1, 0]], "translation_mm": [0, 0, 900.5]}
    return {"label": [_entry()], "camera": {**camera, **change}}


def test_a_label_may_carry_its_camera():
    label = labels.parse_label(json.dumps(_with_camera()).encode())
    assert label.camera is not None and label.listed.sum() == 1
    assert label.camera.focal == 3 and label.camera.R[1].tolist() == [0, 0, -1]
    assert label.camera.t_mm.tolist() == [0, 0, 900.5] and label.camera.elevation_deg == 0
    data = labels.dump_label(label)
    assert json.loads(data)["camera"] == _with_camera()["camera"]
    again = labels.parse_label(data)
    assert again.camera is not None and np.array_equal(again.camera.R, label.camera.R)


def test_a_label_without_a_camera_is_written_without_the_key():
    label = labels.read_label(REAL_LABELS[0])
    assert label.camera is None and list(json.loads(labels.dump_label(label))) == ["label"]


@pytest.mark.parametrize(
    ("document", "named"),
    [
        (b"{", "not a JSON file"),
        (b"\xff\xfe", "not a JSON file"),
        (b"[" * 100_000, "not a JSON file"),
        (b"[]", "label"),
        ({"label": {}}, "label"),
        ({"label": [3]}, "entry 0"),
        ({"label": [_entry("DU25_素廖")]}, "DU25_素髎"),
        ({"label": [_entry(), _entry()]}, "twice"),
        ({"label": [_entry(x=1.2)]}, "x = 1.2"),
        ({"label": [_entry(y=-0.2)]}, "y = -0.2"),
        ({"label": [_entry(n=2)]}, "n = 2"),
        ({"label": [_entry(h=-1)]}, "h = -1"),
        ({"label": [_entry(x=float("nan"))]}, "x = nan"),
        ({"label": [_entry(x="0.5")]}, "'0.5'"),
        ({"label": [_entry(x=True)]}, "True"),
        ({"label": [_entry(x=None)]}, "None"),
        ({"label": [{"name": "DU25_素髎"}]}, "coordinate"),
        ({"label": [], "camera": None}, "camera is None"),
        ({"label": [], "camera": {"focal": 3}}, "focal, rotation, translation_mm"),
        (_with_camera(focal="3"), "focal holds '3'"),
        (_with_camera(focal=0.1), "focal = 0.1"),
        (_with_camera(focal=True), "True"),
        (_with_camera(focal=float("inf")), "inf"),
        (_with_camera(rotation=[[1, 0, 0], [0, 1, 0]]), "3 rows"),
        (_with_camera(rotation=[[1, 0, 0], [0, 1, 0], [0, 1]]), "rotation row 2"),
        (_with_camera(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, 1.01]]), "orthonormal"),
        (_with_camera(rotation=[[1, 0, 0], [0, 1, 0], [0, 0, -1]]), "determinant -1"),
        (_with_camera(translation_mm=[0, 0, float("nan")]), "nan"),
        (_with_camera(translation_mm=[0, 0, 1e300]), "1e+300"),
        (_with_camera(translation_mm=[0, 0, 3]), "3 mm from the origin"),
    ],
)
def test_label_refusal_names_the_fault(document: object, named: str, tmp_path: Path):
    path = tmp_path / "M_A_N_HA_0001.json"
    path.write_bytes(document if isinstance(document, bytes) else json.dumps(document).encode())
    with pytest.raises(LabelError) as error:
        labels.read_label(path)
    assert named in str(error.value) and path.name in str(error.value)


def test_real_labels_may_overshoot_the_edge_a_little():
    """Frame 11 of Asher lists a point at y = 1.00146."""
    label = labels.parse_label(json.dumps({"label": [_entry(y=1.00146484375)]}).encode())
    assert label.listed.sum() == 1
