"""Labelled hands as COCO keypoints and back."""

import json
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from acusim.errors import AcuSimError, LabelError, OutputError
from acusim.files import safe_join, write_atomic
from acusim.layout import Problem
from acusim.tolerances import Recorder, ignore_change
from training.data.hand_dataset import HandData, HandSettings, read_hands
from training.io.coco import Category, Item, conflict, parse_dataset
from training.io.labelme import parse_labelme, pictures_below, read_labelme
from training.tasks.hand_points import HandPoints, read_points

VERSION = "5.5.0"
"""Of labelme, whose files are written."""
SAME_PX = 1e-6


def category_of(points: HandPoints) -> Category:
    """The points by their ids; lines join those of one meridian in the mapping's order, extra points none."""
    lines: dict[str, list[int]] = {}
    for point in points.points:
        if point.meridian != "EX":
            lines.setdefault(point.meridian, []).append(point.index)
    skeleton = tuple(pair for line in lines.values() for pair in pairwise(line))
    other_names = {label: point.index for point in points.points for label in point.labels}
    return Category("hand", points.ids, skeleton, other_names)


def items_of_folder(root: Path, progress: Callable[[int, int], None] = lambda *_: None) -> tuple[list[Item], HandData]:
    """The pictures of a folder of labelme files as COCO items, those that lack points too, and the folder's content.

    Points that a picture's point mask does not trust are not labelled (v = 0), since COCO has no word for them.

    Args:
        root: the folder.
        progress: called with how many pictures are done, and of how many.

    Raises:
        LayoutError: the root is not a readable folder.
    """
    data = read_hands(root, HandSettings(missing="keep"), progress=progress)
    items = [
        Item(record.image, *record.size, np.where(labelled[:, None], xy, 0), np.where(labelled, 2, 0).astype(np.int8))
        for record, xy, labelled in zip(data.records, data.xy, data.visible & data.trusted, strict=True)
    ]
    return items, data


def labelme_of(item: Item, points: HandPoints) -> dict[str, Any]:
    """The labelme file of a COCO item; without points of v = 0; hidden ones (v = 1) are kept like visible ones."""
    shapes = [
        {
            "label": point.labels[0],
            "points": [item.xy_px[point.index].tolist()],
            "group_id": None,
            "shape_type": "point",
            "flags": {},
        }
        for point in points.points
        if item.v[point.index]
    ]
    return {
        "version": VERSION,
        "flags": {},
        "shapes": shapes,
        "imagePath": PurePosixPath(item.file_name).name,
        "imageData": None,
        "imageHeight": item.height,
        "imageWidth": item.width,
    }


def write_labelme(data: bytes, out: Path, record: Recorder = ignore_change) -> tuple[list[str], list[Problem]]:
    """Writes a labelme file for each picture of a COCO file, beside the picture, or where it belongs.

    An existing file is left unchanged; where its content differs, its picture is skipped.

    Args:
        data: the COCO file, untrusted.
        out: the root, which may hold the pictures already.
        record: called with each deviation that is tolerated.

    Returns:
        Relative paths of the files that exist now, and the pictures that were skipped.

    Raises:
        LabelError: as parse_dataset.
        LayoutError: the root, or a folder in it, cannot be read.
        OutputError: a file cannot be written.
    """
    points = read_points()
    items, problems = parse_dataset(data, category_of(points), record)
    pictures = pictures_below(out)
    written: list[str] = []
    for item in items:
        name = item.file_name
        try:
            picture = PurePosixPath(pictures.of_item(item.file_name, record))
            name = picture.with_suffix(".json").as_posix()
            document = labelme_of(replace(item, file_name=picture.as_posix()), points)
            content = (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
            out.mkdir(parents=True, exist_ok=True)
            path = safe_join(out, name)
            if path.exists():
                there, ours = read_labelme(path, points), parse_labelme(content, points)
                same = np.allclose(there.xy, ours.xy, rtol=0, atol=SAME_PX, equal_nan=True)
                if not same or there.image_path != ours.image_path:
                    raise LabelError(conflict(name, name in written))
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)
            written.append(name)
        except AcuSimError as error:
            problems.append(Problem(item.file_name, str(error), True))
        except OSError as error:
            raise OutputError(f"{name!r} cannot be written below {str(out)!r}: {error.strerror}") from None
    return written, problems
