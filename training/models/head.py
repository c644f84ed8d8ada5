"""The head's networks by configuration: network, criterion, and both as one module."""

import torch
from torch import Tensor, nn

from acusim import acupoints
from training.models.acusimnet import AcuSimNet
from training.models.branches import Output
from training.models.distillation import Taught
from training.models.grouping import make_groups
from training.models.heatmap_loss import HeatmapCriterion
from training.models.heatmap_net import HeatmapNet, HeatmapOutput
from training.models.losses import Criterion, Losses
from training.tasks.head_config import HeadConfig

HeadNetwork = AcuSimNet | HeatmapNet
HeadOutput = Output | HeatmapOutput


def make_network(config: HeadConfig) -> HeadNetwork:
    """The network of a configuration, with freshly drawn weights."""
    model = config.model
    if model.network == "heatmaps":
        return HeatmapNet(model.backbone, acupoints.COUNT, model.decoder)
    return AcuSimNet(model, make_groups(model.grouping, config.train.seed))


def on_meta(config: HeadConfig) -> HeadNetwork:
    """The network of a configuration with shapes and no numbers: for counting, in no time and memory."""
    with torch.device("meta"):
        return make_network(config)


class Trainee(nn.Module):
    """Network and criterion as one module, to be compiled and replicated on several GPUs."""

    def __init__(self, config: HeadConfig):
        super().__init__()
        self.network: HeadNetwork = make_network(config)
        self.criterion: Criterion | HeatmapCriterion
        if isinstance(self.network, HeatmapNet):
            self.criterion = HeatmapCriterion(config.heatmap)
        else:
            self.criterion = Criterion(config.loss, make_groups(config.model.grouping, config.train.seed))

    def forward(
        self,
        images: Tensor,
        xy: Tensor,
        visible: Tensor,
        trusted: Tensor,
        occluded_weight: Tensor,
        data_scale: float = 1.0,
        sigma_scale: float = 1.0,
        taught: Taught | None = None,
    ) -> tuple[Losses, Tensor]:
        """Loss and tallies of a batch; arguments as the network's and the criterion's.

        Args:
            taught: what a teacher says of the pictures, for a network with heatmaps; its loss is the last column of
                the losses' parts.

        Returns:
            the losses, and [5] TALLIES without gradient.
        """
        output = self.network(images, for_loss=True)
        losses = self.criterion(output, xy, visible, trusted, occluded_weight, data_scale, sigma_scale)
        if taught is not None:
            assert isinstance(self.criterion, HeatmapCriterion) and isinstance(output, HeatmapOutput)
            more = self.criterion.from_teacher(output, taught)
            column = (more.detach() * len(images)).reshape(1, 1)
            losses = Losses(losses.total + data_scale * more, torch.cat([losses.parts, column], 1))
        return losses, tally(output, xy, visible)


TALLIES = ("points", "visible", "true_positives", "false_positives", "error")
"""Entries of tally: points, visible ones, those of them predicted visible, occluded ones predicted visible, and the sum
of the distances of visible points, 0..1 of the picture."""


@torch.no_grad()
def tally(output: HeadOutput, xy: Tensor, visible: Tensor) -> Tensor:
    """[5] TALLIES of a batch, on its device, so that nothing waits for the GPU."""
    predicted = output.visibility_logits > 0
    error = torch.linalg.vector_norm(output.coordinates.float() - xy, dim=-1)
    counts = [visible.sum(), (predicted & visible).sum(), (predicted & ~visible).sum(), (error * visible).sum()]
    return torch.stack([torch.full_like(counts[-1], visible.numel()), *(count.to(error.dtype) for count in counts)])
