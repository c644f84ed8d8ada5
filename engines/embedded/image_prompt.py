"""IP-Adapter: a reference image as four more tokens, with keys and values of their own in the cross attentions.

Ye et al. 2023 (https://arxiv.org/abs/2308.06721), as ComfyUI_IPAdapter_plus applies it: a weight on the values,
and nothing in the UNet's middle block.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from engines.embedded import module_specs
from engines.embedded.loading import open_all
from engines.embedded.sd15 import CONTEXT, TOKENS

SIDE = 224
"""Of the images that most of CLIP's encoders take."""
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training images, RGB."""


class ImagePrompt:
    """The projection of image embeddings to tokens, and the tokens' keys and values for each cross attention."""

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype):
        """Loads the file.

        Raises:
            EngineError: it is not an IP-Adapter for SD1.5 with 4 tokens.
        """
        with open_all({"ip_adapter": path}) as found:
            adapter = module_specs.adapter(found["ip_adapter"])
            weight, bias = (value.to(device, dtype) for value in adapter.projection)
            scale, shift = (value.to(device, dtype) for value in adapter.norm)
            self._layers = [(key.to(device, dtype), value.to(device, dtype)) for key, value in adapter.layers]
        self._projection, self._norm = (weight, bias), (scale, shift)

    def tokens(self, embeddings: Tensor) -> Tensor:
        """[B, 4, 768] of image embeddings [B, E]; zeros stand for no reference."""
        flat = functional.linear(embeddings.to(self._projection[0].dtype), *self._projection)
        return functional.layer_norm(flat.view(-1, TOKENS, CONTEXT), (CONTEXT,), *self._norm)

    def keys_values(self, layer: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, 4, width] of a cross attention, counted in the order down, up, middle."""
        key, value = self._layers[layer]
        return functional.linear(tokens, key), functional.linear(tokens, value)


def preprocessed(images: Tensor, side: int = SIDE) -> Tensor:
    """[B, 3, S, S] what CLIP takes: shorter side scaled to S, centre crop, rounded to 256 levels, normalised.

    Args:
        images: [B, 3, H, W] in 0..1.
        side: S, of the images that the encoder was trained on.
    """
    height, width = images.shape[2:]
    if (height, width) != (side, side):
        scale = side / min(height, width)
        size = round(scale * height), round(scale * width)
        images = functional.interpolate(images, size=size, mode="bicubic", antialias=True)
        top, left = (size[0] - side) // 2, (size[1] - side) // 2
        images = images[:, :, top : top + side, left : left + side]
    levels = torch.clip(255 * images, 0, 255).round() / 255
    mean, std = (torch.tensor(values, device=levels.device).view(3, 1, 1) for values in (MEAN, STD))
    return (levels - mean) / std
