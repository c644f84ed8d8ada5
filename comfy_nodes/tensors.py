"""Converts ComfyUI's tensors to NumPy and back; besides the noise, only this module uses torch."""

import importlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError, PictureError


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


def heads(
    images: Any, originals: Any, mask: Any
) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
    """The tensors at the inputs of ``widgets.heads`` as arrays.

    Raises:
        ConfigError: one of them has another number of dimensions.
    """
    return to_numpy(images, "images", 4), to_numpy(originals, "originals", 4), to_numpy(mask, "mask", 3)


def check_alike(images: NDArray[np.float32], originals: NDArray[np.float32], mask: NDArray[np.float32]) -> None:
    """Checks that images [B, H, W, 3], originals [B, H, W, 3] and a mask [B, H, W] belong together.

    Raises:
        PictureError: their batch, size or channels differ.
    """
    if originals.shape != images.shape or mask.shape != images.shape[:3] or images.shape[3] != 3:
        raise PictureError(
            f"images {list(images.shape)}, originals {list(originals.shape)} and mask {list(mask.shape)} do not "
            "match: all three need the same batch and size, images three channels; nothing may scale or crop in between"
        )
