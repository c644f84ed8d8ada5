"""ConvNeXt (Liu et al. 2022, https://arxiv.org/abs/2201.03545), base and large."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.backbone_base import Backbone
from training.models.names import BackboneName

LAYER_SCALE = 1e-6
"""Each residual branch starts that small."""
EPSILON = 1e-6
COUNTS = (3, 3, 27, 3)
"""Blocks of each stage."""
WIDTHS = {"convnext_base": (128, 256, 512, 1024), "convnext_large": (192, 384, 768, 1536)}
DROP = 0.5
"""Probability that a picture goes without the last block; falls linearly to 0 at the first. torchvision's for both."""


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of [B, C, H, W]."""

    def forward(self, input: Tensor) -> Tensor:
        """[B, C, H, W] -> the same."""
        x = functional.layer_norm(input.permute(0, 2, 3, 1), self.normalized_shape, self.weight, self.bias, self.eps)
        return x.permute(0, 3, 1, 2)


class Permute(nn.Module):
    """Another order of dimensions; a module, so that the numbers of its neighbours are torchvision's."""

    def __init__(self, *order: int):
        super().__init__()
        self.order = order

    def forward(self, x: Tensor) -> Tensor:
        """The same numbers, as a view."""
        return x.permute(self.order)


class StochasticDepth(nn.Module):
    """Leaves a residual branch out of some pictures of a batch while training (https://arxiv.org/abs/1603.09382).

    What stays is divided by the share that stays, so that the mean is the same.
    """

    def __init__(self, probability: float):
        super().__init__()
        self.probability = probability

    def forward(self, x: Tensor) -> Tensor:
        """[B, ...] -> the same, whole rows 0."""
        if not self.training or self.probability == 0:
            return x
        stays = 1 - self.probability
        return x * x.new_empty(x.shape[0], *(1,) * (x.ndim - 1)).bernoulli_(stays).div_(stays)


class Block(nn.Module):
    """Depthwise 7x7 convolution, then two linear layers at each place, beside the identity."""

    def __init__(self, width: int, drop: float):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv2d(width, width, 7, padding=3, groups=width),
            Permute(0, 2, 3, 1),
            nn.LayerNorm(width, eps=EPSILON),
            nn.Linear(width, 4 * width),
            nn.GELU(),
            nn.Linear(4 * width, width),
            Permute(0, 3, 1, 2),
        )
        self.layer_scale = nn.Parameter(torch.full((width, 1, 1), LAYER_SCALE))
        self.stochastic_depth = StochasticDepth(drop)

    def forward(self, x: Tensor) -> Tensor:
        """[B, width, H, W] -> the same."""
        return x + self.stochastic_depth(self.layer_scale * self.block(x))


class ConvNeXt(Backbone):
    """ConvNeXt without its last linear layer; the feature vector is normalised."""

    CLASSIFIER = "classifier.2."

    def __init__(self, name: BackboneName):
        widths = WIDTHS[name]
        super().__init__(name, widths[-1])
        layers = [nn.Sequential(nn.Conv2d(3, widths[0], 4, 4), LayerNorm2d(widths[0], eps=EPSILON))]
        number, last = 0, sum(COUNTS) - 1
        for index, (width, count) in enumerate(zip(widths, COUNTS, strict=True)):
            if index:
                before = widths[index - 1]
                layers.append(nn.Sequential(LayerNorm2d(before, eps=EPSILON), nn.Conv2d(before, width, 2, 2)))
            layers.append(nn.Sequential(*(Block(width, DROP * (number + i) / last) for i in range(count))))
            number += count
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(LayerNorm2d(widths[-1], eps=EPSILON), nn.Flatten(1))
        for part in self.modules():
            if isinstance(part, nn.Conv2d | nn.Linear):
                nn.init.trunc_normal_(part.weight, std=0.02)
                if part.bias is not None:
                    nn.init.zeros_(part.bias)

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""
        return self.classifier(self.avgpool(self.features(x)))
