"""Base class of backbones: a feature map, a feature vector, and torchvision's names without its last layer."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import ClassVar

from torch import Tensor, nn

from training.models.names import BackboneName


class Backbone(nn.Module, ABC):
    """Images [B, 3, H, W] to a feature vector [B, D].

    A subclass defines ``features`` (a module or a method), ``forward`` and the class variable ``CLASSIFIER``. The state
    dict has the keys of torchvision's model of the same name, except those that begin with ``CLASSIFIER``.
    """

    CLASSIFIER: ClassVar[str]
    """Prefix of torchvision's 1000-class layer, which does not exist here."""
    features: Callable[[Tensor], Tensor]
    """[B, 3, H, W] -> [B, C, h, w], the last feature map."""

    def __init__(self, name: BackboneName, feature_dim: int):
        super().__init__()
        self.name: BackboneName = name
        self.feature_dim = feature_dim
        """D, length of the feature vector."""

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W] -> [B, D]."""


def pooled(features: Tensor) -> Tensor:
    """Global average pooling: [B, C, h, w] -> [B, C]."""
    return features.mean((2, 3))
