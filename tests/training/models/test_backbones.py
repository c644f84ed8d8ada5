"""Our backbones against torchvision's: names, shapes, numbers (recorded by tests/live/record_backbones.py)."""

import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from acusim.errors import ConfigError
from tests.support import ROOT
from tests.training.models.seeded_weights import (
    M,
    keys_sha256,
    network_rounding,
    seeded_pictures,
    seeded_state,
    summary,
)
from training.models.backbone_base import Backbone, pooled
from training.models.backbones import create
from training.models.convnext import Block, StochasticDepth
from training.models.names import BACKBONES

pytestmark = pytest.mark.numeric

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


def assert_recorded(model: M, run: Callable[[M], torch.Tensor], recorded: dict[str, Any]) -> None:
    """What a model gives is what is recorded but for rounding, measured against the spread of the whole tensor.

    The model stays as it is.
    """
    relative = network_rounding(model, run)
    found: dict[str, Any] = summary(run(copy.deepcopy(model)))
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
    assert_recorded(backbone, lambda model: model.features(pictures), recorded["features"])
    vector = "vector"
    if name.startswith("densenet"):
        with_relu = seeded(name)
        assert torch.equal(with_relu.features(pictures), backbone.features(pictures).relu())
        assert_recorded(with_relu, lambda model: model(pictures), recorded["vector"])
        vector = "vector_without_relu"
    assert_recorded(backbone, lambda model: model(pictures), recorded[vector])
    assert recorded["vector"]["shape"][1] == backbone.feature_dim
    if "training_features" in recorded:
        assert_recorded(backbone.train(), lambda model: model.features(pictures), recorded["training_features"])
        assert_recorded(backbone, lambda model: running_mean(model, pictures), recorded["running_mean"])


def running_mean(backbone: Backbone, pictures: torch.Tensor) -> torch.Tensor:
    """Of the last batch norm after one batch."""
    backbone.features(pictures)
    *_, last = (part for part in backbone.modules() if isinstance(part, torch.nn.BatchNorm2d))
    assert last.running_mean is not None and last.num_batches_tracked == 8
    return last.running_mean


def swapped(model: torch.nn.Module) -> None:
    """Two tensors of one shape change places."""
    one, other = model.get_parameter("layer4.1.conv2.weight"), model.get_parameter("layer4.2.conv2.weight")
    one.data, other.data = other.data, one.data


def linear(model: torch.nn.Module) -> None:
    """One ReLU of the last block is missing."""
    model.get_submodule("layer4.2").relu = torch.nn.Identity()


def padded_otherwise(model: torch.nn.Module) -> None:
    """One convolution continues its border instead of padding with zeros."""
    layer = model.get_submodule("layer3.5.conv2")
    assert isinstance(layer, torch.nn.Conv2d)
    layer.padding_mode, layer._reversed_padding_repeated_twice = "replicate", [1, 1, 1, 1]


def other_eps(model: torch.nn.Module) -> None:
    """One batch norm adds 1e-3 to the variance, as TensorFlow does."""
    layer = model.get_submodule("layer3.2.bn1")
    assert isinstance(layer, torch.nn.BatchNorm2d)
    layer.eps = 1e-3


@torch.no_grad()
@pytest.mark.parametrize(
    ("fault", "training"),
    [
        *((fault, training) for fault in (swapped, linear, padded_otherwise) for training in (False, True)),
        (other_eps, False),  # in training, of no more effect than rounding
    ],
)
def test_one_wrong_layer_is_no_rounding(fault: Callable[[torch.nn.Module], None], training: bool):
    recorded, pictures = RECORDED["resnet50"], seeded_pictures()
    backbone = seeded("resnet50").train(training)
    fault(backbone)
    with pytest.raises(AssertionError, match="Not equal to tolerance"):
        assert_recorded(
            backbone, lambda model: model.features(pictures), recorded["training_features" if training else "features"]
        )


@torch.no_grad()
@pytest.mark.parametrize("name", ["resnet18", "densenet169"])
def test_channels_last_gives_the_same(name: str):
    backbone, pictures = seeded(name), seeded_pictures((1, 3, 40, 48))
    expected = backbone(pictures)
    apart = network_rounding(backbone, lambda model: model(pictures)) * float(expected.std())
    backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = backbone(pictures.to(memory_format=torch.channels_last))
    torch.testing.assert_close(found, expected, rtol=0, atol=apart)


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
