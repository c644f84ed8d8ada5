"""Models as recognisers: the same points as from the command, from files of each kind, and of the hand."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skimage import data
from torch import Tensor, nn

from acusim import acupoints
from acusim.errors import ConfigError, EngineError
from tests.training.tiny_model import Brightest, Tiny
from tests.training.web.fake_recogniser import HAND_CODES, encoded
from training.inference.export import export
from training.inference.loading import load_kind, load_model
from training.inference.model import Model, head_model
from training.inference.point_names import HEAD_POINTS
from training.inference.predict import predict_files
from training.inference.predictors import head_predictor
from training.models.hand_base import HandModel
from training.shipped import model_path


def _spot(width: int, height: int, x: float, y: float) -> np.ndarray:
    """A white disc of 12 pixels' radius on grey."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    pixels = np.full((height, width, 3), 90, np.uint8)
    pixels[np.hypot(columns - x, rows - y) < 12] = 255
    return pixels


def _head(model: nn.Module, size: int = 96) -> Model:
    return head_model(head_predictor(model, "cpu"), size, {})


def test_points_come_back_to_the_picture():
    found = _head(Brightest()).recognise(_spot(500, 300, 340, 120))
    assert found.xy_px == pytest.approx(np.tile((340.0, 120.0), (174, 1)), abs=2)
    assert (found.confidence[0::2] > 0.9).all() and (found.confidence[1::2] < 0.1).all()


def test_the_page_finds_what_the_command_finds(tmp_path: Path):
    pixels = _spot(500, 300, 77, 222)
    (tmp_path / "a.png").write_bytes(encoded(pixels))
    predict_files(_head(Tiny(), 64), [tmp_path / "a.png"], tmp_path / "out")
    wanted = json.loads((tmp_path / "out/a.points.json").read_text())["points"]
    found = _head(Tiny(), 64).recognise(pixels)
    assert found.xy_px == pytest.approx(np.array([(point["x"], point["y"]) for point in wanted]), abs=6e-4)
    assert found.confidence == pytest.approx([point["probability"] for point in wanted], abs=6e-7)


def test_a_model_that_gives_no_numbers():
    class Lost(Brightest):
        def forward(self, images: Tensor) -> Any:
            output = super().forward(images)
            return output._replace(coordinates=output.coordinates * torch.nan)

    with pytest.raises(EngineError, match="not finite"):
        _head(Lost()).recognise(_spot(50, 50, 25, 25))


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A head model as export writes it."""
    path = tmp_path_factory.mktemp("onnx") / "tiny.onnx"
    export(Tiny(), path, 64, config={}, checkpoint_sha256="ab" * 32)
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_answers_like_its_model(onnx_file: Path):
    one = load_kind("head", onnx_file, threads=1)
    pixels = _spot(200, 260, 60, 200)
    wanted, found = _head(Tiny(), 64).recognise(pixels), one.recognise(pixels)
    assert found.xy_px == pytest.approx(wanted.xy_px, abs=0.05)
    assert found.confidence == pytest.approx(wanted.confidence, abs=1e-4)
    assert one.points == HEAD_POINTS and one.made_by["checkpoint_sha256"] == "ab" * 32


class Map(HandModel):
    """A heatmap for each point: how bright the picture is, less and less."""

    OUTPUT = "heatmaps"

    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        bright = nn.functional.avg_pool2d(x.mean(1, keepdim=True), 3, 1, 1)
        return bright * torch.linspace(1, 0.4, len(HAND_CODES))[:, None, None], x.mean((2, 3))


class _Middle(HandModel):
    """Coordinates: always the same."""

    OUTPUT = "coordinates"

    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return (x.mean((1, 2, 3)) * 0 + 0.5)[:, None, None].expand(-1, len(HAND_CODES), 2), x.mean((2, 3))


def hand_file(path: Path, model: HandModel, codes: tuple[str, ...] = HAND_CODES) -> Path:
    config = {"loss": {"decoding": "argmax"}}
    export(model, path, 96, config=config, checkpoint_sha256="", names=codes, outputs=lambda out: {model.OUTPUT: out})
    return path


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_of_heatmaps(tmp_path: Path):
    one = load_kind("hand", hand_file(tmp_path / "hand.onnx", Map()))
    assert [point.zh for point in one.points][:4] == ["少泽", "中渚", "商阳", "外劳宫"] and one.evidence == "peak"
    found = one.recognise(_spot(400, 300, 280, 100))
    assert found.xy_px == pytest.approx(np.tile((280.0, 100.0), (7, 1)), abs=12)
    assert found.confidence == pytest.approx(np.linspace(1, 0.4, 7), abs=0.01)


@pytest.mark.filterwarnings("ignore")
def test_an_onnx_file_of_coordinates_and_unknown_points(tmp_path: Path):
    codes = ("QQ9", *HAND_CODES[1:])
    one = load_kind("hand", hand_file(tmp_path / "hand.onnx", _Middle(), codes))
    assert (one.points[0].code, one.points[0].meridian, one.points[0].zh) == ("QQ9", "QQ", "")
    assert one.points[6].pinyin == "Hegu" and one.palette.colours["QQ"]
    found = one.recognise(_spot(90, 60, 10, 10))
    assert one.evidence == "none" and (found.confidence == 1).all()
    assert found.xy_px == pytest.approx(np.tile((45.0, 30.0), (7, 1)), abs=0.01)


def test_files_that_are_no_models(tmp_path: Path, onnx_file: Path):
    (tmp_path / "text.onnx").write_text("no model")
    for kind, path, message in (
        ("head", tmp_path / "text.onnx", "not an ONNX file that export wrote"),
        ("head", tmp_path / "none.onnx", "cannot be read"),
        ("hand", onnx_file, "is a model of the head; use --head"),
        ("head", tmp_path, "it has no config.toml"),
        ("hand", tmp_path, "it has no config.toml"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_kind(kind, path)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["head", "hand"])
def test_shipped_models_know_one_look_that_finds_nearly_the_same(name: str):
    model = load_model(model_path(name))
    pixels = np.asarray(data.astronaut()[:256, 96:352])
    whole, quick = model.recognise(pixels), model.recognise(pixels, quick=True)
    assert quick.xy_px.shape == whole.xy_px.shape and not np.array_equal(quick.xy_px, whole.xy_px)
    if name == "head":
        seen = whole.confidence > 0.5
        assert np.hypot(*(quick.xy_px - whole.xy_px)[seen].T).mean() < 0.04 * 256
        assert quick.fit is not None
    single = dataclasses.replace(model, quick=None)
    assert np.array_equal(single.recognise(pixels, quick=True).xy_px, whole.xy_px)


def test_both_kinds_have_points_of_known_meridians():
    assert {point.meridian for point in HEAD_POINTS} == set(acupoints.MERIDIANS)
