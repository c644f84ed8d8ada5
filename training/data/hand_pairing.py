"""Which picture a label file means: paths of other places and systems, matched with the pictures of a folder."""

import posixpath
import unicodedata
from collections import defaultdict
from collections.abc import Mapping

from acusim.errors import LayoutError, shown
from acusim.files import portable_name
from acusim.pictures import EXTENSIONS
from acusim.tolerances import BESIDE, ELSEWHERE, OTHER_CASE, Change, Recorder, local_path, read_as

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
                f"no picture {shown(path)}, and several in other folders have its name: {_few(named)}; write the path "
                "of the one that is meant"
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
                f"no picture {shown(path)}, and several differ from it in case only: {_few(found)}; write the name of "
                "the one that is meant"
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
            return f"; its name is that of {_few(elsewhere)}"
        own = self._stems.get(posixpath.splitext(label)[0])
        return f"; if it is {posixpath.basename(own)!r} now, write this name into imagePath" if own else ""


def _few(paths: list[str]) -> str:
    return ", ".join(paths[:_FEW]) + (", …" if len(paths) > _FEW else "")
