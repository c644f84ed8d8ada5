"""Light residual networks: backbones of models that have to run without a GPU. ``light`` has 1.9 M parameters, ``tiny``
0.2 M, for students of a larger one."""

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, nn

from training.models.backbone_base import Backbone, pooled
from training.models.names import LightName
from training.models.resnet import BasicBlock


class _Shape(NamedTuple):
    stem: int
    """Channels at stride 2."""
    widths: tuple[int, int, int, int]
    """Channels at strides 4, 8, 16 and 32."""
    blocks: int
    """Residual blocks at each of them."""


SHAPES: dict[LightName, _Shape] = {
    "light": _Shape(24, (32, 64, 160, 160), 2),
    "tiny": _Shape(12, (16, 32, 64, 64), 1),
}


def convolution(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """A convolution without change of size but for the stride, normalised, with a ReLU."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class Light(Backbone):
    """Two strided convolutions, then residual blocks at each of the strides 4, 8, 16 and 32.

    Every block starts as the identity: the scale of its last normalisation is 0.
    """

    CLASSIFIER = "classifier."

    def __init__(self, name: LightName = "light") -> None:
        stem, widths, blocks = SHAPES[name]
        super().__init__(name, widths[-1])
        parts: dict[str, nn.Module] = {
            "stem1": convolution(3, stem, stride=2),
            "stem2": convolution(stem, widths[0], stride=2),
        }
        inputs = widths[0]
        for number, width in enumerate(widths):
            for block in range(blocks):
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
