"""Group normalisation in two passes, for a CPU and channels last.

Torch takes the variance there as the mean of squares less the square of the mean, which costs up to two digits where a
group's mean is far from 0: enough to move pixels by a level. ComfyUI's tensors lie in memory the other way, where torch
does it well.
"""

import torch
from torch import Tensor, nn


class TwoPassGroupNorm(nn.Module):
    """[B, C, ...] -> the same shape, as nn.GroupNorm."""

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """Each group of channels of each picture to mean 0 and variance 1, then scaled and shifted by channel."""
        last = x.flatten(2).transpose(1, 2)  # [B, places, C], of one piece where channels lie last
        parts = last.unflatten(2, (self.groups, -1))
        centred = parts - parts.mean((1, 3), keepdim=True)
        rest = centred.mean((1, 3), keepdim=True)  # what rounding left in the first mean
        spread = centred.square().mean((1, 3), keepdim=True) - rest.square()
        scale = torch.rsqrt(spread + self.eps) * self.weight.view(1, 1, self.groups, -1)
        out = torch.addcmul(self.bias.view(1, 1, self.groups, -1) - rest * scale, centred, scale).flatten(2)
        return out.transpose(1, 2).unflatten(2, x.shape[2:]) if x.ndim > 3 else out.transpose(1, 2)


def install(module: nn.Module) -> None:
    """Replaces every group normalisation in a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm) and child.affine:
            setattr(module, name, TwoPassGroupNorm(child))
        else:
            install(child)
