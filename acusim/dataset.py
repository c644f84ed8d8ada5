"""What a dataset consists of: samples that can be used and problems that say why other files cannot."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import overload

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LayoutError
from acusim.files import safe_join
from acusim.folders import junk_note
from acusim.labels import Label, read_label
from acusim.pictures import read_depth, read_rgb
from acusim.sample_id import SampleId


@dataclass(frozen=True, slots=True)
class Sample:
    """One image with its label. Paths are relative to the dataset root, with forward slashes."""

    id: SampleId
    split: str
    """Such as train or test."""
    size: int
    """Nominal side in pixels, from the folder's name."""
    image: str
    label: str
    depth: str | None
    """None where there is no depth map that can be used."""
    unused_depth: str | None = None
    """Why an existing depth map is not used; None where there is none, or a usable one."""
    root: Path | None = field(default=None, compare=False, repr=False)
    """The dataset root; None where the sample was not found by a scan."""

    @property
    def stem(self) -> str:
        """File name without its extension, as on disk."""
        return os.path.splitext(os.path.basename(self.image))[0]

    @property
    def sources(self) -> dict[str, str]:
        """Paths of the files that decide what is made of the sample, by what they are; the image is the "source"."""
        return {"source": self.image, **self.copied}

    @property
    def annotation_sha256(self) -> str:
        """Empty: a sample has a label file of its own."""
        return ""

    @property
    def copied(self) -> dict[str, str]:
        """Paths of the files that accompany the image in another data set, too, by what they are."""
        return {"label": self.label, **({"depth": self.depth} if self.depth else {})}

    def read_image(self) -> NDArray[np.uint8]:
        """[H, W, 3] RGB, 0..255; transparent pixels are black.

        Raises:
            PictureError: the file is unreadable, or its geometry or colours are ambiguous.
            LayoutError: the path leads out of the dataset root.
        """
        return read_rgb(self._path(self.image)).pixels

    def read_label(self) -> Label:
        """Positions [174, 2] as shares of the image, visibility [174] and more; see ``acusim.labels.Label``.

        Raises:
            LabelError: the file is unreadable or not in AcuSim's format.
            LayoutError: the path leads out of the dataset root.
        """
        return read_label(self._path(self.label))

    def read_depth(self) -> NDArray[np.uint16] | NDArray[np.uint8] | None:
        """[H, W] the depth map's values as its file holds them, None where there is none.

        uint16: millimetres along the camera's axis, 0 for background; uint8: relative values.

        Raises:
            PictureError: the file is unreadable or not a depth map.
            LayoutError: the path leads out of the dataset root.
        """
        if not self.depth:
            return None
        values, kind = read_depth(self._path(self.depth))
        return values.astype(np.uint8) if kind == "rel8" else values.astype(np.uint16)

    def _path(self, relative: str) -> Path:
        if self.root is None:
            raise LayoutError(f"sample {self.id} has no dataset root; take it from acusim.open_dataset(root)")
        return safe_join(self.root, relative)


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that is not used, and why."""

    path: str
    """Relative path; control characters and bytes that are not UTF-8 are written as escapes."""
    reason: str
    is_image: bool
    """True if an image is lost by it: a batch counts it as skipped."""
    id: SampleId | None = None
    """The image's sample ID, where its name is one."""


@dataclass(slots=True)
class Dataset:
    """The samples of a dataset in a fixed order: supports ``len``, iteration and indexing."""

    root: Path
    samples: list[Sample] = field(default_factory=list, repr=False)
    problems: list[Problem] = field(default_factory=list, repr=False)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Image sizes that each split offers."""
    nested: list[str] = field(default_factory=list, repr=False)
    """Images a folder too deep, such as img_512/img_512, and what to do."""
    junk: list[str] = field(default_factory=list, repr=False)
    """Names of hidden files and files of operating systems, which are ignored."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of the root as a whole."""
        return [junk_note(self.junk)] if self.junk else []

    def __len__(self) -> int:
        return len(self.samples)

    def __iter__(self) -> Iterator[Sample]:
        return iter(self.samples)

    @overload
    def __getitem__(self, index: int) -> Sample: ...

    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...

    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        return self.samples[index]
