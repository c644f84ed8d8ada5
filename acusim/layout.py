"""A dataset root on disk: which samples it holds, and what is wrong with it.

    root/map.txt
    root/<split>/image/img_<size>/<stem>.png|jpg      split: train, test, temp, …; size: 64 … 1024
    root/<split>/label/label/<stem>.json              one label for all sizes
    root/<split>/depth/img_<size>/<stem>.png          optional

Image and label are paired by stem, never by position. Every path is relative to the root, with forward slashes.
"""

import os
import re
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from acusim.errors import LayoutError, SampleIdError
from acusim.files import is_inside, is_part, printable
from acusim.pictures import EXTENSIONS
from acusim.sample_id import SampleId

MAP_FILE = "map.txt"
UNPRINTABLE = "the name holds control characters or is not valid UTF-8; rename it"
DEFAULT_SIZE = 512
_SIZE_FOLDER = re.compile(r"img_([1-9][0-9]{0,4})")


def image_folder(split: str, size: int) -> str:
    """Where pictures of one size lie."""
    return f"{split}/image/img_{size}"


def label_folder(split: str) -> str:
    """Where the labels of a split lie."""
    return f"{split}/label/label"


def depth_folder(split: str, size: int) -> str:
    """Where this project keeps depth maps; the public sources name no place for them."""
    return f"{split}/depth/img_{size}"


@dataclass(frozen=True, slots=True)
class Sample:
    """One picture with its label."""

    id: SampleId
    split: str
    size: int
    """Nominal side in pixels, from the folder's name."""
    image: str
    """Relative path."""
    label: str
    depth: str | None

    @property
    def stem(self) -> str:
        """File name without its extension, as on disk."""
        return os.path.splitext(os.path.basename(self.image))[0]


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that takes no part, and why."""

    path: str
    """Relative path; control characters and bytes that are no UTF-8 are written as escapes."""
    reason: str
    is_image: bool
    """True if a picture is lost by it: a batch counts it as set aside."""
    id: SampleId | None = None
    """The picture's sample ID, where its name is one."""


@dataclass(slots=True)
class Dataset:
    """What scan() found, in a fixed order."""

    root: Path
    samples: list[Sample] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    sizes: dict[str, tuple[int, ...]] = field(default_factory=dict)
    """Picture sizes that each split offers."""


class _Folder:
    """The regular files of one folder, with the ones that lead out of the root told apart."""

    def __init__(self, root: str, relative: str):
        self.relative = relative
        self.names: list[str] = []
        self.leaving: list[str] = []
        self.irregular: list[str] = []
        path = os.path.join(root, relative)
        if not os.path.isdir(path):
            return
        if not is_inside(root, path):
            raise LayoutError(f"folder {relative!r} is a symbolic link that leads out of the dataset root {root!r}")
        with os.scandir(path) as entries:
            for entry in entries:
                if is_part(entry.name):
                    continue
                if entry.is_symlink() and not is_inside(root, entry.path):
                    self.leaving.append(entry.name)
                elif entry.is_file():
                    self.names.append(entry.name)
                elif not entry.is_dir() or os.path.splitext(entry.name)[1].lower() in (*EXTENSIONS, ".json"):
                    self.irregular.append(entry.name)
        self.names.sort()

    def by_stem(self, extensions: tuple[str, ...]) -> dict[str, str]:
        """Stem as on disk -> file name, for files with one of the extensions."""
        out: dict[str, str] = {}
        for name in self.names:
            stem, extension = os.path.splitext(name)
            if extension.lower() in extensions:
                out[stem] = name if extension in extensions else out.get(stem, name)
        return out

    def why_absent(self, name: str) -> str:
        """Why a wanted file is not among the usable ones."""
        path = f"{self.relative}/{name}"
        if name in self.leaving:
            return f"{path} is a symbolic link that leads out of the dataset root"
        return f"{path} is not a regular file" if name in self.irregular else f"no label {path}"


def _composed(names: dict[str, str]) -> dict[str, str]:
    """The same mapping under NFC keys, for files that came through a system which decomposes names."""
    return {unicodedata.normalize("NFC", stem): name for stem, name in names.items()}


def scan(root: Path, size: int | None = None) -> Dataset:
    """Lists a dataset: samples that can be used and problems, each with its reason.

    Args:
        root: the dataset root.
        size: the picture size to use; None takes 512 where a split has it, else its largest.

    Raises:
        LayoutError: there is no such root, nothing in it looks like AcuSim, or no split has this size.
    """
    if not root.is_dir():
        raise LayoutError(f"dataset root {str(root)!r} is not a folder")
    real = os.path.realpath(root)
    dataset = Dataset(Path(real))
    for split in sorted(entry.name for entry in os.scandir(real) if entry.is_dir() and not entry.name.startswith(".")):
        if printable(split) != split:
            dataset.problems.append(Problem(printable(split), UNPRINTABLE, False))
            continue
        image_root = os.path.join(real, split, "image")
        if not os.path.isdir(image_root):
            continue
        if not is_inside(real, image_root):
            raise LayoutError(f"folder '{split}/image' is a symbolic link that leads out of the dataset root {real!r}")
        matches = (_SIZE_FOLDER.fullmatch(name) for name in os.listdir(image_root))
        sizes = tuple(sorted(int(match[1]) for match in matches if match))
        if sizes:
            dataset.sizes[split] = sizes
    if not dataset.sizes:
        raise LayoutError(
            f"{str(root)!r} is not an AcuSim dataset root: expected train/image/img_512/<sample ID>.png "
            "(or .jpg, and test/ or temp/ beside train/)"
        )
    for split, sizes in dataset.sizes.items():
        if size is None:
            _scan_split(dataset, split, DEFAULT_SIZE if DEFAULT_SIZE in sizes else sizes[-1])
        elif size in sizes:
            _scan_split(dataset, split, size)
    if size is not None and not any(size in sizes for sizes in dataset.sizes.values()):
        offered = ", ".join(f"{split}: {', '.join(map(str, sizes))}" for split, sizes in dataset.sizes.items())
        raise LayoutError(f"no split of {str(root)!r} has pictures of size {size}; there are {offered}")
    return dataset


def _scan_split(dataset: Dataset, split: str, size: int) -> None:
    root = str(dataset.root)
    images = _Folder(root, image_folder(split, size))
    labels = _Folder(root, label_folder(split))
    depths = _Folder(root, depth_folder(split, size)).by_stem((".png",))
    label_names = labels.by_stem((".json",))
    label_by_nfc, depth_by_nfc = _composed(label_names), _composed(depths)
    used_labels: set[str] = set()
    seen: dict[str, str] = {}
    problems = dataset.problems

    def lost(folder: _Folder, name: str, reason: str, is_image: bool, sample_id: SampleId | None = None) -> None:
        problems.append(Problem(printable(f"{folder.relative}/{name}"), reason, is_image, sample_id))

    for folder, is_image in ((images, True), (labels, False)):
        for name in sorted(folder.leaving):
            lost(folder, name, "a symbolic link that leads out of the dataset root", is_image)
        for name in sorted(folder.irregular):
            lost(folder, name, "not a regular file", is_image)
    for name in images.names:
        stem, extension = os.path.splitext(name)
        if extension.lower() not in EXTENSIONS:
            lost(images, name, f"not a picture: extension {extension!r}, allowed are {', '.join(EXTENSIONS)}", False)
            continue
        nfc = unicodedata.normalize("NFC", stem)
        label = label_names.get(stem) or label_by_nfc.get(nfc)
        if label:
            used_labels.add(label)
        if printable(name) != name:
            lost(images, name, UNPRINTABLE, True)
            continue
        if stem in seen:
            lost(images, name, f"a second picture of {stem!r} beside {seen[stem]!r}; keep one", True)
            continue
        seen[stem] = name
        try:
            sample_id = SampleId.parse(nfc)
        except SampleIdError as error:
            lost(images, name, str(error), True)
            continue
        if label is None:
            lost(images, name, labels.why_absent(f"{stem}.json"), True, sample_id)
            continue
        depth = depths.get(stem) or depth_by_nfc.get(nfc)
        dataset.samples.append(
            Sample(
                sample_id,
                split,
                size,
                f"{images.relative}/{name}",
                f"{labels.relative}/{label}",
                f"{depth_folder(split, size)}/{depth}" if depth else None,
            )
        )
    pictured = {os.path.splitext(name)[0] for name in (*images.leaving, *images.irregular)}
    for name in labels.names:
        stem, extension = os.path.splitext(name)
        if extension.lower() == ".json" and name not in used_labels and stem not in pictured:
            twin = label_names[stem] if label_names[stem] != name else None
            lost(labels, name, f"not used: {twin!r} is" if twin else "an orphan: no picture of this stem", False)
