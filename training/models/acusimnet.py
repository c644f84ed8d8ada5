"""acuSimNet: a backbone, and branches on its feature vector."""

import torch
from torch import Tensor, nn

from training.config import Config, ModelConfig
from training.models.backbones import create
from training.models.branches import Branches, Output
from training.models.grouping import Groups, make_groups
from training.models.losses import Criterion, Losses

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
"""Of the pictures that the published backbones were trained on, in 0..1."""


class AcuSimNet(nn.Module):
    """Pictures to visibility, coordinates and class of the 174 acupoints.

    Args:
        config: the network's settings. Published or given weights are loaded by the caller
            (backbones.weights.load_weights).
        groups: which acupoints share a branch.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: ModelConfig, groups: Groups):
        super().__init__()
        self.backbone = create(config.backbone, final_relu=config.final_relu)
        self.branches = Branches(groups, self.backbone.feature_dim, config.trunk, config.dropout)
        for head in (self.branches.visibility, self.branches.coordinate):
            head.reset_parameters(config.final_scale)
        normalised = config.normalise == "imagenet"
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalised else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.normalised = normalised

    def forward(self, images: Tensor, classify: bool = False) -> Output:
        """Looks at pictures.

        Args:
            images: [B, 3, S, S] RGB in 0..1.
            classify: whether the class logits are wanted; only training needs them.
        """
        if self.normalised:
            images = (images - self.mean) / self.std
        return self.branches(self.backbone(images), classify)

    def parameter_count(self) -> int:
        """Parameters, the padding of branches left out."""
        backbone = sum(parameter.numel() for parameter in self.backbone.parameters())
        return backbone + self.branches.parameter_count()


def on_meta(config: Config) -> AcuSimNet:
    """The network of a configuration with shapes and no numbers: for counting, in no time and memory."""
    groups = make_groups(config.model.grouping, config.train.seed)
    with torch.device("meta"):
        return AcuSimNet(config.model, groups)


class Trainee(nn.Module):
    """Network and criterion as one module: what is compiled, and what several GPUs have copies of."""

    def __init__(self, config: Config):
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
            the losses, and [5] what is counted (TALLIES), no gradient.
        """
        output = self.network(images, classify=True)
        losses = self.criterion(output, xy, visible, trusted, occluded_weight, data_scale, sigma_scale)
        return losses, tally(output, xy, visible)


TALLIES = ("points", "visible", "true_positives", "false_positives", "error")
"""What tally counts: points, visible ones, those of them predicted visible, occluded ones predicted visible, and the
sum of the distances of visible points, 0..1 of the picture."""


@torch.no_grad()
def tally(output: Output, xy: Tensor, visible: Tensor) -> Tensor:
    """[5] TALLIES of a batch, on its device: nothing waits for the GPU."""
    predicted = output.visibility_logits > 0
    error = torch.linalg.vector_norm(output.coordinates.float() - xy, dim=-1)
    counts = [visible.sum(), (predicted & visible).sum(), (predicted & ~visible).sum(), (error * visible).sum()]
    return torch.stack([torch.full_like(counts[-1], visible.numel()), *(count.to(error.dtype) for count in counts)])
