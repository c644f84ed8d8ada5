"""The branches of acuSimNet: [B, D] features to visibility, coordinates and class logits of each group of acupoints.

A branch is a trunk of fully connected layers and three linear heads (paper, section 3.2).
"""

import math
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from training.models.grouping import Groups
from training.models.names import Trunk
from training.precision import full_precision

TRUNKS: dict[Trunk, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "three": ((1024, 768, 512), (0.3, 0.25, 0.2)),
    "single": ((512,), (0.2,)),
}
"""Widths and dropout of each trunk. The paper's text names one layer; its Table 1 and public code have three."""


class Output(NamedTuple):
    """The network's output for B pictures, acupoints in the order of ``acupoints.NAMES``."""

    visibility_logits: Tensor
    """[B, 174]"""
    coordinates: Tensor
    """[B, 174, 2] 0..1 of the picture, not clipped."""
    class_logits: tuple[Tensor, ...] | None
    """Of each branch [B, n, n]: for each of its n points a logit of each; None where they were not requested."""


class Branch(nn.Module):
    """Trunk and heads of one group.

    Args:
        points: n, acupoints of the group.
        features: D, the length of the backbone's feature vector.
        trunk: one of TRUNKS.
        dropout: factor on the trunk's dropout.
        head_scale: factor on the initial weights of the visibility and coordinate heads.
        start_xy: added to the initial bias of the coordinate head.
    """

    def __init__(
        self, points: int, features: int, trunk: Trunk, dropout: float, head_scale: float, start_xy: float = 0.0
    ):
        super().__init__()
        self.points = points
        layers: list[nn.Module] = []
        for width, share in zip(*TRUNKS[trunk], strict=True):
            layers += [nn.Linear(features, width), nn.GELU(), nn.Dropout(dropout * share), nn.LayerNorm(width)]
            features = width
        self.trunk = nn.Sequential(*layers)
        self.visibility = nn.Linear(features, points)
        self.coordinate = nn.Linear(features, 2 * points)
        self.classifier = nn.Linear(features, points**2)
        with torch.no_grad():
            for parameter in (*self.visibility.parameters(), *self.coordinate.parameters()):
                parameter.mul_(head_scale)
            self.coordinate.bias.add_(start_xy)

    def forward(self, features: Tensor, for_loss: bool) -> tuple[Tensor, Tensor, Tensor | None]:
        """[B, D] -> visibility logits [B, n], coordinates [B, n, 2], and class logits [B, n, n] where requested."""
        hidden = self.trunk(features)
        with full_precision(hidden):
            coordinates = self.coordinate(hidden.to(self.coordinate.weight.dtype)).unflatten(1, (self.points, 2))
        classes = self.classifier(hidden).unflatten(1, (self.points, self.points)) if for_loss else None
        return self.visibility(hidden), coordinates, classes


class Branches(nn.ModuleList):
    """A branch for each group.

    Args:
        groups: which acupoints are in which branch.
        features, trunk, dropout, head_scale, start_xy: as of Branch.
    """

    order: Tensor

    def __init__(
        self,
        groups: Groups,
        features: int,
        trunk: Trunk = "three",
        dropout: float = 1.0,
        head_scale: float = 1.0,
        start_xy: float = 0.0,
    ):
        super().__init__(Branch(points, features, trunk, dropout, head_scale, start_xy) for points in groups.sizes)
        self.register_buffer("order", torch.from_numpy(groups.order), persistent=False)

    def forward(self, features: Tensor, for_loss: bool = True) -> Output:
        """[B, D] -> Output; ``for_loss=False`` omits the class logits, which only training needs."""
        visibility, coordinates, classes = zip(*(branch(features, for_loss) for branch in self), strict=True)
        return Output(
            torch.cat(visibility, 1)[:, self.order],
            torch.cat(coordinates, 1)[:, self.order],
            classes if for_loss else None,
        )

    def upgraded(self, name: str, value: Tensor) -> dict[str, Tensor]:
        """See checkpoint.Upgradable: up to format 2, the G branches were layers of one parameter each.

        Weights were [G E, D] for the trunk's first layer and [G, D, E] for others, biases and normalisation [G, E],
        where heads had the E of the largest group (format 1), or only the outputs that exist, [N, D] and [N] (format
        2). Optimiser moments had the same shapes.
        """
        if name.split(".")[0].isdigit():
            return {name: value}
        parameters = [branch.get_parameter(name) for branch in self]
        rows = [len(parameter) for parameter in parameters]
        if value.ndim == 0:  # the optimiser's number of steps
            parts = [value.clone() for _ in parameters]
        elif value.ndim == parameters[0].ndim and len(value) == sum(rows):
            parts = list(value.split(rows))
        elif value.ndim == parameters[0].ndim + 1 and len(value) == len(parameters):
            parts = [
                self._without_padding(name, one if one.ndim == 1 else one.T, cast(Branch, branch))
                for one, branch in zip(value, self, strict=True)
            ]
        else:
            return {name: value}
        return {f"{number}.{name}": part for number, part in enumerate(parts)}

    @staticmethod
    def _without_padding(name: str, value: Tensor, branch: Branch) -> Tensor:
        """Rows of a head of the largest group's size -> those that a branch has."""
        if name.startswith("classifier."):
            width = math.isqrt(len(value))
            return value.unflatten(0, (width, width))[: branch.points, : branch.points].flatten(0, 1)
        return value[: len(branch.get_parameter(name))]
