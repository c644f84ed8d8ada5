"""ONNX files: equal to the model in onnxruntime, told apart by their metadata, and never left there wrong."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch

from acusim import acupoints
from acusim.errors import EngineError, OutputError
from tests.training.tiny_model import Output, Tiny
from training.inference.export import check_parity, export
from training.inference.onnx_model import open_onnx
from training.models.heatmap_net import HeatmapNet
from training.tasks.base import as_input

SIZE = 32
pytestmark = [
    pytest.mark.numeric,
    pytest.mark.filterwarnings("ignore:You are using the legacy TorchScript:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:The feature will be removed:DeprecationWarning"),
]


def _export(model: torch.nn.Module, path: Path, **how: Any) -> dict[str, float]:
    return export(model, path, SIZE, config={"backbone": "tiny"}, checkpoint_sha256="ab" * 32, **how)


def test_the_file_gives_what_the_model_gives(tmp_path: Path):
    model, path = Tiny().train(), tmp_path / "model.onnx"
    differences = _export(model, path)
    assert set(differences) == {"visibility", "coordinates"} and max(differences.values()) < 1e-5
    assert model.training, "the given model is left as it was"
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(5).random((5, 3, SIZE, SIZE), np.float32)
    visibility, coordinates = session.run(["visibility", "coordinates"], {"images": images})
    with torch.inference_mode():
        output = model.eval()(torch.from_numpy(images))
    assert visibility == pytest.approx(output.visibility_logits.sigmoid().numpy(), abs=1e-5)
    assert coordinates == pytest.approx(output.coordinates.numpy(), abs=1e-5)


def test_metadata_tell_the_points_and_the_model(tmp_path: Path):
    _export(Tiny(), tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    message = session.get_modelmeta().custom_metadata_map
    assert json.loads(message["acupoints"]) == list(acupoints.NAMES)
    assert json.loads(message["config"]) == {"backbone": "tiny"}
    assert {key: message[key] for key in ("size", "checkpoint_sha256", "licence")} == {
        "size": "32",
        "checkpoint_sha256": "ab" * 32,
        "licence": "Apache-2.0",
    }


def test_the_same_model_gives_the_same_bytes(tmp_path: Path):
    for name in ("a", "b"):
        _export(Tiny(), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class _Fickle(Tiny):
    """What it does with a batch is frozen by the exporter: the file is wrong for other batches."""

    def forward(self, images: torch.Tensor) -> Output:
        output = super().forward(images)
        return output._replace(coordinates=output.coordinates + 0.001 * len(images.tolist()))


@pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning")
def test_a_wrong_file_is_not_left_behind(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the one before")
    with pytest.raises(EngineError, match=r"coordinates 0.00\d*; allowed is 0.0001.*not written"):
        _export(_Fickle(), path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.onnx"]
    assert path.read_bytes() == b"the one before"


def test_other_weights_are_noticed(tmp_path: Path):
    _export(Tiny(), tmp_path / "model.onnx")
    assert max(check_parity(tmp_path / "model.onnx", Tiny(seed=1), SIZE).values()) > 1e-3


def test_what_is_no_onnx_file(tmp_path: Path):
    with pytest.raises(EngineError, match="onnxruntime cannot run the file"):
        check_parity(b"nothing of the kind", Tiny(), SIZE)
    _export(Tiny(points=7), tmp_path / "seven.onnx")
    with pytest.raises(EngineError, match=r"visibility \[1, 7\].*not visibility \[1, 174\]"):
        check_parity(tmp_path / "seven.onnx", Tiny(), SIZE)
    with pytest.raises(OutputError, match="cannot be written"):
        _export(Tiny(), tmp_path / "no" / "folder.onnx")


class _Heatmaps(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Conv2d(3, 7, 3, padding=1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.layer(images)


def test_other_outputs(tmp_path: Path):
    names = tuple("abcdefg")
    differences = _export(_Heatmaps(), tmp_path / "hand.onnx", names=names, outputs=lambda maps: {"heatmaps": maps})
    assert list(differences) == ["heatmaps"] and differences["heatmaps"] < 1e-5


@pytest.mark.parametrize(("size", "wanted"), [(30, 7), (32, (5, None)), (5, 7)])
def test_pools_that_do_not_divide_their_input(tmp_path: Path, size: int, wanted: Any):
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 1), torch.nn.AdaptiveAvgPool2d(wanted), torch.nn.Flatten())
    how: dict[str, Any] = {"config": {}, "checkpoint_sha256": "", "outputs": lambda maps: {"maps": maps}}
    assert export(model, tmp_path / "pool.onnx", size, **how)["maps"] < 1e-5
    assert isinstance(model[1], torch.nn.AdaptiveAvgPool2d)


def test_not_a_number_is_no_parity(tmp_path: Path):
    model = Tiny()
    with torch.no_grad():
        model.trunk.bias[0] = torch.nan
    with pytest.raises(EngineError, match="nan"):
        _export(model, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


def test_heatmaps_of_the_head_are_exported(tmp_path):
    torch.manual_seed(0)
    network = HeatmapNet("light", 174, 16).eval()
    differences = export(network, tmp_path / "m.onnx", 64, config={}, checkpoint_sha256="")
    assert set(differences) == {"visibility", "coordinates"}
    model = open_onnx(tmp_path / "m.onnx", 1)
    picture = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(as_input(torch.from_numpy(picture[None]))).coordinates[0].numpy() * 64
    np.testing.assert_allclose(model.predict(picture).coords_px, expected, atol=0.01)
