"""ACUSIM_SAMPLES: what travels from Load Samples to Save Samples beside the pictures; padding and its undoing."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LayoutError
from acusim.sample_id import SampleId
from acusim.unit import padded

TYPE = "ACUSIM_SAMPLES"
TOOLTIP = "Which samples the pictures are: from AcuSim Load Samples."

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LoadedSample:
    """One sample of a batch. Paths are relative to the data set's root, with forward slashes."""

    id: SampleId
    image: str
    label: str | None
    """None where the data set holds no label of it."""
    depth: str | None
    source_sha256: str
    """Of the picture file's bytes."""
    foreground: str
    """How the mask was found: depth-mm16, depth-rel8, alpha or silhouette."""
    doubts: tuple[str, ...] = ()
    """Why the mask may be wrong."""
    unused_depth: str | None = None
    """Why a depth map that lies there is not used."""


@dataclass(frozen=True, slots=True)
class Samples:
    """A batch of samples of one data set and one size."""

    root: Path
    """Of the data set; absolute, links followed."""
    samples: tuple[LoadedSample, ...]
    height: int
    """True size in pixels, as in the files."""
    width: int

    @property
    def padded_height(self) -> int:
        """Height of the pictures in the graph."""
        return padded(self.height)

    @property
    def padded_width(self) -> int:
        """Width of the pictures in the graph."""
        return padded(self.width)

    @property
    def size(self) -> int:
        """The nominal size in the pictures' folder name: 512 of img_512."""
        return int(self.samples[0].image.split("/")[2].removeprefix("img_"))


def without_padding(pictures: Floats, samples: Samples) -> Floats:
    """[B, h, w, 3] pictures of a batch at their true size, a view.

    Args:
        pictures: [B, H, W, 3] with the padding that Load Samples gave them.
        samples: what Load Samples said of them.

    Raises:
        LayoutError: their number, size or channels are others: scaled or cut pictures would make the labels false.
    """
    wanted = (len(samples.samples), samples.padded_height, samples.padded_width, 3)
    if pictures.shape != wanted:
        raise LayoutError(
            f"images are of shape {list(pictures.shape)} (batch, height, width, channels), but the samples need "
            f"{list(wanted)}: nothing between Load Samples and here may drop, scale, crop or pad pictures"
        )
    return pictures[:, : samples.height, : samples.width]
