"""AcuSim's labels, and predictions of them, as COCO keypoints and back.

A label holds two numbers that COCO has no place for: n, the cosine between camera and surface, and h, the depth in
metres. They are written beside the keypoints under ``acusim``, and read from there; the camera of a picture off the rig
is written to its image under ``acusim_camera``. COCO files of other origin lack
them, but a label must hold numbers: it then gets n = 0 and h = 0, which no visible point has (n is negative where the
surface faces the camera, and nothing is 0 m away).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, layout
from acusim.errors import AcuSimError, LabelError, OutputError
from acusim.files import safe_join, write_atomic
from acusim.labels import (
    Label,
    camera_entry,
    dump_label,
    empty_label,
    parse_camera,
    parse_label,
    parse_label_file,
    read_label,
)
from acusim.layout import Problem
from acusim.pictures import EXTENSIONS, picture_size
from acusim.tolerances import LAID_OUT, Recorder, ignore_change
from training.eval.predictions import Predictions
from training.io.coco import Category, Item, conflict, parse_dataset
from training.io.coco_results import dump_results, parse_results, result_of

UNKNOWN = 0.0
"""n and h of points from files without them."""


def _skeleton() -> tuple[tuple[int, int], ...]:
    """The points of each meridian joined by their number, on each side of the body; extra points are on no meridian."""
    lines: dict[tuple[str, str], list[acupoints.Acupoint]] = {}
    for point in acupoints.ACUPOINTS:
        if point.meridian != "EX":
            lines.setdefault((point.meridian, point.side), []).append(point)
    out: list[tuple[int, int]] = []
    for points in lines.values():
        points.sort(key=lambda point: int("".join(filter(str.isdigit, point.name.split("_")[0]))))
        out += [(first.index, second.index) for first, second in zip(points, points[1:], strict=False)]
    return tuple(out)


HEAD = Category("head", acupoints.NAMES, _skeleton())
"""The 174 acupoints; lines along the meridians."""


def item_of(label: Label, file_name: str, width: int, height: int) -> Item:
    """A label as the COCO item of a picture of some size: listed points are visible, the others not labelled."""
    extra = {
        name: [float(value) if there else None for value, there in zip(values, label.listed, strict=True)]
        for name, values in (("n", label.n), ("h", label.h_m))
    }
    xy = np.where(label.listed[:, None], label.xy, 0.0) * np.array([width, height], np.float64)
    camera = None if label.camera is None else camera_entry(label.camera)
    return Item(file_name, width, height, xy, np.where(label.listed, 2, 0).astype(np.int8), extra=extra, camera=camera)


def label_of(item: Item) -> Label:
    """The label of a COCO item of HEAD: visible points (v = 2) are listed, hidden ones (v = 1) lose their place.

    Raises:
        LabelError: a number is outside what a label may hold, or the camera cannot be one.
    """
    label = replace(empty_label(), camera=None if item.camera is None else parse_camera(item.camera))
    label.listed[:] = item.v == 2
    rows = np.flatnonzero(label.listed)
    label.xy[rows] = item.xy_px[rows] / (item.width, item.height)
    for values, name in ((label.n, "n"), (label.h_m, "h")):
        given = item.extra.get(name)
        values[rows] = [UNKNOWN if given is None or given[row] is None else float(given[row] or 0) for row in rows]
    return parse_label(dump_label(label))


def evaluated_items(
    images: Sequence[str], xy: NDArray[np.float32], visible: NDArray[np.bool_], size: int
) -> list[Item]:
    """Pictures that were evaluated, as COCO items: what results refer to by their place in the list, from 1.

    Args:
        images: [N] their paths.
        xy: [N, 174, 2] 0..1.
        visible: [N, 174].
        size: side in pixels.
    """
    rows = zip(images, xy.astype(np.float64) * size, np.where(visible, 2, 0).astype(np.int8), strict=True)
    return [Item(image, size, size, place, v) for image, place, v in rows]


def results_of(predictions: Predictions, size: int) -> bytes:
    """Predictions as a COCO results file; ids count from 1."""
    rows = zip(predictions.xy.astype(np.float64) * size, predictions.probability, strict=True)
    return dump_results(result_of(number, xy, chances) for number, (xy, chances) in enumerate(rows, 1))


def predictions_of(data: bytes, count: int, size: int) -> Predictions:
    """The predictions in a COCO results file, another program's or ours.

    Args:
        data: the file, untrusted.
        count: pictures that were evaluated; ids are 1..count, and each must be there.
        size: side in pixels.

    Raises:
        LabelError: not a results file, or a result is wrong, missing or of another picture.
    """
    results, problems = parse_results(data, acupoints.COUNT)
    if problems:
        raise LabelError(f"{problems[0].path}: {problems[0].reason}; {len(problems)} results are wrong")
    by_id = {result.image_id: result for result in results}
    missing = [number for number in range(1, count + 1) if number not in by_id]
    if missing or len(by_id) != count:
        what = f"picture {missing[0]} has none" if missing else f"id {max(by_id)} is no picture"
        raise LabelError(f"results of {len(by_id)} pictures, {count} are evaluated: {what}; ids are those of --coco")
    ordered = [by_id[number] for number in range(1, count + 1)]
    probability = np.array([result.probability for result in ordered], np.float32)
    return Predictions(probability, np.array([result.xy_px / size for result in ordered], np.float32))


def items_of_root(root: Path, progress: Callable[[int, int], None] = lambda *_: None) -> Iterator[Item | Problem]:
    """The pictures of a dataset root as COCO items, one by one, and those that are skipped.

    Args:
        root: the dataset root.
        progress: called with how many pictures are done, and of how many.

    Raises:
        LayoutError: as layout.scan.
    """
    dataset = layout.scan(root)
    yield from dataset.problems
    for number, sample in enumerate(dataset.samples):
        progress(number, len(dataset.samples))
        try:
            width, height = picture_size(safe_join(dataset.root, sample.image))
            yield item_of(read_label(safe_join(dataset.root, sample.label)), sample.image, width, height)
        except AcuSimError as error:
            yield Problem(sample.image, str(error), True, sample.id)


def write_labels(data: bytes, out: Path, record: Recorder = ignore_change) -> tuple[list[str], list[Problem]]:
    """Writes the labels of a COCO file of the head below a dataset root.

    The label of ``train/image/img_512/STEM.png`` goes to ``train/label/label/STEM.json``; one of a picture that is not
    laid out like that to the split which has a picture of that stem, else to train. Existing labels with other content
    are left unchanged.

    Args:
        data: the COCO file, untrusted.
        out: the root, which may hold the pictures already.
        record: called with each deviation that is tolerated.

    Returns:
        Relative paths of the labels that exist now, and the pictures that were skipped.

    Raises:
        LabelError: as parse_dataset.
        OutputError: a label cannot be written.
    """
    items, problems = parse_dataset(data, HEAD, record)
    splits = _splits_of_stems(out)
    written: dict[str, bytes] = {}
    for item in items:
        stem = PurePosixPath(item.file_name).stem
        laid_out = LAID_OUT.search(item.file_name)
        found = [laid_out[1].split("/")[0]] if laid_out else sorted(splits.get(stem, {"train"}))
        name = f"{layout.label_folder(found[0])}/{stem}.json"
        try:
            if len(found) > 1:
                raise LabelError(f"{', '.join(found)} have a picture of this stem each; write its path from the root")
            content = dump_label(label_of(item))
            path = safe_join(out, name)
            there = written.get(name) or (parse_label_file(path)[1] if path.exists() else content)
            # A picture in several sizes has one label; its numbers differ by rounding at most.
            if not _same(parse_label(there), parse_label(content)):
                raise LabelError(conflict(name, name in written))
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomic(path, content)
            written.setdefault(name, content)
        except AcuSimError as error:
            problems.append(Problem(item.file_name, str(error), True))
        except OSError as error:
            raise OutputError(f"{name!r} cannot be written below {str(out)!r}: {error.strerror}") from None
    return list(written), problems


def _splits_of_stems(root: Path) -> dict[str, set[str]]:
    """Which splits of a root have pictures of which stems; empty where there is no data set yet."""
    out: dict[str, set[str]] = {}
    for path in root.glob("*/image/img_*/*"):
        if path.suffix.lower() in EXTENSIONS:
            out.setdefault(path.stem, set()).add(path.parts[-4])
    return out


def _same(first: Label, second: Label) -> bool:
    cameras = [None if label.camera is None else camera_entry(label.camera) for label in (first, second)]
    if cameras[0] != cameras[1]:
        return False
    numbers = [np.c_[label.xy, label.n, label.h_m] for label in (first, second)]
    return bool(np.allclose(*numbers, rtol=0, atol=1e-9, equal_nan=True))
