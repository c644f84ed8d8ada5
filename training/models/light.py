"""A light residual network: the backbone of models that have to run without a GPU, 1.9 M parameters."""

from collections import OrderedDict

from torch import Tensor, nn

from training.models.backbone_base import Backbone, pooled
from training.models.resnet import BasicBlock

WIDTHS = (32, 64, 160, 160)
"""Channels at strides 4, 8, 16 and 32."""
STEM = 24
_BLOCKS = 2


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution without change of size but for the stride, normalised, with a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Light(Backbone):
    """Two strided convolutions, then two residual blocks at each of the strides 4, 8, 16 and 32.

    Every block starts as the identity: the scale of its last normalisation is 0.
    """

    CLASSIFIER = "classifier."

    def __init__(self) -> None:
        super().__init__("light", WIDTHS[-1])
        parts: dict[str, nn.Module] = {
            "stem1": convolution(3, STEM, stride=2),
            "stem2": convolution(STEM, WIDTHS[0], stride=2),
        }
        inputs = WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            for block in range(_BLOCKS):
                stride = 2 if number and not block else 1
                parts[f"stage{number + 1}_{block + 1}"] = BasicBlock(inputs, width, stride)
                inputs = width
        self.features = nn.Sequential(OrderedDict(parts))
        for part in self.modules():
            if isinstance(part, BasicBlock):
                nn.init.zeros_(part.bn2.weight)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""
        return pooled(self.features(x))
