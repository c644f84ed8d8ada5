"""Contexts of mixed and of full precision."""

import contextlib

import torch
from torch import Tensor

from training.settings import Precision

DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def mixed_precision(device: torch.device, precision: Precision) -> contextlib.AbstractContextManager[object]:
    """Within it, a device uses a precision for all operations that are safe in it."""
    return torch.autocast(device.type, DTYPES[precision], enabled=precision != "fp32")


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Within it, nothing on a tensor's device is computed in half precision.

    bf16 has 8 bits: a coordinate in 0..1 has steps of 1/256 of the picture, and a heatmap's peak equal neighbours.
    """
    return contextlib.nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)
