"""Which square of a photograph is seen, and that it always is stated."""

import dataclasses
import sys

import numpy as np
import pytest

from acusim.errors import ConfigError, PictureError
from tests.training.tiny_model import Brightest
from training.data.photographs import Square, whole_square
from training.inference.drawing import _disc
from training.inference.face_crop import NOSE_UP, SIDE, UP, FaceCropper, head_square
from training.inference.faces import Face
from training.inference.model import Model, hand_model, head_model
from training.inference.predictors import Prediction, head_predictor
from training.settings import Crop
from training.tasks.hand_points import read_points


def _face(x: float, y: float, side: float, turn: float = 0.0, scale: float = 1.0) -> Face:
    """A frontal face about the centre of its box, rotated clockwise by some degrees."""
    angle = np.radians(turn)
    rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    marks = np.array([(-0.2, -0.2), (0.2, -0.2), (0, 0), (0, 0.25), (-0.45, -0.1), (0.45, -0.1)])
    return Face(0.9, np.array([x, y]), side * scale, np.array([x, y]) + side * marks @ rotation.T)


class _Finds:
    def __init__(self, *faces: Face):
        self.faces = list(faces)

    def find(self, pixels: np.ndarray) -> list[Face]:
        return self.faces


WIDE = np.zeros((300, 400, 3), np.uint8)


def test_a_frontal_face_is_framed_as_the_constants_say():
    square = head_square(_face(200, 150, 50), 400)
    assert square == Square(round(200 - SIDE * 25), round(150 - UP * 50 - SIDE * 25), round(SIDE * 50))
    looks_up = _face(200, 150, 50)
    looks_up.marks[2, 1] -= 5
    assert head_square(looks_up, 400).top - square.top == pytest.approx(-NOSE_UP * 5, abs=1)


@pytest.mark.parametrize("turn", [-90, -30, 30, 90, 180])
def test_the_square_follows_a_turned_face(turn: float):
    angle = np.radians(turn)
    wanted = np.array([200, 150]) + UP * 50 * np.array([np.sin(angle), -np.cos(angle)])
    left, top, side = head_square(_face(200, 150, 50, turn), 400)
    assert (left + side / 2, top + side / 2) == pytest.approx(wanted, abs=1)


def test_a_profile_is_centred_between_the_ears():
    face = _face(200, 150, 50)
    face.marks[4:, 0] += 20
    assert head_square(face, 400).left - head_square(_face(200, 150, 50), 400).left == 20


def test_a_huge_face_and_marks_in_one_place_are_harmless():
    assert head_square(_face(200, 150, 4000), 400).side == 600
    face = Face(0.9, np.array([10.0, 10.0]), 5.0, np.zeros((6, 2)))
    assert head_square(face, 400).side == 12


@pytest.mark.parametrize(
    ("crop", "faces", "reason", "text"),
    [
        ("auto", [_face(200, 150, 50)], "face", "the head around the face"),
        ("face", [_face(200, 150, 50)], "face", "the head around the face"),
        ("auto", [_face(200, 150, 50), _face(50, 50, 20)], "largest_face", "around the largest face (2 were found)"),
        ("auto", [], "no_face", "the whole picture: no face found"),
        ("none", [_face(200, 150, 50)], "off", "the whole picture: the search for faces is off"),
    ],
)
def test_the_reason_is_stated(crop: Crop, faces: list[Face], reason: str, text: str):
    framing = FaceCropper(crop, _Finds(*faces)).frame(WIDE)
    assert framing.reason == reason and text in framing.text
    is_face = reason in ("face", "largest_face")
    assert framing.square == (head_square(faces[0], 400) if is_face else whole_square(WIDE))
    document = framing.as_json(2)
    assert document["what"] == ("face" if is_face else "whole picture") and document["reason"] == reason
    assert document["side"] == 2 * framing.square.side


def test_a_render_whose_head_fills_it_stays_whole():
    square = np.zeros((200, 200, 3), np.uint8)
    fills = FaceCropper("auto", _Finds(_face(100, 110, 83))).frame(square)
    assert fills.reason == "fills" and fills.square == whole_square(square) and fills.faces == 1
    assert FaceCropper("auto", _Finds(_face(100, 110, 40))).frame(square).reason == "face"


def test_faces_can_be_required():
    with pytest.raises(PictureError, match="no face was found; choose --crop auto"):
        FaceCropper("face", _Finds()).frame(WIDE)


def test_without_mediapipe_the_whole_picture_is_used_and_that_is_stated(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    monkeypatch.delitem(sys.modules, "mediapipe.python.solutions.face_detection", raising=False)
    for name in [name for name in sys.modules if name.startswith("mediapipe.")]:
        monkeypatch.delitem(sys.modules, name)
    framing = FaceCropper("auto").frame(WIDE)
    assert framing.reason == "no_detector" and "MediaPipe" in framing.text
    with pytest.raises(PictureError, match="not installed; install mediapipe"):
        FaceCropper("face").frame(WIDE)


def _model(*faces: Face) -> Model:
    model = head_model(head_predictor(Brightest(), "cpu"), 96, {})
    return dataclasses.replace(model, cropper=FaceCropper("auto", _Finds(*faces)))


def test_points_found_in_the_crop_are_pixels_of_the_picture():
    """A mark beside the head would draw the points there; the crop does not show it, and maps its own mark back."""
    picture = np.full((300, 400, 3), 90, np.uint8)
    _disc(picture, np.array([213.0, 141.0]), 6, (255, 255, 255))
    _disc(picture, np.array([40.0, 40.0]), 30, (255, 255, 255))
    [found] = _model(_face(200, 150, 50)).predict_batch([picture])
    assert found.coords_px == pytest.approx(np.tile((213.0, 141.0), (174, 1)), abs=0.3)
    assert found.framing and found.framing.reason == "face"
    [whole] = _model().predict_batch([picture])
    assert whole.coords_px[0] != pytest.approx((213, 141), abs=20)
    assert whole.framing and whole.framing.reason == "no_face"


def test_models_of_the_hand_see_the_whole_image():
    def predictor(squares: np.ndarray) -> Prediction:
        return Prediction(np.ones((len(squares), 7)), np.full((len(squares), 7, 2), 0.5))

    model = hand_model(read_points(), ("heatmaps",), predictor, 64, {})
    assert model.with_crop("auto") is model and model.predict(WIDE).framing is None
    with pytest.raises(ConfigError, match="this one is of the hand: choose 'none'"):
        model.with_crop("face")
