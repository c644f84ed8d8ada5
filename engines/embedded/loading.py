"""Model files to modules: Stable Diffusion 1.5 from one file, IC-Light merged into its UNet, CLIP vision.

Sizes are read from the tensors' shapes, names are those of the original checkpoints. Only safetensors files are opened,
and only those that the check of model files accepts are loaded (kinds.py).
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl import AutoencoderKL
from diffusers.models.controlnets.controlnet import ControlNetModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional
from transformers import CLIPTextModel, CLIPVisionModelWithProjection

from acusim.errors import EngineError
from engines.embedded import module_specs as specs
from engines.embedded.kinds import judge
from engines.embedded.stored import Header, Stored, open_tensors


@contextmanager
def open_all(files: Mapping[str, Path]) -> Iterator[dict[str, Stored]]:
    """The tensors of open files that serve their roles and fit each other, by role.

    Args:
        files: by role, in the order of the recipe's settings.

    Raises:
        EngineError: a file cannot be read, or is refused by the check of model files.
    """
    found: dict[str, Stored] = {}
    headers: dict[str, Header] = {}
    with ExitStack() as stack:
        for role, path in files.items():
            found[role] = stack.enter_context(open_tensors(path))
            ok, what = judge(role, found[role].header, None, headers)
            if not ok:
                raise EngineError(f"model file {path.name!r} cannot be used as {role}: {what}")
            headers[role] = found[role].header
        yield found


class StoredLinear(nn.Module):
    """A linear layer that computes in float32 on weights stored in float16, [O, I] and [O]."""

    def __init__(self, linear: nn.Linear):
        super().__init__()
        self.weight, self.bias = linear.weight, linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """[..., O] of [..., I]."""
        return functional.linear(x, self.weight.float(), None if self.bias is None else self.bias.float())


def _stored_in_half(module: nn.Module) -> nn.Module:
    """An encoder of float16 weights that computes in float32; saves half the memory of its linear layers."""
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
    files = {"checkpoint": checkpoint} if ic_light is None else {"checkpoint": checkpoint, "ic_light": ic_light}
    with open_all(files) as found:
        return specs.unet(found["checkpoint"], found.get("ic_light")).build(dtype)


def load_control_net(path: Path, dtype: torch.dtype) -> ControlNetModel:
    """A ControlNet. Errors as ``load_unet``."""
    with open_all({"control_net": path}) as found:
        return specs.control_net(found["control_net"]).build(dtype)


def load_vae(checkpoint: Path, dtype: torch.dtype) -> AutoencoderKL:
    """The autoencoder: 8 x 8 pixels to one latent of 4 channels. Errors as ``load_unet``."""
    with open_all({"checkpoint": checkpoint}) as found:
        return specs.vae(found["checkpoint"]).build(dtype)


def load_text_encoder(checkpoint: Path, dtype: torch.dtype) -> CLIPTextModel:
    """CLIP ViT-L/14's text tower. Errors as ``load_unet``."""
    with open_all({"checkpoint": checkpoint}) as found:
        return _encoder(specs.text_encoder(found["checkpoint"]), dtype)


def load_vision_encoder(path: Path, dtype: torch.dtype) -> CLIPVisionModelWithProjection:
    """CLIP's image tower with its projection. Errors as ``load_unet``."""
    with open_all({"clip_vision": path}) as found:
        return _encoder(specs.vision_encoder(found["clip_vision"]), dtype)


def _encoder(spec: specs.ModuleSpec, dtype: torch.dtype) -> Any:
    """ComfyUI holds both encoders in float16 even where it computes in float32."""
    return _stored_in_half(spec.build(torch.float16)) if dtype == torch.float32 else spec.build(dtype)
