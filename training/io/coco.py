"""Data sets in COCO's keypoint format, written and read. Source: https://cocodataset.org/#format-data

The format's numbers here:

- x, y: pixels from the picture's left and top edge, as everywhere in this project.
- v: 2 is visible; 0 is not labelled, with x = y = 0. AcuSim has no positions of occluded points, so v = 1 (labelled but
  hidden) is never written. It is read unchanged.
- bbox, area: around the visible points unless the item has its own; at least a pixel wide and high, and the whole
  picture where no point is visible (COCO's own tools skip such annotations by num_keypoints = 0).

Files to read are untrusted: a fault of the file as a whole is an error, a picture with a fault of its own is skipped,
and deviations from the format within acusim.tolerances are read and noted.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.coco_parts import (
    by_image,
    check_count,
    file_name,
    images_by_id,
    name_of,
    numbers_of,
    objects,
    side,
    the_annotation,
    the_category,
)
from acusim.errors import AcuSimError, LabelError, shown
from acusim.layout import Problem
from acusim.text_files import json_document
from acusim.tolerances import (
    SAME_IMAGE,
    Change,
    Recorder,
    clip_points,
    ignore_change,
)

MAX_BYTES = 1 << 30
"""174 keypoints in 64,000 pictures take some 300 MB."""
EXTRA = "acusim"
"""Key of an annotation for numbers that COCO has no place for."""
CAMERA = "acusim_camera"
"""Key of an image for its camera."""
CATEGORY_ID = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Category:
    """An annotated object and its K keypoints."""

    name: str
    """Such as "head"."""
    keypoints: tuple[str, ...]
    """[K] names."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of indices, from 0, that are drawn with a line between them. The file counts from 1."""
    other_names: Mapping[str, int] = field(default_factory=dict, hash=False)
    """Other names of keypoints in files, with their index."""

    def __post_init__(self) -> None:
        if len(set(self.keypoints)) != len(self.keypoints):
            raise ValueError(f"category {self.name!r} has two keypoints of one name")
        if not all(0 <= index < len(self.keypoints) for pair in self.skeleton for index in pair):
            raise ValueError(f"category {self.name!r}: the skeleton names an unknown keypoint")


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture and its annotation."""

    file_name: str
    """Relative path with forward slashes."""
    width: int
    height: int
    xy_px: Floats
    """[K, 2]; without meaning at v = 0."""
    v: NDArray[np.int8]
    """[K] 0 not labelled, 1 labelled but hidden, 2 visible."""
    bbox_px: tuple[float, float, float, float] | None = None
    """Left, top, width, height; None takes the box of the visible points."""
    area_px: float | None = None
    """None takes the box's."""
    extra: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Further numbers of each keypoint, [K] each."""
    image_id: int | str = 0
    """In a file that was read."""
    camera: Any = None
    """Of a picture off the rig, as in its label file; not checked here."""


def dump_dataset(items: Iterable[Item], category: Category, info: Mapping[str, Any] | None = None) -> bytes:
    """The COCO file of some pictures; ids count from 1 in their order.

    Raises:
        ValueError: an item's arrays do not fit the category, or a number is not finite.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in enumerate(items, 1):
        images.append({"id": number, "file_name": item.file_name, "width": item.width, "height": item.height})
        if item.camera is not None:
            images[-1][CAMERA] = item.camera
        annotations.append(_annotation(number, item, len(category.keypoints)))
    document = {
        "info": dict(info or {}),
        "images": images,
        "annotations": annotations,
        "categories": [
            {
                "id": CATEGORY_ID,
                "name": category.name,
                "supercategory": category.name,
                "keypoints": list(category.keypoints),
                "skeleton": [[first + 1, second + 1] for first, second in category.skeleton],
            }
        ],
    }
    return json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _annotation(number: int, item: Item, count: int) -> dict[str, Any]:
    if item.xy_px.shape != (count, 2) or item.v.shape != (count,):
        raise ValueError(f"{item.file_name!r}: points {item.xy_px.shape}, v {item.v.shape}; expected {count} of each")
    labelled = item.v > 0
    keypoints = np.zeros((count, 3))
    keypoints[labelled, :2] = item.xy_px[labelled]
    values: list[float] = keypoints.ravel().tolist()
    values[2::3] = item.v.tolist()
    box = item.bbox_px or _box(item)
    annotation: dict[str, Any] = {
        "id": number,
        "image_id": number,
        "category_id": CATEGORY_ID,
        "iscrowd": 0,
        "bbox": list(box),
        "area": box[2] * box[3] if item.area_px is None else item.area_px,
        "num_keypoints": int(labelled.sum()),
        "keypoints": values,
    }
    if item.extra:
        annotation[EXTRA] = {name: list(numbers) for name, numbers in item.extra.items()}
    return annotation


def _box(item: Item) -> tuple[float, float, float, float]:
    """Around the visible points, at least a pixel each way; the whole picture where there is none."""
    points = item.xy_px[item.v == 2]
    if not len(points):
        return (0.0, 0.0, float(item.width), float(item.height))
    low, high = points.min(0), points.max(0)
    low, size = np.minimum(low, (low + high - 1) / 2), np.maximum(high - low, 1)
    return (float(low[0]), float(low[1]), float(size[0]), float(size[1]))


def read_document(path: Path, what: str = "document") -> bytes:
    """The bytes of a COCO file, which messages call ``what``.

    Raises:
        LabelError: missing, not a regular file, or too large.
    """
    try:
        if not path.is_file():
            why = "not a regular file" if path.exists() else "no such file"
            raise LabelError(f"{what} {str(path)!r}: {why}")
        if path.stat().st_size > MAX_BYTES:
            raise LabelError(f"{what} {str(path)!r}: {path.stat().st_size} bytes; at most {MAX_BYTES} are read")
        return path.read_bytes()
    except OSError as error:
        raise LabelError(f"{what} {str(path)!r}: {error.strerror or error}") from None


def parse_dataset(
    data: bytes, category: Category, record: Recorder = ignore_change
) -> tuple[list[Item], list[Problem]]:
    """Reads a COCO file.

    Args:
        data: the file's content, untrusted.
        category: which to read. The file's category may list its keypoints in another order, or fewer of them.
        record: called with each deviation that is tolerated; see acusim.tolerances.

    Returns:
        One item for each picture with one annotation of the category, in the category's order of keypoints; and the
        pictures that were skipped.

    Raises:
        LabelError: not JSON, not COCO, no such category, an unknown keypoint, or no image with an id of its own.
    """
    document = json_document(data)
    problems: list[Problem] = []
    parts = {name: objects(document, name, problems) for name in ("images", "annotations", "categories")}
    category_id, order = the_category(
        parts["categories"], category.name, category.keypoints, category.other_names, record
    )
    images = images_by_id(parts["images"], problems)
    found = by_image(parts["annotations"], category_id, images, problems, record)
    items: list[Item] = []
    for key, image in images.items():
        changes: list[Change] = []
        try:
            items.append(_item(key, image, found.get(key, []), category, order, changes.append))
        except AcuSimError as error:
            problems.append(Problem(name_of(image, f"image {key}"), str(error), True))
        else:
            for change in changes:
                record(change)
    return _one_of_each_name(items, problems, record), problems


def conflict(name: str, by_this_document: bool) -> str:
    """Why a label file is not written: another of its name exists."""
    if by_this_document:
        return f"{name} is also the label of another picture of this document, with other content; rename one"
    return f"{name} exists already with other content; move it or name another root"


def _one_of_each_name(items: Sequence[Item], problems: list[Problem], record: Recorder) -> list[Item]:
    """Items without those of one file_name that differ."""
    named: dict[str, list[Item]] = {}
    for item in items:
        named.setdefault(item.file_name, []).append(item)
    out: list[Item] = []
    for name, same in named.items():
        if len(same) == 1:
            out.append(same[0])
        elif len({_content(item) for item in same}) == 1:
            out.append(same[0])
            record(Change(SAME_IMAGE, name, f"{len(same)} times"))
        else:
            reason = f"{len(same)} images have this file_name and different labels; give each picture a path of its own"
            problems.append(Problem(name, reason, True))
    return out


def _content(item: Item) -> tuple[int, int, bytes, bytes, str]:
    return item.width, item.height, item.xy_px.tobytes(), item.v.tobytes(), repr((item.extra, item.camera))


def _item(
    key: int | str,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    category: Category,
    order: NDArray[np.intp],
    record: Recorder,
) -> Item:
    path = file_name(image, record)
    width, height = (side(image, name) for name in ("width", "height"))
    annotation = the_annotation(annotations, category.name, path, record)
    keypoints = numbers_of(_without_unlabelled(annotation), 3 * len(order), "keypoints").reshape(-1, 3)
    given = keypoints[:, 2]
    if not np.isin(given, (0, 1, 2)).all():
        raise LabelError("keypoints: v is not always 0, 1 or 2")
    labelled = given > 0
    xy, v = np.full((len(category.keypoints), 2), np.nan), np.zeros(len(category.keypoints), np.int8)
    xy[order[labelled]], v[order] = keypoints[labelled, :2], given.astype(np.int8)
    xy = _inside(xy, (width, height), category.keypoints, EXTRA in annotation, path, record)
    check_count(annotation, int(labelled.sum()), path, record)
    bbox = area = None
    if annotation.get("bbox") is not None:
        left, top, box_width, box_height = numbers_of(annotation["bbox"], 4, "bbox").tolist()
        if box_width < 0 or box_height < 0:
            raise LabelError(f"bbox of {box_width:g} x {box_height:g}")
        bbox = (left, top, box_width, box_height)
    if annotation.get("area") is not None:
        (area,) = numbers_of([annotation["area"]], 1, "area").tolist()
        if area < 0:
            raise LabelError(f"area {area:g} is below 0")
    extra = _extra(annotation, labelled, order, len(v))
    return Item(path, width, height, xy, v, bbox, area, extra, key, image.get(CAMERA))


def _without_unlabelled(annotation: Mapping[str, Any]) -> Any:
    """An annotation's keypoints with (0, 0) where v = 0: programs leave null or NaN there."""
    values = annotation.get("keypoints")
    if not isinstance(values, list):
        return values
    out = list(values)
    for place, v in enumerate(values[2::3]):
        if v == 0:
            out[3 * place : 3 * place + 2] = 0, 0
    return out


def _inside(
    xy: Floats, size: tuple[int, int], names: Sequence[str], as_released: bool, path: str, record: Recorder
) -> Floats:
    """Points within their picture, 0 where they are NaN; AcuSim's own stay where its files have them."""
    moved, fault = clip_points(xy, size, names, path, ignore_change if as_released else record)
    if fault:
        raise LabelError(f"keypoints: {fault}")
    return np.nan_to_num(xy if as_released else moved)


def _extra(
    annotation: Mapping[str, Any], labelled: NDArray[np.bool_], order: NDArray[np.intp], count: int
) -> dict[str, list[float | None]]:
    """The further numbers of labelled keypoints, in our order."""
    given = annotation.get(EXTRA, {})
    if not isinstance(given, dict) or len(given) > 16:
        raise LabelError(f"{EXTRA} is {shown(given)}, not an object of a few lists")
    out: dict[str, list[float | None]] = {}
    for name, values in given.items():
        if not isinstance(values, list) or len(values) != len(order):
            raise LabelError(f"{EXTRA}: {shown(name)} is not a list of {len(order)}")
        rows = np.flatnonzero(labelled)
        numbers = numbers_of([values[row] for row in rows], len(rows), f"{EXTRA}: {shown(name)}")
        out[name] = [None] * count
        for row, value in zip(rows, numbers.tolist(), strict=True):
            out[name][order[row]] = value
    return out
