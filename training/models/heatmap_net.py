"""A network with heatmaps: a backbone, a decoder to stride 4, and the mean place of each point's heatmap.

The coordinate of a point is the expectation of its heatmap (integral regression: Sun et al. 2018,
https://arxiv.org/abs/1711.08229), so it is not bound to pixels and has a gradient. Visibility comes from the pooled
features and from the decoder's features at the point's own place.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from acusim.errors import ConfigError
from training.models.backbone_base import PYRAMID
from training.models.backbones import create
from training.models.light import convolution
from training.models.names import EncoderName
from training.precision import full_precision

MEAN, DEVIATION = 0.3, 0.3
"""Removed from pictures in 0..1: about those of heads on black and in rooms."""
_GLOBAL, _LOCAL = 256, 48
_START = 0.02
"""Standard deviation of the initial weights of local visibility."""


class HeatmapOutput(NamedTuple):
    """The network's output for B pictures and N points."""

    visibility_logits: Tensor
    """[B, N] float32."""
    coordinates: Tensor
    """[B, N, 2] within 0..1 of the picture, float32."""
    marginals: tuple[Tensor, Tensor] | None
    """[B, N, S / 4] each: the heatmap's sums over columns and over rows, which add up to 1: where it is in x and in y.
    None where they were not requested."""
    trait_logits: Tensor | None
    """[B, T] of yes-or-no traits of the whole picture; None for a network without any."""


class Decoder(nn.Module):
    """Feature maps of strides 32, 16, 8 and 4, joined to one of stride 4.

    Args:
        channels: of the maps, strides ascending.
        width: channels of the result.
    """

    def __init__(self, channels: Sequence[int], width: int):
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(count, width, 1) for count in channels)
        self.smooth = nn.ModuleList(convolution(width, width) for _ in channels[1:])

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """Maps [B, C, h, w], strides ascending, to [B, width, S / 4, S / 4]."""
        *finer, coarsest = (layer(one) for layer, one in zip(self.lateral, maps, strict=True))
        out = coarsest
        for layer, one in zip(reversed(self.smooth), reversed(finer), strict=True):
            out = layer(one + F.interpolate(out, size=one.shape[-2:], mode="bilinear", align_corners=False))
        return out


class HeatmapNet(nn.Module):
    """Pictures to coordinates and visibility of points.

    Args:
        backbone: the encoder.
        points: N.
        width: channels of the decoder.
        traits: T, yes-or-no traits of the whole picture.
    """

    def __init__(self, backbone: EncoderName, points: int, width: int = 64, traits: int = 0):
        super().__init__()
        self.backbone = create(backbone)
        used = {id(part) for layer in self.backbone.layers() for part in layer.parameters()}
        for part in self.backbone.parameters():
            part.requires_grad_(id(part) in used)  # a backbone's layers behind its last feature map
        with torch.device("meta"):
            numbers, channels = zip(*create(backbone).eval().levels(), strict=True)
        self._taken: tuple[int, ...] = numbers
        self.decoder = Decoder(channels, width)
        self.heatmap = nn.Conv2d(width, points, 1)
        self.sharpness = nn.Parameter(torch.zeros(points))
        self.pooled = nn.Sequential(nn.Linear(channels[-1], _GLOBAL), nn.ReLU())
        self.global_visibility = nn.Linear(_GLOBAL, points)
        self.local = nn.Conv2d(width, _LOCAL, 1)
        self.local_visibility = nn.Parameter(_START * torch.randn(points, _LOCAL))
        self.traits = nn.Linear(_GLOBAL, traits) if traits else None

    def forward(self, images: Tensor, for_loss: bool = False) -> HeatmapOutput:
        """Coordinates and visibility of the points in pictures.

        Args:
            images: [B, 3, S, S] RGB in 0..1, S a multiple of 32.
            for_loss: whether the marginals are returned; only training needs them.

        Raises:
            ConfigError: S is not a multiple of 32.
        """
        height, width = images.shape[-2:]
        tracing = torch.jit.is_tracing()  # pyright: ignore[reportPrivateImportUsage]
        if not tracing and (width % PYRAMID[-1] or height != width):
            raise ConfigError(
                f"pictures of {width} x {height} pixels: a network with heatmaps needs squares "
                f"whose side is a multiple of {PYRAMID[-1]}"
            )
        maps, features = self._features(images)
        logits = self._logits(features)
        overall = self.pooled(maps[-1].mean((2, 3)))
        visibility = self.global_visibility(overall)
        traits = None if self.traits is None else self.traits(overall).float()
        with full_precision(images):
            coordinates, marginals = integrate(logits)
            local = self.local(features.float()).relu()
            grid = (2 * coordinates.detach() - 1)[:, :, None]
            there = F.grid_sample(local, grid, align_corners=False)[..., 0]  # [B, 48, N]
            visibility = visibility.float() + (there.transpose(1, 2) * self.local_visibility).sum(-1)
        return HeatmapOutput(visibility, coordinates, marginals if for_loss else None, traits)

    def _features(self, images: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """The encoder's maps, and the decoder's at stride 4."""
        maps = self.backbone.pyramid((images - MEAN) / DEVIATION, self._taken)
        return maps, self.decoder(maps)

    def _logits(self, features: Tensor) -> Tensor:
        """[B, N, h, w] float32, of the decoder's features."""
        return self.heatmap(features).float() * self.sharpness.exp()[:, None, None]

    @torch.no_grad()
    def heatmaps(self, images: Tensor) -> Tensor:
        """[B, N, S / 4, S / 4] the share of each pixel in each point's heatmap, sums of 1: for looking at them."""
        return _shares(self._logits(self._features(images)[1]))


def _shares(heatmaps: Tensor) -> Tensor:
    """[B, N, H, W] the softmax of each heatmap's logits."""
    return heatmaps.flatten(2).softmax(-1).unflatten(2, heatmaps.shape[-2:])


def integrate(heatmaps: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:
    """Expectation of the place under the softmax of each heatmap.

    Args:
        heatmaps: [B, N, H, W] logits.

    Returns:
        [B, N, 2] in 0..1, the centre of pixel i at (i + 0.5) / size; and the marginals [B, N, W] and [B, N, H].
    """
    height, width = heatmaps.shape[-2:]
    share = _shares(heatmaps)
    across, down = share.sum(2), share.sum(3)
    places = (
        (torch.arange(count, device=heatmaps.device, dtype=heatmaps.dtype) + 0.5) / count for count in (width, height)
    )
    xy = [(marginal * place).sum(-1) for marginal, place in zip((across, down), places, strict=True)]
    return torch.stack(xy, -1), (across, down)
