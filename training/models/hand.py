"""A hand network as a whole: normalisation, network and loss, and points decoded from its output."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.models.hand_base import HandModel
from training.models.hand_networks import create
from training.models.heatmap_loss import HeatmapCriterion
from training.models.heatmap_net import HeatmapNet, HeatmapOutput
from training.models.heatmaps import decode, gaussian_heatmaps
from training.models.names import Decoding
from training.models.normalise import Normalise
from training.tasks.hand_config import HandConfig, HandModelConfig
from training.tasks.hand_type import TRAITS, UNKNOWN
from training.tasks.head_config import HeatmapConfig


class HandOutput(NamedTuple):
    """The network's output for B pictures."""

    points: Tensor
    """Heatmaps [B, P, S, S], or coordinates [B, P, 2] in 0..1; see HandNet.OUTPUT."""
    type_logits: Tensor | None
    """[B, 2] for the traits of hand_type.TRAITS; None for a network without that head."""
    visibility_logits: Tensor | None = None
    """[B, P]; None for networks that do not predict whether a point is visible."""
    marginals: tuple[Tensor, Tensor] | None = None
    """As HeatmapOutput's, where they were requested."""


def named_outputs(output: HandOutput) -> dict[str, Tensor]:
    """What a network gives, by name, logits as probabilities: ``heatmaps`` or ``coordinates``; ``visibility`` and
    ``hand_type`` where it has them."""
    out = {"heatmaps" if output.points.ndim == 4 else "coordinates": output.points}
    if output.visibility_logits is not None:
        out["visibility"] = output.visibility_logits.sigmoid()
    if output.type_logits is not None:
        out["hand_type"] = output.type_logits.sigmoid()
    return out


class HandNet(nn.Module):
    """Pictures in 0..1 to heatmaps or coordinates, and to the hand's type where requested.

    Args:
        config: the network's settings. Weights are loaded by the caller (hand_pretrained.load_pretrained).
        points: P, how many points it predicts.
    """

    outputs: tuple[str, ...]
    """Names of what it gives, see named_outputs."""

    def __init__(self, config: HandModelConfig, points: int):
        super().__init__()
        self.normalise = Normalise(config.normalise)
        self.model: HandModel | HeatmapNet
        self.hand_type: nn.Linear | None = None
        if config.name == "integral":
            traits = len(TRAITS) if config.hand_type else 0
            self.model = HeatmapNet(config.backbone, points, config.decoder, traits)
            self.outputs = ("coordinates", "visibility", *["hand_type"] * config.hand_type)
            return
        self.model = create(
            config.name,
            points,
            bottleneck_dropout=config.bottleneck_dropout,
            branch_dropout=config.branch_dropout,
        )
        if config.hand_type:
            self.hand_type = nn.Linear(self.model.feature_dim, len(TRAITS))
        self.outputs = (self.model.OUTPUT, *["hand_type"] * config.hand_type)

    def forward(self, images: Tensor, for_loss: bool = False) -> HandOutput:
        """Points in pictures.

        Args:
            images: [B, 3, S, S] RGB in 0..1.
            for_loss: whether marginals are returned, by a network that has them.
        """
        pictures = self.normalise(images)
        if isinstance(self.model, HeatmapNet):
            found = self.model(pictures, for_loss)
            return HandOutput(found.coordinates, found.trait_logits, found.visibility_logits, found.marginals)
        points, features = self.model.points_and_features(pictures)
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

    def forward(self, output: HandOutput, xy: Tensor, visible: Tensor, known: Tensor) -> Tensor:
        """[B, P] in float32; 0 for points that are not visible, or at a position that is not certain.

        Args:
            output: of the network.
            xy: [B, P, 2] 0..1 of the square.
            visible: [B, P] bool.
            known: [B, P] bool, points whose position is known for certain.
        """
        points, visible = output.points.float(), visible & known
        if points.ndim == 4:
            height, width = points.shape[-2:]
            target = gaussian_heatmaps(xy, visible, (height, width), self.sigma_px)
            error = (points - target).square().mean((-2, -1))
        else:
            error = (points - xy).square().mean(-1)
        return torch.where(visible, error, 0)


class IntegralLoss(nn.Module):
    """The weighted terms of HeatmapCriterion for each point.

    Args:
        config: the weights.
        hidden: factor on the position of points that are not visible, where it is known.
    """

    def __init__(self, config: HeatmapConfig, hidden: float):
        super().__init__()
        self.criterion, self.hidden = HeatmapCriterion(config), hidden

    def forward(self, output: HandOutput, xy: Tensor, visible: Tensor, known: Tensor) -> Tensor:
        """[B, P] in float32; arguments as HandLoss's, the output with marginals."""
        assert output.visibility_logits is not None
        found = HeatmapOutput(output.visibility_logits, output.points, output.marginals, None)
        weight = torch.where(visible, 1.0, self.hidden) * known
        terms = torch.stack(self.criterion.terms(found, xy, visible, weight), -1)
        return (terms * self.criterion.weights(terms)).sum(-1)


class HandTrainee(nn.Module):
    """Network and criterion as one module, to be compiled and replicated on several GPUs."""

    def __init__(self, config: HandConfig, points: int):
        super().__init__()
        self.network: HandNet = HandNet(config.model, points)
        self.criterion: HandLoss | IntegralLoss
        if config.model.name == "integral":
            self.criterion = IntegralLoss(config.heatmap, config.loss.hidden)
        else:
            self.criterion = HandLoss(config.loss.sigma_px)

    def forward(
        self, images: Tensor, xy: Tensor, visible: Tensor, known: Tensor, types: Tensor
    ) -> tuple[Tensor, Tensor, HandOutput]:
        """Losses of points [B, P] and of traits [B, 2], and the network's output, without gradient.

        Args:
            images: as HandNet's.
            xy: [B, P, 2] 0..1 of the square.
            visible: [B, P] bool.
            known: [B, P] bool: points whose position is known for certain.
            types: [B, 2] as hand_type.known_types has them; a trait that is not known has no loss.
        """
        output = self.network(images, for_loss=True)
        losses, logits = self.criterion(output, xy, visible, known), output.type_logits
        of_types = type_losses(logits, types) if logits is not None else losses.new_zeros(types.shape)
        seen = output.visibility_logits
        bare = (None if one is None else one.detach().float() for one in (logits, seen))
        return losses, of_types, HandOutput(output.points.detach(), *bare)


def type_losses(logits: Tensor, types: Tensor) -> Tensor:
    """[B, 2] binary cross-entropy of each trait; 0 where it is not known."""
    known = types != UNKNOWN
    losses = functional.binary_cross_entropy_with_logits(logits.float(), (types == 1).float(), reduction="none")
    return torch.where(known, losses, 0)


@torch.no_grad()
def locate(points: Tensor, decoding: Decoding, visibility: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
    """Points decoded from a network's output.

    Args:
        points: of HandOutput.
        decoding: how peaks are found.
        visibility: [B, P] probability that each point is visible, where the network gives it.

    Returns:
        [B, P, 2] in 0..1 of the square, float32, and [B, P] the confidence: visibility, or the height of each peak
        clipped to 0..1; None for coordinates alone, which have none.
    """
    points = points.float()
    if points.ndim == 3:
        return points, visibility
    xy, peak = decode(points, decoding)
    return xy, peak.clamp(0, 1)
