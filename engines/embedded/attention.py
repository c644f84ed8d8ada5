"""Attention of the UNet: texts' and references' keys and values are computed once, not in every step."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from engines.embedded.image_prompt import ImagePrompt

KeysValues = tuple[Tensor, Tensor]
"""Keys and values [n, heads, tokens, width of a head]; n is 1 where a whole batch shares them."""


@dataclass(frozen=True, slots=True, eq=False)
class Half:
    """What one half of the guidance (without or with the prompt) attends to."""

    texts: tuple[KeysValues, ...]
    """For each cross attention."""
    references: tuple[tuple[KeysValues, ...], ...]
    """Of the IP-Adapter, for each cross attention those of each reference, values weighted already."""


class _Attention:
    """Replaces diffusers' attention processors; has no state."""

    def __init__(self, layer: int | None):
        self.layer = layer
        """Which cross attention this is, None for self attention."""

    def __call__(self, attn: Any, hidden_states: Tensor, encoder_hidden_states: Any = None, **unused: Any) -> Tensor:
        queries = _heads(attn.to_q(hidden_states), attn.heads)
        if self.layer is None:
            keys, values = (_heads(layer(hidden_states), attn.heads) for layer in (attn.to_k, attn.to_v))
            out = scaled_dot_product_attention(queries, keys, values)
        else:
            out = _cross(queries, encoder_hidden_states, self.layer)
        out = out.transpose(1, 2).reshape(hidden_states.shape[0], -1, attn.heads * out.shape[3])
        return attn.to_out[0](out)


def _heads(values: Tensor, heads: int) -> Tensor:
    """[B, heads, T, width] of [B, T, heads * width]."""
    return values.view(*values.shape[:2], heads, -1).transpose(1, 2)


def _cross(queries: Tensor, halves: Sequence[Half], layer: int) -> Tensor:
    """[B, heads, T, width]: each half of the batch to its own text, plus the reference."""
    out: list[Tensor] = []
    for own, half in zip(queries.chunk(len(halves)), halves, strict=True):
        keys, values = half.texts[layer]
        found = scaled_dot_product_attention(own, _shared(keys, own), _shared(values, own))
        for keys, values in half.references[layer]:
            found = found + scaled_dot_product_attention(own, _shared(keys, own), _shared(values, own))
        out.append(found)
    return out[0] if len(out) == 1 else torch.cat(out)


def _shared(values: Tensor, queries: Tensor) -> Tensor:
    return values.expand(queries.shape[0], -1, -1, -1)


def install(unet: UNet2DConditionModel | ControlNetModel) -> list[Any]:
    """Puts these processors into a UNet, or the half of one that a ControlNet is.

    Returns:
        Its cross attentions, in the order down, up, middle, as in a Half.
    """
    found: list[Any] = []
    processors: dict[str, Any] = {}
    for name in unet.attn_processors:  # diffusers lists them in this order
        owner = unet.get_submodule(name.removesuffix(".processor"))
        if name.endswith("attn2.processor"):
            processors[name] = _Attention(len(found))
            found.append(owner)
        else:
            processors[name] = _Attention(None)
    unet.set_attn_processor(processors)
    return found


def attended(
    layers: Sequence[Any],
    text: Tensor,
    adapter: ImagePrompt | None = None,
    tokens: Sequence[Tensor] = (),
    weight: float = 0.0,
) -> Half:
    """Keys and values of a text and of reference tokens, for every cross attention.

    Args:
        layers: from ``install``.
        text: [1, T, 768] conditioning.
        adapter: the IP-Adapter, None without one.
        tokens: [1 or B, 4, 768] of each reference.
        weight: of the IP-Adapter, for each reference.
    """
    texts: list[KeysValues] = []
    references: list[tuple[KeysValues, ...]] = []
    for number, layer in enumerate(layers):
        texts.append((_heads(layer.to_k(text), layer.heads), _heads(layer.to_v(text), layer.heads)))
        middle = number == len(layers) - 1
        if adapter is None or middle:
            references.append(())
            continue
        pairs = (adapter.keys_values(number, each) for each in tokens)
        references.append(
            tuple((_heads(keys, layer.heads), _heads(weight * values, layer.heads)) for keys, values in pairs)
        )
    return Half(tuple(texts), tuple(references))
