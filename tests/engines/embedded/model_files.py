"""Model files of the right names and shapes, with nothing in them."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from engines.embedded import module_specs
from tools import random_weights

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1, "I64": 8, "F8_E4M3": 1}
Shapes = Mapping[str, tuple[int, ...]]

UNET = "model.diffusion_model."
SIZES = replace(
    random_weights.SMALL,
    channels=32,
    vision_width=768,
    vision_layers=1,
    vision_patch=56,
    vision_embedding=8,
    tokens=9,
    text_layers=1,
    vae_width=32,
)
"""As small as can be; text encoder and VAE are smaller than any that loads without ``small_sizes``."""
SIZES_FOR_TEXTS = replace(SIZES, tokens=random_weights.SMALL.tokens)
"""As SIZES, with CLIP's whole vocabulary: the models run."""


def small_sizes(sizes: random_weights.Sizes = SIZES) -> dict[str, object]:
    """What to set in module_specs, where the sizes of text encoder and VAE are fixed, so that small files load."""
    return {
        "TEXT_SIZES": {"vocab_size": sizes.tokens, "num_hidden_layers": sizes.text_layers},
        "VAE_WIDTHS": tuple(n * sizes.vae_width for n in (1, 2, 4, 4)),
    }


@contextmanager
def small_modules(sizes: random_weights.Sizes = SIZES) -> Iterator[None]:
    """Text encoder and VAE are as small as in the files of model_files, so that these load."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in small_sizes(sizes).items():
            patch.setattr(module_specs, name, value)
        yield


def shapes(tensors: Iterable[random_weights.Tensor]) -> dict[str, tuple[int, ...]]:
    """Their shapes by name."""
    return {tensor.name: tensor.shape for tensor in tensors}


CHECKPOINT = shapes(random_weights.checkpoint(SIZES))
FC, FBC = (shapes(random_weights.ic_light(SIZES, channels)) for channels in (8, 12))
IP_ADAPTER = shapes(random_weights.ip_adapter(SIZES))
CLIP_VISION = shapes(random_weights.vision_encoder(SIZES))
CONTROL_NET = shapes(random_weights.control_net(SIZES))
PLACES: dict[str, tuple[str, str, Shapes]] = {
    "checkpoint": ("checkpoints", "v1-5-pruned-emaonly.safetensors", CHECKPOINT),
    "ic_light": ("unet", "iclight_sd15_fc.safetensors", FC),
    "ip_adapter": ("ipadapter", "ip-adapter_sd15.safetensors", IP_ADAPTER),
    "clip_vision": ("clip_vision", "CLIP-ViT-H-14-laion2B-s32B-b79K.safetensors", CLIP_VISION),
}
"""Role -> folder, name and contents of the default recipe's files."""


def write(path: Path, shapes: Shapes, dtype: str = "F16", metadata: Mapping[str, str] | None = None) -> Path:
    """A whole safetensors file, all zeros, that takes no room on the disk; tables of positions are whole numbers."""
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    end = 0
    for name, shape in sorted(shapes.items(), key=lambda item: (not item[0].endswith("position_ids"), item[0])):
        kind = "I64" if name.endswith("position_ids") else dtype
        start, end = end, end + BYTES[kind] * math.prod(shape)
        header[name] = {"dtype": kind, "shape": list(shape), "data_offsets": [start, end]}
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as stream:
        stream.write(len(text).to_bytes(8, "little") + text)
        stream.truncate(8 + len(text) + end)
    return path


def write_all(root: Path) -> dict[str, Path]:
    """The default recipe's files, laid out as ComfyUI's models; by role."""
    return {role: write(root / folder / name, shapes) for role, (folder, name, shapes) in PLACES.items()}
