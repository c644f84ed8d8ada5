"""Training and prediction on a GPU against the same on the CPU."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from training.cli.main import main
from training.config import load_config
from training.models.head import Trainee
from training.precision import mixed_precision
from training.settings import Precision
from training.tasks.head_config import HeadConfig

pytestmark = pytest.mark.gpu


def test_points_are_those_of_the_cpu(tmp_path: Path):
    picture = tmp_path / "a.png"
    Image.fromarray(data.astronaut()[:320, 64:384]).save(picture)
    points = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device
        assert main(["predict", "head", str(picture), "--crop", "none", "--device", device, "--out", str(out)]) == 0
        found = json.loads((out / "a.points.json").read_text())["points"]
        points[device] = np.array([[point["x"], point["y"], 100 * point["probability"]] for point in found])
    error = np.abs(points["cuda"] - points["cpu"])
    print(f"{error.max(0)} px, px, % at most")
    assert error.max() < 0.5


@pytest.mark.parametrize("name", ["heatmaps", "acusimnet_tuned"])
@pytest.mark.parametrize(("precision", "least"), [("fp32", 0.999), ("bf16", 0.9)])
def test_a_step_is_that_of_the_cpu(name: str, precision: Precision, least: float):
    config = load_config(name).with_settings(["model.backbone=light", "data.size=128", "model.dropout=0"])
    assert isinstance(config, HeadConfig)
    torch.manual_seed(0)
    images, xy, visible = torch.rand(4, 3, 128, 128), torch.rand(4, 174, 2), torch.rand(4, 174) < 0.3
    losses, gradients = [], []
    for device, used in (("cpu", "fp32"), ("cuda", precision)):
        torch.manual_seed(1)
        trainee = Trainee(config).to(device)
        given = [entry.to(device) for entry in (images, xy, visible, torch.ones_like(visible), torch.tensor(0.25))]
        with mixed_precision(torch.device(device), used):
            result, _ = trainee(*given, 1.0, 1.0)
        result.total.backward()
        losses.append(result.total.item())
        gradients.append(torch.cat([one.grad.flatten().cpu() for one in trainee.parameters() if one.grad is not None]))
    alike = torch.cosine_similarity(*gradients, dim=0).item()
    print(f"{name} {precision}: losses {losses}, gradients alike {alike:.5f}")
    assert losses[1] == pytest.approx(losses[0], rel=0.02 if precision == "bf16" else 1e-3)
    assert alike > least
