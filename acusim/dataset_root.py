"""Which folder is a dataset root; for any other folder, what it holds and what to pass instead."""

import os
import re
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from acusim.errors import LayoutError, SampleIdError
from acusim.files import printable
from acusim.folders import Entry, folder_error, list_folder
from acusim.pictures import EXTENSIONS
from acusim.sample_id import SampleId

_IMAGE, _LABEL, _DEPTH = "image", "label", "depth"
SIZE_FOLDER = re.compile(r"img_([1-9][0-9]{0,4})")
VARIANT = re.compile(r"v[0-9]{2,3}")
"""Folder of one variant, in an output of several."""
_EXPECTED = "train/image/img_512/<sample ID>.png (or .jpg, and test/ or temp/ beside train/)"
_SPLIT_NAMES = ("train", "test", "temp", "val", "valid", "validation", "dev", "eval", "all")
"""Names of splits; a folder of another name that holds image/ is taken for a root without its split."""
_MAX_FOLDERS = 500
"""Folders that a search visits before it gives up: a home folder may have been named by mistake."""
_MAX_DEPTH = 4
_FEW = 3


def check_root(root: str | Path) -> str:
    """The root without links.

    Raises:
        LayoutError: it is not a folder that can be listed, with the reason.
    """
    error = folder_error(root)
    if error or not os.path.isdir(root):
        reason = f": {error}" if error else "; there is nothing of this name"
        raise LayoutError(f"dataset root {printable(str(root))!r} is not a folder that can be read{reason}")
    return os.path.realpath(root)


def check_variants(root: Path, variants: Sequence[str], entries: Sequence[Entry]) -> None:
    """Makes sure that a folder of variants is nothing else.

    Args:
        root: the folder.
        variants: those that are read, each with its slash.
        entries: of the folder.

    Raises:
        LayoutError: it has pictures of its own, too.
    """
    folders = (entry for entry in entries if entry.kind == "folder")
    own = [entry.name for entry in folders if os.path.isdir(os.path.join(entry.path, _IMAGE))]
    if variants and own:
        raise LayoutError(
            f"{str(root)!r} has pictures of its own ({own[0]}/image) and variants ({variants[0]}): move one of them to "
            "another folder"
        )


def explain(root: str | Path) -> str:
    """Why a folder that can be read is not a dataset root: what it holds, and what to pass or to do instead."""
    place = Path(os.path.realpath(root))
    hint = _deeper(place) or _above(place) or _misplaced(place) or _contents(place)
    return f"{printable(str(root))!r} is not an AcuSim dataset root: expected {_EXPECTED}; {hint}"


def first_with(folder: str | Path, extensions: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """The first folder, at or below one, that holds files with one of the extensions; and their names."""
    for place in _folders(folder):
        try:
            names = [entry.name for entry in list_folder(place) if entry.kind == "file"]
        except LayoutError:
            continue
        fitting = [name for name in names if os.path.splitext(name)[1].lower() in extensions]
        if fitting:
            return place, fitting
    return None


def _folders(root: str | Path) -> Iterator[str]:
    """A folder and those below it, the nearest first; links are not followed."""
    waiting = deque([(str(root), 0)])
    for _ in range(_MAX_FOLDERS):
        if not waiting:
            return
        place, depth = waiting.popleft()
        yield place
        if depth < _MAX_DEPTH:
            waiting += [(path, depth + 1) for path in _subfolders(place)]


def _subfolders(folder: str) -> list[str]:
    try:
        return [entry.path for entry in list_folder(folder) if entry.kind == "folder" and not entry.is_link]
    except LayoutError:
        return []


def _holds_sizes(split: str | Path) -> bool:
    return any(SIZE_FOLDER.fullmatch(os.path.basename(path)) for path in _subfolders(os.path.join(split, _IMAGE)))


def _deeper(place: Path) -> str:
    """A hint where the dataset was unpacked into a folder of its own."""
    found = [
        path
        for path in _folders(place)
        if path != str(place) and any(_holds_sizes(split) for split in _subfolders(path))
    ]
    if not found:
        return ""
    few = " or ".join(repr(printable(path)) for path in found[:_FEW])
    more = f" (or one of {len(found) - _FEW} more)" if len(found) > _FEW else ""
    what = "there is a dataset" if len(found) == 1 else f"there are {len(found)} datasets"
    return f"{what} deeper: give {few}{more}"


def _above(place: Path) -> str:
    """A hint where the folder is inside a dataset: a split, its image/ or label/, or a folder below these."""
    chain = [place, *place.parents][:_MAX_DEPTH]
    split = next((folder for folder in chain if _holds_sizes(folder)), None)
    if split is None or not split.name:
        return ""
    if split.name.casefold() in _SPLIT_NAMES:
        inside = "" if split == place else f"inside {printable(str(split))!r}, "
        return f"it is {inside}the split {split.name!r} of a dataset: give {printable(str(split.parent))!r}"
    return (
        f"image/ is in {printable(str(split))!r} itself, and the folder of its split, such as train/, is missing: "
        f"move {_folders_in(split)} into {printable(str(split / 'train'))!r} and give {printable(str(split))!r}"
    )


def _folders_in(split: Path) -> str:
    names = [f"{name}/" for name in (_IMAGE, _LABEL, _DEPTH) if (split / name).is_dir()]
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _misplaced(place: Path) -> str:
    """A hint where there are images, but in another folder than the layout demands."""
    found = first_with(place, EXTENSIONS)
    if found is None:
        return ""
    folder, names = found
    known = [name for name in names if _is_sample(name)]
    where = f"{len(names)} images are in {printable(folder)!r}"
    if not known:
        return f"{where}, but {printable(names[0])!r} is not a sample ID with an extension"
    name = os.path.basename(folder)
    size = name if SIZE_FOLDER.fullmatch(name) else "img_<side in pixels>"
    return (
        f"{where}: move them into {printable(str(place / 'train' / _IMAGE / size))!r} and their labels into "
        f"{printable(str(place / 'train' / _LABEL / _LABEL))!r}"
    )


def _is_sample(name: str) -> bool:
    try:
        SampleId.parse(os.path.splitext(name)[0])
    except SampleIdError:
        return False
    return True


def _contents(place: Path) -> str:
    names = [f"{entry.name}/" if entry.kind == "folder" else entry.name for entry in list_folder(place)]
    few = ", ".join(printable(name) for name in names[:_FEW])
    return f"it holds {few}{' and more' if len(names) > _FEW else ''}, and no images" if names else "it is empty"
