"""What a recipe's models are built from: a module's tensors in its own names, seen to fit before it is built.

All functions here work on tensors with and without numbers (``stored.shapes_only``), so that a check of the headers
decides what loading will: it is the same code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from acusim.errors import EngineError
from engines.embedded.clip_names import PROJECTION, TOWER, image_towers, in_transformers_names
from engines.embedded.kinds import ADAPTED, TOKENS, UNET
from engines.embedded.stored import DTYPES, Stored

VAE, TEXT = "first_stage_model.", "cond_stage_model.transformer."
CONTEXT = 768
HEADS = 8
VISION_HEADS = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Attention heads of CLIP's image towers by their width: B, L, H, bigG."""
QUICK_GELU_WIDTHS = {768, 1024}
"""OpenAI's towers (B, L) use the sigmoid approximation of GELU, LAION's (H, bigG) GELU itself."""
VAE_WIDTHS = (128, 256, 512, 512)
TEXT_SIZES = {"vocab_size": 49408, "num_hidden_layers": 12}
Make = Callable[..., nn.Module]
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A module and a tensor for each of its own."""

    make: Make
    settings: Settings
    tensors: Mapping[str, Tensor]

    def module(self, dtype: torch.dtype) -> Any:
        """The module with these tensors, converted one by one, for inference."""
        module = _empty(self.make, self.settings)
        module.load_state_dict({name: value.to(dtype) for name, value in self.tensors.items()}, assign=True)
        return module.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class Adapter:
    """The tensors of an IP-Adapter."""

    projection: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Key and value of each cross attention, in the order down, up, middle."""


def unet(checkpoint: Stored, ic_light: Stored | None = None) -> Part:
    """The UNet with IC-Light's offsets added in float32; its first layer then takes 8 or 12 channels.

    Args:
        checkpoint: single-file Stable Diffusion 1.5.
        ic_light: offsets in diffusers' names; None leaves the UNet as it is, with 4 channels.

    Raises:
        EngineError: tensors are missing, or of other types or shapes.
    """
    source = checkpoint.under(UNET)
    tensors = _converted(convert_ldm_unet_checkpoint, UNET, source, {"layers_per_block": 2}, "UNet")
    plain = _unet_part(tensors)
    return plain if ic_light is None else _unet_part(_with_offsets(plain.tensors, ic_light))


def _unet_part(tensors: Mapping[str, Tensor]) -> Part:
    down, up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    widths = [_sides(tensors, f"down_blocks.{level}.resnets.0.conv1.weight", 4, "UNet")[0] for level in range(4)]
    settings = {
        "in_channels": _sides(tensors, "conv_in.weight", 4, "UNet")[1],
        "block_out_channels": tuple(widths),
        "down_block_types": (down, down, down, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", up, up, up),
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": HEADS,  # diffusers' name for their number
    }
    return _part(UNet2DConditionModel, settings, tensors, "UNet")


def cross_attentions(part: Part) -> list[int]:
    """Widths of a UNet's cross attentions, in the order down, up, middle."""
    shapes = _shapes(part.make, part.settings)
    return [shape[0] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")]


def _with_offsets(tensors: Mapping[str, Tensor], ic_light: Stored) -> dict[str, Tensor]:
    """A UNet's weights with IC-Light's offsets; further input channels start from 0."""
    names = set(ic_light)
    strangers = sorted(names - set(tensors))
    if "conv_in.weight" not in names or strangers:
        what = f"{strangers[0]}, which that lacks" if strangers else "no conv_in.weight"
        raise EngineError(f"not an IC-Light model of the checkpoint's UNet: it has {what}")
    summed = dict(tensors)
    for name in ic_light:
        offset, weight = ic_light[name], tensors[name].float()
        _are_numbers(name, offset)
        if name == "conv_in.weight" and offset.ndim == weight.ndim and offset.shape[1] >= weight.shape[1]:
            room = weight.new_zeros(weight.shape[0], offset.shape[1] - weight.shape[1], *weight.shape[2:])
            weight = torch.cat([weight, room], dim=1)
        if weight.shape != offset.shape:
            raise EngineError(
                f"not for the checkpoint's UNet: {name} has shape {list(offset.shape)}, there {list(weight.shape)}"
            )
        summed[name] = weight if weight.is_meta else weight + offset.float()  # a sum without numbers takes as long
    return summed


def vae(checkpoint: Stored) -> Part:
    """The autoencoder: 8 x 8 pixels to one latent of 4 channels. Errors as ``unet``."""
    settings = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": VAE_WIDTHS,
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    tensors = _converted(convert_ldm_vae_checkpoint, VAE, checkpoint.under(VAE), dict(settings), "VAE")
    return _part(AutoencoderKL, settings, tensors, "VAE")


def text_encoder(checkpoint: Stored) -> Part:
    """CLIP ViT-L/14's text tower. Errors as ``unet``."""
    source = checkpoint.under(TEXT)
    tensors = {f"text_model.{name.removeprefix('text_model.')}": source[name] for name in source}
    settings = {
        **TEXT_SIZES,
        "hidden_size": CONTEXT,
        "intermediate_size": 4 * CONTEXT,
        "num_attention_heads": 12,
        "max_position_embeddings": 77,
        "hidden_act": "quick_gelu",
    }
    return _part(_text_model, settings, tensors, "text encoder", "text_model.")


def vision_encoder(file: Stored) -> Part:
    """CLIP's image tower with its projection. Errors as ``unet``."""
    towers = image_towers(file)
    if len(towers) != 1:
        raise EngineError(f"{len(towers)} CLIP image towers in one file; one is needed")
    what = "image encoder"
    try:
        tensors = in_transformers_names(file, towers[0])
    except (IndexError, RuntimeError) as error:  # a shape that cannot be cut or turned
        raise EngineError(f"its {what} has tensors of other shapes than OpenCLIP's: {error}") from None
    patch = _sides(tensors, f"{TOWER}embeddings.patch_embedding.weight", 4, what)
    places = _sides(tensors, f"{TOWER}embeddings.position_embedding.weight", 2, what)[0]
    side = round(max(places - 1, 0) ** 0.5)
    if patch[0] not in VISION_HEADS or side**2 + 1 != places or not side:
        known = ", ".join(map(str, VISION_HEADS))
        raise EngineError(f"an image encoder of width {patch[0]} with {places} places; widths {known} are known")
    layer = f"{TOWER}encoder.layers."
    settings = {
        "hidden_size": patch[0],
        "intermediate_size": _sides(tensors, f"{layer}0.mlp.fc1.weight", 2, what)[0],
        "num_hidden_layers": len({n.removeprefix(layer).split(".")[0] for n in tensors if n.startswith(layer)}),
        "num_attention_heads": VISION_HEADS[patch[0]],
        "image_size": side * patch[2],
        "patch_size": patch[2],
        "projection_dim": _sides(tensors, PROJECTION, 2, what)[0],
        "hidden_act": "quick_gelu" if patch[0] in QUICK_GELU_WIDTHS else "gelu",
    }
    return _part(_vision_model, settings, tensors, what, TOWER)


def features(part: Part) -> int:
    """Length of an image encoder's embeddings."""
    return dict(part.settings)["projection_dim"]


def adapter(file: Stored, widths: Sequence[int] | None = None) -> Adapter:
    """The plain IP-Adapter for SD 1.5. Errors as ``unet``.

    Args:
        file: all of its tensors.
        widths: of the UNet's cross attentions; None where the UNet is not known.
    """
    wanted: dict[str, tuple[int | None, ...]] = {
        "image_proj.proj.weight": (TOKENS * CONTEXT, None),
        "image_proj.proj.bias": (TOKENS * CONTEXT,),
        "image_proj.norm.weight": (CONTEXT,),
        "image_proj.norm.bias": (CONTEXT,),
    }
    layers = [
        tuple(f"ip_adapter.{number}.{part}_ip.weight" for part in ("to_k", "to_v"))
        for number in range(1, 2 * ADAPTED, 2)
    ]
    for names, width in zip(layers, widths or [None] * ADAPTED, strict=True):
        wanted |= {name: (width, CONTEXT) for name in names}
    missing = sorted(set(wanted) - set(file))
    if missing:
        raise EngineError(f"an IP-Adapter that lacks {len(missing)} tensors of the SD 1.5 one, such as {missing[0]}")
    tensors = {name: file[name] for name in wanted}
    for name, shape in wanted.items():
        _are_numbers(name, tensors[name])
        found = tuple(tensors[name].shape)
        if len(found) != len(shape) or any(side not in (None, own) for side, own in zip(shape, found, strict=True)):
            told = ", ".join("any" if side is None else str(side) for side in shape)
            raise EngineError(f"an IP-Adapter whose {name} has shape {list(found)}; the SD 1.5 one has [{told}]")
    return Adapter(
        (tensors["image_proj.proj.weight"], tensors["image_proj.proj.bias"]),
        (tensors["image_proj.norm.weight"], tensors["image_proj.norm.bias"]),
        tuple((tensors[key], tensors[value]) for key, value in layers),
    )


def _converted(
    convert: Callable[..., dict[str, Tensor]], prefix: str, source: Stored, settings: dict[str, Any], what: str
) -> dict[str, Tensor]:
    """A part of a checkpoint in diffusers' names; what those do not know is left out."""
    try:
        found = convert({prefix + name: source[name] for name in source}, settings)
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise EngineError(f"its {what} has other tensors than SD 1.5's: {type(error).__name__} at {error}") from None
    return {name: value for name, value in found.items() if value is not None}


def _sides(tensors: Mapping[str, Tensor], name: str, count: int, what: str) -> tuple[int, ...]:
    """The shape of a tensor that decides others'."""
    if name not in tensors:
        raise EngineError(f"its {what} lacks {name}")
    shape = tuple(tensors[name].shape)
    if len(shape) != count or 0 in shape:
        raise EngineError(f"its {what} has {name} of shape {list(shape)}; {count} sides are needed, none of them 0")
    return shape


def _part(make: Make, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], what: str, root: str = "") -> Part:
    """A part whose tensors fit its module.

    Args:
        make: gives the module for settings.
        settings: of the module.
        tensors: by name; more than the module has are left out.
        what: the part, in words.
        root: begins the tensors' names, where the module's own may leave it out.

    Raises:
        EngineError: tensors are missing, or of other types or shapes.
    """
    fixed = tuple(sorted(settings.items()))
    try:
        shapes = _shapes(make, fixed)
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise EngineError(f"its {what} is of sizes that cannot be built: {error}") from None
    if root and not any(name.startswith(root) for name in shapes):
        tensors = {name.removeprefix(root): value for name, value in tensors.items()}
    missing = sorted(set(shapes) - set(tensors))
    if missing:
        raise EngineError(f"its {what} lacks {len(missing)} tensors, such as {missing[0]}")
    for name, shape in shapes.items():
        _are_numbers(name, tensors[name])
        if tuple(tensors[name].shape) != shape:
            raise EngineError(f"its {what} has {name} of shape {list(tensors[name].shape)}, expected {list(shape)}")
    return Part(make, fixed, {name: tensors[name] for name in shapes})


def _are_numbers(name: str, value: Tensor) -> None:
    if value.dtype not in DTYPES.values():
        raise EngineError(f"{name} is of type {value.dtype}; {', '.join(DTYPES)} are read")


@lru_cache(maxsize=16)
def _shapes(make: Make, settings: Settings) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a module."""
    return {name: tuple(value.shape) for name, value in _empty(make, settings).state_dict().items()}


def _empty(make: Make, settings: Settings) -> nn.Module:
    with init_empty_weights(include_buffers=False):
        return make(**dict(settings))


def _text_model(**settings: Any) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**settings))


def _vision_model(**settings: Any) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**settings))
