"""IP-Adapter: a reference picture as four more tokens, with keys and values of their own in the cross attentions.

Ye et al. 2023 (https://arxiv.org/abs/2308.06721), as ComfyUI_IPAdapter_plus applies it: a weight on the values,
and nothing in the UNet's middle block.
"""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from acusim.errors import EngineError
from engines.embedded.loading import CONTEXT, read

TOKENS = 4
SIDE = 224
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
"""Of CLIP's training pictures, RGB."""


class ImagePrompt:
    """The projection of image embeddings to tokens, and the tokens' keys and values for each cross attention."""

    def __init__(self, path: Path, device: torch.device, dtype: torch.dtype):
        """Loads the file.

        Raises:
            EngineError: it is no IP-Adapter for SD1.5 with 4 tokens.
        """
        tensors = {name: value.to(device, dtype) for name, value in read(path).items()}
        try:
            self._projection = tensors["image_proj.proj.weight"], tensors["image_proj.proj.bias"]
            self._norm = tensors["image_proj.norm.weight"], tensors["image_proj.norm.bias"]
            numbers = range(1, 2 * sum(name.endswith("to_k_ip.weight") for name in tensors), 2)
            self._layers = [
                (tensors[f"ip_adapter.{number}.to_k_ip.weight"], tensors[f"ip_adapter.{number}.to_v_ip.weight"])
                for number in numbers
            ]
        except KeyError as error:
            raise EngineError(f"{path.name!r} is no IP-Adapter for SD1.5 with 4 tokens: it lacks {error}") from None
        if self._projection[0].shape[0] != TOKENS * CONTEXT:
            found = self._projection[0].shape[0] // CONTEXT
            raise EngineError(f"{path.name!r} gives {found} tokens; the plain IP-Adapter for SD1.5 gives {TOKENS}")

    @property
    def embedding(self) -> int:
        """Length of the image embedding that it takes."""
        return self._projection[0].shape[1]

    def tokens(self, embeddings: Tensor) -> Tensor:
        """[B, 4, 768] of image embeddings [B, E]; those of zeros stand for no reference."""
        flat = functional.linear(embeddings.to(self._projection[0].dtype), *self._projection)
        return functional.layer_norm(flat.view(-1, TOKENS, CONTEXT), (CONTEXT,), *self._norm)

    def keys_values(self, layer: int, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Keys and values [B, 4, width] of a cross attention, counted in the order down, up, middle."""
        key, value = self._layers[layer]
        return functional.linear(tokens, key), functional.linear(tokens, value)


def preprocessed(pictures: Tensor) -> Tensor:
    """[B, 3, 224, 224] what CLIP sees: shorter side scaled to 224, centre cut, rounded to 256 levels, normalised.

    Args:
        pictures: [B, 3, H, W] in 0..1.
    """
    height, width = pictures.shape[2:]
    if (height, width) != (SIDE, SIDE):
        scale = SIDE / min(height, width)
        size = round(scale * height), round(scale * width)
        pictures = functional.interpolate(pictures, size=size, mode="bicubic", antialias=True)
        top, left = (size[0] - SIDE) // 2, (size[1] - SIDE) // 2
        pictures = pictures[:, :, top : top + SIDE, left : left + SIDE]
    levels = torch.clip(255 * pictures, 0, 255).round() / 255
    mean, std = (torch.tensor(values, device=levels.device).view(3, 1, 1) for values in (MEAN, STD))
    return (levels - mean) / std
