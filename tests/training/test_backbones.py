"""Our backbones against torchvision's: names, shapes, numbers (recorded by tests/live/record_backbones.py)."""

import json
from typing import Any

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.seeded_weights import keys_sha256, seeded_pictures, seeded_state, summary
from training.backbones import BACKBONES, create
from training.backbones.backbone import Backbone, pooled
from training.backbones.convnext import Block, StochasticDepth

RECORDED = json.loads((ROOT / "tests/data/training/backbones.json").read_text())["models"]
FEATURE_DIM = {"resnet18": 512, "resnet": 2048, "densenet169": 1664, "densenet201": 1920}
FEATURE_DIM |= {"convnext_base": 1024, "convnext_large": 1536, "vgg": 4096}
MILLIONS = {
    "resnet50": 55.62,
    "densenet169": 41.06,
    "densenet201": 49.03,
    "convnext_base": 110.24,
    "convnext_large": 223.63,
    "vgg16": 185.25,
    "vgg16_bn": 185.26,
    "vgg19": 190.56,
    "vgg19_bn": 190.57,
}
"""Parameters of acuSimNet: the backbone's and 9216 D + 13239963 of the heads (three-layer trunks, N x N classes)."""


def on_meta(name: str, **how: Any) -> Backbone:
    """A backbone without storage."""
    with torch.device("meta"):
        return create(name, **how)


def seeded(name: str, **how: Any) -> Backbone:
    """A backbone with the weights of the formula, in evaluation mode."""
    backbone = on_meta(name, **how)
    backbone.load_state_dict(seeded_state(backbone.state_dict()), assign=True)
    return backbone.eval()


def assert_recorded(values: torch.Tensor, recorded: dict[str, Any], relative: float = 1e-4) -> None:
    """Equal but for rounding, measured against the spread of the whole tensor."""
    found: dict[str, Any] = summary(values)
    assert found["shape"] == recorded["shape"]
    for key in ("mean", "std", "values"):
        np.testing.assert_allclose(found[key], recorded[key], rtol=0, atol=relative * recorded["std"], err_msg=key)


@pytest.mark.parametrize("name", BACKBONES)
def test_names_shapes_and_count_are_torchvisions(name: str):
    backbone = on_meta(name)
    assert keys_sha256(backbone.state_dict()) == RECORDED[name]["keys"]
    parameters = sum(value.numel() for value in backbone.parameters())
    assert parameters == RECORDED[name]["parameters"]
    family = next(key for key in FEATURE_DIM if name.startswith(key))
    assert backbone.feature_dim == FEATURE_DIM[family] and backbone.name == name
    if name in MILLIONS:
        assert round((parameters + 9216 * backbone.feature_dim + 13_239_963) / 1e6, 2) == MILLIONS[name]


@torch.no_grad()
@pytest.mark.parametrize("name", [name for name in BACKBONES if "features" in RECORDED[name]])
def test_numbers_are_torchvisions(name: str):
    recorded, pictures = RECORDED[name], seeded_pictures()
    backbone = seeded(name, **({"final_relu": False} if name.startswith("densenet") else {}))
    assert_recorded(backbone.features(pictures), recorded["features"])
    vector = backbone(pictures)
    if name.startswith("densenet"):
        assert_recorded(vector, recorded["vector_without_relu"])
        with_relu = seeded(name)
        assert torch.equal(with_relu.features(pictures), backbone.features(pictures).relu())
        vector = with_relu(pictures)
    assert_recorded(vector, recorded["vector"])
    assert vector.shape[1] == backbone.feature_dim
    if "training_features" in recorded:
        assert_recorded(backbone.train().features(pictures), recorded["training_features"])
        norms = [part for part in backbone.modules() if isinstance(part, torch.nn.BatchNorm2d)]
        running = norms[-1].running_mean
        assert running is not None and norms[-1].num_batches_tracked == 8
        assert_recorded(running, recorded["running_mean"])


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "densenet169"])
def test_channels_last_gives_the_same(name: str):
    backbone, pictures = seeded(name), seeded_pictures((1, 3, 40, 48))
    expected = backbone(pictures)
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = backbone(pictures.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4 * float(expected.std()))


def test_another_name_is_refused():
    for name in ("resnet34", "ResNet50", "", None):
        with pytest.raises(ConfigError, match="there are resnet18, .*vgg19_bn"):
            create(name)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="densenet169 and densenet201; resnet50 keeps"):
        create("resnet50", final_relu=False)


def test_fresh_weights_are_drawn_as_torchvision_draws_them():
    torch.manual_seed(0)
    resnet, densenet = create("resnet18"), create("densenet169")
    drawn = {
        (2 / (64 * 9)) ** 0.5: resnet.get_parameter("layer1.0.conv1.weight"),  # He, by the outputs
        (2 / 512) ** 0.5: resnet.get_parameter("layer4.0.downsample.0.weight"),
        (2 / (3 * 49)) ** 0.5: densenet.get_parameter("features.conv0.weight"),  # He, by the inputs
        (2 / (128 * 9)) ** 0.5: densenet.get_parameter("features.denseblock4.denselayer32.conv2.weight"),
    }
    block = Block(128, 0.25)
    assert block.layer_scale.unique().tolist() == pytest.approx([1e-6]) and block.stochastic_depth.probability == 0.25
    for std, weight in drawn.items():
        assert float(weight.detach().std()) == pytest.approx(std, rel=0.05)
    for part in (*resnet.modules(), *densenet.modules()):
        if isinstance(part, torch.nn.BatchNorm2d):
            assert part.weight.unique().tolist() == [1] and part.bias.unique().tolist() == [0]


def test_convnext_drops_later_blocks_more_often():
    blocks = [part for part in on_meta("convnext_base").modules() if isinstance(part, Block)]
    probabilities = [block.stochastic_depth.probability for block in blocks]
    assert probabilities == pytest.approx([0.5 * i / 35 for i in range(36)])


def test_stochastic_depth_drops_whole_pictures_and_keeps_the_mean():
    torch.manual_seed(1)
    x = torch.rand(4000, 2, 3, 3) + 0.5
    out = StochasticDepth(0.3).train()(x)
    kept = (out != 0).flatten(1)
    assert torch.equal(kept.all(1), kept.any(1))
    assert float(kept.all(1).float().mean()) == pytest.approx(0.7, abs=0.03)
    torch.testing.assert_close(out[kept.all(1)], x[kept.all(1)] / 0.7)
    assert torch.equal(StochasticDepth(0.3).eval()(x), x)


def test_average_pooling_by_hand():
    assert pooled(torch.arange(8.0).view(1, 2, 2, 2)).tolist() == [[1.5, 5.5]]


@pytest.mark.parametrize("name", ["resnet18", "densenet169"])
def test_every_parameter_gets_a_gradient(name: str):
    torch.manual_seed(0)
    backbone = create(name)
    backbone(torch.rand(2, 3, 64, 64)).square().sum().backward()
    assert all(value.grad is not None and value.grad.any() for value in backbone.parameters())
