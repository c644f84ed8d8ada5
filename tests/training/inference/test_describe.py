"""Networks described: counts worked out by hand."""

import json

import torch
from torch import nn

from tests.training.tiny_model import Tiny
from training.inference.describe import as_text, describe


def test_a_small_network_by_hand():
    description = describe(Tiny(points=7), (2, 3, 32, 32))
    backbone, trunk, heads = 3 * 8 * 9 + 8 + 16, 8 * 16 + 16, (16 * 7 + 7) + (16 * 14 + 14)
    assert description["parameters"] == {
        "total": backbone + trunk + heads,
        "trainable": backbone + trunk + heads,
        "by_part": {"backbone": backbone, "trunk": trunk, "heads": heads},
    }
    macs = {"backbone": 2 * 16 * 16 * 8 * 27, "trunk": 2 * 8 * 16, "heads": 2 * 16 * 21}
    assert description["macs"] == sum(macs.values()) and description["flops"] == 2 * sum(macs.values())
    assert description["flops_by_part"]["backbone"] == 2 * macs["backbone"]
    assert description["flops_by_part"]["trunk"] == 2 * macs["trunk"]
    assert description["output"] == {"visibility_logits": [2, 7], "coordinates": [2, 7, 2], "class_logits": None}
    rows = {row["name"]: row for row in description["layers"]}
    assert rows["backbone"]["output"] == [2, 8, 16, 16] and rows["trunk"]["output"] == [2, 16]
    assert rows["heads"]["parameters"] == heads and rows["heads"]["flops"] == 2 * macs["heads"]
    parameters, statistics = backbone + trunk + heads, 4 * (8 + 8) + 8
    assert description["weights_bytes"] == 4 * parameters + statistics
    assert description["paper_params_m"] == round((3 * 4 * parameters + statistics) / 4e6, 2)
    json.dumps(description, allow_nan=False)


def test_the_published_count_of_a_convolution():
    """The first layer of ResNet and DenseNet at 224: 118 MMAC."""
    description = describe(nn.Sequential(nn.Conv2d(3, 64, 7, 2, 3, bias=False)), (1, 3, 224, 224))
    assert description["macs"] == 118_013_952


def test_frozen_and_shared_parameters():
    model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    model[1].weight = model[0].weight
    model[0].bias.requires_grad_(False)
    counts = describe(model, (1, 4))["parameters"]
    assert (counts["total"], counts["trainable"]) == (24, 20)


def test_the_model_is_neither_moved_nor_changed():
    model = Tiny().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    describe(model, (1, 3, 32, 32))
    assert model.training and not any(module._forward_hooks for module in model.modules())
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_the_text_states_the_convention():
    text = as_text(describe(Tiny(points=7), (1, 3, 512, 512)))
    assert "741 (0.00 M)" in text and "1 MAC = 2 FLOP" in text and "1x8x256x256" in text
    assert (
        "0.014 GMAC = 0.028 GFLOP" in text
        and "M as acuSimNet's paper counts: bytes of weights and moments of AdamW / 4e6" in text
    )
    assert max(map(len, text.splitlines())) <= 120
