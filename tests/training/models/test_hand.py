"""The hand's network with integral heatmaps: its loss by hand, and what it gives under which name."""

import math

import pytest
import torch

from acusim.errors import ConfigError
from training.config import load_config
from training.models.hand import HandNet, HandOutput, IntegralLoss, locate, named_outputs
from training.models.heatmap_net import integrate
from training.tasks.hand_config import HandConfig, HandModelConfig
from training.tasks.head_config import HeatmapConfig

pytestmark = pytest.mark.numeric


def test_the_loss_of_each_point_by_hand():
    """Flat heatmaps of 4 pixels: the mean is (.5, .5), a marginal 1/4 everywhere, a logit of 0 costs ln 2."""
    xy, marginals = integrate(torch.zeros(1, 2, 4, 4))
    output = HandOutput(xy, None, torch.zeros(1, 2), marginals)
    true = torch.tensor([[[0.75, 0.5], [0.9, 0.9]]])
    visible = torch.tensor([[True, False]])
    criterion = IntegralLoss(HeatmapConfig(coordinate=2, visibility=3, heatmap=5), hidden=0.5)
    seen, spread = 3 * math.log(2), 5 * 2 * math.log(4)
    first = pytest.approx(seen + 2 * 0.25 + spread)
    assert criterion(output, true, visible, visible)[0].tolist() == [first, pytest.approx(seen)]
    # where the hidden point is known to be, its position counts half
    everything = torch.ones_like(visible)
    assert criterion(output, true, visible, everything)[0].tolist() == [
        first,
        pytest.approx(seen + 0.5 * (2 * 0.8 + spread)),
    ]


def test_outputs_have_names():
    maps, flat = torch.rand(2, 3, 8, 8), torch.rand(2, 3, 2)
    zeros = torch.zeros(2, 3)
    assert list(named_outputs(HandOutput(maps, None))) == ["heatmaps"]
    found = named_outputs(HandOutput(flat, torch.zeros(2, 2), zeros))
    assert list(found) == ["coordinates", "visibility", "hand_type"] and (found["visibility"] == 0.5).all()
    xy, confidence = locate(flat, "gaussian", found["visibility"])
    assert xy is not None and torch.equal(xy, flat) and confidence is found["visibility"]


@pytest.mark.parametrize("hand_type", [False, True])
def test_the_network_gives_what_it_announces(hand_type: bool):
    torch.manual_seed(0)
    network = HandNet(HandModelConfig(name="integral", decoder=8, hand_type=hand_type), 7).eval()
    with torch.inference_mode():
        output = network(torch.rand(2, 3, 64, 64))
    named = named_outputs(output)
    assert tuple(named) == network.outputs == ("coordinates", "visibility", *["hand_type"] * hand_type)
    assert named["coordinates"].shape == (2, 7, 2) and named["visibility"].shape == (2, 7)
    assert output.marginals is None


def test_settings_of_the_encoder_are_for_this_network():
    with pytest.raises(ConfigError, match=r'decoder = 32 is for name = "integral"; hrnet_w32 has layers of its own'):
        HandModelConfig(decoder=32)
    config = load_config("hand_light")
    assert isinstance(config, HandConfig) and config.with_settings(["model.backbone=resnet18"])
    with torch.device("meta"):
        count = sum(parameter.numel() for parameter in HandNet(config.model, 7).parameters())
    assert 2 * count < 8 << 20  # bytes in half precision
