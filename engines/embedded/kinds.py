"""Whether a model file serves its role, by its tensors' names, types and shapes: the check and the loader ask here.

First what kind of file it is, from a few characteristic names. Then whether everything needed fits: the loader's own
code, run on tensors without numbers (module_specs.py). The ComfyUI engine requires less of its files, because ComfyUI
converts between layouts. What is refused here would not load, or would give wrong images.
"""

from collections.abc import Mapping

from acusim.errors import EngineError, shown
from acusim.tensor_files import Tensor
from engines.embedded import scaled
from engines.embedded.clip_names import image_towers
from engines.embedded.sd15 import CHANNELS, CONTEXT, CROSS_ATTENTIONS, TOKENS, UNET, control_prefix
from engines.recipe import Recipe

Tensors = Mapping[str, Tensor]
Judgement = tuple[bool, str]
"""Whether a file can be used, and what it is."""

CONTEXTS = {1024: "Stable Diffusion 2", 1280: "the Stable Diffusion XL refiner", 2048: "Stable Diffusion XL"}
"""Width of the text conditioning -> model."""
INPUTS = {
    5: "a depth model",
    8: "an instruct-pix2pix model, or one with IC-Light merged into it",
    9: "an inpainting model",
    12: "a model with IC-Light merged into it",
}
"""Input channels of a UNet -> model."""
OTHERS = {
    "lora_unet_": "a LoRA",
    "lora_te_": "a LoRA",
    "control_model.": "a ControlNet",
    "input_hint_block.": "a ControlNet",
    "controlnet_cond_embedding.": "a ControlNet",
    "image_proj.": "an IP-Adapter",
    "ip_adapter.": "an IP-Adapter",
    "visual.": "an OpenCLIP model whose image encoder is no plain vision transformer",
    "vision_model.": "a CLIP vision model",
    "text_model.": "a text encoder",
    "transformer.resblocks.": "a text encoder in OpenCLIP's names",
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
"""How names of tensors begin -> what such a file is; the first match counts."""


def judge(role: str, tensors: Tensors, recipe: Recipe | None, others: Mapping[str, Tensors]) -> Judgement:
    """Whether a file serves its role, and what it is.

    Args:
        role: setting of the recipe that names the file.
        tensors: all tensors of the file, by name.
        recipe: for the wiring; None for either.
        others: the tensors of the files judged before, by role; those used together must fit.
    """
    refused = scaled.refusal(tensors)
    if refused:
        return False, refused
    if role == "ic_light":
        ok, what = _ic_light(tensors, recipe)
    else:
        by_role = {
            **{"checkpoint": _checkpoint, "ip_adapter": _ip_adapter},
            **{"clip_vision": _clip_vision, "control_net": _control_net},
        }
        ok, what = by_role[role](tensors)
    if not ok:
        return ok, what
    try:
        _check_fit(role, tensors, others)
    except EngineError as error:
        return False, str(error)
    return True, what


def _check_fit(role: str, tensors: Tensors, others: Mapping[str, Tensors]) -> None:
    """EngineError where the loader would not be able to use a file with those judged before."""
    from engines.embedded import module_specs as specs  # imports torch; a file of another kind is named without it
    from engines.embedded.stored import shapes_only

    file = shapes_only(tensors)
    if role == "checkpoint":
        specs.unet(file)
        specs.vae(file)
        specs.text_encoder(file)
        return
    needed = "ip_adapter" if role == "clip_vision" else "checkpoint"
    fitting = {needed: others[needed]} if needed in others and judge(needed, others[needed], None, {})[0] else {}
    base = shapes_only(fitting["checkpoint"]) if "checkpoint" in fitting else None
    if role == "ic_light" and base is not None:
        specs.unet(base, file)
    elif role == "ip_adapter":
        specs.adapter(file, None if base is None else specs.cross_attention_widths(specs.unet(base)))
    elif role == "control_net":
        specs.control_net(file, None if base is None else specs.unet(base))
    elif role == "clip_vision":
        width = specs.embedding_length(specs.vision_encoder(file).tensors)
        taken = _side(fitting.get("ip_adapter", {}), "image_proj.proj.weight", 1)
        if taken not in (None, width):
            raise EngineError(f"gives image features of width {width}, the IP-Adapter takes {taken}")


def _checkpoint(tensors: Tensors) -> Judgement:
    inputs = _side(tensors, f"{UNET}input_blocks.0.0.weight", 1)
    context = _context(tensors, UNET)
    if inputs is None or context is None:
        return False, f"not a single-file Stable Diffusion checkpoint but {_other(tensors)}"
    if context != CONTEXT:
        return False, f"{CONTEXTS.get(context, 'no SD 1.5')}, by its context width of {context}; SD 1.5 has {CONTEXT}"
    if inputs != 4:
        return False, f"{INPUTS.get(inputs, 'no plain SD 1.5')} ({inputs} input channels); plain SD 1.5 has 4"
    for prefix, component in {
        "first_stage_model.encoder.": "VAE (first_stage_model)",
        "first_stage_model.decoder.": "VAE (first_stage_model)",
        "cond_stage_model.transformer.": "text encoder (cond_stage_model.transformer)",
    }.items():
        if not any(name.startswith(prefix) for name in tensors):
            return False, f"a checkpoint without its {component}; one with UNet, text encoder and VAE is needed"
    return True, f"SD 1.5, context width {context}"


def _ic_light(tensors: Tensors, recipe: Recipe | None) -> Judgement:
    inputs = _side(tensors, "conv_in.weight", 1)
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
    if recipe is not None and inputs != CHANNELS[recipe.wiring]:
        expected = CHANNELS[recipe.wiring]
        return False, f"IC-Light {kind} ({inputs} input channels); wiring {recipe.wiring} takes {expected}"
    return True, f"IC-Light {kind}, {inputs} input channels"


def _ip_adapter(tensors: Tensors) -> Judgement:
    if not any(name.startswith(("image_proj.", "ip_adapter.")) for name in tensors):
        return False, f"not an IP-Adapter but {_other(tensors)}"
    plain = "; the plain one is needed"
    if any("_lora." in name for name in tensors):
        return False, f"an IP-Adapter FaceID{plain}"
    if any(name.startswith(("image_proj.latents", "image_proj.perceiver_resampler.")) for name in tensors):
        return False, f"an IP-Adapter Plus, whose image projection is a resampler{plain}"
    if "image_proj.proj.0.weight" in tensors:
        return False, f"an IP-Adapter Full Face or FaceID, whose image projection has two layers{plain}"
    layers = [name for name in tensors if name.endswith((".to_k_ip.weight", ".to_v_ip.weight"))]
    contexts = {_side(tensors, name, 1) for name in layers}
    if contexts and contexts != {CONTEXT}:
        widths = ", ".join(sorted(map(str, contexts)))
        return False, f"an IP-Adapter for another model (context width {widths}); SD 1.5 has {CONTEXT}"
    if len(layers) > 2 * CROSS_ATTENTIONS:
        found = f"{len(layers) / 2:g} cross attentions"
        return False, f"an IP-Adapter for another model ({found}); SD 1.5 has {CROSS_ATTENTIONS}"
    length, width = _side(tensors, "image_proj.proj.weight", 0), _side(tensors, "image_proj.proj.weight", 1)
    if length and width and length % CONTEXT == 0 and length != TOKENS * CONTEXT:
        return False, f"an IP-Adapter of {length // CONTEXT} tokens; the plain one for SD 1.5 has {TOKENS}"
    return True, f"IP-Adapter, {TOKENS} tokens from image features of width {width}"


def _control_net(tensors: Tensors) -> Judgement:
    prefix = control_prefix(tensors)
    hint = ("input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight")
    seen = next((side for name in hint if (side := _side(tensors, prefix + name, 1)) is not None), None)
    if seen is None:
        lora = any(name.startswith("lora_controlnet") for name in tensors)
        kind = "a Control-LoRA, of which the whole ControlNet is needed" if lora else _other(tensors)
        return False, f"not a ControlNet but {kind}"
    if any("task_embedding" in name or "control_add_embedding" in name for name in tensors):
        return False, "a ControlNet Union; one for depth alone is needed"
    context = _context(tensors, prefix)
    if context != CONTEXT:
        return False, f"a ControlNet for {CONTEXTS.get(context or 0, 'another model')}; one for SD 1.5 is needed"
    inputs = next(
        (side for name in ("input_blocks.0.0.weight", "conv_in.weight") if (side := _side(tensors, prefix + name, 1))),
        None,
    )
    if (inputs, seen) != (4, 3):
        return False, f"a ControlNet of {inputs} latent and {seen} image channels; 4 and 3 are needed"
    return True, f"ControlNet for SD 1.5, context width {context}"


def _clip_vision(tensors: Tensors) -> Judgement:
    towers = image_towers(tensors)
    if not towers:
        return False, f"not a CLIP vision model but {_other(tensors)}"
    if len(towers) > 1:
        return False, f"a file with {len(towers)} image encoders; one with a single one is needed"
    [tower] = towers
    if tower.projection is None:
        return False, "an image encoder without projection (visual_projection.weight); CLIP's with projection is needed"
    width = _side(tensors, tower.projection, 0 if tower.names == "transformers" else 1)
    whole = any("token_embedding.weight" in name for name in tensors)
    return True, f"CLIP vision, image features of width {width}" + (" (beside a text encoder)" if whole else "")


def _side(tensors: Tensors, name: str, axis: int) -> int | None:
    shape = tensors[name].shape if name in tensors else ()
    return shape[axis] if len(shape) > axis else None


def _context(tensors: Tensors, prefix: str) -> int | None:
    """Width of the text conditioning; None where there is no cross attention."""
    ending = ".attn2.to_k.weight"
    return next((_side(tensors, n, 1) for n in tensors if n.startswith(prefix) and n.endswith(ending)), None)


def _other(tensors: Tensors) -> str:
    """What a file of another kind is, as far as the names of its tensors show."""
    for prefix, kind in OTHERS.items():
        if any(name.startswith(prefix) for name in tensors):
            return kind
    if not tensors:
        return "a file without tensors"
    return f"a file of {len(tensors)} tensors, such as {shown(next(iter(tensors)))}"
