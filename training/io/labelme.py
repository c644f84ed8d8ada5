"""Reads hand acupoints from labelme files: which of their points are the mapping's, and where in the picture they are.

No file stops the reading: what cannot be used becomes a Problem with its reason.
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, LabelError
from acusim.files import printable, safe_join
from acusim.labelled_files import Pictures, files_below
from acusim.labelme import check_size, parse_document, read_label_file
from acusim.layout import Problem
from acusim.pictures import read_file
from acusim.tolerances import Change, Recorder, clip_points, ignore_change
from training.data.photographs import Photograph, read_photograph
from training.io.hidden_points import hidden_positions
from training.tasks.hand_points import HandPoints

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
    file = parse_document(data)
    xy = np.full((len(points), 2), np.nan)
    others: list[str] = []
    for shape in file.shapes:
        index = points.index_of(shape.label)
        if index is None:
            others.append(shape.label)
            continue
        if not np.isnan(xy[index, 0]):
            raise LabelError(f"point {shape.label!r} ({points.ids[index]}) occurs twice; delete one of them in labelme")
        xy[index] = shape.position()
    hidden = np.where(np.isnan(xy), hidden_positions(file.document, points), np.nan)
    return LabelmeFile(xy, file.image_path, file.size, file.flags, tuple(others), hidden)


def read_labelme(path: Path, points: HandPoints) -> LabelmeFile:
    """Reads a labelme file.

    Raises:
        LabelError: as parse_labelme, or the file cannot be read; names the file.
    """
    try:
        return parse_labelme(read_label_file(path), points)
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
    check_size(file.size, size)
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
    labels, images = files_below(root, out.problems)
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


def _thumbnail(photograph: Photograph) -> NDArray[np.uint8]:
    import cv2

    grey = cv2.cvtColor(photograph.pixels, cv2.COLOR_RGB2GRAY)
    return np.asarray(cv2.resize(grey, (THUMBNAIL, THUMBNAIL), interpolation=cv2.INTER_AREA), np.uint8)


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
    return Pictures(files_below(root, [])[1] if root.is_dir() else {})
