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
