"""Data sets of keypoints that are not AcuSim's: folders of labelme files, and COCO keypoints.

    ROOT/…/NAME.jpg  ROOT/…/NAME.json                       labelme: a label for each picture, in any folders
    ROOT/annotations/*.json (or ROOT/*.json)  ROOT/…/*.jpg  COCO: labels of all pictures together
    ROOT/masks/…/NAME.png                                   optional, of either: what the picture shows, not 0

File names and labels are kept as they are; nothing is known of a camera, a person or hair.
"""

import posixpath
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from acusim.coco_keypoints import coco_pictures, is_coco
from acusim.dataset import Dataset, Problem, Sample
from acusim.errors import AcuSimError, LabelError, LayoutError
from acusim.files import printable, safe_join, sha256
from acusim.labelled_files import FOREGROUND_FOLDER, Pictures, files_below
from acusim.labelme import LabelmeDocument, check_size, labelme_of, read_label_file
from acusim.layout import scan
from acusim.outlines import Outline
from acusim.photo_decoding import upright_size
from acusim.point_names import unused_name
from acusim.sample_id import PictureId
from acusim.text_files import json_document
from acusim.tolerances import Change, Recorder, clip_points, ignore_change, notes_of

MAX_COCO_BYTES = 1 << 30
"""A COCO file of 100,000 persons has some 250 MB."""
_TRIED = 100
"""If so many JSON files are neither labelme's nor COCO's, the folder is taken for something else."""
Format = Literal["labelme", "COCO keypoints"]


@dataclass(frozen=True, slots=True, eq=False)
class Keypoints:
    """The labelled points of one picture."""

    names: tuple[str, ...]
    """[P] each once."""
    xy: NDArray[np.float64]
    """[P, 2] pixels of the upright picture, from its left and top edge."""
    visible: NDArray[np.bool_]
    """[P] False for points that are labelled, but hidden."""
    outlines: tuple[Outline, ...] = ()
    """What the label itself says of the pixels of what is labelled."""

    @property
    def sha256(self) -> str:
        """Of all of it, hex digits."""
        plain = self.names, self.xy.tolist(), self.visible.tolist(), [outline.plain() for outline in self.outlines]
        return sha256(repr(plain).encode())

    def covered(self, width: int, height: int) -> NDArray[np.bool_] | None:
        """[height, width] the pixels within the outlines; None where there are none.

        Raises:
            LabelError: one is damaged.
        """
        if not self.outlines:
            return None
        out = np.zeros((height, width), bool)
        for outline in self.outlines:
            out |= outline.covered(width, height)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class KeypointPicture:
    """One picture with its points. Paths are relative to the root, with forward slashes."""

    id: PictureId
    size: tuple[int, int]
    """(width, height) in pixels, upright, as the label states it."""
    image: str
    label: str
    own_label: bool
    """Whether the label file is of this picture alone."""
    points: Keypoints
    mask: str | None = None
    """An image of the same size that is not 0 where the picture shows what is labelled; None where there is none."""

    @property
    def sources(self) -> dict[str, str]:
        """Paths of the files that decide what is made of it, by what they are; the image is the "source"."""
        return {"source": self.image, **self.copied, **({"foreground": self.mask} if self.mask else {})}

    @property
    def copied(self) -> dict[str, str]:
        """Paths of the files that accompany the image in another data set, too, by what they are."""
        return {"label": self.label} if self.own_label else {}

    @property
    def annotation_sha256(self) -> str:
        """Of the picture's own part of a label file of many pictures; empty where it has a file of its own."""
        return "" if self.own_label else self.points.sha256


AnySample = Sample | KeypointPicture
"""One image of any data set."""


@dataclass(slots=True)
class KeypointSet:
    """All pictures of a root that can be used, by path, and what is wrong with others."""

    root: Path
    format: Format
    pictures: list[KeypointPicture] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    documents: tuple[str, ...] = ()
    """Files with labels of many pictures."""
    notes: list[str] = field(default_factory=list)


def open_keypoints(root: Path, problems: list[Problem] | None = None) -> KeypointSet | None:
    """The data set of a folder; None if there is neither a labelme nor a COCO file in it.

    Args:
        root: the folder.
        problems: receives what is wrong with its JSON files, also where they are none of both.

    Raises:
        LayoutError: the folder cannot be read.
        LabelError: no COCO file of it is one of keypoints.
    """
    problems = [] if problems is None else problems
    labels, images = files_below(root, problems)
    stems = {_stem(image) for image in images.values()}
    failed: set[str] = set()
    found: dict[str, LabelmeDocument] = {}
    documents: dict[str, Any] = {}
    for label in labels:
        if len(problems) >= _TRIED and not found and not documents:
            return None
        try:
            document = json_document(read_label_file(safe_join(root, label), MAX_COCO_BYTES))
            if is_coco(document):
                documents[label] = document
            else:
                found[label] = labelme_of(document)
        except AcuSimError as error:
            failed.add(_stem(label))
            problems.append(Problem(printable(label), str(error), _stem(label) in stems))
    if found:
        out = KeypointSet(root, "labelme", problems=problems)
        reason = "a COCO file among labelme files: it is not read"
        out.problems += [Problem(printable(label), reason, False) for label in documents]
        _read_labelme(out, found, images, failed)
    elif documents:
        out = KeypointSet(root, "COCO keypoints", problems=problems)
        _read_coco(out, documents, images)
    else:
        return None
    out.pictures.sort(key=lambda picture: picture.image)
    out.problems.sort(key=lambda problem: problem.path)
    return out


def _stem(path: str) -> str:
    return path.rpartition(".")[0]


def open_any(root: Path, size: int | None = None) -> Dataset | KeypointSet:
    """The data set of a root: AcuSim's, else labelme's or COCO's.

    Args:
        root: the folder.
        size: of AcuSim's images; see layout.scan.

    Raises:
        LayoutError: it is none of them.
        LabelError: no COCO file of it is one of keypoints.
    """
    if root.is_file():
        raise LayoutError(f"{str(root)!r} is a file; give the folder of the pictures and labels")
    try:
        return scan(root, size)
    except LayoutError as error:
        problems: list[Problem] = []
        found = open_keypoints(root.resolve(), problems) if root.is_dir() else None
        if found is None:
            tried = f", such as {problems[0].path}: {problems[0].reason}" if problems else ""
            raise LayoutError(f"{error}; nor does it hold labelme or COCO files{tried}") from None
        return found


class _Masks:
    """The masks of a root."""

    def __init__(self, root: Path, images: Iterable[str]):
        self._root = root
        self._any = (root / FOREGROUND_FOLDER).is_dir()
        self._stems = Counter(_stem(image) for image in images)

    def of(self, image: str) -> str | None:
        """The mask of an image, relative to the root: by its whole name, or by its stem if no other image has it."""
        names = [image, *([_stem(image)] if self._stems[_stem(image)] < 2 else [])]
        for name in (f"{FOREGROUND_FOLDER}/{name}{extension}" for name in names for extension in (".png", ".PNG")):
            if self._any and safe_join(self._root, name).is_file():
                return name
        return None


def _read_labelme(
    out: KeypointSet, found: dict[str, LabelmeDocument], images: dict[str, str], failed: set[str]
) -> None:
    """Pairs labels and pictures; those whose label was not read, by its stem, are known to have failed."""
    pictures, masks = Pictures(images), _Masks(out.root, images.values())
    changes: list[Change] = []
    by_image: dict[str, list[str]] = defaultdict(list)
    for label, file in found.items():
        try:
            by_image[pictures.of_label(label, file.image_path, changes.append)].append(label)
        except AcuSimError as error:
            failed.add(_stem(label))
            out.problems.append(Problem(printable(label), str(error), True))
    for image, labels in by_image.items():
        try:
            if len(labels) > 1:
                raise LabelError(f"several label files name this picture: {', '.join(map(printable, labels))}")
            file, path = found[labels[0]], safe_join(out.root, image)
            size = file.size or upright_size(path)
            try:
                points = _labelme_points(file, size, printable(image), changes.append)
            except LabelError:
                check_size(file.size, upright_size(path))  # of another picture: its points are not at fault
                raise
            picture = KeypointPicture(PictureId(image), size, image, labels[0], True, points, masks.of(image))
        except AcuSimError as error:
            out.problems.append(Problem(printable(image), str(error), True))
        else:
            out.pictures.append(picture)
    for image in images.values():
        if image not in by_image and _stem(image) not in failed:
            out.problems.append(Problem(printable(image), "no label file names this picture", True))
    out.notes += notes_of(changes)
    if copies := sum(file.holds_picture for file in found.values()):
        out.notes.append(
            f"{copies} label files hold a copy of their picture (imageData), which labelme shows instead of the new one"
        )


def _labelme_points(file: LabelmeDocument, size: tuple[int, int], image: str, record: Recorder) -> Keypoints:
    points = [shape for shape in file.shapes if shape.kind == "point"]
    labels = {shape.label for shape in points}
    names: dict[str, tuple[float, float]] = {}
    for shape in points:
        name = (
            shape.label if shape.label and shape.label not in names else unused_name(shape.label, labels | names.keys())
        )
        names[unused_name(name, names)] = shape.position()
    xy, fault = clip_points(np.array([*names.values()], np.float64).reshape(-1, 2), size, [*names], image, record)
    if fault:
        raise LabelError(f"point {fault}; move it in labelme")
    outlines = tuple(shape for shape in file.shapes if shape.is_area)
    return Keypoints(tuple(names), xy, np.ones(len(names), bool), outlines)


def _read_coco(out: KeypointSet, documents: dict[str, Any], images: dict[str, str]) -> None:
    masks, changes = _Masks(out.root, images.values()), list[Change]()
    labelled: dict[str, list[KeypointPicture]] = defaultdict(list)
    named: set[str] = set()
    for label, document in documents.items():
        entries = coco_pictures(document, out.problems, changes.append)
        if entries is None:  # such as captions
            out.problems.append(Problem(printable(label), "no category of it has keypoints: it is not read", False))
            continue
        out.documents += (label,)
        place = _CocoPlace(label, images)
        for entry in entries:
            try:
                image = place.picture(entry.path)
                named.add(image)
                if entry.fault:
                    raise LabelError(entry.fault)
                points = Keypoints(
                    tuple(entry.names),
                    np.array(entry.xy, np.float64).reshape(-1, 2),
                    np.array(entry.visible, bool),
                    tuple(entry.outlines),
                )
                picture = KeypointPicture(PictureId(image), entry.size, image, label, False, points, masks.of(image))
            except AcuSimError as error:
                out.problems.append(Problem(printable(entry.path), entry.fault or str(error), True))
            else:
                labelled[image].append(picture)
    if not out.documents:
        raise LabelError(f"no COCO file below {str(out.root)!r} has a category with keypoints")
    empty = 0
    for image, found in labelled.items():
        if len({picture.annotation_sha256 for picture in found}) > 1:
            places = " and ".join(dict.fromkeys(printable(picture.label) for picture in found))
            out.problems.append(Problem(printable(image), f"it is labelled several times, differently: {places}", True))
        elif found[0].points.names:
            out.pictures.append(found[0])
        else:
            empty += 1
    out.notes += notes_of(changes)
    if empty:
        out.notes.append(f"{empty} pictures have no labelled keypoint and are left out")
    if unknown := len(images) - len(named):
        out.notes.append(f"{unknown} pictures are in no COCO file and are left out")


class _CocoPlace:
    """Where the pictures of a COCO file are: in its own folder or below it, else in the nearest one above with any."""

    def __init__(self, label: str, images: dict[str, str]):
        self._base = posixpath.dirname(label)
        while self._base and not any(image.startswith(f"{self._base}/") for image in images.values()):
            self._base = posixpath.dirname(self._base)
        inside = {key: image for key, image in images.items() if not self._base or image.startswith(f"{self._base}/")}
        self._pictures, self._inside = Pictures(inside), frozenset(inside.values())

    def picture(self, path: str) -> str:
        """The picture of a file_name, relative to the root: at that path, in images/, or the only one of that name.

        Raises:
            LabelError: there is none.
            LayoutError: several are possible.
        """
        for place in (posixpath.join(self._base, path), posixpath.join(self._base, "images", path)):
            if place in self._inside:
                return place
        image = self._pictures.of_item(path, ignore_change)  # most name files without their folder
        if image not in self._inside:
            raise LabelError(f"there is no such picture in {repr(self._base) if self._base else 'the data set'}")
        return image
