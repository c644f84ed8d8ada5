"""The comparison with a face mesh, by a predictor with known offsets and a mesh of known places."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from experiments.photographs import CUN, compare, drawn, expected_px, face_mesh, main, photographs, summary
from training.data.photographs import Square
from training.inference.face_crop import Framing
from training.inference.model import PredictedPoints
from training.inference.point_names import HEAD_POINTS


def _mesh(turn: float = 0.0) -> np.ndarray:
    """A face whose eyes are 100 pixels apart, rotated clockwise; marks that are not named here are far away."""
    places = {
        33: (120, 100), 133: (180, 100), 362: (220, 100), 263: (280, 100),
        61: (170, 220), 291: (230, 220), 4: (200, 160),
        107: (180, 78), 55: (180, 82), 336: (220, 78), 285: (220, 82), 70: (110, 78), 46: (110, 82), 300: (290, 78),
        276: (290, 82),
    }  # fmt: skip
    mesh = np.full((468, 2), -1e6)
    for index, place in places.items():
        mesh[index] = place
    angle = np.radians(turn)
    return mesh @ np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])


def _found(places: dict[str, np.ndarray]) -> PredictedPoints:
    names = [point.name for point in HEAD_POINTS]
    xy = np.full((174, 2), 1e5)
    for name, place in places.items():
        xy[names.index(name)] = place
    seen = np.ones(174)
    seen[names.index("SJ23_丝竹空_left")] = 0.1
    return PredictedPoints(HEAD_POINTS, xy, seen, seen > 0.5)


@pytest.mark.parametrize("turn", [0.0, 30.0, -120.0])
def test_known_offsets_are_measured_in_percent_of_the_eyes_distance(turn: float):
    mesh = _mesh(turn)
    move = np.array([3.0, -4.0])
    rows = compare(_found({name: place + move for name, (_, _, place) in expected_px(mesh).items()}), mesh)
    assert len(rows) == 11 and len({row.name for row in rows}) == 11
    assert [row.at_point for row in rows] == pytest.approx([5.0] * 11)
    assert [row.name for row in rows if not row.visible] == ["SJ23_丝竹空_left"]
    marks = {
        row.name: row.at_mark for row in compare(_found({n: m for n, (_, m, _) in expected_px(mesh).items()}), mesh)
    }
    assert list(marks.values()) == pytest.approx([0.0] * 11)


def test_offsets_go_outwards_and_upwards():
    places = {name: (place - mark).tolist() for name, (_, mark, place) in expected_px(_mesh()).items()}
    cun = 100 * CUN
    assert places["GB1_瞳子髎_right"] == pytest.approx([-0.5 * cun, 0])
    assert places["GB1_瞳子髎_left"] == pytest.approx([0.5 * cun, 0])
    assert places["BL1_睛明_left"] == pytest.approx([0, -0.1 * cun])
    assert places["DU25_素髎"] == pytest.approx([0, 0])


def test_the_table_ends_with_median_and_largest():
    mesh = _mesh()
    places = {name: place for name, (_, _, place) in expected_px(mesh).items()}
    places["DU25_素髎"] = places["DU25_素髎"] + (0, 12)
    lines = summary(compare(_found(places), mesh)).splitlines()
    assert lines[-2].startswith("| **median** |") and lines[-2].endswith("| 0.0 |")
    assert lines[-1].startswith("| **largest** |") and lines[-1].endswith("| 12.0 |")


def test_the_astronaut_without_network():
    """The real mesh on the real photograph: a predictor that answers with its marks is at them, also in the picture."""
    [(name, pixels)] = photographs([]).items()
    mesh = face_mesh(pixels)
    assert name == "astronaut" and mesh.shape[0] >= 468
    assert mesh[[33, 263]] == pytest.approx(np.array([(204, 111), (248, 108)]), abs=12)
    found = _found({name: place for name, (_, _, place) in expected_px(mesh).items()})
    assert max(row.at_point for row in compare(found, mesh)) == pytest.approx(0, abs=1e-9)
    assert drawn(pixels, found, mesh).shape[1] == 1024


def test_the_command_writes_table_and_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    class Model:
        def predict(self, pixels: np.ndarray) -> PredictedPoints:
            mesh = face_mesh(pixels)
            found = _found({name: place for name, (_, _, place) in expected_px(mesh).items()})
            return dataclasses.replace(found, framing=Framing("no_face", Square(0, 0, 512)))

    monkeypatch.setattr("training.load_model", lambda run, **how: Model())
    Image.fromarray(photographs([])["astronaut"]).save(tmp_path / "me.png")
    main(["RUN", "--photo", str(tmp_path / "me.png"), "--out", str(tmp_path / "out")])
    text = (tmp_path / "out" / "photographs.md").read_text()
    assert text.strip() == capsys.readouterr().out.strip()
    assert text.startswith("me, 512 x 512; seen: the whole picture: no face found\n") and text.count("| 0.0 |") >= 12
    assert Image.open(tmp_path / "out" / "me.jpg").width == 1024
