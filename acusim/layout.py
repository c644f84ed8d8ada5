"""A dataset root on disk: which samples it holds, and which files cannot be used.

    root/map.txt
    root/<split>/image/img_<size>/<stem>.png|jpg      split: train, test, temp, …; size: 64 … 1024
    root/<split>/label/label/<stem>.json              one label for all sizes
    root/<split>/depth/img_<size>/<stem>.png          optional

Image and label are paired by stem, never by position. Every path is relative to the root, with forward slashes.
"""

import os
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

from acusim.dataset import Dataset, Problem, Sample
from acusim.dataset_root import SIZE_FOLDER, check_root, explain, first_with
from acusim.errors import LayoutError, SampleIdError
from acusim.files import is_inside, printable
from acusim.folders import folder_error, list_folder
from acusim.pictures import EXTENSIONS
from acusim.sample_id import SampleId

MAP_FILE = "map.txt"
UNPRINTABLE = "the name holds control characters or is not valid UTF-8; rename it"
DEFAULT_SIZE = 512
_FEW = 3
_LEAVES = "a symbolic link that leads out of the dataset root"


def image_folder(split: str, size: int) -> str:
    """The folder of the images of one size."""
    return f"{split}/image/img_{size}"


def label_folder(split: str) -> str:
    """The folder of a split's labels."""
    return f"{split}/label/label"


def depth_folder(split: str, size: int) -> str:
    """The folder of depth maps, a convention of this project; the public sources name none."""
    return f"{split}/depth/img_{size}"


class _Folder:
    """The regular files of one folder, apart from those that lead out of the root."""

    def __init__(self, root: str, relative: str, junk: list[str]):
        self.relative = relative
        self.names: list[str] = []
        self.leaving: list[str] = []
        self.irregular: dict[str, str] = {}
        """Entries that should be files: name -> what they are instead."""
        self.folders: list[str] = []
        self.error = ""
        """Why the folder cannot be listed; empty also where it does not exist."""
        path = os.path.join(root, relative)
        if not os.path.isdir(path):
            self.error = folder_error(path)
            return
        if not is_inside(root, path):
            raise LayoutError(f"folder {relative!r} is a symbolic link that leads out of the dataset root {root!r}")
        try:
            entries = list_folder(path, junk)
        except LayoutError:
            self.error = folder_error(path)
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
        """Stem -> path and reason of each entry that is not in by_stem."""
        reasons = dict.fromkeys(self.names, f"not a map, only {extension} is one")
        reasons |= dict.fromkeys(self.leaving, _LEAVES)
        reasons |= self.irregular
        usable = set(self.by_stem((extension,)).values())
        return {
            os.path.splitext(name)[0]: (f"{self.relative}/{name}", reason)
            for name, reason in reasons.items()
            if name not in usable
        }

    def problem(self, name: str, reason: str, is_image: bool, sample_id: SampleId | None = None) -> Problem:
        return Problem(printable(f"{self.relative}/{name}"), reason, is_image, sample_id)

    def why_absent(self, name: str) -> str:
        """Why a wanted file is not among the usable ones."""
        path = f"{self.relative}/{name}"
        if name in self.leaving:
            return f"{path} is {_LEAVES}"
        if name in self.irregular:
            return f"{path} is {self.irregular[name]}"
        return f"no label {path}: that folder cannot be read: {self.error}" if self.error else f"no label {path}"


def _nfc(stem: str) -> str:
    return unicodedata.normalize("NFC", stem)


def _lookup(names: dict[str, str]) -> Callable[[str], str | None]:
    """From a stem to a file's name, also where one of them came through a system that decomposes names."""
    composed = {_nfc(stem): name for stem, name in names.items()}
    return lambda stem: names.get(stem) or composed.get(_nfc(stem))


def scan(root: str | Path, size: int | None = None) -> Dataset:
    """Lists a dataset: samples that can be used and problems, each with its reason.

    Args:
        root: the dataset root.
        size: the image size in pixels to use; None takes 512 where a split has it, else its largest.

    Raises:
        LayoutError: the root is not a folder or holds nothing that looks like AcuSim, or no split has this size.
    """
    real = check_root(root)
    dataset = Dataset(Path(real))
    for entry in list_folder(real, dataset.junk):
        if entry.kind == "other":
            dataset.problems.append(Problem(printable(entry.name), f"{entry.fault}; it is ignored", False))
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
        raise LayoutError(f"{str(root)!r} holds no image in its place: {'; '.join(dataset.nested[:_FEW])}")
    if size is not None and not any(size in sizes for sizes in dataset.sizes.values()):
        offered = ", ".join(f"{split}: {', '.join(map(str, sizes))}" for split, sizes in dataset.sizes.items())
        raise LayoutError(f"no split of {str(root)!r} has pictures of size {size}; there are {offered}")
    return dataset


def _sizes(dataset: Dataset, split: str) -> tuple[int, ...]:
    """The image sizes of a split, none where the folder is not a split; reports entries that should be size folders."""
    relative = f"{split}/image"
    path = os.path.join(dataset.root, relative)
    error = folder_error(path)
    if error:
        dataset.problems.append(Problem(relative, f"not a folder that can be read: {error}", True))
    if error or not os.path.isdir(path):
        return ()
    if not is_inside(str(dataset.root), path):
        raise LayoutError(
            f"folder {relative!r} is a symbolic link that leads out of the dataset root {str(dataset.root)!r}"
        )
    sizes: list[int] = []
    strays = 0
    for entry in list_folder(path, dataset.junk):
        match = SIZE_FOLDER.fullmatch(entry.name)
        place = printable(f"{relative}/{entry.name}")
        if entry.kind == "folder" and match:
            sizes.append(int(match[1]))
        elif entry.kind == "file":
            strays += os.path.splitext(entry.name)[1].lower() in EXTENSIONS
        else:
            reason = entry.fault or "not read: image folders are called img_<side in pixels>"
            dataset.problems.append(Problem(place, reason, match is not None))
    if strays and sizes:
        reason = f"{strays} images in this folder are not read; move them into {relative}/img_<side in pixels>"
        dataset.problems.append(Problem(relative, reason, True))
    return tuple(sorted(sizes))


def _unreadable(folder: _Folder, is_image: bool) -> Iterator[Problem]:
    if folder.error:
        yield Problem(folder.relative, f"not a folder that can be read: {folder.error}", is_image)


def _unusable(folder: _Folder, is_image: bool) -> Iterator[Problem]:
    """Entries of a folder that are not files that may be read."""
    yield from _unreadable(folder, is_image)
    for name in sorted(folder.leaving):
        yield folder.problem(name, _LEAVES, is_image)
    for name, reason in sorted(folder.irregular.items()):
        yield folder.problem(name, reason, is_image and os.path.splitext(name)[1].lower() in EXTENSIONS)


def _report_nested(dataset: Dataset, images: _Folder) -> None:
    """Reports folders among the images: they are not read."""
    for name in images.folders:
        relative = f"{images.relative}/{name}"
        found = first_with(os.path.join(dataset.root, relative), EXTENSIONS)
        if found is None:
            dataset.problems.append(Problem(printable(relative), "a folder without images; it is not read", False))
            continue
        place = Path(os.path.relpath(found[0], dataset.root)).as_posix()
        reason = f"{len(found[1])} images are a folder too deep; move them up into {images.relative}"
        dataset.problems.append(Problem(printable(place), reason, True))
        dataset.nested.append(printable(f"{place}: {reason}"))


def _misplaced_labels(root: str, split: str, labels: _Folder) -> str:
    """Where the labels of a split are if none is in its place."""
    if any(name.lower().endswith(".json") for name in labels.names) or labels.error:
        return ""
    found = first_with(os.path.join(root, split, "label"), (".json",))
    if found is None:
        return ""
    place = Path(os.path.relpath(found[0], root)).as_posix()
    return printable(f"; there are labels in {place}: move them into {labels.relative}")


def _scan_split(dataset: Dataset, split: str, size: int) -> None:
    root, junk = str(dataset.root), dataset.junk
    images = _Folder(root, image_folder(split, size), junk)
    labels = _Folder(root, label_folder(split), junk)
    depths = _Folder(root, depth_folder(split, size), junk)
    dataset.problems += [*_unusable(images, True), *_unusable(labels, False), *_unreadable(depths, False)]
    _report_nested(dataset, images)
    label_of, depth_of = _lookup(labels.by_stem((".json",))), _lookup(depths.by_stem((".png",)))
    unusable_depths = {_nfc(stem): reason for stem, reason in depths.unusable(".png").items()}
    labels_elsewhere = _misplaced_labels(root, split, labels)
    used_labels: set[str | None] = set()
    seen: dict[str, str] = {}
    for name in images.names:
        stem, extension = os.path.splitext(name)
        if extension.lower() not in EXTENSIONS:
            reason = f"not an image: extension {extension!r}, allowed are {', '.join(EXTENSIONS)}"
            dataset.problems.append(images.problem(name, reason, False))
            continue
        sample_id, label = None, label_of(stem)
        used_labels.add(label)
        try:
            sample_id = _sample_id(name, seen)
            if label is None:
                raise LayoutError(labels.why_absent(f"{stem}.json") + labels_elsewhere)
        except (LayoutError, SampleIdError) as error:
            dataset.problems.append(images.problem(name, str(error), True, sample_id))
            continue
        depth = depth_of(stem)
        unused = None if depth else unusable_depths.get(_nfc(stem))
        if unused:
            path, reason = unused
            dataset.problems.append(
                Problem(printable(path), f"{reason}; the head is found without it", False, sample_id)
            )
        dataset.samples.append(
            Sample(
                sample_id,
                split,
                size,
                f"{images.relative}/{name}",
                f"{labels.relative}/{label}",
                f"{depths.relative}/{depth}" if depth else None,
                printable(": ".join(unused)) if unused else None,
                dataset.root,
            )
        )
    _report_unused_labels(dataset, images, labels, used_labels)


def _sample_id(name: str, seen: dict[str, str]) -> SampleId:
    """The sample ID in an image's file name, which is entered into ``seen`` under its stem."""
    if printable(name) != name:
        raise LayoutError(UNPRINTABLE)
    stem = os.path.splitext(name)[0]
    if stem in seen:
        raise LayoutError(f"a second image of {stem!r} beside {seen[stem]!r}; keep one")
    seen[stem] = name
    return SampleId.parse(_nfc(stem))


def _report_unused_labels(dataset: Dataset, images: _Folder, labels: _Folder, used: set[str | None]) -> None:
    stems_with_image = {os.path.splitext(name)[0] for name in (*images.leaving, *images.irregular)}
    chosen = labels.by_stem((".json",))
    for name in labels.names:
        stem, extension = os.path.splitext(name)
        if extension.lower() == ".json" and name not in used and stem not in stems_with_image:
            twin = chosen[stem] if chosen[stem] != name else None
            reason = f"not used: {twin!r} is" if twin else "an orphan: no image of this stem"
            dataset.problems.append(labels.problem(name, reason, False))
