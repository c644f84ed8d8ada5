"""Weights and pictures by a formula, the same on every machine, what golden files hold of networks, and how exactly.

A tensor depends on its name and shape alone. Large ones repeat a block whose length is prime, so that filling them
takes no time and yet no two rows are equal.
"""

import copy
import hashlib
import math
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from acusim.seeds import generator_of
from tests.support import rounding

M = TypeVar("M", bound=nn.Module)

BLOCK = 65_521
"""Numbers that are drawn for one tensor; prime."""
PICTURES = (2, 3, 70, 97)
"""Small, not square, and of sizes that no stride divides."""
HAND_PICTURES = (2, 3, 64, 96)
"""Pose networks need multiples of 32."""


def _uniform(text: str, shape: tuple[int, ...], low: float, high: float) -> Tensor:
    count = math.prod(shape)
    drawn = torch.from_numpy(generator_of(text).random(min(count, BLOCK), np.float32))
    if count > BLOCK:
        drawn = drawn.repeat(-(-count // BLOCK))[:count]
    return drawn.mul_(high - low).add_(low).view(shape)


def seeded_tensor(name: str, like: Tensor) -> Tensor:
    """The tensor of that name: activations keep their size through the layers, and every branch counts."""
    shape = tuple(like.shape)
    if not like.is_floating_point():
        return torch.full(shape, 7, dtype=like.dtype)
    kind = name.rpartition(".")[2]
    if kind == "layer_scale":
        return _uniform(name, shape, 0.1, 0.5)
    if kind == "running_var" or (kind == "weight" and like.ndim == 1):
        return _uniform(name, shape, 0.5, 1.5)
    if like.ndim == 1:
        return _uniform(name, shape, -0.1, 0.1)
    bound = (6 / math.prod(shape[1:])) ** 0.5  # variance 2 / fan-in, as He et al. have it
    return _uniform(name, shape, -bound, bound)


def seeded_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights for a state dict, which may lie on device "meta"."""
    return {name: seeded_tensor(name, like) for name, like in state.items()}


def seeded_pictures(shape: tuple[int, ...] = PICTURES) -> Tensor:
    """Pictures [B, 3, H, W] float32 between -2 and 2."""
    return _uniform("pictures", shape, -2, 2)


def seeded_maps() -> Tensor:
    """Maps [3, 20, 9, 12] float32 between 0 and 1, with peaks anywhere, at edges and in corners too."""
    return _uniform("maps", (3, 20, 9, 12), 0, 1)


def summary(values: Tensor, count: int = 24) -> dict[str, object]:
    """What a golden file holds of a tensor: shape, mean, standard deviation, and some of its values."""
    flat = values.detach().double().flatten()
    places = torch.linspace(0, len(flat) - 1, min(count, len(flat))).round().long()
    return {
        "shape": list(values.shape),
        "mean": flat.mean().item(),
        "std": flat.std().item(),
        "values": [round(value, 9) for value in flat[places].tolist()],
    }


DISTURBANCE = 1e-5
"""Far above the rounding of float32, far below what a network does not answer in proportion."""


def network_rounding(model: M, run: Callable[[M], Tensor]) -> float:
    """How far apart a network's outputs on two machines may be, as a share of the outputs' spread: support.rounding.

    Its sums are those of its convolutions and linear layers. The gain is measured: each of them gets a normal error of
    DISTURBANCE times what rounding gives it, and the answer is compared with that of as many independent errors alone.
    In evaluation mode it is about one; a batch norm of few values divides errors by a spread that may be small.

    Args:
        model: stays as it is.
        run: model -> what is compared.
    """
    sums: list[int] = []
    generator = torch.Generator().manual_seed(0)

    def disturb(layer: nn.Module, _: object, out: Tensor) -> Tensor:
        terms = math.prod(layer.get_parameter("weight").shape[1:])
        sums.append(terms)
        error = DISTURBANCE * math.sqrt(terms) * out.square().mean().sqrt()
        return out + error * torch.randn(out.shape, generator=generator)

    expected = run(copy.deepcopy(model)).double()
    disturbed = copy.deepcopy(model)
    for layer in disturbed.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            layer.register_forward_hook(disturb)
    apart = (run(disturbed).double() - expected).square().mean().sqrt()
    return rounding(sums, float(apart / expected.std()) / (DISTURBANCE * math.sqrt(sum(sums))))


def keys_sha256(state: Mapping[str, Tensor]) -> str:
    """SHA-256 of the lines "name dtype shape", in order."""
    lines = (f"{name} {value.dtype} {tuple(value.shape)}\n" for name, value in state.items())
    return hashlib.sha256("".join(lines).encode()).hexdigest()
