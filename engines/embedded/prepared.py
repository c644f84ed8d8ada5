"""Requests before and after the models: padding, the head's mask, the backdrop, and the composed result."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from acusim import float_images
from acusim.control_hint import control_hint
from acusim.foreground import composed, find_foreground, fitted
from engines.base import Request
from engines.recipe import Wiring

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class PreparedRequest:
    """A request that was read and checked."""

    request: Request
    image: float_images.Floats
    """[H, W, 3] in 0..1, padded."""
    alpha: float_images.Floats
    """[H, W] share of the head, 0 in the padding."""
    foreground: str
    """Where the mask comes from."""
    doubts: tuple[str, ...]
    hint: float_images.Floats | None = None
    """[H, W] in 0..1, what a ControlNet sees; None where it is not wanted."""

    @property
    def size(self) -> tuple[int, int]:
        """Padded height and width."""
        return self.image.shape[0], self.image.shape[1]

    @property
    def batch_key(self) -> tuple[Any, ...]:
        """Equal for requests that can go through the models together."""
        request = self.request
        return self.image.shape, request.scene.sha256, request.positive, request.negative, *request.changes.values()

    def backdrop(self, scene: "Tensor", wiring: Wiring) -> float_images.Floats:
        """[H, W, 3] a scene [1, 3, h, w] at the padded size, fitted as the workflow of the wiring does it."""
        levels = float_images.to_levels(scene[0].permute(1, 2, 0).cpu().numpy())
        if wiring == "fc":
            return float_images.from_levels(fitted(levels, *self.size))
        height, width = self.request.pixels.shape[:2]
        return float_images.pad_picture(float_images.from_levels(fitted(levels, height, width)), *self.size)

    def compose(self, relit: float_images.Floats, behind: float_images.Floats) -> NDArray[np.uint8]:
        """[h, w, 3] the relit head [H, W, 3] before a background [H, W, 3], without padding."""
        height, width = self.request.pixels.shape[:2]
        whole = float_images.to_levels(composed(relit, behind, self.alpha))
        return np.ascontiguousarray(whole[:height, :width])


def prepare(request: Request, with_hint: bool = False) -> PreparedRequest:
    """Finds the head and pads the image; with what a ControlNet for depth sees of it, where that is wanted.

    Raises:
        PictureError: no foreground can be found, or no depth where it is wanted.
    """
    height, width = (float_images.padded(side) for side in request.pixels.shape[:2])
    head = find_foreground(request.pixels, request.depth_data, request.alpha)
    image = float_images.pad_picture(float_images.from_levels(request.pixels), height, width)
    alpha = float_images.pad_mask(head.alpha, height, width)
    levels = control_hint(head) if with_hint else None
    hint = None if levels is None else float_images.pad_mask(float_images.from_levels(levels), height, width)
    return PreparedRequest(request, image, alpha, head.source, head.doubts, hint)


def image_tensor(image: float_images.Floats) -> "Tensor":
    """[1, 3, H, W] of an image [H, W, 3]."""
    import torch

    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
