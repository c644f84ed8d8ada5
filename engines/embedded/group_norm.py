"""Group normalisation for a CPU and channels last: accurate and fast.

Torch takes the variance there as the mean of squares less the square of the mean, and its sums over two dimensions at
once run straight on in float32; both cost digits, up to two where a group's mean is far from 0: enough to move pixels
by a level. ComfyUI's tensors have channels first, where torch is accurate.
"""

import torch
from torch import Tensor, nn

AT_ONCE = 2**18
"""Numbers squared at once, so that they stay in the processor's cache."""


class ChannelsLastGroupNorm(nn.Module):
    """[B, C, ...] -> the same shape, as nn.GroupNorm.

    Mean and variance are computed by channel, where torch sums in a cascade, and combined by group: a group's variance
    is the mean of its channels' plus the variance of their means.
    """

    def __init__(self, norm: nn.GroupNorm):
        super().__init__()
        self.groups, self.eps = norm.num_groups, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, x: Tensor) -> Tensor:
        """Each group of channels of each image to mean 0 and variance 1, then scaled and shifted by channel."""
        last = x.flatten(2).transpose(1, 2)  # [B, positions, C], contiguous in channels-last layout
        mean = last.mean(1)
        variance = torch.zeros_like(mean)
        for part in last.split(max(1, AT_ONCE // mean.numel()), 1):
            variance += (part - mean[:, None]).square_().sum(1)
        variance = (variance / last.shape[1]).unflatten(1, (self.groups, -1))
        means = mean.unflatten(1, (self.groups, -1))
        whole = means.mean(2, keepdim=True)
        spread = (variance + (means - whole).square()).mean(2, keepdim=True)
        scale = torch.rsqrt(spread + self.eps) * self.weight.view(self.groups, -1)
        shift = self.bias.view(self.groups, -1) - whole * scale
        out = torch.addcmul(shift.flatten(1)[:, None], last, scale.flatten(1)[:, None]).transpose(1, 2)
        return out.unflatten(2, x.shape[2:]) if x.ndim > 3 else out


def install(module: nn.Module) -> None:
    """Replaces every group normalisation in a module."""
    for name, child in module.named_children():
        if isinstance(child, nn.GroupNorm) and child.affine:
            setattr(module, name, ChannelsLastGroupNorm(child))
        else:
            install(child)
