"""Model files of the right names and shapes, with nothing in them."""

import json
import math
from collections.abc import Mapping
from pathlib import Path

BYTES = {"F16": 2, "BF16": 2, "F32": 4, "I8": 1, "I64": 8, "F8_E4M3": 1}
Shapes = Mapping[str, tuple[int, ...]]

UNET = "model.diffusion_model."
CHECKPOINT: Shapes = {
    f"{UNET}input_blocks.0.0.weight": (2, 4, 1, 1),
    f"{UNET}input_blocks.1.1.transformer_blocks.0.attn2.to_k.weight": (2, 768),
    "first_stage_model.encoder.conv_in.weight": (2, 3, 1, 1),
    "first_stage_model.decoder.conv_in.weight": (2, 4, 1, 1),
    "cond_stage_model.transformer.text_model.embeddings.token_embedding.weight": (2, 768),
}
FC: Shapes = {
    "conv_in.weight": (2, 8, 1, 1),
    "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.weight": (2, 768),
}
FBC: Shapes = {**FC, "conv_in.weight": (2, 12, 1, 1)}
IP_ADAPTER: Shapes = {
    "image_proj.proj.weight": (4 * 768, 8),
    "image_proj.norm.weight": (768,),
    **{f"ip_adapter.{n}.{part}_ip.weight": (1, 768) for n in range(1, 32, 2) for part in ("to_k", "to_v")},
}
CLIP_VISION: Shapes = {
    "vision_model.embeddings.patch_embedding.weight": (2, 3, 1, 1),
    "visual_projection.weight": (8, 2),
}
PLACES = {
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
