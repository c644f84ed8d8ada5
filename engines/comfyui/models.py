"""The model files that a recipe names: their folders, their sources, and whether they are of the right kind."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from engines.recipe import IC_LIGHT, Recipe

CONTEXT = 768
"""Width of SD 1.5's text conditioning."""
CHANNELS = {"fc": 8, "fbc": 12}
"""Input channels of the IC-Light models: latent and foreground; these and background."""


@dataclass(frozen=True, slots=True)
class Model:
    """A kind of model file."""

    folder: str
    """Below ComfyUI's models."""
    key: str
    """What the server calls that folder."""
    source: str


MODELS = {
    "checkpoint": Model("checkpoints", "checkpoints", "https://huggingface.co/Comfy-Org/stable-diffusion-v1-5-archive"),
    "ic_light": Model("diffusion_models (or unet)", "diffusion_models", "https://huggingface.co/lllyasviel/ic-light"),
    "ip_adapter": Model(
        "ipadapter", "ipadapter", "https://huggingface.co/h94/IP-Adapter, models/ip-adapter_sd15.safetensors"
    ),
    "clip_vision": Model(
        "clip_vision",
        "clip_vision",
        "https://huggingface.co/h94/IP-Adapter, models/image_encoder/model.safetensors, saved under the name "
        "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors",
    ),
    "control_net": Model(
        "controlnet",
        "controlnet",
        "https://huggingface.co/comfyanonymous/ControlNet-v1-1_fp16_safetensors, "
        "control_v11f1p_sd15_depth_fp16.safetensors",
    ),
}
"""Recipe setting -> the kind of model that it names."""


def download_source(setting: str, recipe: Recipe) -> str:
    """Where to get the model file for a setting; for IC-Light the one of the recipe's wiring."""
    return f"from {MODELS[setting].source}" + (f", {IC_LIGHT[recipe.wiring]}" if setting == "ic_light" else "")


def check_model(
    setting: str, shapes: Mapping[str, Any], recipe: Recipe, others: Mapping[str, Mapping[str, Any]]
) -> tuple[bool, str]:
    """Whether a model is of the kind that its setting needs, and what it is.

    Args:
        setting: of the recipe.
        shapes: tensor name -> shape, for some tensors of the file.
        recipe: for the wiring.
        others: setting -> shapes, for the models checked so far.

    Returns:
        whether it is, and what was found.
    """
    if setting == "ic_light":
        channels, wanted = _size(shapes, "conv_in.weight", 1), CHANNELS[recipe.wiring]
        if channels is None:
            return False, "not an IC-Light model: it has no conv_in.weight"
        kind = next((name for name, count in CHANNELS.items() if count == channels), "neither fc nor fbc")
        return channels == wanted, f"{channels} input channels ({kind}); wiring {recipe.wiring} takes {wanted}"
    if setting == "checkpoint":
        context = _size(shapes, "attn2.to_k.weight", 1)
        if context is None:
            return False, "not a single-file Stable Diffusion checkpoint"
        return context == CONTEXT, f"context width {context}; SD 1.5 has {CONTEXT}"
    if setting == "ip_adapter":
        context, width = _size(shapes, "to_k_ip.weight", 1), _size(shapes, "image_proj.proj.weight", 1)
        if context is None and width is None:
            return False, "not an IP-Adapter model"
        if context not in (None, CONTEXT):
            return False, f"context width {context}, SD 1.5 has {CONTEXT}"
        return True, f"takes image features of width {width}" if width else "an IP-Adapter model"
    if setting == "control_net":
        hint = _size(shapes, "input_hint_block.0.weight", 1) or _size(shapes, "cond_embedding.conv_in.weight", 1)
        if hint is None:
            return False, "not a ControlNet: it has no layers for an image"
        context = _size(shapes, "attn2.to_k.weight", 1)
        return context == CONTEXT, f"ControlNet, context width {context}; SD 1.5 has {CONTEXT}"
    width = _size(shapes, "visual_projection.weight", 0)
    if width is None:
        return False, "not a CLIP vision model: it has no visual_projection.weight"
    taken = _size(others.get("ip_adapter", {}), "image_proj.proj.weight", 1)
    if taken is not None and taken != width:
        return False, f"gives image features of width {width}, the IP-Adapter takes {taken}"
    return True, f"gives image features of width {width}"


def _size(shapes: Mapping[str, Any], ending: str, axis: int) -> int | None:
    """One dimension of the tensor whose name ends so; None where there is none."""
    shape = next((shape for name, shape in shapes.items() if str(name).endswith(ending)), None)
    side = shape[axis] if isinstance(shape, list) and len(shape) > axis else None
    return side if isinstance(side, int) else None
