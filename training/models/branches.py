"""The branches of acuSimNet, all computed together: [B, D] features to visibility, coordinates and class logits.

A branch is a trunk of fully connected layers and three linear heads (paper, section 3.2). Trunks have one shape, so
they are one batched matrix product; heads have the size of their group and are padded to the largest. The padding is
zero, no loss reads it, its gradient is zero, and AdamW leaves zeros with zero gradients as they are.
"""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from training.config import Trunk
from training.models.grouping import Groups
from training.precision import full_precision

TRUNKS: dict[Trunk, tuple[tuple[int, ...], tuple[float, ...]]] = {
    "three": ((1024, 768, 512), (0.3, 0.25, 0.2)),
    "single": ((512,), (0.2,)),
}
"""Widths and dropout of each trunk. The paper's text names one layer; its Table 1 and public code have three."""


class Output(NamedTuple):
    """What the network says of B pictures, acupoints in the order of ``acupoints.NAMES``."""

    visibility_logits: Tensor
    """[B, 174]"""
    coordinates: Tensor
    """[B, 174, 2] 0..1 of the picture, not clipped."""
    class_logits: Tensor | None
    """[B, G, W, W] by branch and slot, padding not masked; None where nobody asked."""


class GroupedLinear(nn.Module):
    """G linear layers of one shape at once: [B, G, D] -> [B, G, E], or [B, D] for all -> [B, G, E].

    Args:
        groups: G.
        inputs: D.
        outputs: E.
        shared: whether all layers have the same input [B, D].
        used: [G, E] outputs that exist, None for all; the others are zero and stay so.
    """

    used: Tensor

    def __init__(self, groups: int, inputs: int, outputs: int, *, shared: bool = False, used: Tensor | None = None):
        super().__init__()
        self.groups, self.inputs, self.outputs, self.shared = groups, inputs, outputs, shared
        # One product for a shared input, [G E, D] as in nn.Linear; else a batched one, [G, D, E].
        shape = (groups * outputs, inputs) if shared else (groups, inputs, outputs)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.empty(groups, outputs))
        everything = torch.ones(groups, outputs, dtype=torch.bool)
        self.register_buffer("used", everything if used is None else used, persistent=False)
        unused = 0 if used is None else int((~used).sum())
        self.padding_of = {"weight": unused * inputs, "bias": unused}
        """Numbers of each parameter that are always zero: they are none."""
        self.reset_parameters()

    def reset_parameters(self, scale: float = 1.0) -> None:
        """nn.Linear's initial values, uniform in ±1/sqrt(D), times ``scale``."""
        bound = scale / math.sqrt(self.inputs)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)
        with torch.no_grad():
            self.matrices().mul_(self.used[:, None, :])
            self.bias.mul_(self.used)

    def matrices(self) -> Tensor:
        """[G, D, E], a view of the weights."""
        if not self.shared:
            return self.weight
        return self.weight.view(self.groups, self.outputs, self.inputs).transpose(1, 2)

    def pack(self, name: str, value: Tensor) -> Tensor:
        """The outputs that exist, of a parameter or a moment of it: N rows, as one nn.Linear of them would have.

        Args:
            name: weight or bias.
            value: of the parameter's shape.

        Returns:
            [N, D] or [N].
        """
        return (value if name == "bias" else self._rows(value))[self.used]

    def unpack(self, name: str, value: Tensor) -> Tensor:
        """What pack gives, in the parameter's shape, with padding.

        Raises:
            ValueError: it is of another shape.
        """
        count = int(self.used.sum())
        wanted = [count] if name == "bias" else [count, self.inputs]
        if list(value.shape) != wanted:
            raise ValueError(f"shape {list(value.shape)} instead of {wanted}")
        parameter = self.bias if name == "bias" else self.weight
        whole = torch.zeros_like(parameter, requires_grad=False, memory_format=torch.contiguous_format)
        rows = whole if name == "bias" else self._rows(whole)
        rows[self.used] = value.to(whole)
        return whole

    def _rows(self, value: Tensor) -> Tensor:
        """[G, E, D], a view of something of the weights' shape."""
        if self.shared:
            return value.view(self.groups, self.outputs, self.inputs)
        return value.transpose(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """[B, D] or [B, G, D] -> [B, G, E]."""
        if self.shared:
            return F.linear(x, self.weight, self.bias.flatten()).unflatten(1, (self.groups, self.outputs))
        # AMP casts baddbmm's inputs.
        return torch.baddbmm(self.bias.unsqueeze(1), x.transpose(0, 1), self.weight).transpose(0, 1)


class GroupedLayerNorm(nn.Module):
    """LayerNorm over the last axis of [B, G, E] with a weight and bias for each group."""

    def __init__(self, groups: int, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(groups, width))
        self.bias = nn.Parameter(torch.zeros(groups, width))

    def forward(self, x: Tensor) -> Tensor:
        """[B, G, E] -> [B, G, E]"""
        return torch.addcmul(self.bias, F.layer_norm(x, x.shape[-1:]), self.weight)


class Branches(nn.Module):
    """Trunks and heads of all groups.

    Args:
        groups: which acupoints are in which branch.
        features: D, the length of the backbone's feature vector.
        trunk: one of TRUNKS.
        dropout: factor on the trunk's dropout.
    """

    slots: Tensor

    def __init__(self, groups: Groups, features: int, trunk: Trunk = "three", dropout: float = 1.0):
        super().__init__()
        self.count, self.width = groups.count, groups.width
        widths, dropouts = TRUNKS[trunk]
        layers: list[nn.Module] = []
        for index, (width, share) in enumerate(zip(widths, dropouts, strict=True)):
            inputs = widths[index - 1] if index else features
            layers.append(GroupedLinear(self.count, inputs, width, shared=not index))
            layers += [nn.GELU(), nn.Dropout(dropout * share), GroupedLayerNorm(self.count, width)]
        self.trunk = nn.Sequential(*layers)
        used = torch.from_numpy(groups.used)
        last = widths[-1]
        self.visibility = GroupedLinear(self.count, last, self.width, used=used)
        self.coordinate = GroupedLinear(self.count, last, 2 * self.width, used=used.repeat_interleave(2, 1))
        pairs = (used[:, :, None] & used[:, None, :]).flatten(1)
        self.classifier = GroupedLinear(self.count, last, self.width**2, used=pairs)
        self.register_buffer("slots", torch.from_numpy(groups.slots), persistent=False)

    def forward(self, features: Tensor, classify: bool = True) -> Output:
        """[B, D] -> Output; ``classify=False`` leaves out the class logits, which no prediction needs."""
        hidden = self.trunk(features)
        visibility = self.visibility(hidden).flatten(1)[:, self.slots]
        with full_precision(hidden):
            places = self.coordinate(hidden.to(self.coordinate.weight.dtype)).unflatten(2, (self.width, 2))
        coordinates = places.flatten(1, 2)[:, self.slots]
        logits = self.classifier(hidden).unflatten(2, (self.width, self.width)) if classify else None
        return Output(visibility, coordinates, logits)

    def parameter_count(self) -> int:
        """Parameters without padding."""
        padding = sum(sum(module.padding_of.values()) for module in self.modules() if isinstance(module, GroupedLinear))
        return sum(parameter.numel() for parameter in self.parameters()) - padding
