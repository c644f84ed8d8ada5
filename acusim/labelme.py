"""labelme's files (https://github.com/wkentaro/labelme), version 4 or 5: one JSON for each picture, whatever it shows.

    {"version": "5.5.0", "flags": {}, "shapes": [{"label": "2", "points": [[x, y]], "shape_type": "point", …}, …],
     "imagePath": "S0003_L_back_0012.png", "imageData": null, "imageHeight": 512, "imageWidth": 384}

Coordinates are pixels from the upper left corner of the picture as labelme shows it, that is, turned upright by its
EXIF orientation; sizes in the file are those of the upright picture. imageData is not used.
"""

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from acusim.errors import LabelError, shown
from acusim.outlines import Polygon
from acusim.text_files import json_document, looks_like
from acusim.tolerances import whole_number

MAX_LABEL_BYTES = 128 << 20
"""labelme may store the whole picture in the JSON, a third larger than its file."""
_MAX_COORDINATE = 1e6
_MAX_MASK_PIXELS = 64 << 20


@dataclass(frozen=True, slots=True)
class Shape:
    """One shape; what it holds beside its label is not checked yet."""

    label: str
    kind: Any
    """shape_type, such as point or polygon."""
    points: Any
    mask: Any
    """The base64 text of a PNG, of a shape of kind mask."""

    def plain(self) -> object:
        """Everything that decides it."""
        return self.kind, self.points, self.mask

    @property
    def is_area(self) -> bool:
        """Whether it covers pixels: a mask, or a polygon of three corners or more."""
        corners = len(self.points) if isinstance(self.points, list) else 0
        return self.kind == "mask" or (self.kind == "polygon" and corners > 2)

    def position(self) -> tuple[float, float]:
        """The pixel of a point.

        Raises:
            LabelError: the shape is not a point, or has no valid coordinates.
        """
        if self.kind != "point":
            raise LabelError(
                f"{self.label!r} is a {shown(self.kind)}; expected a point: draw it again with labelme's Create Point"
            )
        places = self.points
        if not isinstance(places, list) or len(places) != 1 or not isinstance(places[0], list) or len(places[0]) != 2:
            raise LabelError(f"point {self.label!r} has the coordinates {shown(places)}; expected one pair [[x, y]]")
        x, y = (self._coordinate(value) for value in places[0])
        return x, y

    def _coordinate(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_COORDINATE:  # or NaN
            raise LabelError(f"point {self.label!r}: {shown(value)} is not a coordinate in pixels")
        return float(value)

    def corners(self) -> NDArray[np.float64]:
        """[N, 2] pixels of a polygon's corners, or of the two corners of a mask's box.

        Raises:
            LabelError: they are not pairs of coordinates.
        """
        places = self.points if isinstance(self.points, list) else []
        if len(places) < 2 or not all(isinstance(place, list) and len(place) == 2 for place in places):
            raise LabelError(f"{self.label!r} has the coordinates {shown(self.points)}; expected pairs [x, y]")
        return np.array([[self._coordinate(value) for value in place] for place in places], np.float64)

    def covered(self, width: int, height: int) -> NDArray[np.bool_]:
        """[height, width] the pixels within a polygon or a mask.

        Raises:
            LabelError: it is neither, or damaged.
        """
        corners = self.corners()
        if self.kind == "polygon":
            return Polygon(corners).covered(width, height)
        if self.kind != "mask" or not isinstance(self.mask, str):
            raise LabelError(f"{self.label!r} is a {shown(self.kind)}; expected a polygon or a mask")
        try:
            image = Image.open(io.BytesIO(base64.b64decode(self.mask, validate=True)), formats=("PNG",))
            if image.width * image.height > _MAX_MASK_PIXELS:
                raise LabelError(f"mask {self.label!r} has {image.width} x {image.height} pixels")
            values = np.asarray(image.convert("L")) > 0
        except (ValueError, OSError, SyntaxError):
            raise LabelError(f"mask {self.label!r} is not a PNG in base64") from None
        out = np.zeros((height, width), bool)
        left, top = (int(value) for value in np.floor(corners.min(0)))
        rows, columns = slice(max(0, top), top + values.shape[0]), slice(max(0, left), left + values.shape[1])
        part = out[rows, columns]
        part[:] = values[max(0, -top) :, max(0, -left) :][: part.shape[0], : part.shape[1]]
        return out


@dataclass(frozen=True, slots=True)
class LabelmeDocument:
    """The content of a labelme file."""

    shapes: tuple[Shape, ...]
    image_path: str
    """As in the file; untrusted."""
    size: tuple[int, int] | None
    """(width, height) the file gives, None if it gives none."""
    flags: dict[str, bool]
    """Those that are true or false."""
    holds_picture: bool
    """imageData holds a copy of the picture, which labelme shows instead of the file."""
    document: dict[str, Any]
    """The whole file but for imageData, which may be large."""


def parse_document(data: bytes) -> LabelmeDocument:
    """Reads the content of a labelme file.

    Raises:
        LabelError: not JSON, not labelme's, or a shape without a label.
    """
    return labelme_of(json_document(data))


def labelme_of(document: Any) -> LabelmeDocument:
    """A JSON document as labelme's; its imageData is taken out.

    Raises:
        LabelError: it is not labelme's, or a shape has no label.
    """
    if not isinstance(document, dict) or not isinstance(document.get("shapes"), list):
        raise LabelError('no list "shapes" at the top: this is not a labelme file' + looks_like(document))
    path = document.get("imagePath")
    if not isinstance(path, str) or not path.strip():
        raise LabelError(f"imagePath is {shown(path)}; expected the name of the picture")
    shapes: list[Shape] = []
    for place, shape in enumerate(document["shapes"]):
        label = shape.get("label") if isinstance(shape, dict) else None
        if (number := whole_number(label)) is not None:
            label = str(number)
        if not isinstance(shape, dict) or not isinstance(label, str):
            raise LabelError(f"shape {place} has no label")
        shapes.append(Shape(label, shape.get("shape_type", "point"), shape.get("points"), shape.get("mask")))
    flags = document.get("flags")
    flags = {k: v for k, v in flags.items() if isinstance(v, bool)} if isinstance(flags, dict) else {}
    holds_picture = bool(document.pop("imageData", None))
    return LabelmeDocument(tuple(shapes), path, _size(document), flags, holds_picture, document)


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


def read_label_file(path: Path, most: int = MAX_LABEL_BYTES) -> bytes:
    """The bytes of a label file of at most so many.

    Raises:
        LabelError: it cannot be read or is too large; does not name the file.
    """
    try:
        if not path.is_file():
            raise LabelError("not a regular file")
        if path.stat().st_size > most:
            raise LabelError(f"larger than {most >> 20} MiB: not a label file")
        return path.read_bytes()
    except OSError as error:
        raise LabelError(error.strerror or str(error)) from None


def check_size(stated: tuple[int, int] | None, size: tuple[int, int]) -> None:
    """Makes sure that a label is for a picture of (width, height), upright.

    Raises:
        LabelError: it states another size.
    """
    if stated is None or stated == size:
        return
    turned = "; it seems to be labelled without its EXIF turn" if stated == size[::-1] else ""
    raise LabelError(
        f"the file is for a picture of {stated[0]} x {stated[1]}, this one is {size[0]} x {size[1]}{turned}; "
        "label this picture, or restore the one that was labelled"
    )
