"""acuSimNet: a backbone, and branches on its feature vector."""

from torch import Tensor, nn

from training.models.backbones import create
from training.models.branches import Branches, Output
from training.models.grouping import Groups
from training.models.normalise import Normalise
from training.tasks.head_config import ModelConfig


class AcuSimNet(nn.Module):
    """Pictures to visibility, coordinates and class of the 174 acupoints.

    Args:
        config: the network's settings. Pretrained weights are loaded by the caller (pretrained.load_weights).
        groups: which acupoints share a branch.
    """

    def __init__(self, config: ModelConfig, groups: Groups):
        super().__init__()
        self.backbone = create(config.backbone, final_relu=config.final_relu)
        features = self.backbone.feature_dim
        self.branches = Branches(groups, features, config.trunk, config.dropout, config.final_scale, config.start_xy)
        self.normalise = Normalise(config.normalise)

    def forward(self, images: Tensor, for_loss: bool = False) -> Output:
        """Visibility, coordinates and class of the acupoints in pictures.

        Args:
            images: [B, 3, S, S] RGB in 0..1.
            for_loss: whether class logits are computed; only training needs them.
        """
        return self.branches(self.backbone(self.normalise(images)), for_loss)
