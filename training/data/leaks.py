"""Refuses parts that share persons or pictures.

Detected are: a person in two parts; a picture in one part and a variant of it in another; and two names for one head,
by its labels (also if they were moved, turned or scaled together with the picture), by its pictures, or by its
acupoints in space. Comparisons of labels and pictures are within a frame.
Heads are triangulated from a person's labels, so other views, light, or noise in the labels do not hide one; the
limits, and what was measured, are in training/geometry/comparison.py.

The thresholds were measured on synthetic heads: 12 persons in the 45 kept views at 512, and 48 persons in five views,
the back among them, at 64. Labels: of two persons at most 64 % of the points that both list are within TOLERANCE, of
copies all are. Pictures, as the distance of thumbnails without brightness and contrast: copies at 512 differ by 0.023
(JPEG of quality 30), 0.019 (quality 50), 0.013 (resized and back, or brighter by 15 % and 12 levels); two persons by
0.031 from the back with the same hair, else by 0.06 and more. So nearness in one view is not enough: half of the views
that two persons share must be near. Below 128 pixels the noise of a JPEG remains in the thumbnail, and only nearly
exact copies are found by their pictures. Labels but for place and scale: of 300 persons in eight views at 512, those of
two differ by 0.33 px and more in a single view, by 0.74 and more on average over three views of the head's sides and
front; copies with 0.3 px of noise by 0.6 px at most, and by 0.0 without.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import ConfigError
from training.data.records import HeadData, Record, Targets
from training.data.shards import unit_thumbnails
from training.data.split import Part
from training.geometry.comparison import same_heads, similar_labels
from training.geometry.triangulation import heads_of

Kind = Literal["person", "sibling", "labels", "pictures", "moved", "heads"]

TOLERANCE = 1e-4
"""Points this near in both coordinates, in shares of the picture, are the same; 0.05 px at 512."""
SAME_POINTS = 0.9
"""Share of the points that both pictures list that must be the same."""
MIN_POINTS = 12
"""Points that both must list before labels are compared."""
MIN_COMMON = 0.8
"""Share of the points of the picture that lists fewer that both must list."""
SAME_PICTURE = 0.008
"""Distance of thumbnails under which two pictures are one."""
LIKE_PICTURE = 0.024
"""Distance under which they may be one, if half of the views of two persons are."""
SIMILAR, SIMILAR_VIEWS, SIMILAR_POINTS = 1.2e-3, 3, 20
"""Distance of two persons' labels but for place and scale under which they are one head's, in shares of the picture:
0.6 px at 512, on average over so many views or more, in each of which both show so many points."""
SIMILAR_IN_ONE = 4e-4
"""The same in fewer views."""
_FEW = 3
_CHUNK = 1024
_MOST = 10_000
"""Near-duplicates after which the search ends."""
_CANDIDATE_RMS = 0.004
"""Labels further apart than this on average are not compared point by point."""
_WHAT: dict[Kind, tuple[str, str]] = {
    "person": ("persons are in two parts", "divide persons, not pictures"),
    "sibling": (
        "pictures have an augmented variant in another part",
        "give a variant the part of its original",
    ),
    "labels": ("pairs of pictures of two names have the same acupoints", "they are one head: give them one name"),
    "pictures": ("pairs of pictures of two names are the same picture", "they are one head: give them one name"),
    "moved": (
        "pairs of persons of two names have the same acupoints but for place, turn and scale",
        "they are one head: give them one name",
    ),
    "heads": (
        "pairs of persons of two names have the same head, triangulated from their acupoints",
        "they are one head: give them one name",
    ),
}


@dataclass(frozen=True, slots=True)
class Leak:
    """Two pictures, in two parts, that should not be."""

    kind: Kind
    first: int
    second: int
    parts: tuple[str, str]
    """Of the first and of the second."""


def check(data: HeadData, parts: Mapping[Part, NDArray[np.int64]]) -> None:
    """Checks that no two parts share a person or picture.

    Args:
        data: all pictures.
        parts: numbers of the pictures of each part.

    Raises:
        ConfigError: they do; counts each kind of leak, names the first few, and what to do.
    """
    if lines := described(data, {str(part): rows for part, rows in parts.items()}):
        raise ConfigError("\n".join(["the parts are not independent, so test figures would be too good:", *lines]))


def described(data: HeadData, parts: Mapping[str, NDArray[np.int64]]) -> list[str]:
    """What some parts share, for people: a line for each kind of leak, which names the first few and what to do."""
    leaks = find(data.records, data.targets, data.cache.thumbnails(), parts)
    lines: list[str] = []
    for kind, (what, remedy) in _WHAT.items():
        found = [leak for leak in leaks if leak.kind == kind]
        if found:
            shown = "; ".join(_described(data.records, leak) for leak in found[:_FEW])
            more = "; …" if len(found) > _FEW else ""
            count = f"{len(found)}{' or more' if len(leaks) >= _MOST else ''}"
            lines.append(f"  {count} {what}: {shown}{more}. To do: {remedy}")
    return lines


def _described(records: Sequence[Record], leak: Leak) -> str:
    ends = zip((records[leak.first], records[leak.second]), leak.parts, strict=True)
    return " and ".join(f"{record.image} of root {record.root} ({part})" for record, part in ends)


def find(
    records: Sequence[Record],
    targets: Targets,
    thumbnails: NDArray[np.uint8],
    parts: Mapping[str, NDArray[np.int64]],
) -> list[Leak]:
    """Leaks in a fixed order; not all where there are very many.

    Args:
        records: N pictures.
        targets: of the N pictures.
        thumbnails: [N, 32, 32] grey.
        parts: numbers of the pictures of each part.
    """
    names = tuple(parts)
    part_of = np.full(len(records), -1)
    by_person: dict[str, dict[int, int]] = defaultdict(dict)
    by_sample: dict[str, dict[int, int]] = defaultdict(dict)
    for part, name in enumerate(names):
        for index in map(int, parts[name]):
            part_of[index] = part
            by_person[records[index].person].setdefault(part, index)
            by_sample[str(records[index].id).casefold()].setdefault(part, index)
    leaks: list[Leak] = []
    groups: tuple[tuple[Kind, dict[str, dict[int, int]]], ...] = (("person", by_person), ("sibling", by_sample))
    for kind, group in groups:
        for seen in group.values():
            if len(seen) > 1:
                (first, a), (second, b), *_ = seen.items()
                leaks.append(Leak(kind, a, b, (names[first], names[second])))
    numbers = {person: number for number, person in enumerate(sorted({record.person for record in records}))}
    person_of = np.array([numbers[record.person] for record in records], np.int64)
    near = (
        Leak(kind, a, b, (names[part_of[a]], names[part_of[b]]))
        for kind, a, b in _near(targets, thumbnails, part_of, person_of)
    )
    found = list(islice(near, _MOST))
    searches: tuple[tuple[Kind, Callable[..., Iterator[tuple[int, int]]]], ...] = (
        ("moved", _moved_labels),
        ("heads", _same_heads),
    )
    for kind, search in searches:
        known = {frozenset((int(person_of[leak.first]), int(person_of[leak.second]))) for leak in found}
        new = (
            Leak(kind, a, b, (names[part_of[a]], names[part_of[b]]))
            for a, b in search(targets, part_of, person_of)
            if frozenset((int(person_of[a]), int(person_of[b]))) not in known
        )
        found += list(islice(new, _MOST))
    return leaks + found


def _moved_labels(
    targets: Targets, part_of: NDArray[np.int64], person_of: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """Pictures of persons with two names, in two parts, whose labels are the same but for place, turn and scale."""
    people = int(person_of.max(initial=-1)) + 1
    total, views = np.zeros((people, people)), np.zeros((people, people), np.int64)
    shown: dict[tuple[int, int], tuple[int, int]] = {}
    for frame in np.unique(targets.frame):
        rows = np.flatnonzero((targets.frame == frame) & (part_of >= 0))
        usable = targets.visible[rows] & targets.trusted[rows]
        rows, usable = _without_copies(rows, targets.xy[rows], usable, person_of)
        distance, common = similar_labels(targets.xy[rows], usable)
        fewer = np.minimum(usable.sum(1)[:, None], usable.sum(1))
        apart = (part_of[rows][:, None] != part_of[rows]) & (person_of[rows][:, None] < person_of[rows])
        apart &= (common >= SIMILAR_POINTS) & (common >= MIN_COMMON * fewer)
        pairs = np.argwhere(apart)
        distances = distance[pairs[:, 0], pairs[:, 1]]
        nearest = np.full((people, people), np.inf)
        places = person_of[rows[pairs[:, 0]]], person_of[rows[pairs[:, 1]]]
        np.minimum.at(nearest, places, distances)
        total, views = total + np.where(np.isfinite(nearest), nearest, 0), views + np.isfinite(nearest)
        for a, b in rows[pairs[distances <= SIMILAR]]:
            shown.setdefault((int(person_of[a]), int(person_of[b])), (int(a), int(b)))
    limit = np.where(views >= SIMILAR_VIEWS, SIMILAR, SIMILAR_IN_ONE)
    for pair in np.argwhere((views > 0) & (total <= limit * views)):
        yield shown[int(pair[0]), int(pair[1])]


def _without_copies(
    rows: NDArray[np.int64], xy: NDArray[np.floating], usable: NDArray[np.bool_], person_of: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rows without those whose labels are equal to another's of the same person, as those of variants are."""
    values = np.where(usable[..., None], xy, -1).reshape(len(rows), -1)
    keys = [(int(person), value.tobytes()) for person, value in zip(person_of[rows], values, strict=True)]
    first = sorted({key: place for place, key in reversed(list(enumerate(keys)))}.values())
    return rows[first], usable[first]


def _same_heads(
    targets: Targets, part_of: NDArray[np.int64], person_of: NDArray[np.int64]
) -> Iterator[tuple[int, int]]:
    """First pictures of persons with two names, in two parts, that have the same head."""
    rows = np.flatnonzero(part_of >= 0)
    if not len(rows):
        return
    pairs = np.stack([person_of[rows], part_of[rows]], 1)
    groups, first, number = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    usable = targets.visible[rows] & targets.trusted[rows]
    cameras = targets.rotation[rows], targets.translation_mm[rows], targets.focal[rows]
    heads = heads_of(number.ravel(), targets.xy[rows], usable, *cameras, guess_mm=acupoints.positions_mm())
    ordered = [heads[str(group)] for group in range(len(groups))]
    apart = (groups[:, None] != groups).all(-1)
    points = np.stack([head.points_mm for head in ordered])
    for one, other in same_heads(points, np.stack([head.information for head in ordered]), apart):
        yield int(rows[first[one]]), int(rows[first[other]])


def _near(
    targets: Targets, thumbnails: NDArray[np.uint8], part_of: NDArray[np.int64], person_of: NDArray[np.int64]
) -> Iterator[tuple[Kind, int, int]]:
    """Near-duplicates of persons with two names, in two parts."""
    alike: dict[tuple[int, int], list[tuple[int, int]]] = defaultdict(list)
    for frame in np.unique(targets.frame):
        rows = np.flatnonzero((targets.frame == frame) & (part_of >= 0))
        faces = unit_thumbnails(thumbnails[rows])
        for start in range(0, len(rows), _CHUNK):
            ours, others = rows[start : start + _CHUNK], rows[start:]
            apart = (part_of[ours][:, None] != part_of[others]) & (person_of[ours][:, None] != person_of[others])
            apart &= np.arange(len(ours))[:, None] < np.arange(len(others))
            for a, b in _same_labels(targets, ours, others, apart):
                yield "labels", a, b
            squared = 2 - 2 * faces[start : start + _CHUNK] @ faces[start:].T
            for i, j in np.argwhere(apart & (squared < LIKE_PICTURE**2)):
                a, b = int(ours[i]), int(others[j])
                if squared[i, j] < SAME_PICTURE**2:
                    yield "pictures", a, b
                else:
                    alike[min(person_of[a], person_of[b]), max(person_of[a], person_of[b])].append((a, b))
    for pair, found in alike.items():
        first, second = (set(targets.frame[(person_of == person) & (part_of >= 0)].tolist()) for person in pair)
        if 2 * len({int(targets.frame[a]) for a, _ in found}) >= len(first & second):
            for a, b in found:
                yield "pictures", a, b


def _same_labels(
    targets: Targets, ours: NDArray[np.int64], others: NDArray[np.int64], apart: NDArray[np.bool_]
) -> Iterator[tuple[int, int]]:
    """Pairs of pictures, among those that are apart, whose labels are the same."""
    seen_a, seen_b = targets.visible[ours].astype(np.float64), targets.visible[others].astype(np.float64)
    count = seen_a @ seen_b.T
    fewer = np.minimum(seen_a.sum(1)[:, None], seen_b.sum(1))
    squared = np.zeros_like(count)
    for axis in range(2):  # sum over common points of (a - b)², as matrix products
        a = np.where(seen_a > 0, targets.xy[ours, :, axis] - 0.5, 0)
        b = np.where(seen_b > 0, targets.xy[others, :, axis] - 0.5, 0)
        squared += (a**2) @ seen_b.T - 2 * a @ b.T + seen_a @ (b**2).T
    likely = apart & (count >= MIN_POINTS) & (count >= MIN_COMMON * fewer) & (squared < _CANDIDATE_RMS**2 * count)
    pairs = np.argwhere(likely)
    for start in range(0, len(pairs), _CHUNK):
        a, b = ours[pairs[start : start + _CHUNK, 0]], others[pairs[start : start + _CHUNK, 1]]
        common = targets.visible[a] & targets.visible[b]
        same = common & (np.abs(targets.xy[a] - targets.xy[b]).max(2) <= TOLERANCE)
        yield from zip(*(rows[same.sum(1) >= SAME_POINTS * common.sum(1)].tolist() for rows in (a, b)), strict=True)
