"""What a network with heatmaps is trained by: visibility, coordinates, and the marginals of its heatmaps."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.distillation import Taught, resampled
from training.models.heatmap_net import HeatmapOutput
from training.models.losses import Losses
from training.tasks.head_config import HeatmapConfig

_LEAST = 1e-8
"""Added to a marginal before its logarithm."""
_SPREAD = 1e-6
"""Added to every pixel of a marginal's target: no place is impossible."""


class HeatmapCriterion(nn.Module):
    """Weighted sum of three means over points and pictures; all means are over all points, so that a batch may be
    computed in parts.

    - coordinate: |dx| + |dy|, in shares of the picture.
    - heatmap: cross-entropy of both marginals with a Gaussian about the true place, in nats. It gives a gradient
      wherever the heatmap is, which the mean place of a broad heatmap does not.
    - visibility: binary cross-entropy.

    Args:
        config: the weights.
    """

    TASKS = ("visibility", "coordinate", "heatmap")
    """Columns of Losses.parts."""
    log_sigma = None
    """There are no learnt weights."""

    def __init__(self, config: HeatmapConfig):
        super().__init__()
        self.config = config

    def forward(
        self,
        output: HeatmapOutput,
        xy: Tensor,
        visible: Tensor,
        trusted: Tensor,
        occluded_weight: Tensor,
        data_scale: float = 1.0,
        sigma_scale: float = 1.0,
    ) -> Losses:
        """The losses of one batch; the mean over its pictures.

        Args:
            output: with marginals.
            xy: [B, N, 2] true coordinates 0..1.
            visible: [B, N] bool.
            trusted: [B, N] bool; False where the true position is unknown or uncertain.
            occluded_weight: a number, the weight of occluded points' positions.
            data_scale: factor on the losses, for batches computed in parts.
            sigma_scale: not used.
        """
        del sigma_scale
        weight = torch.where(visible, 1.0, occluded_weight) * trusted
        parts = torch.stack([term.mean() for term in self.terms(output, xy, visible, weight)])
        return Losses((parts * self.weights(parts)).sum() * data_scale, parts.detach()[None] * len(xy))

    def from_teacher(self, output: HeatmapOutput, taught: Taught) -> Tensor:
        """The mean over points and pictures of what a teacher's answers cost, in the weights of the settings.

        Cross-entropies with its probabilities of visibility and with its marginals, of all points: it answers for
        occluded ones, too.
        """
        assert output.marginals is not None, "marginals were not requested"
        seen = F.binary_cross_entropy_with_logits(output.visibility_logits, taught.probability)
        spread = sum(
            -(resampled(wanted, own.shape[-1]) * (own + _LEAST).log()).sum(-1).mean()
            for own, wanted in zip(output.marginals, taught.marginals, strict=True)
        )
        return self.config.teacher * (self.config.visibility * seen + self.config.heatmap * spread)

    def weights(self, like: Tensor) -> Tensor:
        """[3] the weights of TASKS, of the type and device of a tensor."""
        return like.new_tensor([self.config.visibility, self.config.coordinate, self.config.heatmap])

    def terms(self, output: HeatmapOutput, xy: Tensor, visible: Tensor, weight: Tensor) -> tuple[Tensor, ...]:
        """[B, N] for each of TASKS, before the weights of the settings.

        Args:
            output: with marginals.
            xy: [B, N, 2] true coordinates 0..1.
            visible: [B, N] bool.
            weight: [B, N] of the points' positions; those outside the picture count with 0 anyway.
        """
        assert output.marginals is not None, "marginals were not requested"
        weight = weight * ((xy >= 0) & (xy <= 1)).all(-1)  # a mean place cannot be elsewhere
        error = (output.coordinates - xy).abs().sum(-1) * weight
        spread = sum(self._cross_entropy(output.marginals[axis], xy[..., axis]) for axis in (0, 1)) * weight
        seen = F.binary_cross_entropy_with_logits(output.visibility_logits, visible.float(), reduction="none")
        return seen, error, spread

    def _cross_entropy(self, marginal: Tensor, place: Tensor) -> Tensor:
        """[B, N, C] shares and [B, N] 0..1 -> [B, N]."""
        count = marginal.shape[-1]
        pixels = torch.arange(count, device=place.device, dtype=place.dtype) + 0.5
        target = torch.exp(-0.5 * ((pixels - place[..., None] * count) / self.config.sigma_px).square()) + _SPREAD
        target = target / target.sum(-1, keepdim=True)
        return -(target * (marginal + _LEAST).log()).sum(-1)
