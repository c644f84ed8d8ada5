"""COCO's keypoint format: a data set's labels and a model's results, out and in. Source: https://cocodataset.org/#format-data

What the format's numbers mean here:

- x, y: pixels from the picture's left and top edge, as everywhere in this project.
- v: 2 is visible; 0 is not labelled, with x = y = 0. AcuSim does not say where an occluded point is, so that v = 1
  (labelled but hidden) is never written. It is read as it stands.
- bbox, area: around the visible points unless the item says otherwise; at least a pixel wide and high, and the whole
  picture where no point is visible (COCO's own tools skip such annotations by num_keypoints = 0).
- results: the third number of each keypoint is its probability of being visible, which COCO's evaluation ignores;
  the score is the mean probability of the points at or over the threshold, 0 where there is none.

Files to read are untrusted: what is wrong with the file as a whole is an error, what is wrong with one picture sets
that picture aside.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.errors import AcuSimError, LabelError, shown
from acusim.files import plain_parts, printable
from acusim.labels import XY_RANGE
from acusim.layout import Problem

MAX_BYTES = 1 << 30
"""174 keypoints in 64,000 pictures take some 300 MB."""
MAX_SIDE = 100_000
EXTRA = "acusim"
"""Key of an annotation under which numbers stand that COCO has no place for."""
CATEGORY_ID = 1

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Category:
    """What is annotated, and its K keypoints."""

    name: str
    """Such as "head"."""
    keypoints: tuple[str, ...]
    """[K] names."""
    skeleton: tuple[tuple[int, int], ...] = ()
    """Pairs of indices, from 0, that are drawn with a line between them. The file counts from 1."""

    def __post_init__(self) -> None:
        if len(set(self.keypoints)) != len(self.keypoints):
            raise ValueError(f"category {self.name!r} has two keypoints of one name")
        if not all(0 <= index < len(self.keypoints) for pair in self.skeleton for index in pair):
            raise ValueError(f"category {self.name!r}: the skeleton names a keypoint that is not there")


@dataclass(frozen=True, slots=True, eq=False)
class Item:
    """One picture and what is annotated in it."""

    file_name: str
    """Relative path with forward slashes."""
    width: int
    height: int
    xy_px: Floats
    """[K, 2]; what stands at v = 0 means nothing."""
    v: NDArray[np.int8]
    """[K] 0 not labelled, 1 labelled but hidden, 2 visible."""
    bbox_px: tuple[float, float, float, float] | None = None
    """Left, top, width, height; None takes the box of the visible points."""
    area_px: float | None = None
    """None takes the box's."""
    extra: Mapping[str, Sequence[float | None]] = field(default_factory=dict)
    """Further numbers of each keypoint, [K] each."""
    image_id: int = 0
    """In a file that was read."""


def dump_dataset(items: Iterable[Item], category: Category, info: Mapping[str, Any] | None = None) -> bytes:
    """The COCO file of some pictures; ids count from 1 in their order.

    Raises:
        ValueError: an item's arrays do not fit the category, or a number is not finite.
    """
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, item in enumerate(items, 1):
        images.append({"id": number, "file_name": item.file_name, "width": item.width, "height": item.height})
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


def parse_dataset(data: bytes, category: Category) -> tuple[list[Item], list[Problem]]:
    """Reads a COCO file.

    Args:
        data: the file's content, untrusted.
        category: what to look for. The file's category may list its keypoints in another order, or fewer of them.

    Returns:
        One item for each picture with one annotation of the category, in the category's order of keypoints; and the
        pictures that were set aside.

    Raises:
        LabelError: not JSON, not COCO, no such category, an unknown keypoint, or an id that is given twice.
    """
    document = _json(data)
    parts = {name: _objects(document, name) for name in ("images", "annotations", "categories")}
    category_id, order = _category(parts["categories"], category)
    images: dict[int, dict[str, Any]] = {}
    for image in parts["images"]:
        number = image.get("id")
        if type(number) is not int:
            raise LabelError(f"an image has the id {shown(number)}, not a whole number")
        if number in images:
            raise LabelError(f"image id {number} is given twice; it is open to which one annotations belong")
        images[number] = image
    problems: list[Problem] = []
    found: dict[int, list[dict[str, Any]]] = {number: [] for number in images}
    for annotation in parts["annotations"]:
        if annotation.get("category_id") != category_id:
            continue
        number = annotation.get("image_id")
        if type(number) is int and number in found:
            found[number].append(annotation)
        else:
            name = f"annotation {shown(annotation.get('id'))}"
            problems.append(Problem(name, f"there is no image {shown(number)}", False))
    items: list[Item] = []
    for number, image in images.items():
        try:
            items.append(_item(number, image, found[number], category, order))
        except AcuSimError as error:
            path = image.get("file_name")
            name = printable(path) if isinstance(path, str) else f"image {number}"
            problems.append(Problem(name, str(error), True))
    return items, problems


def _objects(document: Any, name: str) -> list[dict[str, Any]]:
    """One of the lists at the top of a data set."""
    part = document.get(name) if isinstance(document, dict) else None
    if not isinstance(part, list) or not all(isinstance(entry, dict) for entry in part):
        raise LabelError(f"no list of objects {name!r} at the top: this is not a COCO data set")
    return part


def _json(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise LabelError(f"{len(data)} bytes; at most {MAX_BYTES} are read")
    try:
        return json.loads(data.decode("utf-8-sig"))
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise LabelError(f"not a JSON file: {str(error)[:120]}") from None


def _category(entries: list[dict[str, Any]], category: Category) -> tuple[int, NDArray[np.intp]]:
    """The id of the file's category, and the index in ours of each of its keypoints."""
    usable = [entry for entry in entries if isinstance(entry.get("keypoints"), list)]
    named = [entry for entry in usable if entry.get("name") == category.name]
    chosen = named or usable
    if len(chosen) != 1 or type(chosen[0].get("id")) is not int:
        names = ", ".join(shown(entry.get("name")) for entry in usable[:5]) or "none"
        raise LabelError(f"categories with keypoints: {names}; expected one, or one called {category.name!r}")
    names = chosen[0]["keypoints"]
    ours = {name: index for index, name in enumerate(category.keypoints)}
    unknown = [name for name in names if not isinstance(name, str) or name not in ours]
    if unknown:
        raise LabelError(f"keypoint {shown(unknown[0])} is not one of the {len(ours)} of {category.name!r}")
    if len(set(names)) != len(names):
        raise LabelError(f"category {category.name!r} lists a keypoint twice")
    return chosen[0]["id"], np.array([ours[name] for name in names], np.intp)


def _item(
    number: int,
    image: Mapping[str, Any],
    annotations: Sequence[Mapping[str, Any]],
    category: Category,
    order: NDArray[np.intp],
) -> Item:
    path = image.get("file_name")
    if not isinstance(path, str) or printable(path) != path:
        raise LabelError(f"file_name {shown(path)} is not a printable name")
    plain_parts(path)
    width, height = (_side(image, name) for name in ("width", "height"))
    if len(annotations) != 1:
        raise LabelError(f"{len(annotations)} annotations of {category.name!r}; expected one")
    annotation = annotations[0]
    if annotation.get("iscrowd", 0) not in (0, False):
        raise LabelError("the annotation is of a crowd")
    keypoints = _numbers(annotation.get("keypoints"), 3 * len(order), "keypoints").reshape(-1, 3)
    given = keypoints[:, 2]
    if not np.isin(given, (0, 1, 2)).all():
        raise LabelError("keypoints: v is not always 0, 1 or 2")
    labelled = given > 0
    shares = keypoints[labelled, :2] / (width, height)
    if ((shares < XY_RANGE[0]) | (shares > XY_RANGE[1])).any():
        raise LabelError(f"keypoints: one lies outside the picture of {width} x {height}")
    if annotation.get("num_keypoints", labelled.sum()) != labelled.sum():
        raise LabelError(f"num_keypoints is {shown(annotation['num_keypoints'])}, but {labelled.sum()} have v > 0")
    xy, v = np.zeros((len(category.keypoints), 2)), np.zeros(len(category.keypoints), np.int8)
    xy[order], v[order] = np.where(labelled[:, None], keypoints[:, :2], 0), given.astype(np.int8)
    bbox = area = None
    if annotation.get("bbox") is not None:
        left, top, box_width, box_height = _numbers(annotation["bbox"], 4, "bbox").tolist()
        if box_width < 0 or box_height < 0:
            raise LabelError(f"bbox of {box_width:g} x {box_height:g}")
        bbox = (left, top, box_width, box_height)
    if annotation.get("area") is not None:
        (area,) = _numbers([annotation["area"]], 1, "area").tolist()
        if area < 0:
            raise LabelError(f"area {area:g} is below 0")
    return Item(path, width, height, xy, v, bbox, area, _extra(annotation, labelled, order, len(v)), number)


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
        numbers = _numbers([values[row] for row in rows], len(rows), f"{EXTRA}: {shown(name)}")
        out[name] = [None] * count
        for row, value in zip(rows, numbers.tolist(), strict=True):
            out[name][order[row]] = value
    return out


def _side(image: Mapping[str, Any], name: str) -> int:
    value = image.get(name)
    if type(value) is not int or not 1 <= value <= MAX_SIDE:
        raise LabelError(f"{name} is {shown(value)}; allowed are 1..{MAX_SIDE}")
    return value


def _numbers(values: Any, count: int, what: str) -> Floats:
    """A list of so many finite numbers."""
    if not isinstance(values, list) or len(values) != count:
        length = f"{len(values)} entries" if isinstance(values, list) else shown(values)
        raise LabelError(f"{what}: {length}; expected a list of {count} numbers")
    for value in values:
        if type(value) not in (int, float) or not abs(value) < 1e9:  # also true of NaN
            raise LabelError(f"{what}: {shown(value)} is not a number below 1e9")
    return np.array(values, np.float64)


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a model found in one picture."""

    image_id: int
    xy_px: Floats
    """[K, 2]."""
    probability: Floats
    """[K] of being visible."""
    score: float


def result_of(image_id: int, xy_px: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> Result:
    """A result with its score: the mean probability of the points at or over the threshold, 0 where there is none."""
    chances = np.asarray(probability, np.float64)
    visible = chances[chances >= threshold]
    score = float(visible.mean()) if visible.size else 0.0
    return Result(image_id, np.asarray(xy_px, np.float64), chances, score)


def dump_results(results: Iterable[Result]) -> bytes:
    """The COCO results file of some pictures.

    Raises:
        ValueError: shapes do not belong together, or a number is not finite.
    """
    entries = [
        {
            "image_id": result.image_id,
            "category_id": CATEGORY_ID,
            "keypoints": np.c_[result.xy_px, result.probability].ravel().tolist(),
            "score": result.score,
        }
        for result in results
    ]
    return json.dumps(entries, allow_nan=False, separators=(",", ":")).encode()


def parse_results(data: bytes, count: int) -> tuple[list[Result], list[Problem]]:
    """Reads a COCO results file of K = ``count`` keypoints.

    Raises:
        LabelError: not JSON, or not a list of objects.
    """
    document = _json(data)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise LabelError("not a list of objects: this is not a COCO results file")
    results: dict[int, Result] = {}
    problems: list[Problem] = []
    for position, entry in enumerate(document):
        number = entry.get("image_id")
        try:
            if type(number) is not int:
                raise LabelError(f"image_id is {shown(number)}, not a whole number")
            if number in results:
                raise LabelError(f"a second result for image {number}")
            keypoints = _numbers(entry.get("keypoints"), 3 * count, "keypoints").reshape(-1, 3)
            if not ((keypoints[:, 2] >= 0) & (keypoints[:, 2] <= 1)).all():
                raise LabelError("keypoints: the third number is not always a probability, 0..1")
            (score,) = _numbers([entry.get("score")], 1, "score").tolist()
            results[number] = Result(number, keypoints[:, :2], keypoints[:, 2], score)
        except LabelError as error:
            problems.append(Problem(f"result {position}", str(error), True))
    return list(results.values()), problems
