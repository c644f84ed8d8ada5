"""ACUSIM_SAMPLES: the data that accompany the images from Load Samples to Save Samples; removal of padding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LayoutError
from acusim.float_images import padded
from acusim.sample_id import SampleId

TYPE = "ACUSIM_SAMPLES"
TOOLTIP = "The samples of the images: from AcuSim Load Samples."

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LoadedSample:
    """One sample of a batch. Paths are relative to the dataset root, with forward slashes."""

    id: SampleId
    image: str
    label: str | None
    """None where the dataset has no label for it."""
    depth: str | None
    source_sha256: str
    """Of the image file's bytes."""
    foreground: str
    """How the mask was found: depth-mm16, depth-rel8, alpha or silhouette."""
    doubts: tuple[str, ...] = ()
    """Why the mask may be wrong."""
    unused_depth: str | None = None
    """Why an existing depth map is not used."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch of samples of one dataset and one size."""

    root: Path
    """Of the dataset; absolute, links followed."""
    samples: tuple[LoadedSample, ...]
    height: int
    """True size in pixels, as in the files."""
    width: int

    @property
    def padded_height(self) -> int:
        """Height of the images in the graph."""
        return padded(self.height)

    @property
    def padded_width(self) -> int:
        """Width of the images in the graph."""
        return padded(self.width)

    @property
    def size(self) -> int:
        """The nominal size in the image folder's name: 512 of img_512."""
        return int(self.samples[0].image.split("/")[2].removeprefix("img_"))


def without_padding(pictures: Floats, samples: Samples) -> Floats:
    """[B, h, w, 3] images of a batch at their true size, a view.

    Args:
        pictures: [B, H, W, 3] with the padding of Load Samples.
        samples: their samples, from Load Samples.

    Raises:
        LayoutError: their number, size or channels differ: scaled or cropped images would make the labels false.
    """
    wanted = (len(samples.samples), samples.padded_height, samples.padded_width, 3)
    if pictures.shape != wanted:
        raise LayoutError(
            f"images have the shape {list(pictures.shape)} (batch, height, width, channels), but the samples need "
            f"{list(wanted)}: nothing between Load Samples and here may drop, scale, crop or pad images"
        )
    return pictures[:, : samples.height, : samples.width]
