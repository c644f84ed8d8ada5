"""A hand network as a whole: normalisation in front, loss behind, and points read from what comes out."""

import torch
from torch import Tensor, nn

from training.hand_models import create
from training.hand_models.hand_model import HandModel
from training.hands.config import HandConfig, HandModelConfig
from training.heatmaps import Decoding, decode, gaussian_heatmaps
from training.model import IMAGENET_MEAN, IMAGENET_STD


class HandNet(nn.Module):
    """Pictures in 0..1 to heatmaps or coordinates.

    Args:
        config: the network's settings. Weights are loaded by the caller (hand_models.weights.load_pretrained).
        points: P, how many points it knows.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, config: HandModelConfig, points: int):
        super().__init__()
        self.model: HandModel = create(
            config.name,
            points,
            bottleneck_dropout=config.bottleneck_dropout,
            branch_dropout=config.branch_dropout,
        )
        normalised = config.normalise == "imagenet"
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if normalised else ((0.0,) * 3, (1.0,) * 3)
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)
        self.OUTPUT = self.model.OUTPUT

    def forward(self, images: Tensor) -> Tensor:
        """[B, 3, S, S] RGB in 0..1 -> heatmaps [B, P, S, S], or coordinates [B, P, 2] in 0..1; see OUTPUT."""
        return self.model((images - self.mean) / self.std)


def on_meta(config: HandConfig) -> HandNet:
    """The network of a configuration with shapes and no numbers: for counting, in no time and memory."""
    with torch.device("meta"):
        return HandNet(config.model, len(config.data.mapping()))


class HandLoss(nn.Module):
    """The squared error of each point: mean over its heatmap's pixels, or over x and y in 0..1 of the square."""

    def __init__(self, sigma_px: float):
        super().__init__()
        self.sigma_px = sigma_px

    def forward(self, output: Tensor, xy: Tensor, visible: Tensor) -> Tensor:
        """[B, P] in float32; 0 for points that are not visible.

        Args:
            output: of HandNet.
            xy: [B, P, 2] 0..1 of the square.
            visible: [B, P] bool.
        """
        output = output.float()
        if output.ndim == 4:
            height, width = output.shape[-2:]
            target = gaussian_heatmaps(xy, visible, (height, width), self.sigma_px)
            error = (output - target).square().mean((-2, -1))
        else:
            error = (output - xy).square().mean(-1)
        return torch.where(visible, error, 0)


class HandTrainee(nn.Module):
    """Network and criterion as one module: what is compiled, and what several GPUs have copies of."""

    def __init__(self, config: HandConfig, points: int):
        super().__init__()
        self.network: HandNet = HandNet(config.model, points)
        self.criterion: HandLoss = HandLoss(config.loss.sigma_px)

    def forward(self, images: Tensor, xy: Tensor, visible: Tensor) -> tuple[Tensor, Tensor]:
        """Each point's loss [B, P], and what the network says, without gradient."""
        output = self.network(images)
        return self.criterion(output, xy, visible), output.detach()


@torch.no_grad()
def locate(output: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor | None]:
    """Where a network's output has the points.

    Args:
        output: heatmaps [B, P, H, W] or coordinates [B, P, 2].
        decoding: how peaks are found.

    Returns:
        [B, P, 2] in 0..1 of the square, float32, and [B, P] the height of each peak cut to 0..1; None for coordinates,
        which come without any confidence.
    """
    output = output.float()
    if output.ndim == 3:
        return output, None
    xy, peak = decode(output, decoding)
    return xy, peak.clamp(0, 1)
