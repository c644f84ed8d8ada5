"""Image encoders of many layouts: what the check accepts gives the same features, what it refuses does not load."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from acusim.tensor_files import read_header
from engines.embedded import loading
from engines.embedded.image_prompt import preprocessed
from engines.embedded.kinds import judge
from engines.recipe import Recipe
from tests.engines.embedded.changed_files import (
    BYTE,
    EXACT,
    FP8,
    HALF,
    MARKER,
    PICTURE,
    Change,
    Tensors,
    added,
    after,
    apart,
    both_refuse,
    cast,
    features,
    made,
    ones,
    prefixed,
    renamed,
    saved,
    scaled,
    without,
)
from tests.engines.embedded.model_files import SIZES
from tools import random_weights

pytestmark = pytest.mark.usefixtures("small_parts")
VISION = made(random_weights.vision_encoder(replace(SIZES, vision_layers=2)), "vision")


def openclip(root: str) -> Change:
    """The image tower in OpenCLIP's names."""
    names = {
        "embeddings.class_embedding": "class_embedding",
        "embeddings.patch_embedding.weight": "conv1.weight",
        "embeddings.position_embedding.weight": "positional_embedding",
    }

    def change(tensors: Tensors) -> Tensors:
        found: Tensors = {}
        for name, value in tensors.items():
            short = name.removeprefix("vision_model.")
            if name == "visual_projection.weight":
                found[f"{root}proj"] = value.T.contiguous()
                continue
            if "self_attn.k_proj" in short or "self_attn.v_proj" in short:
                continue
            if "self_attn.q_proj" in short:
                value = torch.cat([tensors[name.replace("q_proj", f"{part}_proj")] for part in "qkv"])
                short = short.replace("self_attn.q_proj.", "attn.in_proj_")
            for old, new in (
                ("encoder.layers", "transformer.resblocks"),
                ("layer_norm", "ln_"),
                ("mlp.fc1", "mlp.c_fc"),
                ("mlp.fc2", "mlp.c_proj"),
                ("self_attn", "attn"),
                ("pre_layrnorm", "ln_pre"),
                ("post_layernorm", "ln_post"),
            ):
                short = short.replace(old, new)
            found[root + names.get(short, short)] = value
        return found

    return change


TEXT_TOWER = {
    "logit_scale": ones(),
    "text_projection.weight": ones(8, 16),
    "text_model.embeddings.token_embedding.weight": ones(9, 16),
    "text_model.embeddings.position_ids": torch.arange(7)[None],
    **{f"text_model.encoder.layers.{n}.layer_norm1.weight": ones(16) for n in range(5)},
    **{f"text_model.encoder.layers.{n}.mlp.fc1.weight": ones(64, 16) for n in range(5)},
}
OPENCLIP_TEXT = {
    "positional_embedding": ones(7, 16),
    "token_embedding.weight": ones(9, 16),
    "text_projection": ones(16, 8),
    "logit_scale": ones(),
    **{f"transformer.resblocks.{n}.attn.in_proj_weight": ones(48, 16) for n in range(3)},
    **{f"transformer.resblocks.{n}.ln_1.weight": ones(16) for n in range(3)},
}
LAYER = "vision_model.encoder.layers.1.mlp.fc1"
WIDE = 4 * SIZES.vision_width
FORMAT = torch.tensor(list(b'{"format": "float8_e4m3fn"}'), dtype=torch.uint8)
VISION_FILES: dict[str, tuple[Change, float]] = {
    "fp32": (cast(torch.float32), EXACT),
    "fp16": (cast(torch.float16), EXACT),
    "bf16": (cast(torch.bfloat16), 2 * HALF),
    "fp64": (cast(torch.float64), EXACT),
    "plain fp8": (cast(FP8), 2 * BYTE),
    "scaled fp8": (scaled(more=MARKER), BYTE),
    "scaled fp8, scales of the inputs": (scaled(more={**MARKER, f"{LAYER}.scale_input": ones()}), BYTE),
    "scaled fp8, scales [1]": (scaled(shape=(1,)), BYTE),
    "scaled fp8, a scale for each output": (scaled(each=True), BYTE),
    "scaled fp8, newer names": (
        scaled("weight_scale", {f"{LAYER}.comfy_quant": FORMAT, f"{LAYER}.input_scale": ones()}),
        BYTE,
    ),
    "scaled fp8, prefixed": (after(scaled(more=MARKER), prefixed("clip_vision.")), BYTE),
    "whole CLIP": (added(TEXT_TOWER), EXACT),
    "whole CLIP, scaled fp8": (after(added(TEXT_TOWER), scaled()), BYTE),
    "position_ids": (added({"vision_model.embeddings.position_ids": torch.arange(17)[None]}), EXACT),
    "prefixed": (prefixed("model."), EXACT),
    "without the tower's prefix": (renamed("vision_model.", ""), EXACT),
    "OpenCLIP, image tower": (openclip(""), EXACT),
    "OpenCLIP, whole": (after(openclip("visual."), added(OPENCLIP_TEXT)), EXACT),
    "OpenCLIP, whole, prefixed": (after(openclip("visual."), added(OPENCLIP_TEXT), prefixed("model.")), EXACT),
    "OpenCLIP, fp16": (after(openclip("visual."), cast(torch.float16)), EXACT),
}


@pytest.fixture(scope="module")
def wanted_features(tmp_path_factory: pytest.TempPathFactory) -> Tensor:
    return features(saved(tmp_path_factory.mktemp("vision") / "x.safetensors", VISION))


@pytest.mark.parametrize("name", VISION_FILES)
def test_image_encoders_that_are_accepted_give_the_same_features(tmp_path: Path, wanted_features: Tensor, name: str):
    change, allowed = VISION_FILES[name]
    path = saved(tmp_path / "x.safetensors", change(dict(VISION)))
    ok, what = judge("clip_vision", read_header(path), Recipe(), {})
    assert ok and "image features of width 8" in what, what
    assert apart(features(path), wanted_features) <= allowed


REFUSED_VISION: dict[str, tuple[Change, str]] = {
    "text tower": (lambda tensors: TEXT_TOWER, "not a CLIP vision model but a text encoder"),
    "text tower of OpenCLIP": (lambda tensors: OPENCLIP_TEXT, "but a text encoder in OpenCLIP's names"),
    "no projection": (without("visual_projection"), "without projection"),
    "two towers": (lambda tensors: {**tensors, **prefixed("other.")(tensors)}, "2 image encoders"),
    "int8": (cast(torch.int8), "its weights are of type I8"),
    "one layer in int8": (added({f"{LAYER}.weight": ones(WIDE, 768, kind=torch.int8)}), "of type I8"),
    "class embedding in int64": (
        added({"vision_model.embeddings.class_embedding": ones(768, kind=torch.int64)}),
        "class_embedding is of type torch.int64; F64, F32",
    ),
    "nf4": (
        added({f"{LAYER}.weight.absmax": ones(9), f"{LAYER}.weight.quant_state.bitsandbytes__nf4": ones(9)}),
        f"{LAYER}.weight.absmax",
    ),
    "bitsandbytes int8": (added({f"{LAYER}.SCB": ones(WIDE)}), f"bitsandbytes, 8 bits; it has {LAYER}.SCB"),
    "GPTQ": (after(without(f"{LAYER}.weight"), added({f"{LAYER}.qweight": ones(9)})), f"{LAYER}.qweight"),
    "nvfp4": (added({f"{LAYER}.weight_scale_2": ones()}), f"{LAYER}.weight_scale_2"),
    "blocks": (added({f"{LAYER}.weight_scale": ones(WIDE, 24)}), f"{LAYER}.weight_scale is of type F32 and shape"),
    "scales across": (added({f"{LAYER}.weight_scale": ones(1, 768)}), "one for each output"),
    "mxfp8": (added({f"{LAYER}.weight_scale": ones(WIDE, 24, kind=torch.uint8)}), "is of type U8"),
    "inverse scales": (added({f"{LAYER}.weight_scale_inv": ones()}), f"{LAYER}.weight_scale_inv"),
    "scale alone": (added({"vision_model.x.scale_weight": ones()}), "the scale of a missing weight"),
    "two scales": (added({f"{LAYER}.scale_weight": ones(), f"{LAYER}.weight_scale": ones()}), "two scales"),
    "unknown beside fp8": (after(cast(FP8), added({f"{LAYER}.shift": ones()})), f"{LAYER}.shift is beside"),
    "quanto": (added({f"{LAYER}.weight._scale": ones(WIDE)}), "quanto"),
    "other width": (
        lambda tensors: made(random_weights.vision_encoder(replace(SIZES, vision_width=512)), "x"),
        "widths 768, 1024, 1280, 1664 are known",
    ),
    "no square": (
        added({"vision_model.embeddings.position_embedding.weight": ones(16, 768)}),
        "16 positions",
    ),
    "OpenCLIP, cut": (after(openclip("visual."), without("resblocks.1.ln_2.bias")), "lacks 1 tensors"),
    "OpenCLIP, other shape": (
        after(openclip("visual."), added({"visual.transformer.resblocks.0.attn.in_proj_bias": ones()})),
        "other shapes than OpenCLIP's",
    ),
    "OpenCLIP, ResNet": (
        lambda tensors: {"visual.conv1.weight": ones(8, 3, 3, 3), "visual.layer1.0.conv1.weight": ones(8, 8, 1, 1)},
        "OpenCLIP model whose image encoder is no plain vision transformer",
    ),
}


@pytest.mark.parametrize("name", REFUSED_VISION)
def test_image_encoders_that_are_refused_are_refused_by_both(tmp_path: Path, name: str):
    change, words = REFUSED_VISION[name]
    assert words in both_refuse("clip_vision", saved(tmp_path / "x.safetensors", change(dict(VISION))), features)


@pytest.mark.parametrize("layout", ["transformers", "OpenCLIP"])
def test_an_image_encoder_that_lacks_any_tensor_is_refused_by_both(tmp_path: Path, layout: str):
    tensors = dict(VISION) if layout == "transformers" else dict(openclip("visual.")(dict(VISION)))
    header = read_header(saved(tmp_path / "x.safetensors", tensors))
    for name in tensors:
        rest = {other: tensor for other, tensor in header.items() if other != name}
        assert not judge("clip_vision", rest, Recipe(), {})[0], name
    for name in list(tensors)[::9]:
        rest = {other: value for other, value in tensors.items() if other != name}
        both_refuse("clip_vision", saved(tmp_path / "x.safetensors", rest), features)


@pytest.mark.parametrize(("width", "activation"), [(768, "quick_gelu"), (1024, "quick_gelu"), (1280, "gelu")])
def test_an_encoder_for_other_sides_of_other_widths_is_built_as_its_shapes_say(
    tmp_path: Path, width: int, activation: str
):
    sizes = replace(SIZES, vision_width=width)
    tensors = made(random_weights.vision_encoder(sizes), "x")
    tensors["vision_model.embeddings.position_embedding.weight"] = ones(37, width)
    encoder = loading.load_vision_encoder(saved(tmp_path / "x.safetensors", tensors), torch.float32)
    assert (encoder.config.image_size, encoder.config.hidden_act) == (6 * 56, activation)
    seen = preprocessed(PICTURE, encoder.config.image_size)
    assert seen.shape == (1, 3, 336, 336)
    with torch.inference_mode():
        assert encoder(seen).image_embeds.shape == (1, 8)
