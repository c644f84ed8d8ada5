"""Pictures and label files below a folder, and which picture a label file means.

Paths in label files may be of other places and systems; they are matched with the pictures of the folder.
"""

import os
import posixpath
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

from acusim.dataset import Problem
from acusim.dataset_root import VARIANT
from acusim.errors import LayoutError, few, shown
from acusim.files import is_inside, portable_name, printable
from acusim.folders import Entry, folder_error, list_folder
from acusim.layout import UNPRINTABLE
from acusim.pictures import EXTENSIONS
from acusim.tolerances import BESIDE, ELSEWHERE, OTHER_CASE, Change, Recorder, local_path, read_as

NOT_DATA = ("synthetic.json", "workflow.json", "contact_sheet.jpg")
"""Files that are neither labels nor pictures of a data set: what this project writes beside them."""
FOREGROUND_FOLDER, POINT_MASK_FOLDER = "masks", "point_masks"
"""Folders beside the data: masks of what the pictures show, and point masks."""
_POINT_MASKS = re.compile(rf"({VARIANT.pattern}/)?{POINT_MASK_FOLDER}")
"""Where point masks are, of a root and of its variants."""
_FEW = 3


class Pictures:
    """The pictures below a root, found by the paths in label files. No other file is ever returned.

    Args:
        paths: relative to the root, with forward slashes, by their NFC form.
    """

    def __init__(self, paths: Mapping[str, str]):
        self._exact = paths
        self._folded: dict[str, list[str]] = defaultdict(list)
        self._stems = {posixpath.splitext(path)[0]: path for path in paths.values()}
        self._named: dict[str, list[str]] = defaultdict(list)
        for path in paths.values():
            self._folded[portable_name(path)].append(path)
            self._named[portable_name(posixpath.basename(path))].append(path)

    def of_label(self, label: str, path: str, record: Recorder) -> str:
        """The picture of a labelme file.

        Args:
            label: the file, relative to the root; printable.
            path: its imagePath, untrusted.
            record: called where the path and the picture differ.

        Raises:
            LayoutError: there is no such picture, or several are possible.
        """
        folder = posixpath.dirname(label)
        local, foreign = local_path(path, folder)
        if not foreign and (image := self._at(local, path)):
            if not self._is(image, local):
                record(Change(OTHER_CASE, label, read_as(path, image)))
            return image
        name = posixpath.basename(local)
        if name and (image := self._at(posixpath.join(folder, name), path)):
            record(Change(ELSEWHERE if foreign else BESIDE, label, read_as(path, image)))
            return image
        if foreign:
            raise LayoutError(
                f"imagePath {shown(path)} leads out of the folder, and no picture {shown(name)} is beside the label; "
                f"put the picture there{self._hint(label, name)}"
            )
        raise LayoutError(f"imagePath {shown(path)}: {self._why_absent(label, local)}")

    def of_item(self, path: str, record: Recorder) -> str:
        """The picture of a COCO file_name: the one at that path, else the only one of that name; else the path.

        Args:
            path: relative to the root, with forward slashes.
            record: called where the path and the picture differ.

        Raises:
            LayoutError: several pictures are possible.
        """
        if image := self._at(path, path):
            if not self._is(image, path):
                record(Change(OTHER_CASE, path, read_as(path, image)))
            return image
        named = self._named.get(portable_name(posixpath.basename(path)), [])
        if len(named) > 1:
            raise LayoutError(
                f"no picture {shown(path)}, and several in other folders have its name: {few(named, _FEW)}; "
                "write the path of the one that is meant"
            )
        if not named:
            return path
        record(Change(BESIDE, path, read_as(path, named[0])))
        return named[0]

    def _at(self, place: str, path: str) -> str | None:
        """The picture at a path, whatever the case of its name."""
        exact = self._exact.get(unicodedata.normalize("NFC", place))
        if exact is not None:
            return exact
        found = self._folded.get(portable_name(place), [])
        if len(found) > 1:
            raise LayoutError(
                f"no picture {shown(path)}, and several differ from it in case only: {few(found, _FEW)}; "
                "write the name of the one that is meant"
            )
        return found[0] if found else None

    def _is(self, image: str, place: str) -> bool:
        return self._exact.get(unicodedata.normalize("NFC", place)) == image

    def _why_absent(self, label: str, place: str) -> str:
        if posixpath.splitext(place)[1].lower() not in EXTENSIONS:
            return f"only {', '.join(EXTENSIONS)} are read; imageData in the JSON is not used"
        hint = self._hint(label, posixpath.basename(place))
        return f"there is no such picture; imageData in the JSON is not used{hint}"

    def _hint(self, label: str, name: str) -> str:
        """Which picture may be the one, for a person to decide."""
        if elsewhere := self._named.get(portable_name(name), []):
            return f"; its name is that of {few(elsewhere, _FEW)}"
        own = self._stems.get(posixpath.splitext(label)[0])
        return f"; if it is {posixpath.basename(own)!r} now, write this name into imagePath" if own else ""


def files_below(root: Path, problems: list[Problem]) -> tuple[list[str], dict[str, str]]:
    """Relative paths of the JSON files below a root, and of the pictures by their path as it is compared.

    Hidden files, junk and what this project writes beside images are ignored; links to other folders are problems.

    Args:
        root: the folder.
        problems: receives what cannot be read.

    Raises:
        LayoutError: the root is not a readable folder.
    """
    fault = folder_error(root)
    if fault or not os.path.isdir(root):
        reason = f": {fault}" if fault else ""
        raise LayoutError(
            f"{str(root)!r} is not a folder that can be read{reason}; give the folder of pictures and labels"
        )
    labels: list[str] = []
    images: dict[str, str] = {}
    for relative, entry in _entries(root, problems):
        extension = os.path.splitext(entry.name)[1].lower()
        if extension not in (".json", *EXTENSIONS) or entry.name in NOT_DATA:
            continue
        if entry.kind != "file":
            reason = f"not a regular file: {entry.fault or 'a folder'}"
            problems.append(Problem(printable(relative), reason, extension != ".json"))
        elif printable(relative) != relative:
            problems.append(Problem(printable(relative), UNPRINTABLE, extension != ".json"))
        elif extension == ".json":
            labels.append(relative)
        else:
            images[unicodedata.normalize("NFC", relative)] = relative
    return labels, images


def _entries(root: Path, problems: list[Problem]) -> Iterator[tuple[str, Entry]]:
    """Everything below a root but folders that are read; those that are not are problems."""
    real, waiting = os.path.realpath(root), [""]
    while waiting:
        below = waiting.pop()
        try:
            entries = list_folder(root / below)
        except LayoutError as error:
            problems.append(Problem(printable(below), str(error), True))
            continue
        for entry in entries:
            relative = below + entry.name
            if entry.kind != "folder":
                yield relative, entry
            elif relative == FOREGROUND_FOLDER or _POINT_MASKS.fullmatch(relative):
                continue
            elif not entry.is_link:
                waiting.append(f"{relative}/")
            elif is_inside(real, entry.path):
                reason = "a link to a folder that is read in its own place"
                problems.append(Problem(printable(relative), reason, False))
            else:
                reason = "a link to a folder outside; its pictures are not read: copy them, or give that folder instead"
                problems.append(Problem(printable(relative), reason, True))
