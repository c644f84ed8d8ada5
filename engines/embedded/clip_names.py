"""CLIP's image tower in a file, in transformers' names or OpenCLIP's: finds it, and translates it to transformers'.

A file may hold the text tower as well, and prefix all names.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from torch import Tensor

TOWER = "vision_model."
PATCHES = "embeddings.patch_embedding.weight"
FIRST_BLOCK = "transformer.resblocks.0.attn.in_proj_weight"
BLOCKS = "transformer.resblocks."
PROJECTION = "visual_projection.weight"
OPENCLIP = {
    "class_embedding": "embeddings.class_embedding",
    "conv1.weight": PATCHES,
    "positional_embedding": "embeddings.position_embedding.weight",
    "ln_pre.weight": "pre_layrnorm.weight",
    "ln_pre.bias": "pre_layrnorm.bias",
    "ln_post.weight": "post_layernorm.weight",
    "ln_post.bias": "post_layernorm.bias",
}
"""OpenCLIP's name -> transformers', below the tower."""
OPENCLIP_BLOCK = {"ln_1": "layer_norm1", "ln_2": "layer_norm2", "mlp.c_fc": "mlp.fc1", "mlp.c_proj": "mlp.fc2"}
OPENCLIP_BLOCK["attn.out_proj"] = "self_attn.out_proj"


@dataclass(frozen=True, slots=True)
class Tower:
    """An image tower in a file."""

    names: Literal["transformers", "OpenCLIP"]
    root: str
    """Prefix of the tower's own names."""
    projection: str | None
    """The full name of the projection; OpenCLIP's is transposed."""


def image_towers(names: Iterable[str]) -> list[Tower]:
    """The image towers of vision transformers among the names of a file's tensors."""
    known = set(names)
    found: list[Tower] = []
    for name in sorted(known):
        if name.endswith(PATCHES):
            root = name.removesuffix(PATCHES)
            candidates = (f"{root.removesuffix(TOWER)}{PROJECTION}", f"{root}{PROJECTION}")
            found.append(Tower("transformers", root, next((each for each in candidates if each in known), None)))
        elif name.endswith("conv1.weight") and f"{name.removesuffix('conv1.weight')}{FIRST_BLOCK}" in known:
            root = name.removesuffix("conv1.weight")
            found.append(Tower("OpenCLIP", root, f"{root}proj" if f"{root}proj" in known else None))
    return found


def in_transformers_names(tensors: "Mapping[str, Tensor]", tower: Tower) -> "dict[str, Tensor]":
    """The tower's tensors, and the projection's, in transformers' names; other tensors are left out."""
    own = (name for name in tensors if name.startswith(tower.root) and name != tower.projection)
    below = {name.removeprefix(tower.root): name for name in own}
    if tower.names == "transformers":
        found = {f"{TOWER}{short}": tensors[name] for short, name in below.items()}
    else:
        found = {}
        for short, name in below.items():
            found |= {f"{TOWER}{new}": value for new, value in _from_openclip(short, tensors, name).items()}
    if tower.projection:
        value = tensors[tower.projection]
        found[PROJECTION] = value if tower.names == "transformers" else value.T.contiguous()
    return found


def _from_openclip(short: str, tensors: "Mapping[str, Tensor]", name: str) -> "dict[str, Tensor]":
    """One of OpenCLIP's tensors; the joint layer of queries, keys and values becomes three."""
    if short in OPENCLIP:
        return {OPENCLIP[short]: tensors[name]}
    number, _, rest = short.removeprefix(BLOCKS).partition(".")
    if not short.startswith(BLOCKS) or not number.isdecimal():
        return {}
    layer = f"encoder.layers.{number}"
    if rest in ("attn.in_proj_weight", "attn.in_proj_bias"):
        chunks = zip("qkv", tensors[name].chunk(3), strict=False)
        return {f"{layer}.self_attn.{letter}_proj.{rest.rpartition('_')[2]}": value for letter, value in chunks}
    module, _, kind = rest.rpartition(".")
    return {f"{layer}.{OPENCLIP_BLOCK[module]}.{kind}": tensors[name]} if module in OPENCLIP_BLOCK else {}
