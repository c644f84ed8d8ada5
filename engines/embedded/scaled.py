"""Weights stored in 8 bits: names of their scales, and which quantised files are refused.

A scaled weight is the stored number times its scale. ComfyUI has used two names for the scale of ``layer.weight``:
``layer.scale_weight``, with a marker ``scaled_fp8`` in the file, and ``layer.weight_scale``, with the format's name in
``layer.comfy_quant``. Scales of a layer's inputs serve products in 8 bits and change nothing here, where products are
in 16 or 32 bits.
"""

import re
from collections.abc import Mapping

from acusim.tensor_files import Tensor

SCALES = ("scale_weight", "weight_scale")
UNUSED = ("scale_input", "input_scale", "comfy_quant")
MARKER = "scaled_fp8"
FLOATS = ("F16", "BF16", "F32", "F64", "F8_E4M3", "F8_E5M2")
"""Number types that torch converts into one another."""
BYTES = tuple(name for name in FLOATS if name.startswith("F8"))
QUANTISED = {
    r"\.(absmax|nested_absmax|quant_map|nested_quant_map|quant_state\.[^.]+)$": "bitsandbytes, 4 bits",
    r"\.(SCB|weight_format)$": "bitsandbytes, 8 bits",
    r"\.(qweight|qzeros|g_idx|wscales|wcscales|wtscale)$": "GPTQ, AWQ or SVDQuant",
    r"\.weight_(scale_2|scale_inv|zero_point|packed|shape|s_rel|s_channel|codebook|global_scale)$": "scaled blocks",
    r"\.(pre_quant_scale|output_scale|scale_output)$": "scales that are not of weights",
    r"\.weight\._(data|scale|zeropoint|shift)$": "quanto",
    r"\.gguf_[^.]+$|\.(qtype|ggml_type)$": "GGUF",
}
"""How names of tensors end -> the kind of quantised file that has them."""
KNOWN = ("weight", "bias")


def names_of_scales(tensors: Mapping[str, Tensor]) -> dict[str, str]:
    """Name of each scaled weight -> name of its scale."""
    found: dict[str, str] = {}
    for name in tensors:
        layer, _, last = name.rpartition(".")
        if last in SCALES:
            found[f"{layer}.weight"] = name
    return found


def is_beside(name: str) -> bool:
    """Whether a tensor is a scale, or describes how weights are stored."""
    return name.rpartition(".")[2] in (*SCALES, *UNUSED, MARKER)


def refusal(tensors: Mapping[str, Tensor]) -> str | None:
    """Why quantised weights are not read, naming a tensor; None where all of them are."""
    for name in tensors:
        kind = next((kind for ending, kind in QUANTISED.items() if re.search(ending, name)), None)
        if kind:
            return f"quantised ({kind}; it has {name}); a file in 16 or 32 bits, or in fp8 with one scale, is needed"
    foreign = sorted({t.dtype for name, t in tensors.items() if name.endswith(".weight")} - set(FLOATS))
    if foreign:
        return f"its weights are of type {', '.join(foreign)}; {', '.join(FLOATS)} are read"
    return _bad_scale(tensors) or _unknown_companion(tensors)


def _bad_scale(tensors: Mapping[str, Tensor]) -> str | None:
    seen: dict[str, str] = {}
    for name, scale in tensors.items():
        layer, _, last = name.rpartition(".")
        if last not in SCALES:
            continue
        weight = tensors.get(f"{layer}.weight")
        if weight is None:
            return f"it has {name}, the scale of a missing weight"
        if layer in seen:
            return f"it has two scales of one weight, {seen[layer]} and {name}"
        seen[layer] = name
        if scale.dtype not in FLOATS or scale.dtype in BYTES or not fits(scale.shape, weight.shape):
            return (
                f"quantised: {name} is of type {scale.dtype} and shape {list(scale.shape)} for a weight of shape "
                f"{list(weight.shape)}; scales in 16 or 32 bits, one for a weight or one for each output, are read"
            )
    return None


def fits(scale: tuple[int, ...], weight: tuple[int, ...]) -> bool:
    """Whether a scale is one number, or one for each output of a layer."""
    longer = [side for side in scale if side != 1]
    return not longer or (bool(weight) and longer == [weight[0]] and scale[0] == weight[0])


def _unknown_companion(tensors: Mapping[str, Tensor]) -> str | None:
    """A tensor beside a weight in 8 bits that may define how to read it."""
    for name in tensors:
        layer, _, last = name.rpartition(".")
        weight = tensors.get(f"{layer}.weight")
        if weight is None or weight.dtype not in BYTES or last in KNOWN or is_beside(name):
            continue
        return f"quantised in a way that is unknown here: {name} is beside {layer}.weight of type {weight.dtype}"
    return None
