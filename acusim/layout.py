"""A dataset root on disk: which samples it holds, and what is wrong with it.

    root/map.txt
    root/<split>/image/img_<size>/<stem>.png|jpg      split: train, test, temp, …; size: 64 … 1024
    root/<split>/label/label/<stem>.json              one label for all sizes
    root/<split>/depth/img_<size>/<stem>.png          optional

Image and label are paired by stem, never by position. Every path is relative to the root, with forward slashes.
"""

import os
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from acusim.dataset_root import SIZE_FOLDER, check_root, explain, first_with
from acusim.errors import LayoutError, SampleIdError
from acusim.files import is_inside, printable
from acusim.folders import fault_of_folder, leaves_out, list_folder
from acusim.pictures import EXTENSIONS
from acusim.sample_id import SampleId

MAP_FILE = "map.txt"
UNPRINTABLE = "the name holds control characters or is not valid UTF-8; rename it"
DEFAULT_SIZE = 512
_FEW = 3


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
    unused_depth: str | None = None
    """Why a depth map that lies there is not used; None where there is none, or a usable one."""

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
    nested: list[str] = field(default_factory=list)
    """What lies a folder too deep, such as pictures in img_512/img_512, and what to do."""
    litter: list[str] = field(default_factory=list)
    """Names of hidden files and files of operating systems, which take no part."""

    @property
    def notes(self) -> list[str]:
        """What a user should know of the root as a whole."""
        return [leaves_out(self.litter)] if self.litter else []


class _Folder:
    """The regular files of one folder, with the ones that lead out of the root told apart."""

    def __init__(self, root: str, relative: str, litter: list[str]):
        self.relative = relative
        self.names: list[str] = []
        self.leaving: list[str] = []
        self.irregular: dict[str, str] = {}
        """What should be a file, and what it is instead."""
        self.folders: list[str] = []
        self.fault = ""
        """Why the folder cannot be listed; empty also where it is not there."""
        path = os.path.join(root, relative)
        if not os.path.isdir(path):
            self.fault = fault_of_folder(path)
            return
        if not is_inside(root, path):
            raise LayoutError(f"folder {relative!r} is a symbolic link that leads out of the dataset root {root!r}")
        try:
            entries = list_folder(path, litter)
        except LayoutError:
            self.fault = fault_of_folder(path)
            return
        for entry in entries:
            wanted = os.path.splitext(entry.name)[1].lower() in (*EXTENSIONS, ".json")
            if entry.is_link and not is_inside(root, entry.path):
                self.leaving.append(entry.name)
            elif entry.kind == "file":
                self.names.append(entry.name)
            elif entry.kind == "other" or wanted or entry.is_link:
                what = entry.fault or ("a link to a folder" if entry.is_link else "a folder")
                self.irregular[entry.name] = f"not a regular file: {what}"
            else:
                self.folders.append(entry.name)

    def by_stem(self, extensions: tuple[str, ...]) -> dict[str, str]:
        """Stem as on disk -> file name, for files with one of the extensions."""
        out: dict[str, str] = {}
        for name in self.names:
            stem, extension = os.path.splitext(name)
            if extension.lower() in extensions:
                out[stem] = name if extension in extensions else out.get(stem, name)
        return out

    def unusable(self, extension: str) -> dict[str, tuple[str, str]]:
        """Stem -> path and reason of a file that lies there and has no place in by_stem."""
        told = dict.fromkeys(self.names, f"not a map, only {extension} is one")
        told |= dict.fromkeys(self.leaving, "a symbolic link that leads out of the dataset root")
        told |= self.irregular
        usable = set(self.by_stem((extension,)).values())
        reasons = {name: reason for name, reason in told.items() if name not in usable}
        return {os.path.splitext(name)[0]: (f"{self.relative}/{name}", reason) for name, reason in reasons.items()}

    def why_absent(self, name: str) -> str:
        """Why a wanted file is not among the usable ones."""
        path = f"{self.relative}/{name}"
        if name in self.leaving:
            return f"{path} is a symbolic link that leads out of the dataset root"
        if name in self.irregular:
            return f"{path} is {self.irregular[name]}"
        return f"no label {path}: that folder cannot be read: {self.fault}" if self.fault else f"no label {path}"


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
    real = check_root(root)
    dataset = Dataset(Path(real))
    for entry in list_folder(real, dataset.litter):
        if entry.kind == "other":
            dataset.problems.append(Problem(printable(entry.name), f"{entry.fault}; it is left out", False))
        elif entry.kind == "folder" and printable(entry.name) != entry.name:
            dataset.problems.append(Problem(printable(entry.name), UNPRINTABLE, False))
        elif entry.kind == "folder":
            sizes = _sizes(dataset, entry.name)
            if sizes:
                dataset.sizes[entry.name] = sizes
    if not dataset.sizes:
        faults = "".join(f"; {problem.path}: {problem.reason}" for problem in dataset.problems[:_FEW])
        raise LayoutError(explain(root) + faults)
    for split, sizes in dataset.sizes.items():
        if size is None:
            _scan_split(dataset, split, DEFAULT_SIZE if DEFAULT_SIZE in sizes else sizes[-1])
        elif size in sizes:
            _scan_split(dataset, split, size)
    if not dataset.samples and dataset.nested:
        raise LayoutError(f"{str(root)!r} holds no picture in its place: {'; '.join(dataset.nested[:_FEW])}")
    if size is not None and not any(size in sizes for sizes in dataset.sizes.values()):
        offered = ", ".join(f"{split}: {', '.join(map(str, sizes))}" for split, sizes in dataset.sizes.items())
        raise LayoutError(f"no split of {str(root)!r} has pictures of size {size}; there are {offered}")
    return dataset


def _sizes(dataset: Dataset, split: str) -> tuple[int, ...]:
    """The picture sizes of a split, none where a folder is no split; what should be one and is not is a problem."""
    relative = f"{split}/image"
    path = os.path.join(dataset.root, relative)
    fault = fault_of_folder(path)
    if fault:
        dataset.problems.append(Problem(relative, f"not a folder that can be read: {fault}", True))
    if fault or not os.path.isdir(path):
        return ()
    if not is_inside(str(dataset.root), path):
        raise LayoutError(
            f"folder {relative!r} is a symbolic link that leads out of the dataset root {str(dataset.root)!r}"
        )
    sizes: list[int] = []
    strays = 0
    for entry in list_folder(path, dataset.litter):
        match = SIZE_FOLDER.fullmatch(entry.name)
        place = printable(f"{relative}/{entry.name}")
        if entry.kind == "folder" and match:
            sizes.append(int(match[1]))
        elif entry.kind == "file":
            strays += os.path.splitext(entry.name)[1].lower() in EXTENSIONS
        else:
            reason = entry.fault or "not read: folders of pictures are called img_<side in pixels>"
            dataset.problems.append(Problem(place, reason, match is not None))
    if strays and sizes:
        told = f"{strays} pictures in this folder are not read; move them into {relative}/img_<side in pixels>"
        dataset.problems.append(Problem(relative, told, True))
    return tuple(sorted(sizes))


def _unreadable(folder: _Folder, is_image: bool) -> Iterator[Problem]:
    if folder.fault:
        yield Problem(folder.relative, f"not a folder that can be read: {folder.fault}", is_image)


def _unusable(folder: _Folder, is_image: bool) -> Iterator[Problem]:
    """What lies in a folder, or in its place, and is no file that may be read."""
    yield from _unreadable(folder, is_image)
    for name in sorted(folder.leaving):
        reason = "a symbolic link that leads out of the dataset root"
        yield Problem(printable(f"{folder.relative}/{name}"), reason, is_image)
    for name, reason in sorted(folder.irregular.items()):
        looks_so = os.path.splitext(name)[1].lower() in EXTENSIONS
        yield Problem(printable(f"{folder.relative}/{name}"), reason, is_image and looks_so)


def _nested(dataset: Dataset, images: _Folder) -> None:
    """Tells of folders among the pictures: theirs are not read."""
    for name in images.folders:
        relative = f"{images.relative}/{name}"
        found = first_with(os.path.join(dataset.root, relative), EXTENSIONS)
        if found is None:
            dataset.problems.append(Problem(printable(relative), "a folder without pictures; it is not read", False))
            continue
        place = Path(os.path.relpath(found[0], dataset.root)).as_posix()
        told = f"{len(found[1])} pictures lie a folder too deep; move them up into {images.relative}"
        dataset.problems.append(Problem(printable(place), told, True))
        dataset.nested.append(printable(f"{place}: {told}"))


def _astray(root: str, split: str, labels: _Folder) -> str:
    """Where the labels of a split lie if none is in its place."""
    if any(name.lower().endswith(".json") for name in labels.names) or labels.fault:
        return ""
    found = first_with(os.path.join(root, split, "label"), (".json",))
    if found is None:
        return ""
    place = Path(os.path.relpath(found[0], root)).as_posix()
    return printable(f"; there are labels in {place}: move them into {labels.relative}")


def _scan_split(dataset: Dataset, split: str, size: int) -> None:
    root = str(dataset.root)
    images = _Folder(root, image_folder(split, size), dataset.litter)
    labels = _Folder(root, label_folder(split), dataset.litter)
    depth_files = _Folder(root, depth_folder(split, size), dataset.litter)
    depths = depth_files.by_stem((".png",))
    unusable = {unicodedata.normalize("NFC", stem): why for stem, why in depth_files.unusable(".png").items()}
    label_names = labels.by_stem((".json",))
    label_by_nfc, depth_by_nfc = _composed(label_names), _composed(depths)
    used_labels: set[str] = set()
    seen: dict[str, str] = {}
    problems = dataset.problems

    def lost(folder: _Folder, name: str, reason: str, is_image: bool, sample_id: SampleId | None = None) -> None:
        problems.append(Problem(printable(f"{folder.relative}/{name}"), reason, is_image, sample_id))

    problems += [*_unusable(images, True), *_unusable(labels, False), *_unreadable(depth_files, False)]
    _nested(dataset, images)
    labels_elsewhere = _astray(root, split, labels)
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
            lost(images, name, labels.why_absent(f"{stem}.json") + labels_elsewhere, True, sample_id)
            continue
        depth = depths.get(stem) or depth_by_nfc.get(nfc)
        unused = None if depth else unusable.get(nfc)
        if unused:
            path, reason = unused
            problems.append(Problem(printable(path), f"{reason}; the head is found without it", False, sample_id))
        dataset.samples.append(
            Sample(
                sample_id,
                split,
                size,
                f"{images.relative}/{name}",
                f"{labels.relative}/{label}",
                f"{depth_folder(split, size)}/{depth}" if depth else None,
                printable(": ".join(unused)) if unused else None,
            )
        )
    pictured = {os.path.splitext(name)[0] for name in (*images.leaving, *images.irregular)}
    for name in labels.names:
        stem, extension = os.path.splitext(name)
        if extension.lower() == ".json" and name not in used_labels and stem not in pictured:
            twin = label_names[stem] if label_names[stem] != name else None
            lost(labels, name, f"not used: {twin!r} is" if twin else "an orphan: no picture of this stem", False)
