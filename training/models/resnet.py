"""ResNet (He et al. 2016, https://arxiv.org/abs/1512.03385), the stride in the 3x3 convolution ("v1.5").

ResNet-18 is for small experiments; 50, 101 and 152 are backbones of acuSimNet.
"""

from collections.abc import Iterable

from torch import Tensor, nn

from training.models.backbone_base import Backbone, pooled
from training.models.names import BackboneName

WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside the identity."""

    expansion = 1

    def __init__(self, inputs: int, width: int, stride: int = 1):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut(inputs, width * self.expansion, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1, 3x3 and 1x1 convolution beside the identity; a ResNet itself has no dropout in it."""

    expansion = 4

    def __init__(self, inputs: int, width: int, stride: int = 1, dropout: float = 0.0):
        super().__init__()
        outputs = width * self.expansion
        self.conv1 = nn.Conv2d(inputs, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.dropout = nn.Dropout(dropout)
        self.conv3 = nn.Conv2d(width, outputs, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(inputs, outputs, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[B, inputs, H, W] -> [B, 4 width, H / stride, W / stride]."""
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.dropout(self.relu(self.bn2(self.conv2(out))))
        out = self.bn3(self.conv3(out))
        return self.relu(out + (x if self.downsample is None else self.downsample(x)))


def shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential | None:
    """What the identity passes where a block changes shape; None where it does not."""
    if inputs == outputs and stride == 1:
        return None
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))


def stage(
    block: type[BasicBlock] | type[Bottleneck], inputs: int, width: int, count: int, stride: int
) -> nn.Sequential:
    """Some blocks of one width, the first of which has the stride."""
    outputs = width * block.expansion
    rest = (block(outputs, width) for _ in range(count - 1))
    return nn.Sequential(block(inputs, width, stride), *rest)


COUNTS: dict[str, tuple[type[BasicBlock] | type[Bottleneck], tuple[int, int, int, int]]] = {
    "resnet18": (BasicBlock, (2, 2, 2, 2)),
    "resnet50": (Bottleneck, (3, 4, 6, 3)),
    "resnet101": (Bottleneck, (3, 4, 23, 3)),
    "resnet152": (Bottleneck, (3, 8, 36, 3)),
}
"""Kind of block, and how many of them in each stage."""


class ResNet(Backbone):
    """ResNet without its classifier."""

    CLASSIFIER = "fc."

    def __init__(self, name: BackboneName):
        block, counts = COUNTS[name]
        super().__init__(name, WIDTHS[-1] * block.expansion)
        self.conv1 = nn.Conv2d(3, 64, 7, 2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, padding=1)
        self.layer1 = stage(block, 64, WIDTHS[0], counts[0], 1)
        self.layer2 = stage(block, WIDTHS[0] * block.expansion, WIDTHS[1], counts[1], 2)
        self.layer3 = stage(block, WIDTHS[1] * block.expansion, WIDTHS[2], counts[2], 2)
        self.layer4 = stage(block, WIDTHS[2] * block.expansion, WIDTHS[3], counts[3], 2)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")

    def layers(self) -> Iterable[nn.Module]:
        """See Backbone."""
        return self.conv1, self.bn1, self.relu, self.maxpool, self.layer1, self.layer2, self.layer3, self.layer4

    def features(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D, H / 32, W / 32], rounded up."""
        for layer in self.layers():
            x = layer(x)
        return x

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""
        return pooled(self.features(x))
