"""A hand network as a whole: normalisation, network and loss, and points decoded from its output."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.hand_base import HandModel
from training.models.hand_networks import create
from training.models.heatmaps import decode, gaussian_heatmaps
from training.models.names import Decoding
from training.models.normalise import Normalise
from training.tasks.hand_config import HandConfig, HandModelConfig
from training.tasks.hand_type import TRAITS, UNKNOWN


class HandOutput(NamedTuple):
    """The network's output for B pictures."""

    points: Tensor
    """Heatmaps [B, P, S, S], or coordinates [B, P, 2] in 0..1; see HandNet.OUTPUT."""
    type_logits: Tensor | None
    """[B, 2] for the traits of hand_type.TRAITS; None for a network without that head."""


class HandNet(nn.Module):
    """Pictures in 0..1 to heatmaps or coordinates, and to the hand's type where requested.

    Args:
        config: the network's settings. Weights are loaded by the caller (hand_pretrained.load_pretrained).
        points: P, how many points it predicts.
    """

    def __init__(self, config: HandModelConfig, points: int):
        super().__init__()
        self.model: HandModel = create(
            config.name,
            points,
            bottleneck_dropout=config.bottleneck_dropout,
            branch_dropout=config.branch_dropout,
        )
        self.normalise = Normalise(config.normalise)
        self.OUTPUT = self.model.OUTPUT
        self.hand_type = nn.Linear(self.model.feature_dim, len(TRAITS)) if config.hand_type else None

    def forward(self, images: Tensor) -> HandOutput:
        """[B, 3, S, S] RGB in 0..1 -> HandOutput."""
        points, features = self.model.points_and_features(self.normalise(images))
        return HandOutput(points, None if self.hand_type is None else self.hand_type(features))


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
            output: points of HandOutput.
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
    """Network and criterion as one module, to be compiled and replicated on several GPUs."""

    def __init__(self, config: HandConfig, points: int):
        super().__init__()
        self.network: HandNet = HandNet(config.model, points)
        self.criterion: HandLoss = HandLoss(config.loss.sigma_px)

    def forward(self, images: Tensor, xy: Tensor, visible: Tensor, types: Tensor) -> tuple[Tensor, Tensor, HandOutput]:
        """Losses of points [B, P] and of traits [B, 2], and the network's output, without gradient.

        Args:
            images: as HandNet's.
            xy: [B, P, 2] 0..1 of the square.
            visible: [B, P] bool.
            types: [B, 2] as hand_type.known_types has them; a trait that is not known has no loss.
        """
        points, logits = self.network(images)
        losses = self.criterion(points, xy, visible)
        output = HandOutput(points.detach(), None if logits is None else logits.detach().float())
        return losses, type_losses(logits, types) if logits is not None else losses.new_zeros(types.shape), output


def type_losses(logits: Tensor, types: Tensor) -> Tensor:
    """[B, 2] binary cross-entropy of each trait; 0 where it is not known."""
    known = types != UNKNOWN
    losses = functional.binary_cross_entropy_with_logits(logits.float(), (types == 1).float(), reduction="none")
    return torch.where(known, losses, 0)


@torch.no_grad()
def locate(output: Tensor, decoding: Decoding) -> tuple[Tensor, Tensor | None]:
    """Points decoded from a network's output.

    Args:
        output: points of HandOutput.
        decoding: how peaks are found.

    Returns:
        [B, P, 2] in 0..1 of the square, float32, and [B, P] the height of each peak clipped to 0..1; None for
        coordinates, which have no confidence.
    """
    output = output.float()
    if output.ndim == 3:
        return output, None
    xy, peak = decode(output, decoding)
    return xy, peak.clamp(0, 1)
