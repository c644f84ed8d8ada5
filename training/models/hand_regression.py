"""Coordinates straight from a backbone's feature vector, by one linear layer."""

from torch import Tensor, nn

from training.models import backbones
from training.models.hand_base import HandModel
from training.models.names import BackboneName
from training.precision import full_precision


class CoordinateRegression(HandModel):
    """Coordinates 0..1 of the picture; not confined to it, so that the squared error has a gradient everywhere."""

    OUTPUT = "coordinates"

    def __init__(self, backbone: BackboneName, points: int):
        super().__init__()
        self.backbone = backbones.create(backbone)
        self.feature_dim = self.backbone.feature_dim
        self.head = nn.Linear(self.feature_dim, 2 * points)
        nn.init.constant_(self.head.bias, 0.5)  # the picture's centre

    def points_and_features(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """[B, 3, H, W] -> [B, N, 2], x first, and the backbone's feature vector."""
        features = self.backbone(x)
        with full_precision(x):
            return self.head(features.to(self.head.weight.dtype)).unflatten(1, (-1, 2)), features
