"""What every hand model owes, and what those with heatmaps share."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from torch import Tensor, nn
from torch.nn import functional

from training.precision import full_precision


class HandModel(nn.Module, ABC):
    """Pictures [B, 3, H, W] to N acupoints."""

    OUTPUT: ClassVar[Literal["heatmaps", "coordinates"]]
    """What ``forward`` returns: heatmaps [B, N, H, W] with peaks of 1, or coordinates [B, N, 2], 0..1, x first."""
    feature_dim: int
    """D, how many features ``look`` tells of a picture as a whole."""

    @abstractmethod
    def look(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W], H and W multiples of 32 -> what ``OUTPUT`` says, and features [B, D] for other heads."""

    def forward(self, x: Tensor) -> Tensor:
        """[B, 3, H, W], H and W multiples of 32 -> what ``OUTPUT`` says."""
        return self.look(x)[0]


def heatmaps_of(final_layer: nn.Conv2d, features: Tensor, pictures: Tensor) -> Tensor:
    """The last layer's heatmaps at the pictures' height and width, bilinear; edges fall on edges.

    Xu et al. 2025 have heatmaps of 224 x 224 for pictures of that size and do not say how; the published networks
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
    """Convolutions as the published pose networks begin: normal, 0.001 wide, biases 0."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(part.weight, std=0.001)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
