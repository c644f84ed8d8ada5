"""Convolutions with fewer multiplications, for a CPU in float32. Results differ by rounding alone.

A 3 x 3 convolution uses Winograd's minimal filtering F(2 x 2, 3 x 3) (Lavin & Gray 2015, section 4.1): 16 instead of
36 multiplications for 4 outputs. One that follows nearest-neighbour upsampling by 2 never sees the upsampled image:
each of the four outputs of an input pixel is a 2 x 2 convolution, 16 instead of 36 multiplications.
"""

import math
import threading
from typing import Any

import torch
from diffusers.models.upsampling import Upsample2D
from torch import Tensor, nn
from torch.nn import functional

NARROWEST = 256
"""Channels below which additions and copies cost as much as the multiplications that they save."""
TILES = 128
"""Tiles of 2 x 2 outputs processed at once, so that intermediate results stay in the processor's cache."""
CHANNELS = 32
"""Of a kernel, transformed at once, for the same reason."""


class _Workspace(threading.local):
    """Reused memory for intermediate results: allocating it costs more than the additions that fill it."""

    def __init__(self) -> None:
        self._kept: dict[str, Tensor] = {}

    def take(self, name: str, like: Tensor, *shape: int) -> Tensor:
        """An uninitialised tensor, which overlaps the last one of this name."""
        size = math.prod(shape)
        kept = self._kept.get(name)
        if kept is None or kept.numel() < size or kept.dtype != like.dtype:
            kept = self._kept[name] = like.new_empty(size)
        return kept[:size].view(shape)


_workspace = _Workspace()


class WinogradConvolution(nn.Module):
    """[B, C, H, W] -> [B, O, H, W], 3 x 3, stride 1, zero padding."""

    def __init__(self, convolution: nn.Conv2d):
        super().__init__()
        taps = convolution.weight.detach()
        width, depth = taps.shape[:2]
        weight = taps.new_empty(4, 4, depth, width)
        for first in range(0, depth, CHANNELS):
            some = taps[:, first : first + CHANNELS].permute(2, 3, 1, 0).double()
            weight[:, :, first : first + CHANNELS] = _four_taps(_four_taps(some).transpose(0, 1)).transpose(0, 1)
        self.weight = nn.Parameter(weight.view(16, depth, width), requires_grad=False)
        """[16, C, O]"""
        bias = convolution.bias if convolution.bias is not None else taps.new_zeros(width)
        self.bias = nn.Parameter(bias.detach().to(convolution.weight.dtype), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """The convolution; the result is in channels-last layout."""
        batch, _, height, width = x.shape
        rows, columns = -(-height // 2), -(-width // 2)
        x = x.permute(0, 2, 3, 1)
        out = x.new_empty(batch, 2 * rows, 2 * columns, self.weight.shape[2])
        images = max(1, TILES // (rows * columns))
        lines = min(rows, max(1, TILES // columns)) if images == 1 else rows
        for first in range(0, batch, images):
            some = slice(first, first + images)
            for top in range(0, rows, lines):
                bottom = min(top + lines, rows)
                self._tiles(_padded(x[some], top, bottom, 2 * columns), out[some, 2 * top : 2 * bottom])
        return out[:, :height, :width].permute(0, 3, 1, 2)

    def _tiles(self, x: Tensor, out: Tensor) -> None:
        """Output rows [B, 2 r, 2 c, O] from the padded input rows [B, 2 r + 2, 2 c + 2, C] around them."""
        batch, rows, columns, depth = x.shape[0], out.shape[1] // 2, out.shape[2] // 2, x.shape[3]
        width = self.weight.shape[2]
        down = _workspace.take("down", x, 4, batch, rows, x.shape[2], depth)
        _into([x[:, first : first + 2 * rows - 1 : 2] for first in range(4)], down)
        tiles = _workspace.take("tiles", x, 4, 4, batch, rows, columns, depth)
        _into([down[:, :, :, first : first + 2 * columns - 1 : 2] for first in range(4)], tiles.transpose(0, 1))
        products = _workspace.take("products", x, 16, batch * rows * columns, width)
        torch.bmm(tiles.view(16, -1, depth), self.weight, out=products)
        products = products.view(4, 4, batch, rows, columns, width)
        lines = _workspace.take("down", x, 2, 4, batch, rows, columns, width)
        torch.add(products[1], products[2], out=lines[0]).add_(products[0])
        torch.sub(products[1], products[2], out=lines[1]).sub_(products[3])
        placed = out.view(batch, rows, 2, columns, 2, width).permute(2, 4, 0, 1, 3, 5)
        sums = _workspace.take("sums", x, 2, batch, rows, columns, width)
        torch.add(lines[:, 1], lines[:, 2], out=sums).add_(lines[:, 0])
        torch.add(sums, self.bias, out=placed[:, 0])
        torch.sub(lines[:, 1], lines[:, 2], out=sums).sub_(lines[:, 3])
        torch.add(sums, self.bias, out=placed[:, 1])


def _four_taps(taps: Tensor) -> Tensor:
    """[4, ...] Winograd's transform of three taps [3, ...] along the first axis."""
    outer, inner = (taps[0] + taps[2]) / 2, taps[1] / 2
    return torch.stack([taps[0], outer + inner, outer - inner, taps[2]])


def _into(samples: list[Tensor], out: Tensor) -> None:
    """Winograd's input transform along one axis: four samples of each tile to four values."""
    first, second, third, fourth = samples
    torch.sub(first, third, out=out[0])
    torch.add(second, third, out=out[1])
    torch.sub(third, second, out=out[2])
    torch.sub(second, fourth, out=out[3])


def _padded(x: Tensor, top: int, bottom: int, width: int) -> Tensor:
    """[B, 2 (bottom - top) + 2, width + 2, C] the input of some tile rows, zeros beyond the image."""
    low, high = 2 * top - 1, 2 * bottom + 1
    out = _workspace.take("padded", x, x.shape[0], high - low, width + 2, x.shape[3])
    inner = x[:, max(low, 0) : min(high, x.shape[1])]
    begin = max(-low, 0)
    out[:, :begin] = 0
    out[:, begin + inner.shape[1] :] = 0
    out[:, :, 0] = 0
    out[:, :, 1 + x.shape[2] :] = 0
    out[:, begin : begin + inner.shape[1], 1 : 1 + x.shape[2]] = inner
    return out


class UpsamplingConvolution(nn.Module):
    """[B, C, H, W] -> [B, O, 2 H, 2 W]: every pixel repeated 2 x 2, then a 3 x 3 convolution with zero padding."""

    def __init__(self, upsampler: Upsample2D):
        super().__init__()
        assert isinstance(upsampler.conv, nn.Conv2d)
        weight = upsampler.conv.weight
        # Along an axis, an even output applies the first tap to one pixel and the sum of the other two to the next; an
        # odd one the sum of the first two to one pixel and the last to the next.
        taps = torch.tensor([[[1, 0, 0], [0, 1, 1]], [[1, 1, 0], [0, 0, 1]]], dtype=torch.float64)
        kernels = torch.einsum("pia,ocab,qjb->pqocij", taps, weight.double(), taps).flatten(0, 2)
        self.weight = nn.Parameter(kernels.to(weight.dtype, memory_format=torch.channels_last), requires_grad=False)
        """[4 O, C, 2, 2]"""
        bias = upsampler.conv.bias if upsampler.conv.bias is not None else weight.new_zeros(len(weight))
        self.bias = nn.Parameter(bias.detach(), requires_grad=False)
        self._plain = [upsampler]  # in a list: its weights are not this module's

    def forward(self, hidden_states: Tensor, output_size: Any = None, *unused: Any, **unknown: Any) -> Tensor:
        """As diffusers' Upsample2D; another output size than the double takes the plain way."""
        height, width = hidden_states.shape[2:]
        if output_size is not None and tuple(output_size) != (2 * height, 2 * width):
            return self._plain[0](hidden_states, output_size)
        seen = functional.conv2d(hidden_states, self.weight, padding=1)
        quarters = seen.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1))
        out = seen.new_empty(len(seen), height, 2, width, 2, quarters.shape[-1])
        for line in range(2):
            for column in range(2):
                quarter = quarters[:, line : line + height, column : column + width, line, column]
                torch.add(quarter, self.bias, out=out[:, :, line, :, column])
        return out.view(len(seen), 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def install(module: nn.Module) -> None:
    """Replaces the convolutions of a UNet or VAE that gain by it."""
    for name, child in module.named_children():
        if isinstance(child, Upsample2D) and child.use_conv and isinstance(child.conv, nn.Conv2d):
            setattr(module, name, UpsamplingConvolution(child))
        elif isinstance(child, nn.Conv2d) and _gains(child):
            setattr(module, name, WinogradConvolution(child))
        else:
            install(child)


def _gains(convolution: nn.Conv2d) -> bool:
    shape = convolution.kernel_size == (3, 3) and convolution.stride == (1, 1) and convolution.padding == (1, 1)
    return shape and convolution.groups == 1 and min(convolution.in_channels, convolution.out_channels) >= NARROWEST
