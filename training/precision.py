"""Where a network's mixed precision ends."""

import contextlib

import torch
from torch import Tensor


def full_precision(like: Tensor) -> contextlib.AbstractContextManager[object]:
    """Within it, nothing on a tensor's device is done in half precision.

    bf16 has 8 bits: a coordinate in 0..1 has steps of 1/256 of the picture, and a heatmap's peak equal neighbours.
    """
    return contextlib.nullcontext() if like.is_meta else torch.autocast(like.device.type, enabled=False)
