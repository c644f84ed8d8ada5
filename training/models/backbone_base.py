"""Base class of backbones: a feature map, a feature vector, and torchvision's names without its last layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from training.models.names import EncoderName

PYRAMID = (4, 8, 16, 32)
"""Strides of a pyramid's maps."""


class Backbone(nn.Module, ABC):
    """Images [B, 3, H, W] to a feature vector [B, D].

    A subclass defines ``features`` (a module or a method), ``forward`` and the class variable ``CLASSIFIER``. The state
    dict has the keys of torchvision's model of the same name, except those that begin with ``CLASSIFIER``.
    """

    CLASSIFIER: ClassVar[str]
    """Prefix of torchvision's 1000-class layer, which does not exist here."""
    features: Callable[[Tensor], Tensor]
    """[B, 3, H, W] -> [B, C, h, w], the last feature map."""

    def __init__(self, name: EncoderName, feature_dim: int):
        super().__init__()
        self.name: EncoderName = name
        self.feature_dim = feature_dim
        """D, length of the feature vector."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""

    def layers(self) -> Iterable[nn.Module]:
        """The layers of ``features`` in their order."""
        return cast(nn.Sequential, self.features)

    def levels(self) -> list[tuple[int, int]]:
        """For each stride of PYRAMID the number of the last layer with a map of that stride, and its channels."""
        side = 2 * PYRAMID[-1]
        parameter = next(self.parameters())
        x, found = torch.zeros(1, 3, side, side, device=parameter.device, dtype=parameter.dtype), {}
        with torch.no_grad():
            for number, layer in enumerate(self.layers()):
                x = layer(x)
                found[side // x.shape[-1]] = number, x.shape[1]
        return [found[stride] for stride in PYRAMID]

    def pyramid(self, x: Tensor, taken: Collection[int]) -> list[Tensor]:
        """The maps after some of the layers.

        Args:
            x: [B, 3, S, S], S a multiple of 32.
            taken: numbers of the layers, as levels gives them.

        Returns:
            [B, C, S / stride, S / stride] each; the last one is ``features(x)``.
        """
        maps = []
        for number, layer in enumerate(self.layers()):
            x = layer(x)
            if number in taken:
                maps.append(x)
        return maps


def pooled(features: Tensor) -> Tensor:
    """Global average pooling: [B, C, h, w] -> [B, C]."""
    return features.mean((2, 3))
