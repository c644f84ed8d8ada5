"""Label files: AcuSim's official JSON format to arrays and back.

``{"label": [{"name": "LI17_天鼎_left", "coordinate": {"x": …, "y": …, "n": …, "h": …}}, …]}`` with x right and y
down in 0..1 of the image, n the cosine between camera forward and surface normal (negative faces the camera)
and h in metres. A point that is not listed is occluded. In the released files h is the true depth only in
frames 1, 19, 55, 91 and 127.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import LabelError, shown
from acusim.text_files import json_of, looks_like
from acusim.tolerances import OUTSIDE

_T = TypeVar("_T")

XY_RANGE = (-OUTSIDE, 1 + OUTSIDE)
"""Allowed x and y, kept unchanged; see acusim.tolerances."""
MAX_BYTES = 4 << 20
"""A label file has some 10 kB; a larger one than this is refused unread."""


@dataclass(frozen=True, slots=True, eq=False)
class Label:
    """The labels of one image, in the order of ``acupoints.NAMES``."""

    xy: NDArray[np.float64]
    """[174, 2] 0..1 of the image, NaN where not listed."""
    n: NDArray[np.float64]
    """[174] cosine(camera forward, surface normal), NaN where not listed."""
    h_m: NDArray[np.float64]
    """[174] the file's depth in metres, NaN where not listed."""
    listed: NDArray[np.bool_]
    """[174] True where the file lists the point, that is: where it is visible."""


def empty_label() -> Label:
    """A label in which every point is occluded; its arrays may be filled by the caller."""
    count = acupoints.COUNT
    return Label(np.full((count, 2), np.nan), np.full(count, np.nan), np.full(count, np.nan), np.zeros(count, bool))


def _number(entry: dict[str, Any], key: str, name: str, low: float, high: float) -> float:
    value = entry.get(key)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise LabelError(f"acupoint {name!r}: {key} is {shown(value)}, not a number")
    if not low <= value <= high:  # also true of NaN
        raise LabelError(f"acupoint {name!r}: {key} = {shown(value)} is outside {low:g}..{high:g}")
    return float(value)


def parse_label(data: bytes) -> Label:
    """Reads the content of a label file.

    Raises:
        LabelError: not JSON, not this format, an unknown or repeated name, a number out of range or NaN.
    """
    try:
        document = json_of(data)
    except ValueError as error:
        raise LabelError(f"not a JSON file: {error}") from None
    entries = document.get("label") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise LabelError('no list "label" at the top: this is not an AcuSim label file' + looks_like(document))
    label = empty_label()
    for position, entry in enumerate(entries):
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise LabelError(f"entry {position} of the list has no name")
        name, coordinate = entry["name"], entry.get("coordinate")
        index = acupoints.index_of(name)
        if label.listed[index]:
            raise LabelError(f"acupoint {name!r} is listed twice")
        if not isinstance(coordinate, dict):
            raise LabelError(f"acupoint {name!r} has no coordinate")
        label.xy[index] = _number(coordinate, "x", name, *XY_RANGE), _number(coordinate, "y", name, *XY_RANGE)
        label.n[index] = _number(coordinate, "n", name, -1.001, 1.001)
        label.h_m[index] = _number(coordinate, "h", name, 0, 1000)
        label.listed[index] = True
    return label


def read_label(path: Path) -> Label:
    """Reads a label file.

    Raises:
        LabelError: as parse_label, with the file's name in front, or the file cannot be read.
    """
    return parse_label_file(path)[0]


def parse_label_file(path: Path) -> tuple[Label, bytes]:
    """Reads a label file and keeps its bytes, for callers that copy it.

    Raises:
        LabelError: as read_label.
    """
    return read_checked(path, "label", parse_label)


def read_checked(path: Path, what: str, parse: Callable[[bytes], _T]) -> tuple[_T, bytes]:
    """The parsed content of a small file, and its bytes; ``what`` is its name in messages.

    Raises:
        LabelError: the file cannot be read or is too large, or as ``parse``; with the file's name in front.
    """
    try:
        if not path.is_file():
            raise LabelError("not a regular file")
        if path.stat().st_size > MAX_BYTES:
            raise LabelError(f"larger than {MAX_BYTES >> 20} MiB: not a {what} file")
        data = path.read_bytes()
        return parse(data), data
    except OSError as error:
        raise LabelError(f"{what} {path.name!r}: {error.strerror or error}") from None
    except LabelError as error:
        raise LabelError(f"{what} {path.name!r}: {error}") from None


def dump_label(label: Label) -> bytes:
    """The official file for a label: listed points in the table's order, UTF-8."""
    entries = [
        {
            "name": acupoints.NAMES[index],
            "coordinate": {
                "x": float(label.xy[index, 0]),
                "y": float(label.xy[index, 1]),
                "n": float(label.n[index]),
                "h": float(label.h_m[index]),
            },
        }
        for index in np.flatnonzero(label.listed)
    ]
    return json.dumps({"label": entries}, ensure_ascii=False, allow_nan=False).encode()
