"""Base class of hand models, and what those with heatmaps share."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from training.precision import full_precision


class HandModel(nn.Module, ABC):
    """Pictures [B, 3, H, W] to N acupoints."""

    OUTPUT: ClassVar[Literal["heatmaps", "coordinates"]]
    """Result of ``forward``: heatmaps [B, N, H, W] with peaks of 1, or coordinates [B, N, 2], 0..1, x first."""
    feature_dim: int
    """D, length of a picture's feature vector."""

    @abstractmethod
    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W], H and W multiples of 32 -> points as ``OUTPUT`` states, and features [B, D] for other heads."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W], H and W multiples of 32 -> points as ``OUTPUT`` states."""
        return self.points_and_features(x)[0]


def heatmaps_of(final_layer: nn.Conv2d, features: Tensor, pictures: Tensor) -> Tensor:
    """The last layer's heatmaps, resized to the pictures' height and width, bilinear, edges on edges.

    Xu et al. 2025 have heatmaps of 224 x 224 for pictures of that size and do not state how; the published networks
    predict a quarter of it.

    Args:
        final_layer: from features to N heatmaps.
        features: [B, C, h, w].
        pictures: [B, 3, H, W].

    Returns:
        [B, N, H, W]
    """
    with full_precision(pictures):
        heatmaps = final_layer(features.to(final_layer.weight.dtype))
        return functional.interpolate(heatmaps, size=pictures.shape[-2:], mode="bilinear", align_corners=False)


def draw_small(module: nn.Module) -> None:
    """Initial convolutions of the published pose networks: normal with deviation 0.001, biases 0."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, std=0.001)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
