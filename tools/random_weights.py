"""Model files of the right shapes filled with random numbers, to test loading and running without downloads.

    python -m tools.random_weights --out MODELS_DIR [--seed 0] [--full] [--only iclight_fc ...]

MODELS_DIR is a ComfyUI ``models`` folder (or any other that is laid out like one). The images these weights make
mean nothing; but ComfyUI loads them as it loads the real ones, so every node, key and shape is exercised. The default
has a UNet that is as wide at the bottom as at the top (channel multipliers 1, 1, 1, 1) and the smaller of the two
CLIP image encoders: 1.8 GB on disk. ``--full`` has the shapes of Stable Diffusion 1.5 and CLIP ViT-H: 8 GB.
Text encoder and VAE have one size only. The same seed gives the same bytes, tensor by tensor, in any order.

Shapes: Stable Diffusion 1.5 (model_channels 320, context 768, 8 heads), CLIP ViT-L/14 text tower, AutoencoderKL f8,
IC-Light's offsets (diffusers names, 8 or 12 input channels), IP-Adapter for SD1.5 with 4 tokens, CLIP ViT-L/H vision,
ControlNet 1.1 (its authors' names).
"""

import argparse
import hashlib
import itertools
import json
import math
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.files import write_atomic

CONTEXT = 768
MADE_BY = "benchmarks.random_weights"
"""In every file's header, and so in the hashes of tests/data/embedded/goldens.json: the name this module had then."""
OFFSET_GAIN = 0.1
"""IC-Light's files hold what is added to the UNet's weights; this keeps the sum close to the UNet."""
CONTROL_GAIN = 0.3
"""ControlNet's results are added to those of the UNet; this keeps the sum close to the UNet."""
SPREAD = 0.1
"""Of biases about 0 and of the scales of norms about 1: were they all equal, a mix-up would go unnoticed."""
LATENT_GAIN = 5.0
"""Of the encoder's last convolution: real latents spread about as much before they are scaled by 0.18215."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What differs between the small and the full set."""

    multipliers: tuple[int, ...]
    """UNet width of each level in units of ``channels``."""
    vision_width: int
    vision_layers: int
    vision_patch: int
    vision_embedding: int
    """Length of the image embedding, which the IP-Adapter takes."""
    channels: int = 320
    """UNet width at the top: 320 is what ComfyUI knows; any multiple of 32 loads here."""
    tokens: int = 49408
    """Tokens of the text encoder; that, its layers and the VAE's width have one size in files that load anywhere."""
    text_layers: int = 12
    vae_width: int = 128

    @property
    def widths(self) -> list[int]:
        """Of the UNet's levels."""
        return [self.channels * multiplier for multiplier in self.multipliers]


SMALL = Sizes((1, 1, 1, 1), vision_width=1024, vision_layers=24, vision_patch=14, vision_embedding=768)
FULL = Sizes((1, 2, 4, 4), vision_width=1280, vision_layers=32, vision_patch=14, vision_embedding=1024)


@dataclass(frozen=True, slots=True)
class Tensor:
    """One entry of a file: normal numbers of a standard deviation about a mean."""

    name: str
    shape: tuple[int, ...]
    std: float
    mean: float = 0.0
    other_name: str = ""
    """The same tensor's name in diffusers' layout (UNet only)."""


Tensors = Iterator[Tensor]


def _layer(name: str, shape: tuple[int, ...], bias: bool = True, gain: float = 1.0, other: str = "") -> Tensors:
    """A linear or convolution layer, weights [out, in, ...] of standard deviation gain / sqrt(fan in)."""
    yield Tensor(f"{name}.weight", shape, gain / math.sqrt(math.prod(shape[1:])), other_name=f"{other}.weight")
    if bias:
        yield Tensor(f"{name}.bias", shape[:1], SPREAD, other_name=f"{other}.bias")


def _norm(name: str, width: int, other: str = "") -> Tensors:
    yield Tensor(f"{name}.weight", (width,), SPREAD, 1.0, f"{other}.weight")
    yield Tensor(f"{name}.bias", (width,), SPREAD, 0.0, f"{other}.bias")


def _unet_resnet(name: str, other: str, before: int, after: int, embedding: int) -> Tensors:
    yield from _norm(f"{name}.in_layers.0", before, f"{other}.norm1")
    yield from _layer(f"{name}.in_layers.2", (after, before, 3, 3), other=f"{other}.conv1")
    yield from _layer(f"{name}.emb_layers.1", (after, embedding), other=f"{other}.time_emb_proj")
    yield from _norm(f"{name}.out_layers.0", after, f"{other}.norm2")
    yield from _layer(f"{name}.out_layers.3", (after, after, 3, 3), other=f"{other}.conv2")
    if before != after:
        yield from _layer(f"{name}.skip_connection", (after, before, 1, 1), other=f"{other}.conv_shortcut")


def _unet_transformer(name: str, other: str, width: int) -> Tensors:
    yield from _norm(f"{name}.norm", width, f"{other}.norm")
    yield from _layer(f"{name}.proj_in", (width, width, 1, 1), other=f"{other}.proj_in")
    name_block, other_block = f"{name}.transformer_blocks.0", f"{other}.transformer_blocks.0"
    for attention, keys in (("attn1", width), ("attn2", CONTEXT)):
        for part, source in (("to_q", width), ("to_k", keys), ("to_v", keys)):
            path = f"{attention}.{part}"
            yield from _layer(f"{name_block}.{path}", (width, source), bias=False, other=f"{other_block}.{path}")
        path = f"{attention}.to_out.0"
        yield from _layer(f"{name_block}.{path}", (width, width), other=f"{other_block}.{path}")
    for path, shape in (("ff.net.0.proj", (8 * width, width)), ("ff.net.2", (width, 4 * width))):
        yield from _layer(f"{name_block}.{path}", shape, other=f"{other_block}.{path}")
    for path in ("norm1", "norm2", "norm3"):
        yield from _norm(f"{name_block}.{path}", width, f"{other_block}.{path}")
    yield from _layer(f"{name}.proj_out", (width, width, 1, 1), other=f"{other}.proj_out")


def _unet_down(sizes: Sizes, in_channels: int) -> Generator[Tensor, None, list[int]]:
    """Its time embedding, 12 input blocks and middle; returns the widths of the 12 skip connections."""
    channels, widths, embedding = sizes.channels, sizes.widths, 4 * sizes.channels
    yield from _layer("time_embed.0", (embedding, channels), other="time_embedding.linear_1")
    yield from _layer("time_embed.2", (embedding, embedding), other="time_embedding.linear_2")
    yield from _layer("input_blocks.0.0", (channels, in_channels, 3, 3), other="conv_in")
    width, block, skips = channels, 1, [channels]
    for level, after in enumerate(widths):
        for index in range(2):
            yield from _unet_resnet(
                f"input_blocks.{block}.0", f"down_blocks.{level}.resnets.{index}", width, after, embedding
            )
            if level < 3:
                other = f"down_blocks.{level}.attentions.{index}"
                yield from _unet_transformer(f"input_blocks.{block}.1", other, after)
            width, block = after, block + 1
            skips.append(width)
        if level < 3:
            other = f"down_blocks.{level}.downsamplers.0.conv"
            yield from _layer(f"input_blocks.{block}.0.op", (width, width, 3, 3), other=other)
            block, skips = block + 1, [*skips, width]
    yield from _unet_resnet("middle_block.0", "mid_block.resnets.0", width, width, embedding)
    yield from _unet_transformer("middle_block.1", "mid_block.attentions.0", width)
    yield from _unet_resnet("middle_block.2", "mid_block.resnets.1", width, width, embedding)
    return skips


def unet(sizes: Sizes, in_channels: int = 4) -> Tensors:
    """The UNet of SD1.5: 12 input blocks, a middle, 12 output blocks; attention on all levels but the lowest."""
    channels, widths, embedding = sizes.channels, sizes.widths, 4 * sizes.channels
    skips = yield from _unet_down(sizes, in_channels)
    width = widths[-1]
    for rank, after in enumerate(reversed(widths)):
        for index in range(3):
            block = 3 * rank + index
            before = width + skips.pop()
            yield from _unet_resnet(
                f"output_blocks.{block}.0", f"up_blocks.{rank}.resnets.{index}", before, after, embedding
            )
            if rank > 0:
                yield from _unet_transformer(f"output_blocks.{block}.1", f"up_blocks.{rank}.attentions.{index}", after)
            width = after
        if rank < 3:
            part = 1 if rank == 0 else 2
            other = f"up_blocks.{rank}.upsamplers.0.conv"
            yield from _layer(f"output_blocks.{3 * rank + 2}.{part}.conv", (width, width, 3, 3), other=other)
    yield from _norm("out.0", channels, "conv_norm_out")
    yield from _layer("out.2", (4, channels, 3, 3), other="conv_out")


def _encoder_layers(prefix: str, layers: int, width: int) -> Tensors:
    for layer in range(layers):
        name = f"{prefix}.layers.{layer}"
        for part in ("q_proj", "k_proj", "v_proj", "out_proj"):
            yield from _layer(f"{name}.self_attn.{part}", (width, width))
        yield from _norm(f"{name}.layer_norm1", width)
        yield from _layer(f"{name}.mlp.fc1", (4 * width, width))
        yield from _layer(f"{name}.mlp.fc2", (width, 4 * width))
        yield from _norm(f"{name}.layer_norm2", width)


def text_encoder(sizes: Sizes) -> Tensors:
    """CLIP ViT-L/14's text tower: 12 layers of 768, 49408 tokens, 77 places."""
    yield from _layer("embeddings.token_embedding", (sizes.tokens, CONTEXT), bias=False)
    yield from _layer("embeddings.position_embedding", (77, CONTEXT), bias=False)
    yield from _encoder_layers("encoder", sizes.text_layers, CONTEXT)
    yield from _norm("final_layer_norm", CONTEXT)


def vision_encoder(sizes: Sizes) -> Tensors:
    """CLIP's image tower with its projection, for 224 x 224 images."""
    width = sizes.vision_width
    places = (224 // sizes.vision_patch) ** 2 + 1
    root = "vision_model"
    yield Tensor(f"{root}.embeddings.class_embedding", (width,), 1 / math.sqrt(width))
    patch = (width, 3, sizes.vision_patch, sizes.vision_patch)
    yield from _layer(f"{root}.embeddings.patch_embedding", patch, bias=False)
    yield from _layer(f"{root}.embeddings.position_embedding", (places, width), bias=False)
    yield from _norm(f"{root}.pre_layrnorm", width)
    yield from _encoder_layers(f"{root}.encoder", sizes.vision_layers, width)
    yield from _norm(f"{root}.post_layernorm", width)
    yield from _layer("visual_projection", (sizes.vision_embedding, width), bias=False)


def _vae_resnet(name: str, before: int, after: int) -> Tensors:
    yield from _norm(f"{name}.norm1", before)
    yield from _layer(f"{name}.conv1", (after, before, 3, 3))
    yield from _norm(f"{name}.norm2", after)
    yield from _layer(f"{name}.conv2", (after, after, 3, 3))
    if before != after:
        yield from _layer(f"{name}.nin_shortcut", (after, before, 1, 1))


def _vae_middle(name: str, width: int) -> Tensors:
    yield from _vae_resnet(f"{name}.block_1", width, width)
    yield from _norm(f"{name}.attn_1.norm", width)
    for part in ("q", "k", "v", "proj_out"):
        yield from _layer(f"{name}.attn_1.{part}", (width, width, 1, 1))
    yield from _vae_resnet(f"{name}.block_2", width, width)


def vae(sizes: Sizes) -> Tensors:
    """The autoencoder: 3 channels, down by 8, 4 latent channels; ComfyUI builds it 128 wide whatever the file says."""
    widths = [multiplier * sizes.vae_width for multiplier in (1, 2, 4, 4)]
    width = widths[0]
    yield from _layer("encoder.conv_in", (width, 3, 3, 3))
    for level, after in enumerate(widths):
        for index in range(2):
            yield from _vae_resnet(f"encoder.down.{level}.block.{index}", width, after)
            width = after
        if level < 3:
            yield from _layer(f"encoder.down.{level}.downsample.conv", (width, width, 3, 3))
    yield from _vae_middle("encoder.mid", width)
    yield from _norm("encoder.norm_out", width)
    yield from _layer("encoder.conv_out", (8, width, 3, 3), gain=LATENT_GAIN)
    yield from _layer("quant_conv", (8, 8, 1, 1))
    yield from _layer("post_quant_conv", (4, 4, 1, 1))
    yield from _layer("decoder.conv_in", (width, 4, 3, 3))
    yield from _vae_middle("decoder.mid", width)
    for level in (3, 2, 1, 0):
        for index in range(3):
            yield from _vae_resnet(f"decoder.up.{level}.block.{index}", width, widths[level])
            width = widths[level]
        if level > 0:
            yield from _layer(f"decoder.up.{level}.upsample.conv", (width, width, 3, 3))
    yield from _norm("decoder.norm_out", width)
    yield from _layer("decoder.conv_out", (3, width, 3, 3))


def checkpoint(sizes: Sizes) -> Tensors:
    """A single-file Stable Diffusion 1.5: UNet, text encoder and VAE under their usual prefixes."""
    for prefix, part in (
        ("model.diffusion_model", unet(sizes)),
        ("cond_stage_model.transformer.text_model", text_encoder(sizes)),
        ("first_stage_model", vae(sizes)),
    ):
        for tensor in part:
            yield Tensor(f"{prefix}.{tensor.name}", tensor.shape, tensor.std, tensor.mean)


def ic_light(sizes: Sizes, in_channels: int) -> Tensors:
    """Offsets for every number of the UNet, in diffusers' names."""
    for tensor in unet(sizes, in_channels):
        yield Tensor(tensor.other_name, tensor.shape, OFFSET_GAIN * tensor.std)


def ip_adapter(sizes: Sizes) -> Tensors:
    """Projection to 4 tokens, and key and value layers of the cross attentions, numbered 1, 3, .. 31.

    Their order is diffusers': the 6 of the way down, the 9 of the way up, the one in the middle.
    """
    yield from _layer("image_proj.proj", (4 * CONTEXT, sizes.vision_embedding))
    yield from _norm("image_proj.norm", CONTEXT)
    down, up = sizes.multipliers[:3], sizes.multipliers[2::-1]
    order = [m for m in down for _ in range(2)] + [m for m in up for _ in range(3)] + [sizes.multipliers[-1]]
    for index, multiplier in enumerate(order):
        for part in ("to_k_ip", "to_v_ip"):
            yield from _layer(f"ip_adapter.{2 * index + 1}.{part}", (multiplier * sizes.channels, CONTEXT), bias=False)


def control_net(sizes: Sizes) -> Tensors:
    """The half of a UNet that sees an image, with a 1 x 1 convolution for each of its 13 results."""
    widths = yield from _unet_down(sizes, 4)
    sides = (3, 16, 16, 32, 32, 96, 96, 256, sizes.channels)
    for number, (before, after) in enumerate(itertools.pairwise(sides)):
        yield from _layer(f"input_hint_block.{2 * number}", (after, before, 3, 3))
    for number, width in enumerate(widths):
        yield from _layer(f"zero_convs.{number}.0", (width, width, 1, 1), gain=CONTROL_GAIN)
    yield from _layer("middle_block_out.0", (widths[-1], widths[-1], 1, 1), gain=CONTROL_GAIN)


FILES: dict[str, tuple[str, Callable[[Sizes], Tensors]]] = {
    "checkpoint": ("checkpoints/sd15_random.safetensors", checkpoint),
    "iclight_fc": ("unet/iclight_sd15_fc_random.safetensors", lambda sizes: ic_light(sizes, 8)),
    "iclight_fbc": ("unet/iclight_sd15_fbc_random.safetensors", lambda sizes: ic_light(sizes, 12)),
    "ip_adapter": ("ipadapter/ip-adapter_sd15_random.safetensors", ip_adapter),
    "clip_vision": ("clip_vision/clip_vision_random.safetensors", vision_encoder),
    "control_net": ("controlnet/control_random.safetensors", control_net),
}
"""File below the models folder and its contents, by the name that --only takes."""


def values(tensor: Tensor, seed: int, file: str) -> NDArray[np.float16]:
    """The tensor's numbers, which depend on the seed, the file's and the tensor's name alone."""
    digest = hashlib.sha256(f"{seed}/{file}/{tensor.name}".encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:16])))
    numbers = generator.standard_normal(tensor.shape, np.float32)
    numbers *= tensor.std
    numbers += tensor.mean
    return numbers.astype(np.float16)


def write_weights(path: Path, tensors: list[Tensor], seed: int) -> int:
    """Writes a safetensors file atomically.

    Layout (https://github.com/huggingface/safetensors): length of the header as 8 bytes, little endian; the header as
    JSON; the tensors' bytes one after the other.

    Returns:
        The file's size in bytes.
    """
    header: dict[str, dict[str, object]] = {"__metadata__": {"made_by": MADE_BY, "seed": str(seed)}}
    start = 0
    for tensor in tensors:
        end = start + 2 * math.prod(tensor.shape)
        header[tensor.name] = {"dtype": "F16", "shape": list(tensor.shape), "data_offsets": [start, end]}
        start = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    numbers = (values(tensor, seed, path.name).astype("<f2", copy=False).tobytes() for tensor in tensors)
    write_atomic(path, itertools.chain([len(text).to_bytes(8, "little") + text], numbers))
    return path.stat().st_size


def main(arguments: list[str] | None = None) -> int:
    """Entry point; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, required=True, metavar="MODELS_DIR", help="ComfyUI's models folder")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same bytes (default 0)")
    parser.add_argument("--full", action="store_true", help="real widths: 8 GB instead of 1.8 GB")
    parser.add_argument("--only", nargs="+", choices=list(FILES), default=list(FILES), help="which files (default all)")
    options = parser.parse_args(arguments)
    sizes = FULL if options.full else SMALL
    for name in options.only:
        file, contents = FILES[name]
        began = time.perf_counter()
        size = write_weights(options.out / file, list(contents(sizes)), options.seed)
        print(f"{file}  {size / 1e6:.0f} MB  {time.perf_counter() - began:.1f} s", flush=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
