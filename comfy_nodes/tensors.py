"""Converts ComfyUI's tensors to NumPy and back; besides the noise, only this module uses torch."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError


def to_numpy(tensor: Any, what: str, dimensions: int) -> NDArray[np.float32]:
    """A tensor as float32 array, without a copy where it already is one in main memory.

    Raises:
        ConfigError: it has another number of dimensions.
    """
    if hasattr(tensor, "detach"):
        tensor = tensor.detach().cpu().float().numpy()
    array = np.asarray(tensor, np.float32)
    if array.ndim != dimensions:
        raise ConfigError(f"{what} has the shape {list(array.shape)}; {dimensions} dimensions are required")
    return array


def to_tensor(array: NDArray[np.float32]) -> Any:
    """A float32 array as a tensor that shares its memory."""
    return importlib.import_module("torch").from_numpy(np.ascontiguousarray(array))
