"""The losses of acuSimNet (paper, section 3.5) and of the acuSim baseline, on whole batches at once.

Everything is per point, [B, 174], until ``Criterion`` sums it by branch. Logits are taken in float32 whatever the
network's precision is.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.models.branches import Output
from training.models.grouping import Groups
from training.tasks.head_config import LossConfig, Uncertainty

INITIAL_LOG_SIGMA: dict[Uncertainty, tuple[float, float, float]] = {"paper": (0.0, 1.0, -5.0), "zeros": (0.0, 0.0, 0.0)}
"""Of visibility, coordinates and class."""
TASKS = ("visibility", "coordinate", "class")
"""Columns of log_sigma and of Losses.parts."""


def binary_focal_loss(
    logits: Tensor, visible: Tensor, alpha: float = 0.25, gamma: float = 2.0, occluded: float | None = None
) -> Tensor:
    """Equation 4's summand: -alpha_t (1 - p_t)^gamma log p_t, with alpha_t = alpha where visible.

    Source: Lin et al. 2017, equation 5.

    Args:
        logits: [...] of p.
        visible: [...] bool.
        alpha: weight of visible points.
        gamma: exponent.
        occluded: alpha_t of occluded points; None is 1 - alpha, as in the source.
    """
    signed = torch.where(visible, logits, -logits)
    weight = torch.where(visible, alpha, 1 - alpha if occluded is None else occluded)
    return weight * torch.sigmoid(-signed) ** gamma * F.softplus(-signed)


def soft_wing_loss(error: Tensor, omega: float = 4.0, epsilon: float = 0.2, theta: float = 0.5) -> Tensor:
    """omega log(1 + |e| / epsilon) below theta, A |e| - C from there on, A = omega / epsilon, continuous at theta.

    Source: paper, after equation 5.

    Args:
        error: [...] predicted minus true coordinate, 0..1 of the picture.
        omega: scale.
        epsilon: curvature.
        theta: where it becomes linear.
    """
    size = error.abs()
    slope = omega / epsilon
    offset = slope * theta - omega * math.log1p(theta / epsilon)
    return torch.where(size < theta, omega * torch.log1p(size / epsilon), slope * size - offset)


def soft_mask(probability: Tensor, low: float = 0.075, high: float = 0.925, floor: float = 0.075) -> Tensor:
    """Equation 2: clip((p - low) / (high - low), 0, 1), at least ``floor`` where low <= p < high."""
    weight = ((probability - low) / (high - low)).clamp(0, 1)
    within = (probability >= low) & (probability < high)
    return torch.where(within, weight.clamp(min=floor), weight)


def decay_weight(epoch: float, start: float = 25.0, end: float = 125.0, floor: float = 0.03) -> float:
    """Equation 3's weight of an occluded point, ``epoch`` counted from 0; 1 up to epoch 1."""
    if epoch <= 1:
        return 1.0
    bend = math.tanh(4 / (end - start) * (epoch - (start + end) / 2))
    return floor + (1 - floor) * (1 - bend) / 2


class Losses(NamedTuple):
    """A batch's losses."""

    total: Tensor
    """Scalar to minimise."""
    parts: Tensor
    """[G, 3] the sums of each branch and task before they are weighted, without gradient."""


class Criterion(nn.Module):
    """Equation 1: the three losses of every branch, weighted by learnt uncertainties.

    Args:
        config: constants and ablations.
        groups: which acupoints are in which branch.
    """

    TASKS = TASKS
    """Columns of Losses.parts."""
    branch: Tensor
    order: Tensor

    def __init__(self, config: LossConfig, groups: Groups):
        super().__init__()
        self.config = config
        self.log_sigma: nn.Parameter | None = None
        if config.uncertainty != "none":
            initial = torch.tensor(INITIAL_LOG_SIGMA[config.uncertainty]).repeat(groups.count, 1)
            self.log_sigma = nn.Parameter(initial)
        membership = F.one_hot(torch.from_numpy(groups.branch_of), groups.count).float()
        self.register_buffer("branch", membership, persistent=False)
        self.register_buffer("order", torch.from_numpy(groups.order), persistent=False)

    def forward(
        self,
        output: Output,
        xy: Tensor,
        visible: Tensor,
        trusted: Tensor,
        occluded_weight: Tensor,
        data_scale: float = 1.0,
        sigma_scale: float = 1.0,
    ) -> Losses:
        """The losses of one batch.

        Args:
            output: with class logits.
            xy: [B, 174, 2] true coordinates 0..1; (0, 0) where occluded and not known.
            visible: [B, 174] bool.
            trusted: [B, 174] bool; False where the true position is uncertain: it has no coordinate loss.
            occluded_weight: a number, the weight of occluded points' coordinates.
            data_scale: factor on the losses, for batches computed in parts.
            sigma_scale: factor on the sum of log sigma, likewise.
        """
        config = self.config
        logits = output.visibility_logits.float()
        probability = torch.sigmoid(logits.detach())
        mask = self._mask(probability)
        by_wing = soft_wing_loss(output.coordinates.float() - xy, config.omega, config.epsilon, config.theta).sum(-1)
        weight = mask * trusted
        weight = weight * torch.where(visible, 1.0, occluded_weight)
        per_point = torch.stack([self._visibility(logits, visible), by_wing * weight, self._class(output) * mask])
        parts = (per_point @ self.branch).sum(1).T
        if config.reduction == "mean":
            data_scale = data_scale / len(xy)
        if self.log_sigma is None:
            return Losses(parts.sum() * data_scale, parts.detach())
        weighted = parts * (0.5 * data_scale) * torch.exp(-2 * self.log_sigma)
        return Losses(weighted.sum() + sigma_scale * self.log_sigma.sum(), parts.detach())

    def _mask(self, probability: Tensor) -> Tensor:
        """[B, 174] weights of coordinate and class losses."""
        config = self.config
        if config.mask == "none" or not config.guided:
            return torch.ones_like(probability)
        if config.mask == "hard":
            return (probability >= 0.5).to(probability.dtype)
        return soft_mask(probability, config.tau_low, config.tau_high, config.floor)

    def _visibility(self, logits: Tensor, visible: Tensor) -> Tensor:
        """[B, 174]; a picture's root mean square error is spread over its points, so that their sum is that error."""
        if self.config.visibility == "focal":
            config = self.config
            return binary_focal_loss(logits, visible, config.alpha, config.gamma, config.alpha_occluded)
        # The root has no gradient at zero.
        mean = (torch.sigmoid(logits) - visible.float()).square().mean(1, keepdim=True).clamp(min=1e-12)
        return (mean.sqrt() / logits.shape[1]).expand_as(logits)

    def _class(self, output: Output) -> Tensor:
        """[B, 174] cross-entropy; the class of a branch's j-th point is j in every picture."""
        assert output.class_logits is not None, "class logits were not requested"
        branches = [logits.float() for logits in output.class_logits]
        losses = [logits.logsumexp(-1) - logits.diagonal(dim1=-2, dim2=-1) for logits in branches]
        return torch.cat(losses, 1)[:, self.order]
