"""Reads hand acupoints from labelme files, version 4 or 5: one JSON beside each picture.

    {"version": "5.5.0", "flags": {}, "shapes": [{"label": "2", "points": [[x, y]], "shape_type": "point", …}, …],
     "imagePath": "S0003_L_back_0012.png", "imageData": null, "imageHeight": 512, "imageWidth": 384}

Coordinates are pixels from the upper left corner of the picture **as labelme shows it**, that is, turned upright by its
EXIF orientation; sizes in the file are those of the upright picture. imageData is not used.

No file stops the reading: what cannot be used becomes a Problem with its reason.
"""

import os
import posixpath
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, LabelError, LayoutError, shown
from acusim.files import is_inside, printable, safe_join
from acusim.folders import Entry, folder_error, list_folder
from acusim.layout import UNPRINTABLE, Problem
from acusim.pictures import EXTENSIONS, read_file
from acusim.text_files import json_of, looks_like
from acusim.tolerances import Change, Recorder, clip_points, ignore_change, whole_number
from training.data.hand_pairing import Pictures
from training.data.photographs import Photograph, read_photograph
from training.io.hidden_points import hidden_positions
from training.tasks.hand_points import HandPoints

MAX_LABEL_BYTES = 128 << 20
"""labelme may store the whole picture in the JSON, a third larger than its file."""
OTHER_FILES = ("synthetic.json",)
"""JSON files beside pictures that are not labels."""
THUMBNAIL = 32


@dataclass(frozen=True, slots=True, eq=False)
class LabelmeFile:
    """The used content of a labelme file."""

    xy: NDArray[np.float64]
    """[P, 2] pixels, NaN where the point is missing."""
    image_path: str
    """As in the file; untrusted."""
    size: tuple[int, int] | None
    """(width, height) the file gives, None if it gives none."""
    flags: dict[str, bool]
    """Those that are true or false."""
    other_labels: tuple[str, ...]
    """Labels of shapes that the mapping does not name."""
    hidden: NDArray[np.float64] | None = None
    """[P, 2] pixels of points that are not visible, see hidden_points; None for files that cannot have any."""

    @property
    def present(self) -> NDArray[np.bool_]:
        """[P] True where the file has the point."""
        return ~np.isnan(self.xy[:, 0])


@dataclass(frozen=True, slots=True, eq=False)
class LabelledHand:
    """A picture and its points, both checked."""

    image: str
    """Relative to the root, with forward slashes."""
    label: str
    size: tuple[int, int]
    """(width, height) in pixels, upright."""
    xy: NDArray[np.float64]
    """[P, 2] pixels of the upright picture, NaN where the point is missing."""
    flags: dict[str, bool]
    thumbnail: NDArray[np.uint8]
    """[32, 32] grey; finds copies."""
    notes: tuple[str, ...]
    """Conversions that the picture needed."""
    hidden: NDArray[np.float64] | None = None
    """[P, 2] as in LabelmeFile; not necessarily in the picture."""


@dataclass(slots=True)
class LabelmeFolder:
    """The content of a root folder, in a fixed order."""

    root: Path
    hands: list[LabelledHand] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    other_labels: Counter[str] = field(default_factory=Counter)
    """Count of each label that the mapping does not name."""
    changes: list[Change] = field(default_factory=list)
    """Deviations that were tolerated."""


def parse_labelme(data: bytes, points: HandPoints) -> LabelmeFile:
    """Reads the content of a labelme file.

    Raises:
        LabelError: not JSON, not labelme's, a point twice or not a point, or an invalid number.
    """
    try:
        document = json_of(data)
    except ValueError as error:
        raise LabelError(f"not a JSON file: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise LabelError('no list "shapes" at the top: this is not a labelme file' + looks_like(document))
    path = document.get("imagePath")
    if not isinstance(path, str) or not path.strip():
        raise LabelError(f"imagePath is {shown(path)}; expected the name of the picture")
    xy = np.full((len(points), 2), np.nan)
    others: list[str] = []
    for place, shape in enumerate(document["shapes"]):
        label = shape.get("label") if isinstance(shape, dict) else None
        if (number := whole_number(label)) is not None:
            label = str(number)
        if not isinstance(shape, dict) or not isinstance(label, str):
            raise LabelError(f"shape {place} has no label")
        index = points.index_of(label)
        if index is None:
            others.append(label)
            continue
        if not np.isnan(xy[index, 0]):
            raise LabelError(f"point {label!r} ({points.ids[index]}) occurs twice; delete one of them in labelme")
        xy[index] = _position(shape, label)
    flags = document.get("flags")
    flags = {k: v for k, v in flags.items() if isinstance(v, bool)} if isinstance(flags, dict) else {}
    hidden = np.where(np.isnan(xy), hidden_positions(document, points), np.nan)
    return LabelmeFile(xy, path, _size(document), flags, tuple(others), hidden)


def _position(shape: dict[str, Any], label: str) -> tuple[float, float]:
    kind, places = shape.get("shape_type", "point"), shape.get("points")
    if kind != "point":
        raise LabelError(f"{label!r} is a {shown(kind)}; expected a point: draw it again with labelme's Create Point")
    if not isinstance(places, list) or len(places) != 1 or not isinstance(places[0], list) or len(places[0]) != 2:
        raise LabelError(f"point {label!r} has the coordinates {shown(places)}; expected one pair [[x, y]]")
    for value in places[0]:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e6:  # also true of NaN
            raise LabelError(f"point {label!r}: {shown(value)} is not a coordinate in pixels")
    return float(places[0][0]), float(places[0][1])


def _size(document: dict[str, Any]) -> tuple[int, int] | None:
    values = [document.get("imageWidth"), document.get("imageHeight")]
    if values[0] is None and values[1] is None:
        return None
    width, height = map(whole_number, values)
    if width is None or height is None or min(width, height) < 1:
        raise LabelError(
            f"imageWidth x imageHeight is {shown(values[0])} x {shown(values[1])}; expected two sizes > 0, which are "
            "whole numbers"
        )
    return width, height


def read_labelme(path: Path, points: HandPoints) -> LabelmeFile:
    """Reads a labelme file.

    Raises:
        LabelError: as parse_labelme, or the file cannot be read; names the file.
    """
    try:
        if not path.is_file():
            raise LabelError("not a regular file")
        if path.stat().st_size > MAX_LABEL_BYTES:
            raise LabelError(f"larger than {MAX_LABEL_BYTES >> 20} MiB: not a label file")
        return parse_labelme(path.read_bytes(), points)
    except OSError as error:
        raise LabelError(f"label {path.name!r}: {error.strerror or error}") from None
    except LabelError as error:
        raise LabelError(f"label {path.name!r}: {error}") from None


def check_position(
    file: LabelmeFile, size: tuple[int, int], points: HandPoints, image: str = "", record: Recorder = ignore_change
) -> NDArray[np.float64]:
    """A file's points [P, 2] in its picture of (width, height), upright; those just outside are moved to its edge.

    Args:
        file: its size is compared with that of the picture.
        size: in pixels.
        points: the mapping.
        image: the picture, for notes.
        record: called with each point that was moved.

    Raises:
        LabelError: names the wrong number.
    """
    width, height = size
    if file.size is not None and file.size != size:
        turned = "; it seems to be labelled without its EXIF turn" if file.size == (height, width) else ""
        raise LabelError(
            f"the file is for a picture of {file.size[0]} x {file.size[1]}, this one is {width} x {height}{turned}; "
            "label this picture, or restore the one that was labelled"
        )
    xy, fault = clip_points(file.xy, size, points.ids, image, record)
    if fault:
        raise LabelError(f"point {fault}; move it in labelme")
    return xy


def scan_labelme(
    root: Path, points: HandPoints, progress: Callable[[int, int], None] = lambda *_: None
) -> LabelmeFolder:
    """Reads all labelme files below a root, decodes each picture once, and pairs them by imagePath.

    Args:
        root: folder with pictures and labels, also in folders below it. Hidden and junk files are ignored, links
            to other folders are problems.
        points: the mapping.
        progress: called with how many pictures are done, and of how many.

    Raises:
        LayoutError: the root is not a readable folder.
    """
    out = LabelmeFolder(root)
    labels, images = _files(root, out.problems)
    pictures = Pictures(images)
    found: dict[str, list[tuple[str, LabelmeFile]]] = defaultdict(list)
    stems = {posixpath.splitext(image)[0] for image in images.values()}
    failed: set[str] = set()
    for label in labels:
        stem = posixpath.splitext(label)[0]
        try:
            file = read_labelme(safe_join(root, label), points)
            image = pictures.of_label(label, file.image_path, out.changes.append)
            safe_join(root, image)
            found[image].append((label, file))
        except AcuSimError as error:
            failed.add(stem)
            out.problems.append(Problem(printable(label), str(error), stem in stems))
    for number, (image, files) in enumerate(sorted(found.items())):
        progress(number, len(found))
        if len(files) > 1:
            names = ", ".join(printable(label) for label, _ in files)
            out.problems.append(Problem(printable(image), f"several label files name this picture: {names}", True))
            continue
        label, file = files[0]
        try:
            photograph = read_picture(root, image)
            size = photograph.size_px
            moved: list[Change] = []
            xy = check_position(file, size, points, printable(image), moved.append)
        except AcuSimError as error:
            out.problems.append(Problem(printable(image), str(error), True))
            continue
        out.other_labels.update(file.other_labels)
        out.changes += moved
        small = _thumbnail(photograph)
        out.hands.append(LabelledHand(image, label, size, xy, file.flags, small, photograph.notes, file.hidden))
    for image in images.values():
        if image not in found and posixpath.splitext(image)[0] not in failed:
            out.problems.append(Problem(printable(image), "no label file names this picture", True))
    out.problems.sort(key=lambda problem: problem.path)
    return out


def read_picture(root: Path, image: str) -> Photograph:
    """A picture below a root, upright.

    Raises:
        PictureError: it cannot be read safely.
        LayoutError: the path leads out of the root.
    """
    path = safe_join(root, image)
    return read_photograph(read_file(path), path.name)


def pictures_below(root: Path) -> Pictures:
    """The pictures below a root; none where there is no such folder.

    Raises:
        LayoutError: a folder cannot be read.
    """
    return Pictures(_files(root, [])[1] if root.is_dir() else {})


def _files(root: Path, problems: list[Problem]) -> tuple[list[str], dict[str, str]]:
    """Relative paths of the JSON files, and of the pictures by their path as it is compared."""
    fault = folder_error(root)
    if fault or not os.path.isdir(root):
        reason = f": {fault}" if fault else ""
        raise LayoutError(
            f"{str(root)!r} is not a folder that can be read{reason}; give the folder of the labelme files"
        )
    labels: list[str] = []
    images: dict[str, str] = {}
    for relative, entry in _entries(root, problems):
        extension = os.path.splitext(entry.name)[1].lower()
        if extension not in (".json", *EXTENSIONS) or entry.name in OTHER_FILES:
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
            elif not entry.is_link:
                waiting.append(f"{relative}/")
            elif is_inside(real, entry.path):
                reason = "a link to a folder that is read in its own place"
                problems.append(Problem(printable(relative), reason, False))
            else:
                reason = "a link to a folder outside; its pictures are not read: copy them, or give that folder instead"
                problems.append(Problem(printable(relative), reason, True))


def _thumbnail(photograph: Photograph) -> NDArray[np.uint8]:
    import cv2

    grey = cv2.cvtColor(photograph.pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)
