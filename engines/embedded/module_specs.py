"""A recipe's models before they are built: constructor, settings, and a tensor for each of the module's own names.

All functions here work on tensors with and without numbers (``stored.shapes_only``), so a check of the headers decides
what loading will do: it is the same code.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import (
    convert_controlnet_checkpoint,
    convert_ldm_unet_checkpoint,
    convert_ldm_vae_checkpoint,
)
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from acusim.errors import EngineError
from engines.embedded.clip_names import PROJECTION, TOWER, image_towers, in_transformers_names
from engines.embedded.sd15 import CONTEXT, CROSS_ATTENTIONS, TEXT, TOKENS, UNET, VAE, control_prefix
from engines.embedded.stored import DTYPES, Stored

HEADS = 8
VISION_HEADS = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Attention heads of CLIP's image towers by their width: B, L, H, bigG."""
QUICK_GELU_WIDTHS = {768, 1024}
"""OpenAI's towers (B, L) use the sigmoid approximation of GELU, LAION's (H, bigG) GELU itself."""
VAE_WIDTHS = (128, 256, 512, 512)
TEXT_SIZES = {"vocab_size": 49408, "num_hidden_layers": 12}
Constructor = Callable[..., nn.Module]
Settings = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, slots=True)
class ModuleSpec:
    """A module and a tensor for each of its own."""

    constructor: Constructor
    settings: Settings
    tensors: Mapping[str, Tensor]

    def build(self, dtype: torch.dtype) -> Any:
        """The module with these tensors, converted one by one, for inference."""
        module = _empty(self.constructor, self.settings)
        module.load_state_dict({name: value.to(dtype) for name, value in self.tensors.items()}, assign=True)
        return module.eval().requires_grad_(False)


@dataclass(frozen=True, slots=True)
class AdapterTensors:
    """The tensors of an IP-Adapter."""

    projection: tuple[Tensor, Tensor]
    norm: tuple[Tensor, Tensor]
    layers: tuple[tuple[Tensor, Tensor], ...]
    """Key and value of each cross attention, in the order down, up, middle."""


def unet(checkpoint: Stored, ic_light: Stored | None = None) -> ModuleSpec:
    """The UNet with IC-Light's offsets added in float32; its first layer then takes 8 or 12 channels.

    Args:
        checkpoint: single-file Stable Diffusion 1.5.
        ic_light: offsets in diffusers' names; None leaves the UNet as it is, with 4 channels.

    Raises:
        EngineError: tensors are missing, or of other types or shapes.
    """
    source = checkpoint.under(UNET)
    tensors = _converted(convert_ldm_unet_checkpoint, UNET, source, {"layers_per_block": 2}, "UNet")
    plain = _unet_of(tensors)
    return plain if ic_light is None else _unet_of(_with_offsets(plain.tensors, ic_light))


def _unet_of(tensors: Mapping[str, Tensor]) -> ModuleSpec:
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
    return _spec(UNet2DConditionModel, settings, tensors, "UNet")


def control_net(file: Stored, base: ModuleSpec | None = None) -> ModuleSpec:
    """A ControlNet for SD 1.5, in the names of diffusers or of its authors. Errors as ``unet``.

    Args:
        file: all of its tensors.
        base: the UNet that it is to hold; None where that is not known.
    """
    source = file.under(control_prefix(file))
    tensors = _converted(convert_controlnet_checkpoint, "", source, {"layers_per_block": 2}, "ControlNet")
    down = "CrossAttnDownBlock2D"
    widths = [_sides(tensors, f"down_blocks.{level}.resnets.0.conv1.weight", 4, "ControlNet")[0] for level in range(4)]
    settings = {
        "in_channels": 4,
        "block_out_channels": tuple(widths),
        "down_block_types": (down, down, down, "DownBlock2D"),
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": HEADS,
    }
    wanted = widths if base is None else list(dict(base.settings)["block_out_channels"])
    if widths != wanted:
        raise EngineError(f"a ControlNet for a UNet of widths {widths}; the checkpoint's has {wanted}")
    return _spec(ControlNetModel, settings, tensors, "ControlNet")


def cross_attention_widths(spec: ModuleSpec) -> list[int]:
    """Of a UNet, in the order down, up, middle."""
    shapes = _shapes(spec.constructor, spec.settings)
    return [shape[0] for name, shape in shapes.items() if name.endswith(".attn2.to_k.weight")]


def _with_offsets(tensors: Mapping[str, Tensor], ic_light: Stored) -> dict[str, Tensor]:
    """A UNet's weights with IC-Light's offsets; further input channels start from 0."""
    names = set(ic_light)
    unknown = sorted(names - set(tensors))
    if "conv_in.weight" not in names or unknown:
        what = f"{unknown[0]}, which that lacks" if unknown else "no conv_in.weight"
        raise EngineError(f"not an IC-Light model of the checkpoint's UNet: it has {what}")
    summed = dict(tensors)
    for name in ic_light:
        offset, weight = ic_light[name], tensors[name].float()
        _check_dtype(name, offset)
        if name == "conv_in.weight" and offset.ndim == weight.ndim and offset.shape[1] >= weight.shape[1]:
            room = weight.new_zeros(weight.shape[0], offset.shape[1] - weight.shape[1], *weight.shape[2:])
            weight = torch.cat([weight, room], dim=1)
        if weight.shape != offset.shape:
            raise EngineError(
                f"not for the checkpoint's UNet: {name} has shape {list(offset.shape)}, there {list(weight.shape)}"
            )
        summed[name] = weight if weight.is_meta else weight + offset.float()  # a sum without numbers takes as long
    return summed


def vae(checkpoint: Stored) -> ModuleSpec:
    """The autoencoder: 8 x 8 pixels to one latent of 4 channels. Errors as ``unet``."""
    settings = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": VAE_WIDTHS,
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    tensors = _converted(convert_ldm_vae_checkpoint, VAE, checkpoint.under(VAE), dict(settings), "VAE")
    return _spec(AutoencoderKL, settings, tensors, "VAE")


def text_encoder(checkpoint: Stored) -> ModuleSpec:
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
    return _spec(_text_model, settings, tensors, "text encoder", "text_model.")


def vision_encoder(file: Stored) -> ModuleSpec:
    """CLIP's image tower with its projection. Errors as ``unet``."""
    towers = image_towers(file)
    if len(towers) != 1:
        raise EngineError(f"{len(towers)} CLIP image towers in one file; one is needed")
    what = "image encoder"
    try:
        tensors = in_transformers_names(file, towers[0])
    except (IndexError, RuntimeError) as error:  # a shape that cannot be split or transposed
        raise EngineError(f"its {what} has tensors of other shapes than OpenCLIP's: {error}") from None
    patch = _sides(tensors, f"{TOWER}embeddings.patch_embedding.weight", 4, what)
    positions = _sides(tensors, f"{TOWER}embeddings.position_embedding.weight", 2, what)[0]
    side = round(max(positions - 1, 0) ** 0.5)
    if patch[0] not in VISION_HEADS or side**2 + 1 != positions or not side:
        known = ", ".join(map(str, VISION_HEADS))
        raise EngineError(f"an image encoder of width {patch[0]} with {positions} positions; widths {known} are known")
    layer = f"{TOWER}encoder.layers."
    settings = {
        "hidden_size": patch[0],
        "intermediate_size": _sides(tensors, f"{layer}0.mlp.fc1.weight", 2, what)[0],
        "num_hidden_layers": len({n.removeprefix(layer).split(".")[0] for n in tensors if n.startswith(layer)}),
        "num_attention_heads": VISION_HEADS[patch[0]],
        "image_size": side * patch[2],
        "patch_size": patch[2],
        "projection_dim": embedding_length(tensors),
        "hidden_act": "quick_gelu" if patch[0] in QUICK_GELU_WIDTHS else "gelu",
    }
    return _spec(_vision_model, settings, tensors, what, TOWER)


def embedding_length(tensors: Mapping[str, Tensor]) -> int:
    """Length of an image encoder's embeddings."""
    return _sides(tensors, PROJECTION, 2, "image encoder")[0]


def adapter(file: Stored, widths: Sequence[int] | None = None) -> AdapterTensors:
    """The plain IP-Adapter for SD 1.5. Errors as ``unet``.

    Args:
        file: all of its tensors.
        widths: of the UNet's cross attentions; None where the UNet is not known.
    """
    layers = [
        (f"ip_adapter.{number}.to_k_ip.weight", f"ip_adapter.{number}.to_v_ip.weight")
        for number in range(1, 2 * CROSS_ATTENTIONS, 2)
    ]
    expected: dict[str, tuple[int | None, ...]] = {
        "image_proj.proj.weight": (TOKENS * CONTEXT, None),
        "image_proj.proj.bias": (TOKENS * CONTEXT,),
        "image_proj.norm.weight": (CONTEXT,),
        "image_proj.norm.bias": (CONTEXT,),
    }
    for names, width in zip(layers, widths or [None] * CROSS_ATTENTIONS, strict=True):
        expected |= dict.fromkeys(names, (width, CONTEXT))
    missing = sorted(set(expected) - set(file))
    if missing:
        raise EngineError(f"an IP-Adapter that lacks {len(missing)} tensors of the SD 1.5 one, such as {missing[0]}")
    tensors = {name: file[name] for name in expected}
    for name, shape in expected.items():
        _check_dtype(name, tensors[name])
        found = tuple(tensors[name].shape)
        if len(found) != len(shape) or any(side not in (None, own) for side, own in zip(shape, found, strict=True)):
            sides = ", ".join("any" if side is None else str(side) for side in shape)
            raise EngineError(f"an IP-Adapter whose {name} has shape {list(found)}; the SD 1.5 one has [{sides}]")
    return AdapterTensors(
        (tensors["image_proj.proj.weight"], tensors["image_proj.proj.bias"]),
        (tensors["image_proj.norm.weight"], tensors["image_proj.norm.bias"]),
        tuple((tensors[key], tensors[value]) for key, value in layers),
    )


def _converted(
    convert: Callable[..., dict[str, Tensor]], prefix: str, source: Stored, settings: dict[str, Any], what: str
) -> dict[str, Tensor]:
    """A checkpoint's tensors in diffusers' names; those that diffusers does not know are left out."""
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


def _spec(
    constructor: Constructor, settings: Mapping[str, Any], tensors: Mapping[str, Tensor], what: str, root: str = ""
) -> ModuleSpec:
    """A spec whose tensors fit its module.

    Args:
        constructor: returns the module for settings.
        settings: of the module.
        tensors: by name; more than the module has are left out.
        what: the module, in words.
        root: begins the tensors' names, where the module's own may leave it out.

    Raises:
        EngineError: tensors are missing, or of other types or shapes.
    """
    fixed = tuple(sorted(settings.items()))
    try:
        shapes = _shapes(constructor, fixed)
    except (RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise EngineError(f"its {what} is of sizes that cannot be built: {error}") from None
    if root and not any(name.startswith(root) for name in shapes):
        tensors = {name.removeprefix(root): value for name, value in tensors.items()}
    missing = sorted(set(shapes) - set(tensors))
    if missing:
        raise EngineError(f"its {what} lacks {len(missing)} tensors, such as {missing[0]}")
    for name, shape in shapes.items():
        _check_dtype(name, tensors[name])
        if tuple(tensors[name].shape) != shape:
            raise EngineError(f"its {what} has {name} of shape {list(tensors[name].shape)}, expected {list(shape)}")
    return ModuleSpec(constructor, fixed, {name: tensors[name] for name in shapes})


def _check_dtype(name: str, value: Tensor) -> None:
    if value.dtype not in DTYPES.values():
        raise EngineError(f"{name} is of type {value.dtype}; {', '.join(DTYPES)} are read")


@lru_cache(maxsize=16)
def _shapes(constructor: Constructor, settings: Settings) -> dict[str, tuple[int, ...]]:
    """Name and shape of each tensor of a module."""
    return {name: tuple(value.shape) for name, value in _empty(constructor, settings).state_dict().items()}


def _empty(constructor: Constructor, settings: Settings) -> nn.Module:
    with init_empty_weights(include_buffers=False):
        return constructor(**dict(settings))


def _text_model(**settings: Any) -> CLIPTextModel:
    return CLIPTextModel(CLIPTextConfig(**settings))


def _vision_model(**settings: Any) -> CLIPVisionModelWithProjection:
    return CLIPVisionModelWithProjection(CLIPVisionConfig(**settings))
