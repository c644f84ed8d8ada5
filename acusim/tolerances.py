"""One table of tolerances: how far files of labels and settings may stray from their format and are still read.

A file that another program wrote is read as it was surely meant, within the limits of this table, and what was changed
or left out is noted. What lies beyond a limit is refused with its value. The readers are acusim/labels.py,
training/io/labelme.py, training/io/coco.py and acusim/text_files.py; docs/tolerances.md is this table.

Only reading is tolerant: a label that is copied keeps its bytes.
"""

import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import shown

OUTSIDE = 0.01
"""How far outside a point may lie, as a share of the picture's side."""
_ROUNDING = 1e-9
_EXAMPLES = 5
LAID_OUT = re.compile(r"(?:^|/)((?!\.\./)[^/]+/image/img_[0-9]+/[^/]+)$")
"""The end of a path in AcuSim's layout, from its split on."""


@dataclass(frozen=True, slots=True)
class Tolerance:
    """One row: a way in which files stray from their format."""

    what: str
    formats: str
    """Where it is accepted."""
    becomes: str
    """What is made of it."""
    limit: str
    """What is refused, and how."""
    note: str = ""
    """What is said of it; empty where nothing was changed, so that there is nothing to say."""


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
    '`96.5`, NaN, numbers below 1 and texts such as `"96"` are no sizes',
)
TEXT_ID = Tolerance(
    "ids that are texts",
    "COCO",
    "a text of digits is that number, any other is compared as it stands",
    "an image without an id, or whose id is given twice, is set aside",
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
    "a path of another place: absolute, with a drive or a server, or upwards (`..`)",
    "labelme, COCO",
    "never followed: its file name counts. A labelme file takes the picture of that name beside it; a COCO `file_name` "
    "keeps `<split>/image/img_<size>/` before the name",
    "no such picture beside the label; in COCO, a name that is no PNG or JPEG, or that two such paths with "
    "different labels share",
    "paths of another place were read as the file names they end with",
)
BESIDE = Tolerance(
    "a path that leads to no picture, where one of that name lies beside the label (labelme), or just one below the "
    "root (COCO)",
    "labelme, `coco import --kind hand`",
    "that picture is taken; `coco import` writes the label beside it",
    "a picture of another name is never taken",
    "paths led to no picture; the one of that name beside the label, or below the root, was taken",
)
OTHER_CASE = Tolerance(
    "a file name in another case: `a.JPG` for `a.jpg`",
    "AcuSim folders (extensions), labelme, `coco import --kind hand`",
    "the picture that is there",
    "where several differ in case only, one must match exactly",
    "file names were matched without regard to case",
)
CROWD = Tolerance(
    "an annotation with `iscrowd` 1, also with an RLE segmentation, beside another",
    "COCO",
    "left out",
    "alone, it sets its picture aside",
    "annotations of crowds were left out",
)
EMPTY = Tolerance(
    "an annotation without keypoints, or with all v = 0, beside another",
    "COCO",
    "left out",
    "alone, all v = 0 is a picture without visible points; no keypoints at all set the picture aside",
    "annotations without a labelled keypoint were left out",
)
FLAT = Tolerance(
    "an annotation with a bbox or an area of zero beside a good one",
    "COCO",
    "left out",
    "alone, it counts: keypoints do not need a box",
    "annotations with an area of zero were left out",
)
OTHER_CATEGORY = Tolerance(
    "annotations of other categories",
    "COCO",
    "left out",
    "a picture without any annotation of the category is set aside",
    "annotations of other categories were left out",
)
SAME_IMAGE = Tolerance(
    "several images with one `file_name` and the same labels",
    "COCO",
    "taken once",
    "with different labels they are set aside",
    "images were listed several times",
)
UNLABELLED = Tolerance(
    "null, NaN or anything else as x and y of a keypoint with v = 0",
    "COCO",
    "not looked at",
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
    "taken as the one that is read",
    "several of other names are refused with their names",
    "the category has another name",
)
KEYPOINT_NAME = Tolerance(
    "keypoints in another case or Unicode form, or by another name of `points.toml`: `li4`, `合谷`",
    "COCO",
    "the keypoint that is meant",
    "any other name is refused with the nearest",
    "keypoints have other names",
)
TABLE = (
    ENCODING,
    REPEATED_KEY,
    WHOLE_FLOAT,
    TEXT_ID,
    OUTSIDE_AS_RELEASED,
    OUTSIDE_CLIPPED,
    BACKSLASH,
    ELSEWHERE,
    BESIDE,
    OTHER_CASE,
    CROWD,
    EMPTY,
    FLAT,
    OTHER_CATEGORY,
    SAME_IMAGE,
    UNLABELLED,
    NUM_KEYPOINTS,
    CATEGORY_NAME,
    KEYPOINT_NAME,
)


@dataclass(frozen=True, slots=True)
class Change:
    """Something that was read otherwise than it stands, or left out."""

    tolerance: Tolerance
    path: str
    """Where it stands: a picture or a label; printable."""
    detail: str = ""
    """What stands there, and what was made of it."""

    def __str__(self) -> str:
        return f"{self.path}: {self.detail}" if self.detail else self.path


Recorder = Callable[[Change], None]
"""Told of each change, as it is made."""


def unrecorded(_: Change) -> None:
    """A Recorder for callers that show no notes."""


def notes_of(changes: Iterable[Change]) -> list[str]:
    """A sentence for each kind of change, with their number and the first of them."""
    by_kind: dict[Tolerance, list[Change]] = {}
    for change in changes:
        by_kind.setdefault(change.tolerance, []).append(change)
    notes: list[str] = []
    for tolerance in TABLE:
        if found := by_kind.get(tolerance):
            rest = f"; and {len(found) - _EXAMPLES} more" if len(found) > _EXAMPLES else ""
            notes.append(f"{tolerance.note} ({len(found)}): {'; '.join(map(str, found[:_EXAMPLES]))}{rest}")
    return notes


def as_markdown() -> str:
    """The table as docs/tolerances.md shows it."""
    cells = (("what", "in", "is read as", "limit", "note"), ("---",) * 5)
    rows = ((row.what, row.formats, row.becomes, row.limit, row.note or "none") for row in TABLE)
    return "".join(f"| {' | '.join(row)} |\n" for row in (*cells, *rows))


def whole(value: Any) -> int | None:
    """A whole number, also one written as a float; None for all else."""
    if type(value) is float and value.is_integer():
        return int(value)
    return value if type(value) is int else None


def identity(value: Any) -> int | str | None:
    """An id as it is compared: a whole number, also one written as a float or in digits, or a text; else None."""
    if isinstance(value, str):
        text = value.strip()
        return int(text) if re.fullmatch(r"[0-9]{1,18}", text) else text or None
    return whole(value)


def overshoot(xy: NDArray[np.float64], size: tuple[float, float]) -> NDArray[np.float64]:
    """How far points [..., 2] lie outside a picture of (width, height), as a share of its side; 0 inside."""
    sides = np.array(size, np.float64)
    return (np.maximum(-xy, xy - sides) / sides).max(-1).clip(0)


def clipped(
    xy: NDArray[np.float64], size: tuple[int, int], names: Sequence[str], path: str, record: Recorder
) -> tuple[NDArray[np.float64], str]:
    """Points [N, 2] of a picture of (width, height), those just outside moved to its edge.

    Args:
        xy: pixels; NaN where a point is missing.
        size: width and height in pixels.
        names: [N] of the points, for messages.
        path: of the picture or label, for notes.
        record: told of each point that was moved.

    Returns:
        The points; and what is wrong with the first that lies too far outside, empty where none does.
    """
    moved = xy.clip(0, size)  # NaN stays
    shares = overshoot(xy, size)
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
        path: untrusted, of any system.
        folder: that the path counts from, below the root.

    Returns:
        The path below the root, with forward slashes and without a dot-dot; and whether it was one of another place,
        of which only the end is left: the file name, or AcuSim's ``<split>/image/img_<size>/<name>``. Empty where
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


def told(there: object, made: str) -> str:
    """What stands in a file and what it was read as, for a note."""
    return f"{shown(there)} as {shown(made)}"


def folded(name: str) -> str:
    """A name as it is compared: one Unicode form, without case and outer blanks."""
    return unicodedata.normalize("NFKC", name).strip().casefold()
