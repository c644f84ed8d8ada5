"""Another light and another background for pictures of heads, without geometry: cheap, and no acupoint moves."""

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_LIGHT_CELLS, _CLOUD_CELLS = 4, 8
"""Cells of the random fields along one side."""
_ALL_CHANNELS, _ONE_CHANNEL = 0.35, 0.25
"""Standard deviations of the logarithm of the gain: common to the channels, and of each."""
_RAMP = 1.2
"""Largest slope of the gain's logarithm from the middle to an edge."""
_TINT = 0.4
"""How far the channels' slopes differ."""
_CLOUDS = 0.25
_BLACK = 0.02
"""Pixels with no channel above it are background."""


def other_light(images: "Tensor", generator: "torch.Generator", light: float, background: float) -> "Tensor":
    """Multiplies pictures by smooth random gains, and replaces black backgrounds.

    Args:
        images: float [B, 3, S, S] in 0..1.
        generator: of the images' device; every call draws the same amount of numbers.
        light: probability that a picture's light changes.
        background: probability that what is black in it becomes a coloured, cloudy background.

    Returns:
        The same, in 0..1. Pixels of the head stay where they are.
    """
    import torch
    from torch.nn import functional

    batch, channels, _, side = images.shape
    like = {"device": images.device, "dtype": images.dtype}

    def normal(count: int, cells: int) -> "Tensor":
        drawn = torch.randn(batch, count, cells, cells, generator=generator, **like)
        return functional.interpolate(drawn, size=(side, side), mode="bicubic", align_corners=False)

    def uniform(count: int) -> "Tensor":
        return torch.rand(batch, count, 1, 1, generator=generator, **like)

    field = _ALL_CHANNELS * normal(1, _LIGHT_CELLS) + _ONE_CHANNEL * normal(channels, _LIGHT_CELLS)
    angle, slope = 2 * math.pi * uniform(1), _RAMP * uniform(1)
    across = torch.linspace(-1, 1, side, **like)
    ramp = slope * (torch.cos(angle) * across[None, None, None, :] + torch.sin(angle) * across[None, None, :, None])
    gain = torch.exp(field + ramp * (1 - _TINT * uniform(channels)))
    lit = torch.where(uniform(1) < light, images * gain, images)

    behind = (uniform(channels) + _CLOUDS * uniform(1) * normal(channels, _CLOUD_CELLS)).clamp(0, 1)
    head = functional.max_pool2d((images.amax(1, keepdim=True) > _BLACK).to(images.dtype), 3, 1, 1)
    head = functional.avg_pool2d(head, 3, 1, 1, count_include_pad=False)
    replaced = uniform(1) < background
    return torch.where(replaced, lit + (1 - head) * behind, lit).clamp(0, 1)
