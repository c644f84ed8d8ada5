"""AcuSim Depth: what a ControlNet for depth sees of the samples."""

from typing import Any, ClassVar

import numpy as np

from acusim.control_hint import control_hint
from acusim.errors import PictureError
from acusim.float_images import from_levels, pad_mask

from . import samples, tensors
from .load import read_head
from .samples import Floats, LoadedSample, Samples
from .widgets import link


class AcuSimDepth:
    """Reads the samples' depth maps as images."""

    CATEGORY = "AcuSim"
    DESCRIPTION = (
        "The samples' depth maps as images for a ControlNet for depth: near is bright, the background black. A sample "
        "without a depth map is an error; python -m synthetic fit makes depth maps from the labels."
    )
    FUNCTION = "read"
    RETURN_TYPES = ("IMAGE",)
    RETURN_NAMES = ("images",)
    OUTPUT_TOOLTIPS: ClassVar[tuple[str, ...]] = ("Inverse depth in grey, padded as the samples' images are.",)

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        """The inputs."""
        return {"required": {"samples": link(samples.TYPE, samples.TOOLTIP)}}

    def read(self, samples: Samples) -> tuple[Any]:
        """[B, H, W, 3] the hints of a batch.

        Raises:
            PictureError: a sample has no depth map, or one that does not fit it; names the sample.
        """
        return (tensors.to_tensor(np.stack([_hint(samples, sample) for sample in samples.samples])),)


def _hint(batch: Samples, sample: LoadedSample) -> Floats:
    """[H, W, 3] the hint of one sample."""
    try:
        levels = control_hint(read_head(batch.root, sample.image, sample.depth)[2])
    except PictureError as error:
        raise PictureError(f"sample {sample.id}: {error}") from None
    padded = pad_mask(from_levels(levels), batch.padded_height, batch.padded_width)
    return np.repeat(padded[..., None], 3, axis=2)
