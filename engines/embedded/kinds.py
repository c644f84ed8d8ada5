"""Whether a model file is of the kind that its role needs, told by the names and shapes of its tensors.

The ComfyUI engine asks less of its files, because ComfyUI converts between layouts. What is refused here would not
load, or give wrong pictures.
"""

from collections.abc import Mapping

from acusim.errors import shown
from acusim.tensor_files import Tensor
from engines.comfyui.models import CHANNELS, CONTEXT
from engines.recipe import Recipe

Tensors = Mapping[str, Tensor]
Judgement = tuple[bool, str]
"""Whether a file will do, and what it is."""

UNET = "model.diffusion_model."
"""How the names of a checkpoint's UNet begin."""
CONTEXTS = {1024: "Stable Diffusion 2", 1280: "the Stable Diffusion XL refiner", 2048: "Stable Diffusion XL"}
"""Width of the text conditioning -> model."""
INPUTS = {
    5: "a depth model",
    8: "an instruct-pix2pix model, or one with IC-Light merged into it",
    9: "an inpainting model",
    12: "a model with IC-Light merged into it",
}
"""Input channels of a UNet -> model."""
FLOATS = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2")
"""Types of weights that torch turns into one another; others are quantised, with scales that are not read here."""
ADAPTED = 16
"""Cross attentions of SD 1.5, each with a key and a value layer of the IP-Adapter, numbered 1, 3, .. 31."""
OTHERS = {
    "lora_unet_": "a LoRA",
    "lora_te_": "a LoRA",
    "control_model.": "a ControlNet",
    "input_hint_block.": "a ControlNet",
    "controlnet_cond_embedding.": "a ControlNet",
    "image_proj.": "an IP-Adapter",
    "ip_adapter.": "an IP-Adapter",
    "visual.": "an OpenCLIP model in names of its own; one in the names of transformers is needed",
    "vision_model.": "a CLIP vision model",
    "text_model.": "a text encoder",
    f"{UNET}double_blocks.": "a Flux model",
    "double_blocks.": "a Flux model",
    f"{UNET}joint_blocks.": "Stable Diffusion 3",
    UNET: "a single-file checkpoint",
    "first_stage_model.": "a VAE",
    "decoder.": "a VAE",
    "down_blocks.": "a UNet in the names of diffusers",
    "input_blocks.": "a UNet in the names of ldm",
    "diffusion_model.input_blocks.": "a UNet in the names of ldm",
}
"""How names of tensors begin -> what such a file is; the first that fits counts."""


def judge(role: str, tensors: Tensors, recipe: Recipe, others: Mapping[str, Tensors]) -> Judgement:
    """Whether a file serves its role, and what it is.

    Args:
        role: setting of the recipe that names the file.
        tensors: all tensors of the file, by name.
        recipe: for the wiring.
        others: the tensors of the files judged before, by role; the image encoder must fit the IP-Adapter.
    """
    foreign = sorted({t.dtype for name, t in tensors.items() if name.endswith(".weight")} - set(FLOATS))
    if foreign:
        return False, f"its weights are of type {', '.join(foreign)}; {', '.join(FLOATS)} are read"
    if role == "checkpoint":
        return _checkpoint(tensors)
    if role == "ic_light":
        return _ic_light(tensors, recipe)
    if role == "ip_adapter":
        return _ip_adapter(tensors)
    return _clip_vision(tensors, others.get("ip_adapter", {}))


def _checkpoint(tensors: Tensors) -> Judgement:
    inputs = _side(tensors, f"{UNET}input_blocks.0.0.weight", 1)
    context = _context(tensors, UNET)
    if inputs is None or context is None:
        return False, f"not a single-file Stable Diffusion checkpoint but {_other(tensors)}"
    if context != CONTEXT:
        return False, f"{CONTEXTS.get(context, 'no SD 1.5')}, by its context width of {context}; SD 1.5 has {CONTEXT}"
    if inputs != 4:
        return False, f"{INPUTS.get(inputs, 'no plain SD 1.5')} ({inputs} input channels); plain SD 1.5 has 4"
    for prefix, part in {
        "first_stage_model.encoder.": "VAE (first_stage_model)",
        "first_stage_model.decoder.": "VAE (first_stage_model)",
        "cond_stage_model.transformer.": "text encoder (cond_stage_model.transformer)",
    }.items():
        if not any(name.startswith(prefix) for name in tensors):
            return False, f"a checkpoint without its {part}; one with UNet, text encoder and VAE is needed"
    return True, f"SD 1.5, context width {context}"


def _ic_light(tensors: Tensors, recipe: Recipe) -> Judgement:
    inputs, wanted = _side(tensors, "conv_in.weight", 1), CHANNELS[recipe.wiring]
    if inputs is None or not any(name.startswith("down_blocks.") for name in tensors):
        for prefix in ("", "diffusion_model.", UNET):
            if _side(tensors, f"{prefix}input_blocks.0.0.weight", 1) in CHANNELS.values():
                return False, "IC-Light in the names of ldm; the file with the names of diffusers is needed"
        return False, f"not an IC-Light model but {_other(tensors)}"
    context = _context(tensors, "")
    if context != CONTEXT:
        return False, f"not for SD 1.5: its context width is {context}, not {CONTEXT}"
    kind = next((name for name, count in CHANNELS.items() if count == inputs), None)
    if kind is None:
        return False, f"a UNet with {inputs} input channels; IC-Light's have 8 (fc) or 12 (fbc)"
    if inputs != wanted:
        return False, f"IC-Light {kind} ({inputs} input channels); wiring {recipe.wiring} takes {wanted}"
    return True, f"IC-Light {kind}, {inputs} input channels"


def _ip_adapter(tensors: Tensors) -> Judgement:
    names = tuple(tensors)
    if not any(name.startswith(("image_proj.", "ip_adapter.")) for name in names):
        return False, f"not an IP-Adapter but {_other(tensors)}"
    plain = "; the plain one is needed"
    if any("_lora." in name for name in names):
        return False, f"an IP-Adapter FaceID{plain}"
    if any(name.startswith(("image_proj.latents", "image_proj.perceiver_resampler.")) for name in names):
        return False, f"an IP-Adapter Plus, whose image projection is a resampler{plain}"
    if "image_proj.proj.0.weight" in tensors:
        return False, f"an IP-Adapter Full Face or FaceID, whose image projection has two layers{plain}"
    numbers = range(1, 2 * ADAPTED, 2)
    needed = [f"ip_adapter.{number}.{part}_ip.weight" for number in numbers for part in ("to_k", "to_v")]
    missing = [name for name in ("image_proj.proj.weight", "image_proj.norm.weight", *needed) if name not in tensors]
    if missing:
        return False, f"an IP-Adapter that lacks {len(missing)} tensors of the SD 1.5 one, such as {missing[0]}"
    contexts = {_side(tensors, name, 1) for name in needed}
    if contexts != {CONTEXT}:
        told = ", ".join(sorted(map(str, contexts)))
        return False, f"an IP-Adapter for another model (context width {told}); SD 1.5 has {CONTEXT}"
    length, width = _side(tensors, "image_proj.proj.weight", 0), _side(tensors, "image_proj.proj.weight", 1)
    if not length or width is None or length % CONTEXT:
        return False, f"an IP-Adapter whose image projection has shape {tensors['image_proj.proj.weight'].shape}"
    return True, f"IP-Adapter, {length // CONTEXT} tokens from image features of width {width}"


def _clip_vision(tensors: Tensors, adapter: Tensors) -> Judgement:
    if "vision_model.embeddings.patch_embedding.weight" not in tensors:
        return False, f"not a CLIP vision model but {_other(tensors)}"
    width = _side(tensors, "visual_projection.weight", 0)
    if width is None:
        return False, "an image encoder without projection (visual_projection.weight); CLIP's with projection is needed"
    taken = _side(adapter, "image_proj.proj.weight", 1)
    if taken not in (None, width):
        return False, f"gives image features of width {width}, the IP-Adapter takes {taken}"
    return True, f"CLIP vision, image features of width {width}"


def _side(tensors: Tensors, name: str, axis: int) -> int | None:
    shape = tensors[name].shape if name in tensors else ()
    return shape[axis] if len(shape) > axis else None


def _context(tensors: Tensors, prefix: str) -> int | None:
    """Width of the text conditioning; None where there is no cross attention."""
    ending = ".attn2.to_k.weight"
    return next((_side(tensors, n, 1) for n in tensors if n.startswith(prefix) and n.endswith(ending)), None)


def _other(tensors: Tensors) -> str:
    """What a file of another kind is, as far as the names of its tensors tell."""
    for prefix, kind in OTHERS.items():
        if any(name.startswith(prefix) for name in tensors):
            return kind
    if not tensors:
        return "a file without tensors"
    return f"a file of {len(tensors)} tensors, such as {shown(next(iter(tensors)))}"
