"""The Python API on runs with random weights: the points of the command, in every way that images can be given."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import training
from acusim import acupoints
from acusim.errors import ConfigError, EngineError, PictureError
from tests.training.spots import SETTINGS, tiny_networks
from tests.training.tiny_runs import write_run
from training.config import load_config
from training.inference.model import Model, head_model
from training.inference.predict import predict_files
from training.inference.predictors import Prediction
from training.models.hand import HandNet
from training.models.head import Trainee
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import read_points
from training.tasks.head_config import HeadConfig


@pytest.fixture(scope="module")
def head_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = load_config().with_settings(["model.backbone=resnet18", "model.trunk=single", "data.size=32"])
    assert isinstance(config, HeadConfig)
    torch.manual_seed(0)
    return write_run(tmp_path_factory.mktemp("head") / "run", config, Trainee(config).network)


@pytest.fixture(scope="module")
def hand_runs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """A run with heatmaps, and one with coordinates."""
    points, out = read_points(), {}
    torch.manual_seed(0)
    with tiny_networks():
        for name in ("hand_simplebaseline", "hand_resnet50"):
            config = load_config(name).with_settings(list(SETTINGS))
            assert isinstance(config, HandConfig)
            folder = tmp_path_factory.mktemp("hand") / name
            out[name] = write_run(folder, config, HandNet(config.model, len(points)), points=points.as_json())
        yield out


def _noise(seed: int, width: int = 90, height: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def _files(folder: Path) -> list[Path]:
    paths = [folder / f"{seed}.png" for seed in range(3)]
    for seed, path in enumerate(paths):
        Image.fromarray(_noise(seed, 60 + 20 * seed, 90)).save(path)
    return paths


def _document(model: Model, path: Path, out: Path) -> dict:
    predict_files(model, [path], out)
    return json.loads((out / f"{path.stem}.points.json").read_text())


def test_a_head_by_path_by_array_and_by_the_command(head_run: Path, tmp_path: Path):
    model = training.load_model(head_run, device="cpu")
    assert (model.kind, model.size, model.evidence, model.threshold) == ("head", 32, "visibility", 0.5)
    assert model.names == acupoints.NAMES and model.made_by["checkpoint"] == "epoch_0001"
    for path in _files(tmp_path):
        found = model.predict(path)
        assert found.names == acupoints.NAMES and found.hand is None
        assert found.coords_px.shape == (174, 2) and found.visibility.shape == found.visible.shape == (174,)
        assert ((found.visibility >= 0) & (found.visibility <= 1)).all()
        assert (found.visible == (found.visibility >= 0.5)).all()
        for other in (model.predict(str(path)), model.predict(np.array(Image.open(path)))):
            assert np.array_equal(other.coords_px, found.coords_px)
            assert np.array_equal(other.visibility, found.visibility)
        points = _document(model, path, tmp_path / "out")["points"]
        assert found.coords_px == pytest.approx(np.array([(point["x"], point["y"]) for point in points]), abs=6e-4)
        assert found.visibility == pytest.approx([point["probability"] for point in points], abs=6e-7)


def test_a_batch_is_its_images_one_by_one(head_run: Path, tmp_path: Path):
    model = training.load_model(str(head_run), checkpoint="last", device="cpu")
    images = [*_files(tmp_path), _noise(9), _noise(10, 33, 32)]
    alone = [model.predict(image) for image in images]
    for size in (1, 2, 8):
        for one, other in zip(alone, model.predict_batch(images, batch_size=size), strict=True):
            assert other.coords_px == pytest.approx(one.coords_px, abs=1e-3)
            assert other.visibility == pytest.approx(one.visibility, abs=1e-5)
    assert model.predict_batch([]) == []
    assert model.predict(images[0], threshold=0).visible.all()
    assert not model.predict(images[0], threshold=1).visible.any()


def test_hands(hand_runs: dict[str, Path], tmp_path: Path):
    for name, evidence in (("hand_simplebaseline", "peak"), ("hand_resnet50", "none")):
        model = training.load_model(hand_runs[name], device="cpu")
        assert (model.kind, model.evidence, model.names) == ("hand", evidence, read_points().ids)
        path = _files(tmp_path)[1]
        found = model.predict(path)
        assert found.coords_px.shape == (7, 2) and [point.zh for point in found.points][1] == "中渚"
        assert evidence == "peak" or ((found.visibility == 1).all() and found.visible.all())
        document = _document(model, path, tmp_path / name)
        points = document["points"]
        assert [point["code"] for point in points] == list(found.names)
        assert found.coords_px == pytest.approx(np.array([(point["x"], point["y"]) for point in points]), abs=6e-4)
        assert [point["visible"] for point in points] == found.visible.tolist()
        assert document["made_by"]["confidence"].startswith("height" if evidence == "peak" else "none")


def test_positions_are_in_pixels_of_a_turned_and_reduced_photograph(tmp_path: Path):
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.fromarray(_noise(0, 2080, 2400)).save(tmp_path / "a.jpg", exif=exif)
    corner = np.zeros((1, 174, 2), np.float32)
    corner[0, 0] = 0.5
    model = head_model(lambda squares: Prediction(np.ones((1, 174)), corner[: len(squares)]), 512, {})
    assert model.predict(tmp_path / "a.jpg").coords_px[0] == pytest.approx((1200, 1040), abs=4)


def test_the_type_of_a_hand_is_named():
    types = np.array([[0.9, 0.2]])
    model = head_model(lambda _: Prediction(np.ones((1, 174)), np.ones((1, 174, 2)), types), 64, {})
    found = model.predict(_noise(0))
    assert found.hand == {"side": {"value": "left", "probability": 0.9}, "face": {"value": "back", "probability": 0.8}}


def test_what_cannot_be_used_is_refused(head_run: Path, tmp_path: Path):
    model = training.load_model(head_run, device="cpu")
    (tmp_path / "text.png").write_text("no picture")
    for name in ("text.png", "missing.png"):
        with pytest.raises(PictureError, match=name):
            model.predict(tmp_path / name)
    for wrong in (np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)):
        with pytest.raises(ValueError, match=r"expected \[H,W,3\] uint8"):
            model.predict(wrong)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"threshold 1.5 is not within 0..1"):
        model.predict(_noise(0), threshold=1.5)
    with pytest.raises(ConfigError, match="batch_size = 0"):
        model.predict_batch([_noise(0)], batch_size=0)
    diverged = head_model(lambda _: Prediction(np.ones((1, 174)), np.full((1, 174, 2), np.nan)), 64, {})
    with pytest.raises(EngineError, match="not finite"):
        diverged.predict(_noise(0))
    with pytest.raises(ConfigError, match="holds no checkpoint 'epoch_0099'; there are"):
        training.load_model(head_run, checkpoint="epoch_0099", device="cpu")
    with pytest.raises(ConfigError, match="nowhere.* is not a run"):
        training.load_model(tmp_path / "nowhere", device="cpu")
