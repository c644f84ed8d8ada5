"""Point masks: which labels of an augmented image are certainly still valid; a file beside each label.

    <split>/label/mask/<stem>.json        beside <split>/label/label/<stem>.json
    point_masks/<path of the image>.json  in other data sets than AcuSim

    {"format": 1, "image": "train/image/img_512/….png", "image_sha256": "…", "accept": true, "reason": "",
     "tolerance_mm": 5.0,
     "points": [{"name": "LI17_天鼎_left", "displacement_px": [0.1, -0.2], "excluded_px": 2.0,
                 "excluded_mm": 1.2, "trusted": true}, …]}

One entry for each point that the label lists. ``displacement_px`` is the most likely displacement, ``excluded_px``
the bound that it cannot exceed, null where the image does not determine it; pixels are those of the image. A trainer
omits the coordinate loss of points that are not trusted; their visibility is that of the label. In other data sets than
AcuSim, whose scale is not known, a millimetre is 1/277 of the picture's width.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import LabelError, shown
from acusim.labelled_files import POINT_MASK_FOLDER
from acusim.labels import read_checked
from acusim.text_files import json_document
from acusim.tolerances import LAID_OUT

_FORMAT = 1


def mask_path(image: str) -> str:
    """The path of an image's point mask, both relative to the dataset root."""
    if LAID_OUT.fullmatch(image):
        split, stem = image.split("/")[0], PurePosixPath(image).stem
        return f"{split}/label/mask/{stem}.json"
    return f"{POINT_MASK_FOLDER}/{image}.json"


@dataclass(frozen=True, slots=True, eq=False)
class PointMask:
    """What is known about the P labels of one augmented image."""

    image: str
    """The image, relative to its dataset root."""
    image_sha256: str
    """Of the image file: a mask applies to these bytes only."""
    accept: bool
    """Whether the image as a whole passed."""
    reason: str
    """Why it did not; empty if it passed."""
    tolerance_mm: float
    """A point is trusted if no displacement beyond this is possible."""
    listed: NDArray[np.bool_]
    """[P] the points that the label lists."""
    displacement_px: NDArray[np.float64]
    """[P, 2] most likely displacement, NaN where unknown."""
    excluded_px: NDArray[np.float64]
    """[P] bound on the displacement; inf where there is none, NaN where not listed."""
    excluded_mm: NDArray[np.float64]
    """[P] the same in millimetres."""
    trusted: NDArray[np.bool_]
    """[P] the label is certainly still valid."""
    names: tuple[str, ...] = acupoints.NAMES
    """[P] of the points."""


def dump_point_mask(mask: PointMask) -> bytes:
    """The file of a point mask: listed points in the table's order, UTF-8."""
    points = [
        {
            "name": mask.names[index],
            "displacement_px": [_number(float(value)) for value in mask.displacement_px[index]],
            "excluded_px": _number(float(mask.excluded_px[index])),
            "excluded_mm": _number(float(mask.excluded_mm[index])),
            "trusted": bool(mask.trusted[index]),
        }
        for index in np.flatnonzero(mask.listed)
    ]
    document = {
        "format": _FORMAT,
        "image": mask.image,
        "image_sha256": mask.image_sha256,
        "accept": mask.accept,
        "reason": mask.reason,
        "tolerance_mm": mask.tolerance_mm,
        "points": points,
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False).encode()


def _number(value: float) -> float | None:
    return round(value, 3) if np.isfinite(value) else None


def parse_point_mask(data: bytes, names: Sequence[str] | None = acupoints.NAMES) -> PointMask:
    """Reads the content of a point mask of points with these names; None takes those that it lists.

    Raises:
        LabelError: not JSON, not this format, an unknown or repeated name, or a value of another type.
    """
    document = json_document(data)
    if not isinstance(document, dict) or document.get("format") != _FORMAT:
        raise LabelError(f"not a point mask of format {_FORMAT}; run `python -m evaluation certify` again")
    points = _typed(document, "points", list)
    if names is None:
        listed_names = (entry.get("name") for entry in points if isinstance(entry, dict))
        names = tuple(dict.fromkeys(name for name in listed_names if isinstance(name, str)))
    count, places = len(names), {name: index for index, name in enumerate(names)}
    listed, trusted = np.zeros(count, bool), np.zeros(count, bool)
    displacement, pixels, millimetres = np.full((count, 2), np.nan), np.full(count, np.nan), np.full(count, np.nan)
    for entry in points:
        if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
            raise LabelError("a point has no name")
        index = acupoints.index_of(entry["name"]) if names is acupoints.NAMES else places.get(entry["name"])
        if index is None:
            raise LabelError(f"{shown(entry['name'])} is not one of the {count} points of its data set")
        if listed[index]:
            raise LabelError(f"point {entry['name']!r} occurs twice")
        listed[index], trusted[index] = True, _typed(entry, "trusted", bool)
        shift = _typed(entry, "displacement_px", list)
        if len(shift) != 2:
            raise LabelError(f"point {entry['name']!r}: displacement_px = {shown(shift)} is not a pair")
        displacement[index] = [_value(value, np.nan) for value in shift]
        pixels[index] = _value(entry.get("excluded_px"), np.inf)
        millimetres[index] = _value(entry.get("excluded_mm"), np.inf)
    tolerance = _value(document.get("tolerance_mm"), np.nan)
    texts = [_typed(document, key, str) for key in ("image", "image_sha256", "reason")]
    accept = _typed(document, "accept", bool)
    image, digest, reason = texts
    found = listed, displacement, pixels, millimetres, trusted
    return PointMask(image, digest, accept, reason, tolerance, *found, tuple(names))


def _typed(document: dict[str, Any], key: str, kind: type) -> Any:
    value = document.get(key)
    if not isinstance(value, kind):
        raise LabelError(f"{key} = {shown(value)} is not of type {kind.__name__}")
    return value


def _value(value: Any, absent: float) -> float:
    if value is None:
        return absent
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e9:
        raise LabelError(f"{shown(value)} is not a number")
    return float(value)


def read_point_mask(path: Path, names: Sequence[str] | None = acupoints.NAMES) -> PointMask:
    """Reads a point mask of points with these names; None takes those that it lists.

    Raises:
        LabelError: as parse_point_mask, with the file's name in front, or the file cannot be read.
    """
    return read_checked(path, "point mask", partial(parse_point_mask, names=names))[0]
