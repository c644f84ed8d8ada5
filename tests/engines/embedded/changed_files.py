"""Model files changed as people's are, in numbers, names, too many tensors or too few; what both must refuse."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from acusim.errors import AcuSimError
from acusim.tensor_files import read_header
from engines.embedded import loading
from engines.embedded.kinds import judge
from engines.recipe import Recipe
from tools import random_weights

Tensors = dict[str, Tensor]
Change = Callable[[Tensors], Mapping[str, Tensor]]
FP8 = torch.float8_e4m3fn
PICTURE = torch.rand(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
MARKER = {"scaled_fp8": torch.empty(2, dtype=FP8)}
EXACT, HALF, BYTE = 1e-6, 5e-3, 0.1
"""How far features may be off, relative: equal numbers; fp16 or bf16; fp8, whose numbers have 3 bits."""


def made(tensors: Any, name: str) -> Tensors:
    """Random numbers for the tensors of a file."""
    return {t.name: torch.from_numpy(random_weights.values(t, 0, name)).float() for t in tensors}


def cast(kind: torch.dtype) -> Change:
    return lambda tensors: {name: value.to(kind) for name, value in tensors.items()}


def added(more: Mapping[str, Tensor]) -> Change:
    return lambda tensors: {**tensors, **more}


def without(part: str) -> Change:
    return lambda tensors: {name: value for name, value in tensors.items() if part not in name}


def renamed(old: str, new: str) -> Change:
    return lambda tensors: {name.replace(old, new): value for name, value in tensors.items()}


def prefixed(prefix: str) -> Change:
    return lambda tensors: {prefix + name: value for name, value in tensors.items()}


def scaled(
    scale: str = "scale_weight", more: Mapping[str, Tensor] | None = None, each: bool = False, shape: Any = ()
) -> Change:
    """Linear layers in fp8 with scales, all else in fp16, as ComfyUI's users get them."""

    def change(tensors: Tensors) -> Tensors:
        found: Tensors = dict(more or {})
        for name, value in tensors.items():
            layer, _, last = name.rpartition(".")
            if last != "weight" or value.ndim != 2 or "embedding" in name:
                found[name] = value.half()
                continue
            largest = value.abs().amax(1, keepdim=True) if each else value.abs().max().reshape(shape)
            found[name] = (value / (largest / 448)).to(FP8)
            found[f"{layer}.{scale}"] = largest / 448
        return found

    return change


def after(*changes: Change) -> Change:
    def change(tensors: Tensors) -> Mapping[str, Tensor]:
        for each in changes:
            tensors = dict(each(tensors))
        return tensors

    return change


def ones(*shape: int, kind: torch.dtype = torch.float32) -> Tensor:
    return torch.ones(shape, dtype=kind)


def saved(path: Path, tensors: Mapping[str, Tensor]) -> Path:
    save_file({name: value.contiguous().clone() for name, value in tensors.items()}, path)
    return path


def apart(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


def both_refuse(role: str, path: Path, load: Callable[[Path], object], others: Mapping[str, Any] | None = None) -> str:
    """The check's message, with which the loader must refuse as well."""
    try:
        ok, what = judge(role, read_header(path), Recipe(), others or {})
    except AcuSimError as error:
        ok, what = False, str(error)
    assert not ok, what
    with pytest.raises(AcuSimError) as caught:
        load(path)
    assert what in str(caught.value)
    return what


def features(path: Path) -> Tensor:
    """What an image encoder makes of a picture."""
    with torch.inference_mode():
        return loading.load_vision_encoder(path, torch.float32)(PICTURE).image_embeds
