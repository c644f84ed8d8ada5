"""What the check of model files accepts, the loader loads, as the numbers that are meant; what one refuses, both do.

The files are what people have: halves, bytes with scales, whole CLIPs, other names, further tensors, missing ones.
"""

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from acusim.errors import AcuSimError
from acusim.tensor_files import read_header
from engines.embedded import loading
from engines.embedded.image_prompt import ImagePrompt
from engines.embedded.kinds import judge
from engines.recipe import Recipe
from tests.engines.embedded.changed_files import (
    BYTE,
    EXACT,
    FP8,
    HALF,
    MARKER,
    Change,
    Tensors,
    added,
    apart,
    both_refuse,
    cast,
    features,
    made,
    ones,
    renamed,
    saved,
    scaled,
    without,
)
from tests.engines.embedded.model_files import SIZES
from tools import random_weights

pytestmark = pytest.mark.usefixtures("small_parts")
CPU = torch.device("cpu")
UNET, VAE, TEXT = "model.diffusion_model.", "first_stage_model.", "cond_stage_model.transformer."


CHECKPOINT = made(random_weights.checkpoint(SIZES), "checkpoint")
IC_LIGHT = {channels: made(random_weights.ic_light(SIZES, channels), "ic_light") for channels in (8, 12)}
ADAPTER = made(random_weights.ip_adapter(SIZES), "ip_adapter")
VISION = made(random_weights.vision_encoder(SIZES), "vision")


def numbers(load: Callable[[], Any]) -> Tensors:
    return {name: value.float() for name, value in load().state_dict().items()}


def models(checkpoint: Path, ic_light: Path | None = None) -> Tensors:
    """All numbers that come out of a checkpoint."""
    found = numbers(lambda: loading.load_unet(checkpoint, ic_light, torch.float32))
    found |= numbers(lambda: loading.load_vae(checkpoint, torch.float32))
    return found | numbers(lambda: loading.load_text_encoder(checkpoint, torch.float32))


def furthest(found: Tensors, wanted: Tensors) -> float:
    assert found.keys() == wanted.keys()
    return max(apart(found[name], wanted[name]) for name in wanted)


EMA = {f"model_ema.diffusion_model{n}": ones(3) for n in range(120)}
LOSS = {
    f"{VAE}loss.discriminator.main.3.weight": ones(4),
    f"{VAE}loss.discriminator.main.3.num_batches_tracked": torch.tensor(7),
    f"{VAE}loss.logvar": ones(),
}
CHECKPOINTS: dict[str, tuple[Change, float]] = {
    "fp16": (cast(torch.float16), EXACT),
    "bf16": (cast(torch.bfloat16), HALF),
    "fp64": (cast(torch.float64), EXACT),
    "plain fp8": (cast(FP8), BYTE),
    "fp8, wider range": (cast(torch.float8_e5m2), 2 * BYTE),
    "scaled fp8": (scaled(more=MARKER), BYTE),
    "scaled fp8, newer names": (scaled("weight_scale", each=True), BYTE),
    "moving averages": (added({**EMA, "model_ema.num_updates": torch.tensor(7)}), EXACT),
    "what trained the VAE": (added(LOSS), EXACT),
    "tables of positions": (
        added({f"{TEXT}text_model.embeddings.position_ids": torch.arange(77)[None], "global_step": torch.tensor(7)}),
        EXACT,
    ),
    "older names of the text encoder": (renamed(f"{TEXT}text_model.", TEXT), EXACT),
    "VAE attention as linear layers": (
        lambda tensors: {n: v[:, :, 0, 0] if ".mid.attn_1." in n and v.ndim == 4 else v for n, v in tensors.items()},
        EXACT,
    ),
}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return saved(tmp_path_factory.mktemp("checkpoint") / "base.safetensors", CHECKPOINT)


@pytest.fixture(scope="module")
def wanted_models(small_parts: None, checkpoint: Path) -> Tensors:
    return models(checkpoint)


@pytest.fixture(scope="module")
def wanted_unets(small_parts: None, checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Tensors]:
    """By input channels of IC-Light."""
    folder = tmp_path_factory.mktemp("ic_light")
    files = {channels: saved(folder / f"{channels}.safetensors", file) for channels, file in IC_LIGHT.items()}
    return {
        n: numbers(lambda file=file: loading.load_unet(checkpoint, file, torch.float32)) for n, file in files.items()
    }


@pytest.mark.parametrize("name", CHECKPOINTS)
def test_checkpoints_that_are_accepted_give_the_same_models(tmp_path: Path, wanted_models: Tensors, name: str):
    change, allowed = CHECKPOINTS[name]
    path = saved(tmp_path / "x.safetensors", change(dict(CHECKPOINT)))
    assert judge("checkpoint", read_header(path), Recipe(), {}) == (True, "SD 1.5, context width 768")
    assert furthest(models(path), wanted_models) <= allowed


TO_K = f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight"
REFUSED_CHECKPOINTS: dict[str, tuple[Change, str]] = {
    "SDXL": (added({TO_K: ones(32, 2048)}), "Stable Diffusion XL"),
    "SD 2": (added({TO_K: ones(32, 1024)}), "Stable Diffusion 2"),
    "inpainting": (added({f"{UNET}input_blocks.0.0.weight": ones(32, 9, 3, 3)}), "an inpainting model"),
    "int8": (cast(torch.int8), "of type I8"),
    "nf4": (
        added({f"{TO_K}.absmax": ones(9), TO_K: ones(9, 1, kind=torch.uint8)}),
        f"quantised (bitsandbytes, 4 bits; it has {TO_K}.absmax)",
    ),
    "GGUF": (added({f"{UNET}gguf_x.weight.qtype": ones()}), "quantised (GGUF"),
    "no VAE encoder": (without(f"{VAE}encoder."), "without its VAE"),
    "cut text encoder": (
        without("final_layer_norm.bias"),
        "its text encoder lacks 1 tensors, such as final_layer_norm",
    ),
    "longer text encoder's tokens": (
        added({f"{TEXT}text_model.embeddings.token_embedding.weight": ones(10, 768)}),
        "token_embedding.weight of shape [10, 768], expected [9, 768]",
    ),
    "other time embedding": (
        added({f"{UNET}time_embed.0.weight": ones(64, 32)}),
        "its UNet has time_embedding.linear_1",
    ),
    "no middle block": (without(f"{UNET}middle_block."), "its UNet lacks"),
    "width no multiple of 32": (
        added({f"{UNET}input_blocks.1.0.in_layers.2.weight": ones(33, 32, 3, 3)}),
        "its UNet is of sizes that cannot be built",
    ),
    "first layer without input": (added({f"{UNET}input_blocks.0.0.weight": ones(32, 4)}), "4 sides are needed"),
    "UNet in int32": (added({f"{UNET}out.2.bias": ones(4, kind=torch.int32)}), "conv_out.bias is of type"),
    "no bias": (without(f"{UNET}input_blocks.3.0.op.bias"), "downsamplers.0.conv.bias"),
}


@pytest.mark.parametrize("name", REFUSED_CHECKPOINTS)
def test_checkpoints_that_are_refused_are_refused_by_both(tmp_path: Path, name: str):
    change, words = REFUSED_CHECKPOINTS[name]
    path = saved(tmp_path / "x.safetensors", change(dict(CHECKPOINT)))
    assert words in both_refuse("checkpoint", path, models)


def test_a_checkpoint_that_lacks_any_tensor_is_refused(checkpoint: Path):
    header = read_header(checkpoint)
    chosen = random.Random(0).sample(sorted(header), 60)
    for name in chosen:
        rest = {other: tensor for other, tensor in header.items() if other != name}
        assert not judge("checkpoint", rest, Recipe(), {})[0], name


IC_LIGHTS: dict[str, tuple[Change, float]] = {
    "fp16": (cast(torch.float16), EXACT),
    "scaled fp8": (scaled(), BYTE),
    "plain fp8": (cast(FP8), BYTE),
    "only some of the offsets": (lambda tensors: dict(list(tensors.items())[:400]), 1.0),
}


@pytest.mark.parametrize(("name", "channels"), [("fp16", 12), *((name, 8) for name in IC_LIGHTS)])
def test_ic_lights_that_are_accepted_give_the_same_unet(
    tmp_path: Path, checkpoint: Path, wanted_unets: dict[int, Tensors], name: str, channels: int
):
    change, allowed = IC_LIGHTS[name]
    path = saved(tmp_path / "x.safetensors", change(dict(IC_LIGHT[channels])))
    recipe = Recipe(wiring="fc" if channels == 8 else "fbc")
    assert judge("ic_light", read_header(path), recipe, {"checkpoint": read_header(checkpoint)})[0]
    found, wanted = loading.load_unet(checkpoint, path, torch.float32), wanted_unets[channels]
    assert found.config["in_channels"] == channels
    assert furthest(numbers(lambda: found), wanted) <= allowed
    plain = CHECKPOINT[f"{UNET}input_blocks.0.0.weight"]
    sums = IC_LIGHT[channels]["conv_in.weight"] + torch.nn.functional.pad(plain, (0, 0, 0, 0, 0, channels - 4))
    torch.testing.assert_close(wanted["conv_in.weight"], sums)


REFUSED_IC_LIGHTS: dict[str, tuple[Change, str]] = {
    "of a wider UNet": (
        lambda tensors: made(random_weights.ic_light(replace(SIZES, channels=64), 8), "x"),
        "not for the checkpoint's UNet: conv_in.",
    ),
    "further tensors": (added({"controlnet.x": ones()}), "it has controlnet.x, which that lacks"),
    "kernels of 1 x 1": (added({"conv_in.weight": ones(32, 8, 1, 1)}), "has shape [32, 8, 1, 1]"),
    "first layer alone has no sides": (added({"conv_in.weight": ones(32, 8)}), "has shape [32, 8], there"),
    "names of ldm": (
        lambda tensors: {f"diffusion_model.{n}": v for n, v in made(random_weights.unet(SIZES, 8), "x").items()},
        "in the names of ldm",
    ),
    "whole numbers": (added({"conv_out.bias": ones(4, kind=torch.int32)}), "conv_out.bias is of type"),
    "int8": (cast(torch.int8), "of type I8"),
}


@pytest.mark.parametrize("name", REFUSED_IC_LIGHTS)
def test_ic_lights_that_are_refused_are_refused_by_both(tmp_path: Path, checkpoint: Path, name: str):
    change, words = REFUSED_IC_LIGHTS[name]
    path = saved(tmp_path / "x.safetensors", change(dict(IC_LIGHT[8])))
    others = {"checkpoint": read_header(checkpoint)}
    message = both_refuse("ic_light", path, lambda path: loading.load_unet(checkpoint, path, torch.float32), others)
    assert words in message


ADAPTERS: dict[str, tuple[Change, float]] = {
    "fp16": (cast(torch.float16), EXACT),
    "bf16": (cast(torch.bfloat16), HALF),
    "scaled fp8": (scaled(more=MARKER), BYTE),
    "plain fp8": (cast(FP8), BYTE),
}


def adapted(path: Path) -> list[Tensor]:
    """What an IP-Adapter makes of an embedding."""
    adapter = ImagePrompt(path, CPU, torch.float32)
    tokens = adapter.tokens(torch.linspace(-1, 1, 8)[None])
    return [tokens, *(value for layer in range(16) for value in adapter.keys_values(layer, tokens))]


@pytest.mark.parametrize("name", ADAPTERS)
def test_ip_adapters_that_are_accepted_give_the_same_tokens(tmp_path: Path, checkpoint: Path, name: str):
    change, allowed = ADAPTERS[name]
    path = saved(tmp_path / "x.safetensors", change(dict(ADAPTER)))
    assert judge("ip_adapter", read_header(path), Recipe(), {"checkpoint": read_header(checkpoint)})[0]
    wanted = adapted(saved(tmp_path / "base.safetensors", ADAPTER))
    assert max(apart(one, other) for one, other in zip(adapted(path), wanted, strict=True)) <= allowed


REFUSED_ADAPTERS: dict[str, tuple[Change, str]] = {
    "Plus": (added({"image_proj.latents": ones(1, 16, 768)}), "Plus"),
    "FaceID": (added({"ip_adapter.0.to_q_lora.down.weight": ones(2, 2)}), "FaceID"),
    "Full Face": (added({"image_proj.proj.0.weight": ones(2, 2)}), "Full Face"),
    "SDXL": (lambda t: {n: ones(32, 2048) if "_ip." in n else v for n, v in t.items()}, "context width 2048"),
    "no bias": (without("proj.bias"), "image_proj.proj.bias"),
    "16 tokens": (added({"image_proj.proj.weight": ones(16 * 768, 8)}), "16 tokens"),
    "other norm": (added({"image_proj.norm.bias": ones(8)}), "image_proj.norm.bias has shape [8]"),
    "int8": (cast(torch.int8), "of type I8"),
    "norm of whole numbers": (
        added({"image_proj.norm.bias": ones(768, kind=torch.int64)}),
        "image_proj.norm.bias is of",
    ),
}


@pytest.mark.parametrize("name", REFUSED_ADAPTERS)
def test_ip_adapters_that_are_refused_are_refused_by_both(tmp_path: Path, name: str):
    change, words = REFUSED_ADAPTERS[name]
    assert words in both_refuse("ip_adapter", saved(tmp_path / "x.safetensors", change(dict(ADAPTER))), adapted)


def test_files_that_do_not_belong_together_are_refused_before_any_is_read(tmp_path: Path, checkpoint: Path):
    from engines.embedded.models import Files, Models, Placement

    wide = saved(tmp_path / "wide.safetensors", made(random_weights.ip_adapter(replace(SIZES, channels=64)), "x"))
    good = saved(tmp_path / "good.safetensors", ADAPTER)
    tower = saved(tmp_path / "tower.safetensors", {**VISION, "visual_projection.weight": ones(9, 768)})
    vision = saved(tmp_path / "vision.safetensors", VISION)
    known = {"checkpoint": read_header(checkpoint)}
    ok, what = judge("ip_adapter", read_header(wide), Recipe(), known)
    assert not ok and "to_k_ip.weight has shape [64, 768]; the SD 1.5 one has [32, 768]" in what
    for adapter, encoder, words in ((wide, vision, what), (good, tower, "of width 9, the IP-Adapter takes 8")):
        with pytest.raises(AcuSimError, match="cannot be used as") as caught:
            Models(Files(checkpoint, None, adapter, encoder), Placement(CPU, "fp32"))
        assert words in str(caught.value)


@pytest.mark.parametrize("role", ["clip_vision", "ip_adapter", "ic_light"])
def test_files_changed_at_random_are_refused_by_both_or_load(tmp_path: Path, checkpoint: Path, role: str):
    whole = {"clip_vision": VISION, "ip_adapter": ADAPTER, "ic_light": IC_LIGHT[8]}[role]
    load: dict[str, Callable[[Path], object]] = {
        "clip_vision": features,
        "ip_adapter": adapted,
        "ic_light": lambda path: loading.load_unet(checkpoint, path, torch.float32),
    }
    chance, known = random.Random(role), {"checkpoint": read_header(checkpoint)}
    kinds = [torch.int8, torch.int64, torch.bool, FP8, torch.float64, torch.bfloat16]
    for number in range(10 if role == "ic_light" else 25):
        tensors = dict(whole)
        for name in chance.sample(sorted(tensors), chance.choice([1, 2])):
            value = tensors.pop(name)
            match chance.randrange(5):
                case 0:
                    tensors[f"{chance.choice(['x.', 'model.'])}{name}"] = value
                case 1:
                    tensors[name] = value.flatten()[: chance.choice([0, 1, 7])]
                case 2:
                    tensors[name] = value.to(chance.choice(kinds))
                case 3:
                    tensors[name] = value[None]
                case _:
                    pass  # it is missing
        path = saved(tmp_path / f"{number}.safetensors", tensors)
        ok, what = judge(role, read_header(path), Recipe(), known)
        if ok:
            load[role](path)
        else:
            with pytest.raises(AcuSimError):
                load[role](path)
            assert what
        path.unlink()
