"""What a model file is, told by the names and shapes of its tensors."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from acusim.tensor_files import Tensor, read_header
from engines.embedded.kinds import judge
from engines.embedded.published import PUBLISHED
from engines.recipe import Recipe
from tests.engines.embedded.model_files import (
    CHECKPOINT,
    CLIP_VISION,
    CONTROL_NET,
    FBC,
    FC,
    IP_ADAPTER,
    SIZES,
    UNET,
    Shapes,
    small_modules,
    write,
)
from tools import random_weights


def message(role: str, shapes: Shapes, adapter: Shapes | None = None, dtype: str = "F16", **settings: Any):
    """Whether it will do, and what it is."""

    def tensors(of: Shapes) -> dict[str, Tensor]:
        return {name: Tensor(dtype, shape) for name, shape in of.items()}

    return judge(role, tensors(shapes), Recipe(**settings), {"ip_adapter": tensors(adapter)} if adapter else {})


def without(shapes: Shapes, beginning: str) -> Shapes:
    return {name: shape for name, shape in shapes.items() if not name.startswith(beginning)}


small = pytest.mark.usefixtures("small_test")


@pytest.fixture
def small_test() -> Iterator[None]:
    """For one test, as others of this file need the real sizes."""
    with small_modules():
        yield


ATTENTION = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
INPUT = f"{UNET}input_blocks.0.0.weight"


@small
def test_the_right_files_will_do():
    assert message("checkpoint", CHECKPOINT) == (True, "SD 1.5, context width 768")
    assert message("ic_light", FC) == (True, "IC-Light fc, 8 input channels")
    assert message("ic_light", FBC, wiring="fbc") == (True, "IC-Light fbc, 12 input channels")
    assert message("ip_adapter", IP_ADAPTER) == (True, "IP-Adapter, 4 tokens from image features of width 8")
    assert message("clip_vision", CLIP_VISION, IP_ADAPTER) == (True, "CLIP vision, image features of width 8")
    assert message("control_net", CONTROL_NET) == (True, "ControlNet for SD 1.5, context width 768")
    prefixed = {f"control_model.{name}": shape for name, shape in CONTROL_NET.items()}
    assert message("control_net", prefixed) == (True, "ControlNet for SD 1.5, context width 768")
    assert message("clip_vision", {**CLIP_VISION, "text_model.embeddings.token_embedding.weight": (9, 9)})[0]


@small
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({**CHECKPOINT, ATTENTION: (2, 2048)}, "Stable Diffusion XL, by its context width of 2048"),
        ({**CHECKPOINT, ATTENTION: (2, 1280)}, "the Stable Diffusion XL refiner"),
        ({**CHECKPOINT, ATTENTION: (2, 1024)}, "Stable Diffusion 2, by"),
        ({**CHECKPOINT, ATTENTION: (2, 99)}, "no SD 1.5, by its context width of 99"),
        ({**CHECKPOINT, ATTENTION: (2,)}, "not a single-file Stable Diffusion checkpoint"),
        ({**CHECKPOINT, INPUT: (2, 9, 3, 3)}, "an inpainting model (9 input channels)"),
        ({**CHECKPOINT, INPUT: (2, 8, 3, 3)}, "IC-Light merged"),
        ({**CHECKPOINT, INPUT: (2, 7, 3, 3)}, "no plain SD 1.5 (7 input channels)"),
        (without(CHECKPOINT, "first_stage_model.encoder"), "without its VAE"),
        (without(CHECKPOINT, "first_stage_model.decoder"), "without its VAE"),
        (without(CHECKPOINT, "cond_stage_model"), "without its text encoder"),
        (without(CHECKPOINT, UNET), "but a VAE"),
        (FC, "but a UNet in the names of diffusers"),
        (IP_ADAPTER, "but an IP-Adapter"),
        (CLIP_VISION, "but a CLIP vision model"),
        ({"lora_unet_down_blocks_0.lora_up.weight": (2, 2)}, "but a LoRA"),
        ({"control_model.input_blocks.0.0.weight": (2, 4, 3, 3)}, "but a ControlNet"),
        ({f"{UNET}double_blocks.0.x.weight": (2, 2)}, "but a Flux model"),
        ({f"{UNET}joint_blocks.0.x.weight": (2, 2)}, "but Stable Diffusion 3"),
        ({"what\x1b[31m" * 40: (2, 2)}, "a file of 1 tensors, such as 'what\\x1b[31m"),
        ({}, "a file without tensors"),
    ],
)
def test_other_checkpoints_are_named(shapes: Shapes, words: str):
    ok, what = message("checkpoint", shapes)
    assert not ok and words in what and len(what) < 300 and what.isprintable()


@small
@pytest.mark.parametrize(
    ("shapes", "wiring", "words"),
    [
        (FC, "fbc", "IC-Light fc (8 input channels); wiring fbc takes 12"),
        (FBC, "fc", "IC-Light fbc (12 input channels); wiring fc takes 8"),
        ({**FC, "conv_in.weight": (2, 4, 3, 3)}, "fc", "a UNet with 4 input channels"),
        ({**FC, "conv_in.weight": (2,)}, "fc", "not an IC-Light model but a UNet"),
        ({INPUT: (2, 8, 3, 3)}, "fc", "in the names of ldm"),
        ({"diffusion_model.input_blocks.0.0.weight": (2, 12, 3, 3)}, "fc", "in the names of ldm"),
        ({**FC, next(name for name in FC if "attn2.to_k" in name): (2, 2048)}, "fc", "context width is 2048, not 768"),
        ({"conv_in.weight": (2, 8, 3, 3)}, "fc", "not an IC-Light model"),
        (CHECKPOINT, "fc", "but a single-file checkpoint"),
    ],
)
def test_other_ic_lights_are_named(shapes: Shapes, wiring: str, words: str):
    ok, what = message("ic_light", shapes, wiring=wiring)
    assert not ok and words in what


@small
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({**IP_ADAPTER, "image_proj.latents": (1, 16, 768)}, "Plus"),
        ({**IP_ADAPTER, "image_proj.perceiver_resampler.proj_in.weight": (2, 2)}, "Plus"),
        ({**IP_ADAPTER, "ip_adapter.0.to_q_lora.down.weight": (2, 2)}, "FaceID"),
        ({**without(IP_ADAPTER, "image_proj."), "image_proj.proj.0.weight": (2, 2)}, "Full Face"),
        (without(IP_ADAPTER, "image_proj.proj"), "lacks 2 tensors of the SD 1.5 one, such as image_proj.proj.bias"),
        (without(IP_ADAPTER, "ip_adapter.31."), "lacks 2 tensors of the SD 1.5 one, such as ip_adapter.31.to_k_ip"),
        ({**IP_ADAPTER, "ip_adapter.5.to_v_ip.weight": (2, 2048)}, "another model (context width 2048, 768)"),
        ({**IP_ADAPTER, "image_proj.proj.weight": (769, 8)}, "has shape [769, 8]; the SD 1.5 one has [3072, any]"),
        ({**IP_ADAPTER, "image_proj.proj.weight": (16 * 768, 8)}, "of 16 tokens; the plain one for SD 1.5 has 4"),
        ({**IP_ADAPTER, "ip_adapter.33.to_k_ip.weight": (2, 768)}, "16.5 cross attentions"),
        (
            without(IP_ADAPTER, "image_proj.norm.bias"),
            "lacks 1 tensors of the SD 1.5 one, such as image_proj.norm.bias",
        ),
        ({**IP_ADAPTER, "image_proj.proj.weight": (768,)}, "has shape [768]; the"),
        (FC, "not an IP-Adapter but a UNet"),
    ],
)
def test_other_ip_adapters_are_named(shapes: Shapes, words: str):
    ok, what = message("ip_adapter", shapes)
    assert not ok and words in what


@small
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({**CLIP_VISION, "visual_projection.weight": (7, 768)}, "of width 7, the IP-Adapter takes 8"),
        (without(CLIP_VISION, "visual_projection"), "without projection"),
        (without(CLIP_VISION, "vision_model"), "not a CLIP vision model"),
        ({"visual.conv1.weight": (2, 3, 14, 14)}, "OpenCLIP"),
    ],
)
def test_other_image_encoders_are_named(shapes: Shapes, words: str):
    ok, what = message("clip_vision", shapes, IP_ADAPTER)
    assert not ok and words in what


CONTROL_KEYS = "input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"


@small
@pytest.mark.parametrize(
    ("shapes", "words"),
    [
        ({name: (32, 1024) if name == CONTROL_KEYS else shape for name, shape in CONTROL_NET.items()}, "Diffusion 2;"),
        ({**CONTROL_NET, "input_hint_block.0.weight": (16, 4, 3, 3)}, "4 latent and 4 image channels; 4 and 3"),
        ({**CONTROL_NET, "input_blocks.0.0.weight": (32, 9, 3, 3)}, "9 latent and 3 image channels"),
        ({**CONTROL_NET, "task_embedding": (6, 32)}, "ControlNet Union"),
        (without(CONTROL_NET, "zero_convs.11"), "lacks 2 tensors, such as controlnet_down_blocks.11.bias"),
        (without(CONTROL_NET, "middle_block_out"), "lacks 2 tensors, such as controlnet_mid_block.bias"),
        ({"lora_controlnet": (0,), "input_blocks.0.0.up": (32, 4)}, "Control-LoRA"),
        (FC, "not a ControlNet but a UNet"),
        (IP_ADAPTER, "not a ControlNet but an IP-Adapter"),
    ],
)
def test_other_control_nets_are_named(shapes: Shapes, words: str):
    ok, what = message("control_net", shapes)
    assert not ok and words in what


@small
def test_a_control_net_of_another_unet_is_refused():
    checkpoint = {name: Tensor("F16", shape) for name, shape in CHECKPOINT.items()}
    wide = random_weights.control_net(replace(SIZES, channels=64))
    ok, what = judge(
        "control_net", {one.name: Tensor("F16", one.shape) for one in wide}, Recipe(), {"checkpoint": checkpoint}
    )
    assert not ok and "for a UNet of widths [64, 64, 64, 64]; the checkpoint's has [32, 32, 32, 32]" in what


@small
def test_quantised_weights_are_refused_but_tables_of_positions_are_not():
    assert message("checkpoint", CHECKPOINT, dtype="I8") == (
        False,
        "its weights are of type I8; F16, BF16, F32, F64, F8_E4M3, F8_E5M2 are read",
    )
    assert message("checkpoint", CHECKPOINT, dtype="F8_E4M3")[0]
    tensors = {name: Tensor("F32", shape) for name, shape in CLIP_VISION.items()}
    tensors["vision_model.embeddings.position_ids"] = Tensor("I64", (1, 257))
    assert judge("clip_vision", tensors, Recipe(), {})[0]


def test_files_of_the_real_names_and_shapes_have_the_published_sizes(tmp_path: Path):
    sizes, recipes = random_weights.FULL, {"fc": Recipe(), "fbc": Recipe(wiring="fbc")}
    adapter = random_weights.ip_adapter(sizes)
    for entry, made in (
        ("iclight_sd15_fc.safetensors", random_weights.ic_light(sizes, 8)),
        ("iclight_sd15_fbc.safetensors", random_weights.ic_light(sizes, 12)),
        ("ip-adapter_sd15.safetensors", adapter),
        ("control_v11f1p_sd15_depth_fp16.safetensors", random_weights.control_net(sizes)),
    ):
        published = PUBLISHED[entry]
        prefix = "control_model." if published.role == "control_net" else ""
        path = write(tmp_path / entry, {prefix + tensor.name: tensor.shape for tensor in made})
        # The ControlNet's header is not padded to 8 bytes.
        assert 0 <= path.stat().st_size - (published.size or 0) < (8 if prefix else 1)
        assert judge(published.role, read_header(path), recipes[published.wiring or "fc"], {})[0]
    encoder = {tensor.name: tensor.shape for tensor in random_weights.vision_encoder(sizes)}
    encoder["vision_model.embeddings.position_ids"] = (1, 257)
    path = write(tmp_path / "clip.safetensors", encoder, "F32", {"format": "pt"})
    published = PUBLISHED["CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors"]
    assert path.stat().st_size == published.size
    adapter_header = read_header(tmp_path / "ip-adapter_sd15.safetensors")
    ok, what = judge("clip_vision", read_header(path), Recipe(), {"ip_adapter": adapter_header})
    assert (ok, what) == (True, "CLIP vision, image features of width 1024")
    whole = {tensor.name: tensor.shape for tensor in random_weights.checkpoint(sizes)}
    assert judge("checkpoint", read_header(write(tmp_path / "sd.safetensors", whole, "F32")), Recipe(), {})[0]
