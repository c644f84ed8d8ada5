"""acuSimNet: a backbone, and branches on its feature vector."""

import torch
from torch import Tensor, nn

from training.models.backbones import create
from training.models.branches import Branches, Output
from training.models.grouping import Groups, make_groups
from training.models.losses import Criterion, Losses
from training.models.normalise import Normalise
from training.tasks.head_config import HeadConfig, ModelConfig


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
        self.branches = Branches(groups, features, config.trunk, config.dropout, config.final_scale)
        self.normalise = Normalise(config.normalise)

    def forward(self, images: Tensor, classify: bool = False) -> Output:
        """Visibility, coordinates and class of the acupoints in pictures.

        Args:
            images: [B, 3, S, S] RGB in 0..1.
            classify: whether class logits are computed; only training needs them.
        """
        return self.branches(self.backbone(self.normalise(images)), classify)


def on_meta(config: HeadConfig) -> AcuSimNet:
    """The network of a configuration with shapes and no numbers: for counting, in no time and memory."""
    groups = make_groups(config.model.grouping, config.train.seed)
    with torch.device("meta"):
        return AcuSimNet(config.model, groups)


class Trainee(nn.Module):
    """Network and criterion as one module, to be compiled and replicated on several GPUs."""

    def __init__(self, config: HeadConfig):
        super().__init__()
        groups = make_groups(config.model.grouping, config.train.seed)
        self.network: AcuSimNet = AcuSimNet(config.model, groups)
        self.criterion: Criterion = Criterion(config.loss, groups)

    def forward(
        self,
        images: Tensor,
        xy: Tensor,
        visible: Tensor,
        trusted: Tensor,
        occluded_weight: Tensor,
        data_scale: float = 1.0,
        sigma_scale: float = 1.0,
    ) -> tuple[Losses, Tensor]:
        """Loss and tallies of a batch; arguments as AcuSimNet's and Criterion's.

        Returns:
            the losses, and [5] TALLIES without gradient.
        """
        output = self.network(images, classify=True)
        losses = self.criterion(output, xy, visible, trusted, occluded_weight, data_scale, sigma_scale)
        return losses, tally(output, xy, visible)


TALLIES = ("points", "visible", "true_positives", "false_positives", "error")
"""Entries of tally: points, visible ones, those of them predicted visible, occluded ones predicted visible, and the sum
of the distances of visible points, 0..1 of the picture."""


@torch.no_grad()
def tally(output: Output, xy: Tensor, visible: Tensor) -> Tensor:
    """[5] TALLIES of a batch, on its device, so that nothing waits for the GPU."""
    predicted = output.visibility_logits > 0
    error = torch.linalg.vector_norm(output.coordinates.float() - xy, dim=-1)
    counts = [visible.sum(), (predicted & visible).sum(), (predicted & ~visible).sum(), (error * visible).sum()]
    return torch.stack([torch.full_like(counts[-1], visible.numel()), *(count.to(error.dtype) for count in counts)])
