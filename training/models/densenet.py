"""DenseNet-BC (Huang et al. 2017, https://arxiv.org/abs/1608.06993), 169 and 201 layers."""

from collections import OrderedDict

import torch
from torch import Tensor, nn

from training.models.backbone_base import Backbone, pooled
from training.models.names import BackboneName

GROWTH = 32
BOTTLENECK = 4 * GROWTH
COUNTS = {"densenet169": (6, 12, 32, 32), "densenet201": (6, 12, 48, 32)}
"""Layers of each dense block."""


class DenseLayer(nn.Module):
    """Adds GROWTH channels to those it reads."""

    def __init__(self, inputs: int):
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.relu1 = nn.ReLU(inplace=True)
        self.conv1 = nn.Conv2d(inputs, BOTTLENECK, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(BOTTLENECK)
        self.relu2 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(BOTTLENECK, GROWTH, 3, padding=1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, inputs + GROWTH, H, W]."""
        new = self.conv1(self.relu1(self.norm1(x)))
        new = self.conv2(self.relu2(self.norm2(new)))
        return torch.cat((x, new), 1)


def dense_block(inputs: int, count: int) -> nn.Sequential:
    """``denselayer1`` to ``denselayer{count}``."""
    layers = {f"denselayer{number + 1}": DenseLayer(inputs + number * GROWTH) for number in range(count)}
    return nn.Sequential(OrderedDict(layers))


def transition(inputs: int, outputs: int) -> nn.Sequential:
    """Between two blocks: fewer channels, half the size."""
    parts = {
        "norm": nn.BatchNorm2d(inputs),
        "relu": nn.ReLU(inplace=True),
        "conv": nn.Conv2d(inputs, outputs, 1, bias=False),
        "pool": nn.AvgPool2d(2),
    }
    return nn.Sequential(OrderedDict(parts))


class DenseNet(Backbone):
    """DenseNet without its classifier; ``features`` ends with the ReLU if there is one."""

    CLASSIFIER = "classifier."

    def __init__(self, name: BackboneName, *, final_relu: bool = True):
        channels = 2 * GROWTH
        parts: dict[str, nn.Module] = {
            "conv0": nn.Conv2d(3, channels, 7, 2, padding=3, bias=False),
            "norm0": nn.BatchNorm2d(channels),
            "relu0": nn.ReLU(inplace=True),
            "pool0": nn.MaxPool2d(3, 2, padding=1),
        }
        for number, count in enumerate(COUNTS[name], 1):
            if number > 1:
                parts[f"transition{number - 1}"] = transition(channels, channels // 2)
                channels //= 2
            parts[f"denseblock{number}"] = dense_block(channels, count)
            channels += count * GROWTH
        parts["norm5"] = nn.BatchNorm2d(channels)
        if final_relu:
            parts["relu5"] = nn.ReLU(inplace=True)
        super().__init__(name, channels)
        self.features = nn.Sequential(OrderedDict(parts))
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""
        return pooled(self.features(x))
