"""Changes of a batch on its device: light, colour, noise, and movements of pictures with their points.

All are off by default. Coordinates are shares of the picture, 0 at its left or top edge and 1 at the other, so the
centre of pixel i of S is at (i + 0.5) / S, as in grid_sample without align_corners. One picture's draws depend on the
generator alone. A movement that would carry a visible point out of the picture is weakened for that picture.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from acusim import acupoints
from acusim.errors import ConfigError
from acusim.settings import Settings
from training.data.other_light import other_light

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_SIDE = {"left": "right", "right": "left", "mid": "mid"}
_UNNAMED_PAIRS = (("EX-HN1_003", "EX-HN1_004"), ("EX-HN12_金津", "EX-HN13_玉液"))
"""Left and right points whose names do not contain the side."""
_DRAWS = 13
_HALVINGS = 12
"""How finely a movement is weakened: to 1/4096 of what was drawn."""
_LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601."""


class Augmentation(Settings):
    """How far pictures are changed; each value is drawn uniformly and anew for each picture. 0 is off."""

    WHAT = "setting of [augment]"

    brightness: float = Field(default=0.0, ge=0.0, le=1.0)
    """Added, in -value..value of the range 0..1."""
    contrast: float = Field(default=0.0, ge=0.0, le=0.99)
    """Factor 1-value..1+value about the picture's mean grey."""
    gamma: float = Field(default=0.0, ge=0.0, le=4.0)
    """Exponent, as a factor between 1/(1+value) and 1+value."""
    colour: float = Field(default=0.0, ge=0.0, le=0.99)
    """Gain of each channel, factor 1-value..1+value."""
    noise: float = Field(default=0.0, ge=0.0, le=1.0)
    """Largest standard deviation of Gaussian noise, of the range 0..1."""
    blur: float = Field(default=0.0, ge=0.0, le=16.0)
    """Largest standard deviation of a Gaussian blur, in pixels."""
    rotation_deg: float = Field(default=0.0, ge=0.0, le=180.0)
    """About the picture's centre, either way."""
    scale: float = Field(default=0.0, ge=0.0, le=0.9)
    """Factor 1-value..1+value."""
    translate: float = Field(default=0.0, ge=0.0, le=1.0)
    """Shift in either direction, in shares of the picture."""
    flip: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability of a mirrored picture; points of the left become those of the right."""
    light: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability of another light: a smooth gain over the picture, in each channel a little different."""
    background: float = Field(default=0.0, ge=0.0, le=1.0)
    """Probability that what is black, as behind AcuSim's heads, becomes a coloured, cloudy background."""
    fill: float = Field(default=0.0, ge=0.0, le=1.0)
    """Grey beyond the edge of the picture: 0 black as behind heads, 1 white."""

    @property
    def moves(self) -> bool:
        """Whether points may move."""
        return any((self.rotation_deg, self.scale, self.translate, self.flip))


def head_flip() -> NDArray[np.int64]:
    """[174] for each acupoint the one at its place in a mirrored head."""
    numbers = {point.name: point.index for point in acupoints.ACUPOINTS}
    out = np.arange(acupoints.COUNT)
    for point in acupoints.ACUPOINTS:
        if point.side != "mid":
            stem = point.name.removesuffix(point.side)
            out[point.index] = numbers[stem + _SIDE[point.side]]
    for left, right in _UNNAMED_PAIRS:
        out[numbers[left]], out[numbers[right]] = numbers[right], numbers[left]
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Augmented:
    """A changed batch."""

    images: "Tensor"
    """float [B, 3, S, S] in 0..1."""
    xy: "Tensor"
    """float [B, N, 2] where the points are now; (0, 0) where not known."""
    visible: "Tensor"
    """bool [B, N]"""
    source: "Tensor"
    """int64 [B, N] which point of the original each is: another one in a mirrored picture. Other values of points
    follow by ``torch.gather(values, 1, source)``."""
    mirrored: "Tensor"
    """bool [B] whether the picture is mirrored."""


def augment(
    images: "Tensor",
    xy: "Tensor",
    visible: "Tensor",
    generator: "torch.Generator",
    settings: Augmentation,
    flip: "Tensor | None" = None,
    known: "Tensor | None" = None,
) -> Augmented:
    """Changes each picture of a batch in its own way; the generator's state decides how.

    Args:
        images: float [B, 3, S, S] in 0..1.
        xy: float [B, N, 2] in 0..1, x right, y down.
        visible: bool [B, N]; a movement does not carry these out of the picture.
        generator: of the images' device.
        settings: what may change, and how far.
        flip: int64 [N] for each point the one at its place in a mirrored picture; needed where settings.flip is not 0.
        known: bool [B, N] points that have a position, visible or not; the others stay (0, 0). None: the visible ones.

    Raises:
        ConfigError: the pictures are not square, or may be mirrored and no flip is given.
    """
    import torch

    if images.shape[2] != images.shape[3]:
        raise ConfigError(f"augmentation: pictures of {images.shape[3]} x {images.shape[2]} pixels are not square")
    batch, points = visible.shape
    # One row of draws a picture, whatever is on: a setting never changes what another one draws.
    draws = 2 * torch.rand((batch, _DRAWS), generator=generator, device=images.device) - 1
    source = torch.arange(points, device=xy.device).expand(batch, points)
    mirrored = draws[:, 0] < 2 * settings.flip - 1
    if settings.moves:
        if settings.flip:
            if flip is None:
                raise ConfigError("augmentation: flip is on, and flip= does not give which points change sides")
            source = torch.where(mirrored[:, None], flip.to(xy.device), source)
        images, xy = _move(images, xy, visible, draws[:, 1:5], mirrored, settings)
        known = visible if known is None else known
        xy = torch.gather(torch.where(known[..., None], xy, torch.zeros_like(xy)), 1, source[..., None].expand_as(xy))
        visible = torch.gather(visible, 1, source)
    return Augmented(_relight(images, draws[:, 5:], generator, settings), xy, visible, source, mirrored)


def _move(
    images: "Tensor", xy: "Tensor", visible: "Tensor", draws: "Tensor", mirrored: "Tensor", settings: Augmentation
) -> "tuple[Tensor, Tensor]":
    """Rotates, scales, shifts and mirrors: about the centre, out = scale * R @ mirror @ in + shift."""
    import torch
    from torch.nn import functional

    angle = torch.deg2rad(draws[:, 0] * settings.rotation_deg)
    scale, shift_x, shift_y = draws[:, 1] * settings.scale, *(draws[:, 2:4] * settings.translate).unbind(1)
    sign = torch.where(mirrored, -1.0, 1.0)
    x, y = (xy.float() - 0.5).unbind(2)
    x = x * sign[:, None]

    # No matrix products: a trainer may compute these in TF32 or bfloat16, which is pixels off.
    def turned(strength: "Tensor") -> "tuple[Tensor, Tensor]":
        """[B] each, c and s of scale * R = [[c, -s], [s, c]]."""
        factor = 1 + strength * scale
        return factor * torch.cos(strength * angle), factor * torch.sin(strength * angle)

    def moved(strength: "Tensor") -> "Tensor":
        """[B, N, 2] the points, from the centre."""
        c, s = (value[:, None] for value in turned(strength))
        at = c * x - s * y + (strength * shift_x)[:, None], s * x + c * y + (strength * shift_y)[:, None]
        return torch.stack(at, 2)

    # A label may already be a little outside: its picture's points may reach as far.
    reach = torch.where(visible, torch.maximum(x.abs(), y.abs()), 0.0).amax(1, keepdim=True).clamp(min=0.5) + 1e-6

    def stays(strength: "Tensor") -> "Tensor":
        """[B] whether all visible points are in the picture."""
        return ((moved(strength).abs().amax(2) <= reach) | ~visible).all(1)

    whole = torch.ones_like(angle)
    low, high = torch.zeros_like(angle), whole
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        fits = stays(middle)
        low, high = torch.where(fits, middle, low), torch.where(fits, high, middle)
    strength = torch.where(stays(whole), whole, low)

    # grid_sample needs the inverse: for a pixel of the new picture, its place in the old one, -1..1 from edge to edge.
    side = images.shape[-1]
    centres = (2 * torch.arange(side, device=images.device) + 1) / side - 1
    c, s = turned(strength)
    across = centres[None, None, :] - 2 * (strength * shift_x)[:, None, None]
    down = centres[None, :, None] - 2 * (strength * shift_y)[:, None, None]
    inverse_c, inverse_s = ((value / (c * c + s * s))[:, None, None] for value in (c, s))
    old_x = sign[:, None, None] * (inverse_c * across + inverse_s * down)
    old_y = inverse_c * down - inverse_s * across
    grid = torch.stack([old_x, old_y], 3)
    sampled = functional.grid_sample(images.float() - settings.fill, grid, align_corners=False) + settings.fill
    return sampled.to(images.dtype), moved(strength) + 0.5


def _relight(images: "Tensor", draws: "Tensor", generator: "torch.Generator", settings: Augmentation) -> "Tensor":
    """Light and background, blur, gain of channels, contrast, gamma, brightness, noise; then cut to 0..1."""
    import torch

    looks = (settings.blur, settings.colour, settings.contrast, settings.gamma, settings.brightness, settings.noise)
    if not any((*looks, settings.light, settings.background)):
        return images
    # Drawn before anything that other settings draw.
    noise = (
        torch.randn(images.shape, generator=generator, device=images.device, dtype=images.dtype)
        if settings.noise
        else None
    )
    if settings.light or settings.background:
        images = other_light(images, generator, settings.light, settings.background)
    column = draws.to(images.dtype)[:, :, None, None, None].unbind(1)
    if settings.blur:
        images = _blurred(images, (draws[:, 0] + 1) / 2 * settings.blur, settings.blur)
    if settings.colour:
        images = images * torch.cat([1 + settings.colour * column[number] for number in (1, 2, 3)], 1)
    if settings.contrast:
        luma = images.new_tensor(_LUMA)[None, :, None, None]
        mean = (images * luma).sum(1, keepdim=True).mean((2, 3), keepdim=True)
        images = mean + (1 + settings.contrast * column[4]) * (images - mean)
    if settings.gamma:
        images = images.clamp(0, 1) ** ((1 + settings.gamma) ** column[5])
    if settings.brightness:
        images = images + settings.brightness * column[6]
    if noise is not None:
        images = images + settings.noise * (column[7] + 1) / 2 * noise
    return images.clamp(0, 1)


def _blurred(images: "Tensor", sigma: "Tensor", largest: float) -> "Tensor":
    """Gaussian blur, each picture with its own sigma [B] in pixels."""
    import torch
    from torch.nn import functional

    batch, channels, height, width = images.shape
    radius = max(1, min(round(3 * largest), height - 1, width - 1))
    offsets = torch.arange(-radius, radius + 1, device=images.device)
    kernel = torch.exp(-0.5 * (offsets / sigma.clamp(min=1e-3)[:, None]) ** 2)
    kernel = (kernel / kernel.sum(1, keepdim=True)).to(images.dtype).repeat_interleave(channels, 0)
    flat = images.reshape(1, batch * channels, height, width)
    for shape, pad in (((1, -1), (radius, radius, 0, 0)), ((-1, 1), (0, 0, radius, radius))):
        weights = kernel.view(batch * channels, 1, *shape)
        flat = functional.conv2d(functional.pad(flat, pad, "replicate"), weights, groups=batch * channels)
    return flat.view_as(images)
