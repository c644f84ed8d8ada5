"""Damaged documents: whatever stands in a file of labels, its reader reads it or raises this project's own error."""

import copy
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acusim import acupoints
from acusim.errors import AcuSimError
from acusim.labels import parse_label
from acusim.point_mask import parse_point_mask
from acusim.tolerances import notes_of
from tests.support import label_json
from tests.training.labelme_files import document as labelme_document
from training.io.coco import Category, Item, dump_dataset, parse_dataset
from training.io.coco_labels import HEAD, item_of, label_of, write_labels
from training.io.coco_results import dump_results, parse_results, result_of
from training.io.hand_coco import write_labelme
from training.io.labelme import check_position, parse_labelme, scan_labelme
from training.tasks.hand_points import read_points

ROUNDS = 250
POINTS = read_points()
HAND = Category("hand", POINTS.ids)
NASTY: tuple[Any, ...] = (
    None, True, False, 0, -1, 2, 96.0, 96.5, 10**30, -(10**400), float("nan"), float("inf"), -1e308, 5e-324, "", "96",
    "nan", "\ud800", "\x00", "../../etc/passwd", "C:\\a.png", "a" * 5000, [], [[]], {}, {"a": {}}, [None], [1, 2],
    [[1, 2]], [{}], {"label": []}, "合谷",
)  # fmt: skip


def _places(document: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    keys = document.keys() if isinstance(document, dict) else range(len(document)) if isinstance(document, list) else ()
    for key in keys:
        yield (*place, key)
        yield from _places(document[key], (*place, key))


def _mutated(document: Any, draw: random.Random) -> bytes:
    """The document with one to three things replaced, removed, repeated or swapped, or its bytes damaged."""
    document = copy.deepcopy(document)
    for _ in range(draw.randint(1, 3)):
        place = draw.choice(list(_places(document)) or [()])
        if not place:
            return b"{}"
        holder = document
        for key in place[:-1]:
            holder = holder[key]
        key, how = place[-1], draw.random()
        if how < 0.6:
            holder[key] = copy.deepcopy(draw.choice(NASTY))
        elif how < 0.75:
            del holder[key]
        elif how < 0.9 and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        else:
            holder[key] = {"nested": holder[key]} if draw.random() < 0.5 else [holder[key]]
    data = json.dumps(document, ensure_ascii=draw.random() < 0.5).encode("utf-8", "surrogatepass")
    if draw.random() < 0.1:
        data = data.replace(b'": ', b'": 1, "again": ', 2)
    if draw.random() < 0.1:
        data = data.decode("utf-8", "replace").encode(
            draw.choice(("utf-16", "utf-32-be", "gbk", "utf-8-sig")), "replace"
        )
    if draw.random() < 0.1:
        at = draw.randrange(len(data))
        data = data[:at] + bytes([draw.randrange(256)]) + data[at + draw.randint(0, 2) :]
    return data


def _nested(document: Any, place: tuple[Any, ...], depth: int) -> bytes:
    """The document with lists in lists in the place of one value."""
    document = copy.deepcopy(document)
    holder = document
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = "@"
    return json.dumps(document).replace('"@"', "[" * depth + "]" * depth, 1).encode()


def _mask() -> Any:
    entry = {"displacement_px": [0.1, None], "excluded_px": 2.0, "excluded_mm": None, "trusted": True}
    document = {"format": 1, "image": "a.png", "image_sha256": "00", "accept": True, "reason": "", "tolerance_mm": 5.0}
    return {**document, "points": [{"name": name, **entry} for name in acupoints.NAMES[:2]]}


def _hand() -> Any:
    xy = [[4.0 * k + 2, 5.0 * k + 3] for k in range(len(POINTS))]
    document = json.loads(dump_dataset([_item("a.png", xy), _item("sub/b.png", xy)], HAND))
    document["annotations"][0] |= {"iscrowd": 0, "segmentation": {"counts": [3], "size": [50, 40]}}
    return document


def _item(name: str, xy: Any) -> Item:
    import numpy as np

    return Item(name, 40, 50, np.array(xy), np.full(len(xy), 2, np.int8), extra={"n": [-0.5] * len(xy)})


def _head() -> Any:
    label = parse_label(label_json(1, bald=False))
    label.listed[5:] = False
    return json.loads(dump_dataset([item_of(label, "train/image/img_64/a.png", 64, 64)], HEAD))


def _read_labelme(data: bytes) -> None:
    check_position(parse_labelme(data, POINTS), (40, 50), POINTS)


def _read_coco(category: Category) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        changes: list[Any] = []
        items, problems = parse_dataset(data, category, changes.append)
        for text in (*notes_of(changes), *(f"{problem.path}: {problem.reason}" for problem in problems)):
            text.encode()
        dump_dataset(items, category)

    return read


def _results() -> Any:
    results = [result_of(k, [[1, 2]] * 7, [0.5] * 7) for k in (1, 2)]
    return json.loads(dump_results(results))


READERS: dict[str, tuple[Any, Callable[[bytes], Any]]] = {
    "AcuSim label": ({"label": json.loads(label_json(1, bald=False))["label"][:4]}, parse_label),
    "point mask": (_mask(), parse_point_mask),
    "labelme": (labelme_document("a.png"), _read_labelme),
    "COCO hands": (_hand(), _read_coco(HAND)),
    "COCO heads": (_head(), _read_coco(HEAD)),
    "COCO results": (_results(), lambda data: parse_results(data, 7)),
}


@pytest.mark.parametrize("kind", READERS)
def test_a_damaged_document_is_read_or_refused(kind: str) -> None:
    document, read = READERS[kind]
    read(json.dumps(document).encode())
    draw = random.Random(kind)
    refused = 0
    for _ in range(ROUNDS):
        data = _mutated(document, draw)
        try:
            read(data)
        except AcuSimError as error:
            refused += 1
            assert str(error).encode() and len(str(error)) < 2000, "printable, and no book"
    assert refused > 0, "the damage reaches the reader"


@pytest.mark.parametrize("kind", READERS)
def test_deep_nesting_is_read_or_refused(kind: str) -> None:
    document, read = READERS[kind]
    draw, places = random.Random(kind), list(_places(document))
    for depth in (200, 900, 930, 960, 5000):
        for place in draw.sample(places, min(12, len(places))):
            try:
                read(_nested(document, place, depth))
            except AcuSimError as error:
                assert len(str(error)) < 2000


def test_damaged_documents_never_stop_an_import_or_a_scan(tmp_path: Path) -> None:
    """The whole way to the disk: files are written below the root alone, and what was written is read again."""
    draw = random.Random(7)
    hand, head, labelme = _hand(), _head(), labelme_document("a.png")
    outside = tmp_path / "outside"
    outside.mkdir()
    for number in range(60):
        root = outside / "in" / str(number)
        for write, document in ((write_labelme, hand), (write_labels, head)):
            try:
                written, _ = write(_mutated(document, draw), root / write.__name__)
            except AcuSimError:
                continue
            assert all((root / write.__name__ / name).is_file() for name in written)
        (root / "a.json").parent.mkdir(parents=True, exist_ok=True)
        (root / "a.json").write_bytes(_mutated(labelme, draw))
        scan_labelme(root, POINTS)
    assert [entry.name for entry in outside.iterdir()] == ["in"]
    assert {entry.name for entry in (outside / "in").iterdir()} == {str(number) for number in range(60)}
    assert label_of(parse_dataset(json.dumps(head).encode(), HEAD)[0][0]).listed.any()
