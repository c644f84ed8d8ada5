"""Model files to modules: Stable Diffusion 1.5 from one file, IC-Light merged into its UNet, IP-Adapter, CLIP vision.

Sizes are read from the tensors' shapes, names are those of the original checkpoints. Only safetensors files are opened.
"""

from collections.abc import Callable, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from accelerate import init_empty_weights
from diffusers.loaders.single_file_utils import convert_ldm_unet_checkpoint, convert_ldm_vae_checkpoint
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from safetensors import safe_open
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel, CLIPVisionConfig, CLIPVisionModelWithProjection

from acusim.errors import EngineError

UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."
CONTEXT = 768
HEADS = 8
VISION_HEADS = {768: 12, 1024: 16, 1280: 16, 1664: 16}
"""Attention heads of CLIP's image towers by their width: B, L, H, bigG."""
QUICK_GELU_WIDTHS = {768, 1024}
"""OpenAI's towers (B, L) use the sigmoid approximation of GELU, LAION's (H, bigG) GELU itself."""


@contextmanager
def opened(path: Path) -> Any:
    """An open safetensors file.

    Raises:
        EngineError: it cannot be read, or a tensor that was asked for is not in it.
    """
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except EngineError:
        raise
    except Exception as error:  # safetensors raises its own type, OSError, and RuntimeError
        raise EngineError(f"model file {path.name!r} cannot be loaded: {error}; fetch it again") from None


def read(path: Path, prefix: str = "") -> dict[str, Tensor]:
    """The tensors whose names begin so, by the rest of their names, in the file's own number format."""
    with opened(path) as file:
        return {name.removeprefix(prefix): file.get_tensor(name) for name in file.keys() if name.startswith(prefix)}  # noqa: SIM118


def filled(make: Callable[[], nn.Module], tensors: Mapping[str, Tensor], what: str, dtype: torch.dtype) -> Any:
    """A module with a file's tensors, converted one by one.

    Raises:
        EngineError: tensors are missing or of other shapes.
    """
    with init_empty_weights(include_buffers=False):
        module = make()
    wanted = {name: tuple(value.shape) for name, value in module.state_dict().items()}
    missing = sorted(set(wanted) - set(tensors))
    if missing:
        raise EngineError(f"{what} lacks {len(missing)} tensors, such as {missing[0]}; fetch the file again")
    wrong = [name for name, shape in wanted.items() if tuple(tensors[name].shape) != shape]
    if wrong:
        name = wrong[0]
        raise EngineError(f"{what}: {name} is of shape {list(tensors[name].shape)}, expected {list(wanted[name])}")
    module.load_state_dict({name: tensors[name].to(dtype) for name in wanted}, assign=True)
    return module.eval().requires_grad_(False)


class StoredLinear(nn.Module):
    """A linear layer that computes in float32 on weights stored in float16, [O, I] and [O]."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., O] of [..., I]."""
        return functional.linear(x, self.weight.float(), None if self.bias is None else self.bias.float())


def _stored_in_half(module: nn.Module) -> nn.Module:
    """An encoder of float16 weights made to compute in float32; half the memory of its linear layers is saved."""
    for child in module.modules():
        for name, layer in child.named_children():
            if isinstance(layer, nn.Linear):
                setattr(child, name, StoredLinear(layer))
    stored = [layer for layer in module.modules() if isinstance(layer, StoredLinear)]
    kept = {id(value) for layer in stored for value in layer.parameters()}
    for value in module.parameters():
        if id(value) not in kept:
            value.data = value.data.float()
    return module


def load_unet(checkpoint: Path, ic_light: Path | None, dtype: torch.dtype) -> UNet2DConditionModel:
    """The UNet with IC-Light's offsets added in float32; its first layer then takes 8 or 12 channels.

    Args:
        checkpoint: single-file Stable Diffusion 1.5.
        ic_light: offsets in diffusers' names; None leaves the UNet as it is, with 4 channels.
        dtype: of the sums.

    Raises:
        EngineError: a file is damaged or of another kind.
    """
    source = read(checkpoint, UNET)
    if "input_blocks.0.0.weight" not in source:
        raise EngineError(f"{checkpoint.name!r} is no single-file Stable Diffusion checkpoint: it holds no UNet")
    tensors = convert_ldm_unet_checkpoint(
        {UNET + name: value for name, value in source.items()}, {"layers_per_block": 2}
    )
    del source
    if ic_light is not None:
        _add_offsets(tensors, ic_light)
    widths = [tensors[f"down_blocks.{level}.resnets.0.conv1.weight"].shape[0] for level in range(4)]
    down, up = "CrossAttnDownBlock2D", "CrossAttnUpBlock2D"
    config: dict[str, Any] = {
        "in_channels": tensors["conv_in.weight"].shape[1],
        "block_out_channels": tuple(widths),
        "down_block_types": (down, down, down, "DownBlock2D"),
        "up_block_types": ("UpBlock2D", up, up, up),
        "cross_attention_dim": CONTEXT,
        "attention_head_dim": HEADS,  # diffusers' name for their number
    }
    return filled(lambda: UNet2DConditionModel(**config), tensors, f"the UNet of {checkpoint.name!r}", dtype)


def _add_offsets(tensors: dict[str, Tensor], ic_light: Path) -> None:
    """Adds IC-Light's offsets to a UNet's weights in place; its further input channels start from 0."""
    with opened(ic_light) as file:
        names = set(file.keys())
        strangers = sorted(names - set(tensors))
        if "conv_in.weight" not in names or strangers:
            told = f" {strangers[0]}" if strangers else ""
            raise EngineError(
                f"{ic_light.name!r} is no IC-Light model of this UNet:{told or ' it has no conv_in.weight'}"
            )
        for name in names:
            offset, weight = file.get_tensor(name).float(), tensors[name].float()
            if name == "conv_in.weight":
                room = torch.zeros(weight.shape[0], offset.shape[1] - weight.shape[1], *weight.shape[2:])
                weight = torch.cat([weight, room], dim=1)
            if weight.shape != offset.shape:
                raise EngineError(
                    f"{ic_light.name!r}: {name} is of shape {list(offset.shape)}, the UNet's {list(weight.shape)}"
                )
            tensors[name] = weight + offset


def load_vae(checkpoint: Path, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder: 8 x 8 pixels to one latent of 4 channels."""
    config: dict[str, Any] = {
        "down_block_types": ("DownEncoderBlock2D",) * 4,
        "up_block_types": ("UpDecoderBlock2D",) * 4,
        "block_out_channels": (128, 256, 512, 512),
        "layers_per_block": 2,
        "latent_channels": 4,
    }
    tensors = convert_ldm_vae_checkpoint({VAE + name: value for name, value in read(checkpoint, VAE).items()}, config)
    if "encoder.conv_in.weight" not in tensors:
        raise EngineError(f"{checkpoint.name!r} holds no VAE")
    return filled(lambda: AutoencoderKL(**config), tensors, f"the VAE of {checkpoint.name!r}", dtype)


def load_text_encoder(checkpoint: Path, dtype: torch.dtype) -> CLIPTextModel:
    """CLIP ViT-L/14's text tower."""
    tensors = read(checkpoint, TEXT)
    if not any(name.startswith("text_model.") for name in tensors):
        tensors = {f"text_model.{name}": value for name, value in tensors.items()}
    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=CONTEXT,
        intermediate_size=4 * CONTEXT,
        num_hidden_layers=12,
        num_attention_heads=12,
        max_position_embeddings=77,
        hidden_act="quick_gelu",
    )
    return _transformer(lambda: CLIPTextModel(config), tensors, f"the text encoder of {checkpoint.name!r}", dtype)


def load_vision_encoder(path: Path, dtype: torch.dtype) -> CLIPVisionModelWithProjection:
    """CLIP's image tower with its projection."""
    tensors = read(path)
    try:
        patch = tensors["vision_model.embeddings.patch_embedding.weight"].shape
        places = tensors["vision_model.embeddings.position_embedding.weight"].shape[0]
        projection = tensors["visual_projection.weight"].shape[0]
        wide = tensors["vision_model.encoder.layers.0.mlp.fc1.weight"].shape[0]
        heads = VISION_HEADS[patch[0]]
    except KeyError as error:
        raise EngineError(f"{path.name!r} is no CLIP vision model that is known: {error}") from None
    layers = sum(name.endswith(".layer_norm1.weight") for name in tensors)
    config = CLIPVisionConfig(
        hidden_size=patch[0],
        intermediate_size=wide,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        image_size=round((places - 1) ** 0.5) * patch[2],
        patch_size=patch[2],
        projection_dim=projection,
        hidden_act="quick_gelu" if patch[0] in QUICK_GELU_WIDTHS else "gelu",
    )
    return _transformer(lambda: CLIPVisionModelWithProjection(config), tensors, repr(path.name), dtype)


def _transformer(make: Callable[[], nn.Module], tensors: dict[str, Tensor], what: str, dtype: torch.dtype) -> Any:
    """As filled, for a module of transformers, whose own names may leave the tower's out."""
    with init_empty_weights(include_buffers=False):
        names = set(make().state_dict())
    root = {"text_model.", "vision_model."} & {f"{name.split('.')[0]}." for name in tensors}
    if root and not any(name.startswith(tuple(root)) for name in names):
        tensors = {name.removeprefix(next(iter(root))): value for name, value in tensors.items()}
    # ComfyUI holds both encoders in float16 even where it computes in float32.
    if dtype == torch.float32:
        return _stored_in_half(filled(make, tensors, what, torch.float16))
    return filled(make, tensors, what, dtype)
