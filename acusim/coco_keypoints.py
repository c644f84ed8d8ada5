"""COCO's keypoint annotations of any category: the labelled points of each picture, of all its objects together.

Source: https://cocodataset.org/#format-data. v = 2 is visible, v = 1 labelled but hidden, v = 0 not labelled. Crowds
are left out. Objects of several categories and several objects of one may be in a picture.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from acusim.coco_parts import (
    Entry,
    Id,
    file_name,
    images_by_id,
    is_crowd,
    name_of,
    numbers_of,
    objects,
    side,
    without_image,
)
from acusim.dataset import Problem
from acusim.errors import AcuSimError, LabelError, shown
from acusim.files import printable
from acusim.outlines import Outline, Polygon, Runs, run_lengths
from acusim.point_names import unused_name
from acusim.tolerances import Recorder, clip_points, comparable_id, whole_number


@dataclass(slots=True)
class CocoPicture:
    """One image of a COCO file with all points that are labelled in it."""

    path: str
    """file_name as a relative path; printable."""
    size: tuple[int, int] = (0, 0)
    """(width, height) in pixels."""
    names: list[str] = field(default_factory=list)
    xy: list[tuple[float, float]] = field(default_factory=list)
    """Pixels from the picture's left and top edge, one pair for each name."""
    visible: list[bool] = field(default_factory=list)
    outlines: list[Outline] = field(default_factory=list)
    """Of objects with labelled points."""
    fault: str = ""
    """Why it cannot be used."""


def is_coco(document: Any) -> bool:
    """Whether a JSON document has the lists of a COCO data set."""
    lists = ("images", "annotations")
    return isinstance(document, dict) and all(isinstance(document.get(name), list) for name in lists)


def coco_pictures(document: Any, problems: list[Problem], record: Recorder) -> list[CocoPicture] | None:
    """The images of a COCO file, also those without any labelled point; None if no category of it has keypoints.

    Args:
        document: the file's content, untrusted.
        problems: receives what belongs to no image.
        record: called with each deviation that is tolerated.

    Raises:
        LabelError: the lists of the document are not COCO's, no image has an id of its own, or a category is ambiguous.
    """
    names = _keypoints(document)
    if not names:
        return None
    images = images_by_id(objects(document, "images", problems), problems)
    found: dict[Id, list[Entry]] = defaultdict(list)
    for entry in objects(document, "annotations", problems):
        key, category = comparable_id(entry.get("image_id")), comparable_id(entry.get("category_id"))
        if category not in names or entry.get("iscrowd") == 1 or _empty(entry.get("keypoints")):
            continue
        if key in images:
            found[key].append(entry)
        else:
            problems.append(without_image(entry))
    out: list[CocoPicture] = []
    for key, image in images.items():
        picture = CocoPicture(name_of(image, f"image {printable(str(key))}"))
        try:
            picture.path = file_name(image, record)
            picture.size = side(image, "width"), side(image, "height")
            for number, entry in enumerate(found[key], 1):
                keypoints = names[comparable_id(entry.get("category_id"))]
                _add(picture, entry, keypoints, number if len(found[key]) > 1 else 0)
            xy = np.array(picture.xy, np.float64).reshape(-1, 2)
            xy, fault = clip_points(xy, picture.size, picture.names, picture.path, record)
            picture.xy = [(float(x), float(y)) for x, y in xy]
            picture.fault = f"point {fault}" if fault else ""
        except AcuSimError as error:
            picture.fault = str(error)
        out.append(picture)
    return out


def _keypoints(document: Any) -> dict[Id | None, list[str]]:
    """Names of the keypoints of each category that has some, by its id."""
    entries = document.get("categories")
    out: dict[Id | None, list[str]] = {}
    for entry in entries if isinstance(entries, list) else []:
        given = entry.get("keypoints") if isinstance(entry, dict) else None
        key = comparable_id(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or not isinstance(given, list) or not given or not all(isinstance(name, str) for name in given):
            continue
        names: list[str] = []
        for name in given:
            names.append(unused_name(name, names))
        if out.setdefault(key, names) != names:
            raise LabelError(f"two categories have the id {shown(key)}, and other keypoints; number them")
    return out


def _empty(keypoints: Any) -> bool:
    """Whether an object has no labelled point; lists that are damaged count as labelled."""
    return not keypoints or (
        isinstance(keypoints, list) and not len(keypoints) % 3 and all(whole_number(v) == 0 for v in keypoints[2::3])
    )


def _add(picture: CocoPicture, entry: Entry, names: list[str], number: int) -> None:
    """Adds the points and the outline of an object; with a number its points are named by it, too."""
    what = f"annotation {shown(entry.get('id'))}"
    is_crowd(entry)  # others are left out; a strange value is an error
    given = entry.get("keypoints")
    if not isinstance(given, list) or len(given) != 3 * len(names):
        count = f"{len(given)} numbers" if isinstance(given, list) else shown(given)
        raise LabelError(f"{what}: keypoints are {count}; its category has {len(names)} points of 3 numbers each")
    count = len(picture.names)
    for index, name in enumerate(names):
        v = whole_number(given[3 * index + 2])
        if v not in (0, 1, 2):
            raise LabelError(f"{what}: keypoint {name!r} has v = {shown(given[3 * index + 2])}; allowed are 0, 1, 2")
        if v:
            x, y = numbers_of(given[3 * index : 3 * index + 2], 2, f"{what}, keypoint {name!r}")
            picture.names.append(f"{number}: {name}" if number else name)
            picture.xy.append((float(x), float(y)))
            picture.visible.append(v == 2)
    if len(picture.names) > count:
        picture.outlines += _outlines(entry.get("segmentation"), f"{what}, segmentation", picture.size)


def _outlines(segmentation: Any, what: str, size: tuple[int, int]) -> list[Outline]:
    """The outline of an object: polygons of three corners or more, or the runs of a mask; none where there is none."""
    if isinstance(segmentation, list):
        parts = [part for part in segmentation if isinstance(part, list) and len(part) >= 6]
        if odd := [part for part in parts if len(part) % 2]:
            raise LabelError(f"{what}: {len(odd[0])} numbers are not pairs of x and y")
        return [Polygon(numbers_of(part, len(part), what).reshape(-1, 2)) for part in parts]
    if not isinstance(segmentation, dict):
        return []
    counts, stated = segmentation.get("counts"), segmentation.get("size")
    if not isinstance(counts, str | list):
        return []
    if stated is not None and stated != [size[1], size[0]]:
        raise LabelError(f"{what}: its size is {shown(stated)}; its picture's [height, width] is {[size[1], size[0]]}")
    if isinstance(counts, str):
        return [Runs(run_lengths(counts, what))]
    if odd := next((count for count in counts if whole_number(count) is None), None):
        raise LabelError(f"{what}: a run of {shown(odd)} pixels; expected whole numbers")
    return [Runs(numbers_of(counts, len(counts), what).astype(np.int64))]
