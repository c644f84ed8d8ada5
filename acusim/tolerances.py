"""One table of tolerances: how far files of labels and settings may deviate from their format and are still read.

A file from another program is read as it was certainly meant, within the limits of this table, and changes and
omissions are noted. Anything beyond a limit is refused with its value. The readers are acusim/labels.py,
training/io/labelme.py, training/io/coco.py and acusim/text_files.py; docs/results/tolerances.md is this table.

Only reading is tolerant: a copied label keeps its bytes.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import few, shown
from acusim.markdown import table

OUTSIDE = 0.01
"""How far outside a point may be, as a share of the image's side."""
_ROUNDING = 1e-9
_EXAMPLES = 5
LAID_OUT = re.compile(r"(?:^|/)((?!\.\./)[^/]+/image/img_[0-9]+/[^/]+)$")
"""The end of a path in AcuSim's layout, from its split on."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One row: a way in which files deviate from their format."""

    what: str
    formats: str
    """Where it is accepted."""
    becomes: str
    """How it is read."""
    limit: str
    """What is refused."""
    note: str = ""
    """The note about it; empty where nothing is changed."""


ENCODING = Tolerance(
    "a byte-order mark; UTF-16 or UTF-32",
    "all JSON and TOML, `map.txt`",
    "read like UTF-8",
    "any other encoding is refused with the line, the byte, and the encoding that it may be",
)
REPEATED_KEY = Tolerance(
    "a key twice in one JSON object with the same value",
    "all JSON",
    "read once",
    "two values are refused; in TOML any repetition is",
)
WHOLE_FLOAT = Tolerance(
    "whole numbers written as floats: `96.0`",
    "sizes of labelme and COCO, ids of COCO, labels of labelme",
    "the whole number",
    '`96.5`, NaN, numbers below 1 and texts such as `"96"` are not sizes',
)
TEXT_ID = Tolerance(
    "ids that are texts",
    "COCO",
    "a text of digits is that number, any other is compared unchanged",
    "an image without an id, or whose id is given twice, is skipped",
)
OUTSIDE_AS_RELEASED = Tolerance(
    "points up to 1 % of the side outside the picture",
    "AcuSim labels, also as COCO with `acusim` numbers",
    "kept: the released files list points up to 0.15 % outside, where half of a mark is still in view",
    "more is refused with the value",
)
OUTSIDE_CLIPPED = Tolerance(
    "points up to 1 % of the side outside the picture",
    "labelme, COCO",
    "moved to the picture's edge",
    "more is refused with the place, by how much, and the limit",
    "points just outside the picture were moved to its edge",
)
BACKSLASH = Tolerance(
    "backslashes and sub-folders in `imagePath` and `file_name`",
    "labelme, COCO",
    "a path with forward slashes, below the label's folder or the data set's root",
    "see the next row",
)
ELSEWHERE = Tolerance(
    "a path to another place: absolute, with a drive or a server, or upwards (`..`)",
    "labelme, COCO",
    "never followed: only its file name counts. A labelme file uses the picture of that name beside it; a COCO "
    "`file_name` keeps `<split>/image/img_<size>/` before the name",
    "no such picture beside the label; in COCO, a name that is not a PNG or JPEG, or that two such paths with "
    "different labels share",
    "paths to another place were read as the file names they end with",
)
BESIDE = Tolerance(
    "a path that leads to no picture, where one of that name is beside the label (labelme), or exactly one below "
    "the root (COCO)",
    "labelme, `coco import --kind hand`",
    "that picture is used; `coco import` writes the label beside it",
    "a picture of another name is never used",
    "paths led to no picture; the one of that name beside the label, or below the root, was used",
)
OTHER_CASE = Tolerance(
    "a file name in another case: `a.JPG` for `a.jpg`",
    "AcuSim folders (extensions), labelme, `coco import --kind hand`",
    "the existing picture",
    "where several differ in case only, one must match exactly",
    "file names were matched without regard to case",
)
CROWD = Tolerance(
    "an annotation with `iscrowd` 1, also with an RLE segmentation, beside another",
    "COCO",
    "omitted",
    "alone, it causes its picture to be skipped",
    "annotations of crowds were omitted",
)
EMPTY = Tolerance(
    "an annotation without keypoints, or with all v = 0, beside another",
    "COCO",
    "omitted",
    "alone, all v = 0 is a picture without visible points; a picture without any keypoints is skipped",
    "annotations without a labelled keypoint were omitted",
)
FLAT = Tolerance(
    "an annotation with a bbox or an area of zero beside a valid one",
    "COCO",
    "omitted",
    "alone, it counts: keypoints do not need a box",
    "annotations with an area of zero were omitted",
)
OTHER_CATEGORY = Tolerance(
    "annotations of other categories",
    "COCO",
    "omitted",
    "a picture without any annotation of the category is skipped",
    "annotations of other categories were omitted",
)
SAME_IMAGE = Tolerance(
    "several images with one `file_name` and the same labels",
    "COCO",
    "read once",
    "with different labels they are skipped",
    "images were listed several times",
)
UNLABELLED = Tolerance(
    "null, NaN or anything else as x and y of a keypoint with v = 0",
    "COCO",
    "ignored",
    "v itself must be 0, 1 or 2",
)
NUM_KEYPOINTS = Tolerance(
    "a wrong `num_keypoints`",
    "COCO",
    "counted again",
    "none: the number is not used",
    "num_keypoints was wrong and was counted again",
)
CATEGORY_NAME = Tolerance(
    "another name of the category, if it is the only one with keypoints",
    "COCO",
    "used as the one that is read",
    "several of other names are refused with their names",
    "the category has another name",
)
KEYPOINT_NAME = Tolerance(
    "keypoints in another case or Unicode form, or by another name of `points.toml`: `li4`, `合谷`",
    "COCO",
    "the keypoint meant",
    "any other name is refused with the nearest",
    "keypoints have other names",
)
TABLE = tuple(value for value in list(globals().values()) if isinstance(value, Tolerance))
"""Every row above, in their order."""


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was read differently from what the file contains, or omitted."""

    tolerance: Tolerance
    path: str
    """The image or label; printable."""
    detail: str = ""
    """What the file contains, and how it was read."""

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.detail else self.path


Recorder = Callable[[Change], None]
"""Called with each change."""


def ignore_change(_: Change) -> None:
    """A Recorder for callers that show no notes."""


def notes_of(changes: Iterable[Change]) -> list[str]:
    """A sentence for each kind of change, with their number and the first of them."""
    by_kind: dict[Tolerance, list[Change]] = {}
    for change in changes:
        by_kind.setdefault(change.tolerance, []).append(change)
    notes: list[str] = []
    for tolerance in TABLE:
        if found := by_kind.get(tolerance):
            notes.append(f"{tolerance.note} ({len(found)}): {few(found, _EXAMPLES, '; ')}")
    return notes


def as_markdown() -> str:
    """The table as docs/results/tolerances.md shows it."""
    rows = ((row.what, row.formats, row.becomes, row.limit, row.note or "none") for row in TABLE)
    return table(("what", "in", "is read as", "limit", "note"), rows)


def whole_number(value: Any) -> int | None:
    """A whole number, also one written as a float; None for anything else."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def comparable_id(value: Any) -> int | str | None:
    """An id for comparison: a whole number, also one written as a float or in digits, or a text; else None."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text or None
    return whole_number(value)


def _outside_share(xy: NDArray[np.float64], size: tuple[float, float]) -> NDArray[np.float64]:
    """How far points [..., 2] are outside an image of (width, height), as a share of its side; 0 inside."""
    sides = np.array(size, np.float64)
    return (np.maximum(-xy, xy - sides) / sides).max(-1).clip(0)


def clip_points(
    xy: NDArray[np.float64], size: tuple[int, int], names: Sequence[str], path: str, record: Recorder
) -> tuple[NDArray[np.float64], str]:
    """Points [N, 2] of an image of (width, height), those just outside moved to its edge.

    Args:
        xy: pixels; NaN where a point is missing.
        size: width and height in pixels.
        names: [N] of the points, for messages.
        path: of the image or label, for notes.
        record: called with each moved point.

    Returns:
        The points; and what is wrong with the first that is too far outside, empty where none is.
    """
    moved = xy.clip(0, size)  # NaN stays
    shares = _outside_share(xy, size)
    for index in np.flatnonzero(shares > 0):
        place = f"{names[index]} at ({xy[index, 0]:g}, {xy[index, 1]:g})"
        if shares[index] > OUTSIDE + _ROUNDING:
            return xy, (
                f"{place} is outside the picture of {size[0]} x {size[1]}, by {100 * shares[index]:.3g} % of the side; "
                f"up to {100 * OUTSIDE:g} % is moved to the edge"
            )
        record(Change(OUTSIDE_CLIPPED, path, f"{place} to ({moved[index, 0]:g}, {moved[index, 1]:g})"))
    return moved, ""


def local_path(path: str, folder: str = "") -> tuple[str, bool]:
    """A path from a file, as one below a root.

    Args:
        path: untrusted, of any operating system.
        folder: below the root, to which the path is relative.

    Returns:
        The path below the root, with forward slashes and without a dot-dot; and whether it led to another place,
        so that only its end is left: the file name, or AcuSim's ``<split>/image/img_<size>/<name>``. Empty where
        nothing is left.
    """
    plain = path.replace("\\", "/")
    drive = re.match(r"[A-Za-z]:", plain)
    tidy = posixpath.normpath(posixpath.join(folder, plain[2:] if drive else plain))
    if not drive and "://" not in plain and not tidy.startswith(("/", "../")) and tidy != "..":
        return ("" if tidy == "." else tidy), False
    laid_out = LAID_OUT.search(tidy)
    end = laid_out[1] if laid_out else posixpath.basename(tidy)
    return ("" if end in (".", "..") else end), True


def read_as(found: object, result: str) -> str:
    """What a file contains and how it was read, for a note."""
    return f"{shown(found)} as {shown(result)}"


def normalized_name(name: str) -> str:
    """A name for comparison: one Unicode form, without case and outer blanks."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
