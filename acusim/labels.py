"""Label files: AcuSim's official JSON format to arrays and back.

``{"label": [{"name": "LI17_天鼎_left", "coordinate": {"x": …, "y": …, "n": …, "h": …}}, …]}`` with x right and y
down in 0..1 of the image, n the cosine between camera forward and surface normal (negative faces the camera)
and h in metres. A point that is not listed is occluded. In the released files h is the true depth only in
frames 1, 19, 55, 91 and 127.

A label of an image that a camera off the rig took carries that camera beside "label":
``"camera": {"focal": f, "rotation": [[…], […], […]], "translation_mm": […]}``: focal length as a multiple of the
image's width, and world to camera as in acusim.rig. Its h is the true depth.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.errors import ConfigError, LabelError, shown
from acusim.rig import Camera
from acusim.text_files import json_document, looks_like
from acusim.tolerances import OUTSIDE

_T = TypeVar("_T")

XY_RANGE = (-OUTSIDE, 1 + OUTSIDE)
"""Allowed x and y, kept unchanged; see acusim.tolerances."""
MAX_BYTES = 4 << 20
"""A label file has some 10 kB; a larger one than this is refused unread."""
_MAX_NUMBER = 1e9


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
    camera: Camera | None = None
    """The image's camera, where the file states one; None is the rig's camera of the sample's frame."""


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
        LabelError: not JSON, not this format, an unknown or repeated name, a number out of range or NaN, or a camera
            that cannot be one.
    """
    document = json_document(data)
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
    return replace(label, camera=parse_camera(document["camera"])) if "camera" in document else label


def parse_camera(entry: Any) -> Camera:
    """The camera of a label file, from what stands under its key "camera".

    Raises:
        LabelError: a key or number is missing, or it cannot be a camera.
    """
    keys = ("focal", "rotation", "translation_mm")
    if not isinstance(entry, dict) or any(key not in entry for key in keys):
        raise LabelError(f"camera is {shown(entry)}; expected an object with {', '.join(keys)}")
    rows = entry["rotation"]
    if not isinstance(rows, list) or len(rows) != 3:
        raise LabelError(f"camera: rotation is {shown(rows)}; expected 3 rows of 3 numbers")
    rotation = [_numbers(row, 3, f"rotation row {number}") for number, row in enumerate(rows)]
    translation = _numbers(entry["translation_mm"], 3, "translation_mm")
    (focal,) = _numbers([entry["focal"]], 1, "focal")
    try:
        return rig.camera_at(rotation, translation, focal)
    except ConfigError as error:
        raise LabelError(f"camera: {error}") from None


def _numbers(values: Any, count: int, what: str) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise LabelError(f"camera: {what} is {shown(values)}; expected {count} numbers")
    for value in values:
        if type(value) not in (int, float) or not abs(value) < _MAX_NUMBER:  # also true of NaN
            raise LabelError(f"camera: {what} holds {shown(value)}, not a number below {_MAX_NUMBER:g}")
    return [float(value) for value in values]


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
    except OSError as error:
        raise LabelError(f"{what} {path.name!r}: {error.strerror or error}") from None
    except LabelError as error:
        raise LabelError(f"{what} {path.name!r}: {error}") from None
    return checked(path.name, what, parse, data), data


def checked(name: str, what: str, parse: Callable[[bytes], _T], data: bytes) -> _T:
    """The parsed content of a file that was read.

    Raises:
        LabelError: as ``parse``, with the file's name in front.
    """
    try:
        return parse(data)
    except LabelError as error:
        raise LabelError(f"{what} {name!r}: {error}") from None


def dump_label(label: Label) -> bytes:
    """The official file for a label: listed points in the table's order, and the camera if it has one; UTF-8."""
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
    document: dict[str, Any] = {"label": entries}
    if label.camera is not None:
        document["camera"] = camera_entry(label.camera)
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def camera_entry(camera: Camera) -> dict[str, Any]:
    """A camera as plain values, as a label file holds it."""
    return {"focal": camera.focal, "rotation": camera.R.tolist(), "translation_mm": camera.t_mm.tolist()}
