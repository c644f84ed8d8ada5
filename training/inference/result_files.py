"""The files that ``predict`` writes for an image: all its points as JSON, and a picture with the visible ones."""

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.errors import AcuSimError, OutputError, PictureError
from acusim.files import write_atomic
from acusim.pictures import encode, read_provenance
from training.inference.drawing import draw_points
from training.inference.model import Evidence, Found, Model, Prepared
from training.tasks.hand_type import type_json

FORMAT = 1
MAKER = "training predict"
"""Distinguishes our files from a user's own: in the JSON and in the picture's metadata."""
DRAWN = 1024
"""A smaller image is enlarged by a whole number to about this many pixels, so that names have room."""
MOST_ENLARGED = 4
_KEYS: dict[Evidence, str] = {"visibility": "probability", "peak": "confidence", "none": "confidence"}
"""Name of a point's number in JSON."""
_MEANINGS: dict[Evidence, str] = {
    "visibility": "probability that the point is visible",
    "peak": "height of the heatmap's peak, cut to 0..1; not a probability",
    "none": "none: the network gives coordinates alone",
}


@dataclass(frozen=True, slots=True, eq=False)
class ReadImage:
    """A photograph that was read, and where its results go."""

    stem: str
    """Of the names of its results."""
    shown: str
    """Its path, as messages show it."""
    hash: str
    """SHA-256 of the file."""
    prepared: Prepared


@dataclass(frozen=True, slots=True)
class ResultFiles:
    """Writes the results of images."""

    model: Model
    out: Path
    threshold: float
    pictures: bool
    hidden: bool

    def write(self, item: ReadImage, found: Found) -> None:
        """Writes the files of one image; the JSON comes last: where it is, the picture is, too."""
        found.check_finite()
        head = self._about(item)
        if self.pictures:
            pixels = item.prepared.photograph.pixels
            drawn = drawn_points(pixels, found, self.model, self.threshold, hidden=self.hidden)
            _replace(self.out / f"{item.stem}.points.jpg", encode(drawn, ".jpg", head), _is_our_picture)
        text = json.dumps({**head, **self._found(item, found)}, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
        _replace(self.out / f"{item.stem}.points.json", text.encode(), _is_our_json)

    def _about(self, item: ReadImage) -> dict[str, Any]:
        """What the results are of; also the metadata of the picture."""
        made_by: dict[str, Any] = {"program": MAKER, "format": FORMAT, **self.model.made_by}
        if self.model.kind == "hand":
            made_by |= {"kind": self.model.kind, "confidence": _MEANINGS[self.model.evidence]}
        width, height = item.prepared.photograph.size_px
        picture = {
            "name": os.path.basename(item.shown),
            "sha256": item.hash,
            "width": width,
            "height": height,
            "notes": list(item.prepared.photograph.notes),
        }
        return {"made_by": made_by, "picture": picture, "threshold": self.threshold}

    def _found(self, item: ReadImage, found: Found) -> dict[str, Any]:
        """The results; entries that the model does not give are absent."""
        reduced = item.prepared.photograph.reduced
        document: dict[str, Any] = {}
        if found.framing is not None:
            document["crop"] = found.framing.as_json(reduced)
        if found.hand_type is not None:
            document["hand"] = type_json(found.hand_type)
        points = _points_json(self.model, found.confidence, found.xy_px * reduced, self.threshold)
        if found.fit is not None:
            document |= {"pose": found.fit.pose_json(), "fit": found.fit.fit_json()}
            points = [{**point, "mm": mm} for point, mm in zip(points, found.fit.points_json(), strict=True)]
        return {**document, "points": points}


def drawn_points(
    pixels: NDArray[np.uint8], found: Found, model: Model, threshold: float, *, names: bool = True, hidden: bool = False
) -> NDArray[np.uint8]:
    """A picture with its visible points.

    Args:
        pixels: [H, W, 3] of the photograph as it was decoded.
        found: its points.
        model: that found them.
        threshold: number from which a point counts as visible.
        names: whether to write the points' codes.
        hidden: whether to show hidden points as rings, where an accepted fit of the head locates them.
    """
    no_number = model.evidence == "none"
    visible = (found.confidence >= threshold) | no_number
    located = hidden and found.fit is not None and found.fit.ok
    shown = np.arange(len(visible)) if located else np.flatnonzero(visible)
    return draw_points(
        pixels,
        found.xy_px[shown],
        shown,
        names=names,
        confidence=None if no_number else found.confidence[shown],
        hollow=~visible[shown],
        scale=enlargement(pixels.shape),
        palette=model.palette,
    )


def enlargement(shape: tuple[int, ...]) -> int:
    """The whole number by which an image [H, W, …] is enlarged before points are drawn."""
    return max(1, min(MOST_ENLARGED, -(-DRAWN // max(shape[:2]))))


def _points_json(model: Model, numbers: ArrayLike, xy_px: ArrayLike, threshold: float) -> list[dict[str, Any]]:
    """All points as JSON values; where the model gives no number it is null, and every point counts as visible."""
    known, palette = model.evidence != "none", model.palette
    rows = zip(
        *(palette.names, palette.groups, palette.codes),
        *(np.asarray(numbers).tolist(), np.asarray(xy_px).tolist()),
        strict=True,
    )
    return [
        {
            "name": name,
            "meridian": group,
            "code": code,
            "visible": not known or number >= threshold,
            _KEYS[model.evidence]: round(number, 6) if known else None,
            "x": round(x, 3),
            "y": round(y, 3),
        }
        for name, group, code, number, (x, y) in rows
    ]


def _replace(path: Path, data: bytes, is_ours: Callable[[Path], bool]) -> None:
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not is_ours(path)):
        raise PictureError(f"{path.name!r} exists and was not written by {MAKER}; move it or name another --out")
    try:
        write_atomic(path, data)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PictureError(f"{path.name!r} is too long a name for this disk; rename the picture") from None
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another --out") from None


def _is_ours(record: Any) -> bool:
    made_by = record.get("made_by") if isinstance(record, dict) else None
    return isinstance(made_by, dict) and made_by.get("program") == MAKER


def _is_our_picture(path: Path) -> bool:
    try:
        return _is_ours(read_provenance(path))
    except AcuSimError:
        return False


def _is_our_json(path: Path) -> bool:
    try:
        return path.stat().st_size < 4 << 20 and _is_ours(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
