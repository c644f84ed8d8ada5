"""Sample IDs, acupoints, rig and labels against real AcuSim files and hand-computed answers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from acusim import acupoints, labels, rig
from acusim.errors import ConfigError, LabelError, SampleIdError
from acusim.sample_id import SampleId

REAL_LABELS = sorted((Path(__file__).parents[1] / "data" / "acusim").glob("*.json"))
TRUE_DEPTH_FRAMES = (1, 19, 55, 91, 127)


@pytest.mark.parametrize(
    ("stem", "expected"),
    [
        ("F_Brisen_F_HA_C_0141", SampleId("F", "Brisen", "F", "HA", "C", 141)),
        ("M_Asher_N_HD_0001", SampleId("M", "Asher", "N", "HD", None, 1)),
        ("F_王 小明_S_HB_O_0144", SampleId("F", "王 小明", "S", "HB", "O", 144)),
        ("M_van_der_Berg_N_HC_C_0030", SampleId("M", "van_der_Berg", "N", "HC", "C", 30)),
        ("M_N_N_C_O_0001", SampleId("M", "N", "N", "C", "O", 1)),  # size N, hair C, eye O
        ("M_Ann_S_C_0001", SampleId("M", "Ann", "S", "C", None, 1)),  # a hair code that looks like an eye state
    ],
)
def test_sample_id_parses_and_formats(stem: str, expected: SampleId):
    assert SampleId.parse(stem) == expected
    assert str(expected) == stem


@pytest.mark.parametrize(
    ("stem", "named"),
    [
        ("X_Asher_N_HD_0001", "'X'"),
        ("m_Asher_N_HD_0001", "'m'"),
        ("M_Asher_Q_HD_0001", "'Q'"),
        ("M_Asher_Q_HD_O_0001", "'Q'"),
        ("M_Asher_N_HD_0145", "'0145'"),
        ("M_Asher_N_HD_0000", "'0000'"),
        ("M_Asher_N_HD_1", "'1'"),
        ("M_Asher_N_HD_٠٠٠١", "0001..0144"),  # digits, but not ASCII
        ("M_Asher_N_H-D_0001", "'H-D'"),
        ("M__N_HD_0001", "name"),
        ("M_As/her_N_HD_0001", "name"),
        ("Asher", "1 parts"),
        ("", "1 parts"),
    ],
)
def test_sample_id_refusal_names_the_part(stem: str, named: str):
    with pytest.raises(SampleIdError, match="sample ID") as error:
        SampleId.parse(stem)
    assert named in str(error.value)


def test_table_has_nine_contiguous_meridians():
    counts = {"LI": 10, "ST": 20, "SI": 12, "BL": 22, "SJ": 18, "GB": 42, "EX": 31, "RN": 2, "DU": 17}
    assert len(acupoints.NAMES) == len(set(acupoints.NAMES)) == 174
    start = 0
    for meridian, count in counts.items():
        part = acupoints.ACUPOINTS[acupoints.meridian_slice(meridian)]
        assert [p.index for p in part] == list(range(start, start + count))
        assert [p.local_index for p in part] == list(range(count))
        start += count
    assert acupoints.NAMES[9] == "LI120_迎香_left"  # misspelt in the dataset, and so here
    assert acupoints.MAP_TXT.decode().splitlines() == list(acupoints.NAMES)
    assert {acupoints.NAMES[i] for i in np.flatnonzero(acupoints.INNER)} >= {"EX-HN10_聚泉", "DU28_龈交"}
    with pytest.raises(LabelError, match="LI120_迎香_left"):
        acupoints.index_of("LI20_迎香_left")


def test_sides_and_symmetry():
    """The subject's left is +x; each left point has its mirror image at the right."""
    xyz = acupoints.positions_mm()
    for point in acupoints.ACUPOINTS:
        if point.side == "left":
            twin = acupoints.index_of(point.name.removesuffix("left") + "right")
            assert xyz[point.index, 0] > 0 > xyz[twin, 0]
            assert np.allclose(xyz[point.index] * [-1, 1, 1], xyz[twin], atol=0.01)


@pytest.mark.parametrize("path", REAL_LABELS, ids=lambda path: path.stem)
def test_table_and_rig_reproduce_a_real_label(path: Path):
    """Real x, y are cut down to a grid of 1/2048, so each axis is up to 1.5 px too small and never too large."""
    label = labels.read_label(path)
    frame = SampleId.parse(path.stem).frame
    xy, depth = rig.project(acupoints.positions_mm(), frame, 2048)
    error = (label.xy * 2048 - xy)[label.listed]
    assert label.listed.sum() > 3
    assert np.abs(error).max() < 1.5
    assert np.abs(error + 0.75).max() < 0.77
    cosine = acupoints.normals() @ rig.camera(frame).forward
    assert np.abs(label.n - cosine)[label.listed].max() < 1e-5
    if frame in TRUE_DEPTH_FRAMES:
        assert np.abs(label.h_m * 1000 - depth)[label.listed].max() < 0.01
    else:
        assert np.abs(label.h_m * 1000 - depth)[label.listed].max() > 5  # the released files' wrong column


def test_rig_known_answers():
    assert len(rig.KEPT_FRAMES) == 45
    assert rig.KEPT_FRAMES[:12] == (*range(1, 12), 30)
    # The authors' camera of frame 38, as they place it in Blender.
    assert np.allclose(rig.camera(38).center_mm, [131.178612, -743.950879, 431.71542], atol=1e-5)
    assert np.allclose(rig.camera(109).center_mm, [0, -751.590281, -438.361713], atol=1e-5)
    for frame in rig.FRAMES:
        rotation = rig.camera(frame).R
        assert np.allclose(rotation @ rotation.T, np.eye(3)) and math.isclose(np.linalg.det(rotation), 1)
    # A pixel at the nose tip (DU25) of frame 1 spans 0.5405 mm at 512.
    _, depth = rig.project(acupoints.positions_mm()[[acupoints.index_of("DU25_素髎")]], 1, 512)
    assert math.isclose(rig.mm_per_px(depth, 512)[0], 0.5405, abs_tol=5e-5)


def test_parse_frames():
    assert rig.parse_frames("1,2,5-7") == (1, 2, 5, 6, 7)
    assert rig.parse_frames("7-7, 3") == (3, 7)
    assert rig.parse_frames("kept") == rig.KEPT_FRAMES
    assert rig.parse_frames("all") == tuple(range(1, 145))
    for bad in ("", "0", "145", "9-5", "a", "1-", "-3", "1,,2", "²"):
        with pytest.raises(ConfigError):
            rig.parse_frames(bad)


def test_label_round_trip():
    original = labels.read_label(REAL_LABELS[0])
    again = labels.parse_label(labels.dump_label(original))
    for field in ("xy", "n", "h_m", "listed"):
        assert np.array_equal(getattr(original, field), getattr(again, field), equal_nan=True)
    filled = original.with_sentinel()
    assert filled.shape == (174, 3) and (filled[~original.listed] == (0, 0, 0.5)).all()


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
