"""The components of a COCO file as other programs write them: ids, names, numbers, and which annotation counts.

The accepted deviations are in acusim.tolerances. Nothing here depends on the annotated object; coco.py does.
"""

import difflib
import posixpath
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LabelError, few, shown
from acusim.files import plain_parts, printable
from acusim.layout import Problem
from acusim.pictures import EXTENSIONS
from acusim.text_files import looks_like
from acusim.tolerances import (
    CATEGORY_NAME,
    CROWD,
    ELSEWHERE,
    EMPTY,
    FLAT,
    KEYPOINT_NAME,
    NUM_KEYPOINTS,
    OTHER_CATEGORY,
    Change,
    Recorder,
    Tolerance,
    comparable_id,
    local_path,
    normalized_name,
    read_as,
    whole_number,
)

MAX_SIDE = 100_000
_FEW = 12
Entry = Mapping[str, Any]
Id = int | str
Kind = Literal["good", "flat", "empty", "crowd"]

_LEFT_OUT: dict[Kind, Tolerance] = {"flat": FLAT, "empty": EMPTY, "crowd": CROWD}


def numbers_of(values: Any, count: int, what: str) -> NDArray[np.float64]:
    """A list of so many finite numbers, which messages call ``what``.

    Raises:
        LabelError: it is something else.
    """
    if not isinstance(values, list) or len(values) != count:
        length = f"{len(values)} entries" if isinstance(values, list) else shown(values)
        raise LabelError(f"{what}: {length}; expected a list of {count} numbers")
    for value in values:
        if type(value) not in (int, float) or not abs(value) < 1e9:  # also true of NaN
            raise LabelError(f"{what}: {shown(value)} is not a number below 1e9")
    return np.array(values, np.float64)


def objects(document: Any, name: str, problems: list[Problem]) -> list[Entry]:
    """One of the lists at the top of a data set; entries that are not objects are problems.

    Raises:
        LabelError: there is no such list, or no entry is an object.
    """
    values = document.get(name) if isinstance(document, dict) else None
    entries: list[Entry] = [entry for entry in values if isinstance(entry, dict)] if isinstance(values, list) else []
    if not isinstance(values, list) or (values and not entries):
        like = "" if isinstance(document, dict) and "images" in document else looks_like(document)
        raise LabelError(f"no list of objects {name!r} at the top: this is not a COCO data set{like}")
    for place, entry in enumerate(values):
        if not isinstance(entry, dict):
            problems.append(Problem(f"{name} {place}", f"{shown(entry)} is not an object", name == "images"))
    return entries


def the_category(
    entries: Sequence[Entry], name: str, keypoints: Sequence[str], other_names: Mapping[str, int], record: Recorder
) -> tuple[Id, NDArray[np.intp]]:
    """The id of the file's category, and the index in ours of each of its keypoints.

    Args:
        entries: the file's categories.
        name: of ours.
        keypoints: of ours.
        other_names: other names of keypoints, with their index.
        record: called with each name that differs.

    Raises:
        LabelError: there is none, several may be meant, or a keypoint is unknown or listed twice.
    """
    usable = [entry for entry in entries if isinstance(entry.get("keypoints"), list)]
    chosen = [entry for entry in usable if entry.get("name") == name] or usable
    category_id = comparable_id(chosen[0].get("id")) if len(chosen) == 1 else None
    if category_id is None:
        found = [f"{shown(entry.get('name'))} (id {shown(entry.get('id'))})" for entry in usable[:_FEW]]
        raise LabelError(
            f"categories with keypoints: {', '.join(found) or 'none'}; expected one with an id, or one called {name!r}"
        )
    if chosen[0].get("name") != name:
        record(Change(CATEGORY_NAME, "categories", read_as(chosen[0].get("name"), name)))
    known = {normalized_name(other): index for other, index in other_names.items()}
    known |= {normalized_name(ours): index for index, ours in enumerate(keypoints)}
    exact = {ours: index for index, ours in enumerate(keypoints)}
    order: list[int] = []
    texts = [given for given in chosen[0]["keypoints"] if isinstance(given, str)]
    if texts and not any(given in exact or normalized_name(given) in known for given in texts):
        first = ", ".join(shown(given) for given in texts[:3])
        raise LabelError(
            f"none of the file's {len(texts)} keypoints ({first}, …) is one of {name!r}; is it of another --kind?"
        )
    for given in chosen[0]["keypoints"]:
        index = exact.get(given, known.get(normalized_name(given))) if isinstance(given, str) else None
        if index is None:
            raise LabelError(
                f"keypoint {shown(given)} is not one of the {len(keypoints)} of {name!r}; {_hint(given, keypoints)}"
            )
        if given != keypoints[index]:
            record(Change(KEYPOINT_NAME, "categories", read_as(given, keypoints[index])))
        order.append(index)
    if len(set(order)) != len(order):
        raise LabelError(f"category {name!r} lists a keypoint twice")
    return category_id, np.array(order, np.intp)


def _hint(given: Any, keypoints: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(given)[:64], keypoints, n=1) if isinstance(given, str) else []
    return f"did you mean {near[0]!r}?" if near else f"they are {few(keypoints, _FEW)}"


def images_by_id(entries: Sequence[Entry], problems: list[Problem]) -> dict[Id, Entry]:
    """The images that annotations can belong to; the others are problems.

    Raises:
        LabelError: there are images, and none can be used.
    """
    keys = [comparable_id(entry.get("id")) for entry in entries]
    counted = Counter(key for key in keys if key is not None)
    out: dict[Id, Entry] = {}
    faults: list[Problem] = []
    for place, (key, entry) in enumerate(zip(keys, entries, strict=True)):
        if key is None:
            reason = f"an image has the id {shown(entry.get('id'))}; expected a whole number or a text"
        elif counted[key] > 1:
            times = "twice" if counted[key] == 2 else f"{counted[key]} times"
            reason = f"image id {shown(key)} is given {times}; it is open to which one annotations belong"
        else:
            out[key] = entry
            continue
        faults.append(Problem(name_of(entry, f"image {place} of the list"), reason, True))
    if faults and not out:
        raise LabelError(faults[0].reason)
    problems += faults
    return out


def name_of(image: Entry, otherwise: str) -> str:
    """The name of an image in messages."""
    path = image.get("file_name")
    return printable(path) if isinstance(path, str) and path else otherwise


def without_image(annotation: Entry) -> Problem:
    """That the file has no image for an annotation."""
    name = f"annotation {shown(annotation.get('id'))}"
    return Problem(name, f"there is no image {shown(annotation.get('image_id'))}", False)


def by_image(
    entries: Sequence[Entry], category_id: Id, images: Mapping[Id, Entry], problems: list[Problem], record: Recorder
) -> dict[Id, list[Entry]]:
    """The annotations of a category by their image; those of none are problems."""
    found: dict[Id, list[Entry]] = defaultdict(list)
    others: Counter[str] = Counter()
    for entry in entries:
        if comparable_id(entry.get("category_id")) != category_id:
            others[shown(entry.get("category_id"))] += 1
            continue
        key = comparable_id(entry.get("image_id"))
        if key is not None and key in images:
            found[key].append(entry)
        else:
            problems.append(without_image(entry))
    for name, count in sorted(others.items()):
        record(Change(OTHER_CATEGORY, f"category_id {name}", f"{count} annotations"))
    return found


def file_name(image: Entry, record: Recorder) -> str:
    """An image's file_name as a relative path with forward slashes.

    Raises:
        LabelError: it is not a printable name.
        LayoutError: it leads nowhere.
    """
    path = image.get("file_name")
    if not isinstance(path, str) or printable(path) != path:
        raise LabelError(f"file_name {shown(path)} is not a printable name")
    local, foreign = local_path(path)
    if foreign:
        if posixpath.splitext(local)[1].lower() not in EXTENSIONS:
            plain_parts(path)  # which refuses it
            raise LabelError(f"file_name {shown(path)} ends with no name of a PNG or JPEG")
        record(Change(ELSEWHERE, local, read_as(path, local)))
    plain_parts(local)
    return local


def side(image: Entry, name: str) -> int:
    """Width or height.

    Raises:
        LabelError: it is not a size.
    """
    value = whole_number(image.get(name))
    if value is None or not 1 <= value <= MAX_SIDE:
        raise LabelError(f"{name} is {shown(image.get(name))}; allowed are 1..{MAX_SIDE}, in whole numbers")
    return value


def the_annotation(entries: Sequence[Entry], category: str, path: str, record: Recorder) -> Entry:
    """The annotation of a picture: the only good one; where none is good, the only one with keypoints, or at all.

    Args:
        entries: all of the category.
        category: its name, for messages.
        path: of the picture.
        record: called with those that are left out.

    Raises:
        LabelError: there is none, or several may be meant.
    """
    kinds: dict[Kind, list[Entry]] = {"good": [], "flat": [], "empty": [], "crowd": []}
    for entry in entries:
        kinds[_kind(entry)].append(entry)
    for kind, found in kinds.items():
        if not found:
            continue
        if kind == "crowd":
            raise LabelError("the annotation is of a crowd" if len(found) == 1 else "all annotations are of crowds")
        if len(found) > 1:
            raise LabelError(f"{len(found)} annotations of {category!r}; expected one")
        for other, left_out in kinds.items():
            if other != kind and left_out:
                record(Change(_LEFT_OUT[other], path, f"{len(left_out)} of {len(entries)}"))
        return found[0]
    raise LabelError(f"0 annotations of {category!r}; expected one")


def is_crowd(entry: Entry) -> bool:
    """Whether an annotation is of a crowd.

    Raises:
        LabelError: it says neither.
    """
    crowd = entry.get("iscrowd", 0)
    if crowd not in (0, 1, None):
        raise LabelError(f"iscrowd is {shown(crowd)}; allowed are 0 and 1")
    return bool(crowd)


def _kind(entry: Entry) -> Kind:
    if is_crowd(entry):
        return "crowd"
    keypoints, box = entry.get("keypoints"), entry.get("bbox")
    if keypoints is None or (isinstance(keypoints, list) and not any(keypoints[2::3])):
        return "empty"
    flat = isinstance(box, list) and len(box) == 4 and (box[2] == 0 or box[3] == 0)
    return "flat" if flat or entry.get("area") == 0 else "good"


def check_count(entry: Entry, labelled: int, path: str, record: Recorder) -> None:
    """Notes a num_keypoints that is wrong."""
    given = entry.get("num_keypoints")
    if given is not None and whole_number(given) != labelled:
        record(Change(NUM_KEYPOINTS, path, f"{shown(given)}, but {labelled} have v > 0"))
