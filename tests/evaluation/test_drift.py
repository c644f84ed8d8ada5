"""The protocol, by hand and by the detector."""

from pathlib import Path

import numpy as np
import pytest

from acusim.pictures import read_rgb
from evaluation.drift import KEYPOINTS, NO_FACE, Face, azimuth_deg, is_trusted_view, pair_drift
from evaluation.landmarks import FACE_OVAL, Detector, face_of
from evaluation.plots import drift_plot
from evaluation.reference import mm_per_px
from evaluation.warps import shifted


def _face(dx: float = 0.0, width: float = 200.0, missing: int = 0) -> Face:
    points = np.arange(16.0).reshape(8, 2) * 10 + (dx, 0)
    points[:missing] = np.nan
    return Face(points, width)


def test_a_copy_does_not_drift():
    got = pair_drift(_face(), _face())
    assert got.discard is None and got.distance_px.tolist() == [0.0] * 8


def test_distance_is_euclidean():
    moved = Face(_face().keypoints_px + np.array([3.0, -4.0]), 200)  # type: ignore[operator]
    got = pair_drift(_face(), moved)
    assert got.shift_px.tolist() == [[3, -4]] * 8 and got.distance_px.tolist() == [5] * 8


@pytest.mark.parametrize(
    ("original", "augmented", "reason"),
    [
        (NO_FACE, _face(), "no face in the original"),
        (_face(), NO_FACE, "no face in the augmented picture"),
        (_face(), _face(width=79.9), "face narrower than 80 px"),
        (_face(width=79.9), _face(), "face narrower than 80 px"),
        (_face(missing=3), _face(), "fewer than 6 of 8 keypoints"),
        (_face(missing=1), Face(_face(missing=0).keypoints_px[::-1] * np.nan, 200), "fewer than 6 of 8 keypoints"),  # type: ignore[index]
    ],
)
def test_discards(original: Face, augmented: Face, reason: str):
    got = pair_drift(original, augmented)
    assert got.discard == reason and np.isnan(got.distance_px).all()


def test_six_keypoints_are_enough():
    got = pair_drift(_face(missing=2), _face())
    assert got.discard is None and np.isnan(got.distance_px).sum() == 2


def test_keypoints_and_width_come_from_the_right_landmarks():
    marks = np.zeros((478, 2))
    for index, place in {263: 1, 33: 2, 362: 3, 133: 5, 291: 6, 61: 7, 0: 8}.items():
        marks[index] = (place, 10 * place)
    marks[list(FACE_OVAL), 0] = np.linspace(20, 140, 36)
    face = face_of(marks, 512, 512)
    assert face.keypoints_px is not None and face.keypoints_px[:, 0].tolist() == [1, 2, 3, 5, 6, 7, 8, 4]
    assert face.width_px == 120 and len(set(FACE_OVAL)) == 36 and len(KEYPOINTS) == 8


def test_landmarks_outside_the_picture_are_not_found():
    marks = np.full((478, 2), 50.0)
    marks[362] = (-1, 50)
    face = face_of(marks, 100, 100)
    assert face.keypoints_px is not None
    assert np.isnan(face.keypoints_px).any(1).tolist() == [False, False, True, False, False, False, False, True]


def test_faces_survive_the_store():
    face = _face(missing=1)
    again = Face.from_json(face.as_json())
    np.testing.assert_allclose(again.keypoints_px, face.keypoints_px)  # type: ignore[arg-type]
    assert again.width_px == face.width_px and Face.from_json(NO_FACE.as_json()) is NO_FACE


def test_views_and_millimetres():
    assert mm_per_px(512) == pytest.approx(0.5405, abs=1e-4) and mm_per_px(256) == pytest.approx(1.081, abs=2e-4)
    assert [azimuth_deg(frame) for frame in (1, 10, 19, 34)] == [0, 90, -180, -30]
    assert is_trusted_view(1) and is_trusted_view(34) and is_trusted_view(109)
    assert not is_trusted_view(19) and not is_trusted_view(73) and not is_trusted_view(7)


def test_the_detector_sees_a_shift_of_four_pixels(heads: Path):
    pixels = read_rgb(next((heads / "train/image/img_256").glob("*_0001.png"))).pixels
    large = np.ascontiguousarray(pixels.repeat(2, axis=0).repeat(2, axis=1))
    with Detector() as detector:
        still, again, moved = (detector.find(p) for p in (large, large.copy(), shifted(large, 4, 0)))
        nothing = detector.find(np.zeros_like(large))
    assert pair_drift(still, again).distance_px.max() == 0
    drift = pair_drift(still, moved)
    assert drift.discard is None
    # The detector's own noise is a pixel or two; its median over the keypoints is what it can be held to.
    assert np.median(drift.shift_px[:, 0]) == pytest.approx(4, abs=1.0)
    assert np.median(drift.distance_px) == pytest.approx(4, abs=1.0)
    assert pair_drift(still, nothing).discard == "no face in the augmented picture"


def test_the_plot_of_a_single_person_has_no_intervals():
    alone = {"value": 1.0, "low": None, "high": None}
    row = {"count": 1, "median": alone, "p95": alone}
    names = (*KEYPOINTS, "all keypoints")
    drawn = drift_plot({"px_trusted_views": dict.fromkeys(names, row), "null": {}, "verdicts": []})
    assert drawn is not None and drawn.startswith(b"\x89PNG")
