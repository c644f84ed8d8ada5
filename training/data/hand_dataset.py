"""Hand pictures for training: their points, which of these are certain, their subjects, and the division of subjects.

Subjects are divided, never pictures; two subjects that share a copied picture count as one. Only then training pictures
are augmented, so variants of one picture are in one part.
"""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from acusim.errors import AcuSimError, ConfigError, shown
from acusim.files import portable_name, printable
from acusim.layout import Problem
from acusim.tolerances import Change, notes_of
from training.data.point_trust import Trust, trust_of_picture
from training.data.shards import unit_thumbnails
from training.data.split import PARTS, Part, Shares, cut, ranked
from training.io.labelme import LabelledHand, LabelmeFolder, scan_labelme
from training.tasks.hand_points import HandPoints, read_points

SIZE = 224
SUBJECT = r"^(?P<subject>S\d{4,})_(?P<side>[LR])_(?P<face>back|palm)_\d+$"
"""Names of the synthetic hands; other data need their own pattern."""
SAME_PICTURE = 0.12
"""Distance of two thumbnails without mean and of length 1 below which they are one picture. Of the 276 pairs of 24
synthetic hands the nearest are 0.84 apart; copies saved as JPEG of quality 50 at most 0.08, of quality 30 0.10."""
_SIDES = {"L": "left", "R": "right", "left": "left", "right": "right"}

Missing = Literal["leave out", "keep"]


class HandSettings(Shares):
    """How a folder is read, and how its subjects are divided."""

    WHAT = "setting of hands"

    subject: str = SUBJECT
    """Regular expression for a picture's file name without extension. Its group ``subject`` is the person; the groups
    ``side`` (L, R, left, right) and ``face`` (back, palm) are optional. A name without a match is its own subject."""
    missing: Missing = "leave out"
    """Pictures that lack a point: left out, as in the paper, or kept with the point not visible."""

    @model_validator(mode="after")
    def _pattern(self) -> Self:
        try:
            groups = re.compile(self.subject).groupindex
        except (re.error, RecursionError) as error:
            raise ConfigError(f"subject = {self.subject!r} is not a regular expression: {error}") from None
        if "subject" not in groups:
            raise ConfigError(f"subject = {self.subject!r} has no group (?P<subject>...)")
        return self


@dataclass(frozen=True, slots=True)
class HandRecord:
    """One picture."""

    image: str
    """Relative to the root."""
    label: str
    subject: str
    """The person; all pictures of one subject are in one part."""
    side: str | None
    """left or right, None where unknown."""
    face: str | None
    """back or palm."""
    size: tuple[int, int]
    """(width, height) in pixels, upright."""


@dataclass(frozen=True, slots=True, eq=False)
class HandData:
    """The usable pictures of a folder, in the order of their paths."""

    root: Path
    points: HandPoints
    records: tuple[HandRecord, ...]
    xy: NDArray[np.float64]
    """[N, P, 2] pixels of the upright picture; (0, 0) where the position is not known."""
    visible: NDArray[np.bool_]
    """[N, P] True where the file has the point."""
    known: NDArray[np.bool_]
    """[N, P] True where its position is known: of visible points, and of hidden ones of synthetic hands."""
    trusted: NDArray[np.bool_]
    """[N, P] False where the label of a visible point may be false, by the point mask of an augmented picture."""
    problems: tuple[Problem, ...]
    """What is not usable, and why."""
    left_out: tuple[str, ...]
    """Pictures that lack a point, unless they are kept."""
    rejected: int = 0
    """Augmented pictures that their point masks reject; they are left out, too."""
    notes: tuple[str, ...] = ()
    """Notes for the user: labels not in the mapping, conversions, changes, merged subjects."""
    aliases: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Subject to all its names, its own included; several where copies merged subjects."""
    changes: tuple[Change, ...] = ()
    """What was read differently from how it is written; summed up in the notes."""

    def describe(self) -> str:
        """One line: how many of what."""
        subjects = len({record.subject for record in self.records})
        return (
            f"{len(self.records)} pictures of {subjects} subjects; {len(self.left_out)} left out for missing points, "
            + (f"{self.rejected} rejected by their point masks, " if self.rejected else "")
            + f"{sum(problem.is_image for problem in self.problems)} pictures and "
            f"{sum(not problem.is_image for problem in self.problems)} other files skipped"
        )


def read_hands(
    root: Path,
    settings: HandSettings | None = None,
    points: HandPoints | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> HandData:
    """Reads a folder of labelme files.

    Args:
        root: the folder.
        settings: see HandSettings.
        points: the mapping; None takes the one in this package.
        progress: called with how many pictures are read, and of how many.

    Raises:
        ConfigError: the mapping is wrong.
        LayoutError: the root is not a readable folder.
    """
    settings = settings or HandSettings()
    points = points or read_points()
    folder = scan_labelme(root, points, progress)
    hands = [hand for hand in folder.hands if settings.missing == "keep" or not np.isnan(hand.xy).any()]
    kept = {hand.image for hand in hands}
    left_out = tuple(printable(hand.image) for hand in folder.hands if hand.image not in kept)
    hands, trust, rejected = _certain(root, hands, points, folder.problems)
    named = [_who(hand, settings)[0] for hand in hands]
    subjects, joined = _joined(named, _same_pictures(hands))
    aliases: dict[str, set[str]] = {}
    for subject, name in zip(subjects, named, strict=True):
        aliases.setdefault(subject, set()).add(name)
    records = tuple(
        HandRecord(hand.image, hand.label, subject, *_who(hand, settings)[1:], hand.size)
        for hand, subject in zip(hands, subjects, strict=True)
    )
    shown_xy = np.array([hand.xy for hand in hands]).reshape(len(hands), len(points), 2)
    xy = np.array([_all_known(hand) for hand in hands]).reshape(shown_xy.shape)
    trusted = np.array([one.trusted for one in trust], bool).reshape(shown_xy.shape[:2])
    notes = (*_notes(folder), *joined, *_trust_notes(trust, rejected))
    return HandData(
        root,
        points,
        records,
        np.nan_to_num(xy),
        ~np.isnan(shown_xy[..., 0]),
        ~np.isnan(xy[..., 0]),
        trusted,
        tuple(sorted(folder.problems, key=lambda problem: problem.path)),
        left_out,
        rejected,
        notes,
        {subject: tuple(sorted(names)) for subject, names in sorted(aliases.items())},
        tuple(folder.changes),
    )


def _certain(
    root: Path, hands: Sequence[LabelledHand], points: HandPoints, problems: list[Problem]
) -> tuple[list[LabelledHand], list[Trust], int]:
    """Hands that their point masks, if any, do not reject; what these say; and how many are rejected.

    A mask that cannot be read becomes a problem, and its picture is not used.
    """
    kept: list[LabelledHand] = []
    trust: list[Trust] = []
    rejected = 0
    for hand in hands:
        try:
            found = trust_of_picture(root, hand.image, ~np.isnan(hand.xy[:, 0]), points.index_of)
        except AcuSimError as error:
            problems.append(Problem(printable(hand.image), str(error), True))
            continue
        if found.rejected is None:
            kept.append(hand)
            trust.append(found)
        else:
            rejected += 1
    return kept, trust, rejected


def _trust_notes(trust: Sequence[Trust], rejected: int) -> list[str]:
    notes: list[str] = []
    if rejected:
        notes.append(f"{rejected} augmented pictures are not used: their point masks mark labels that may be false")
    if masks := sum(one.masked for one in trust):
        untrusted = sum(int((~one.trusted).sum()) for one in trust)
        notes.append(f"{masks} of {len(trust)} pictures have a point mask; {untrusted} points are not trusted")
    return notes


def _all_known(hand: LabelledHand) -> NDArray[np.float64]:
    """[P, 2] positions of visible points, and of others where they are known; else NaN."""
    return hand.xy if hand.hidden is None else np.where(np.isnan(hand.xy), hand.hidden, hand.xy)


def _who(hand: LabelledHand, settings: HandSettings) -> tuple[str, str | None, str | None]:
    """Subject, side and face of a picture, by its name, else by labelme's flags ``left hand`` and ``palm``."""
    stem = Path(hand.image).stem
    found = re.search(settings.subject, stem)
    named = found.groupdict() if found else {}
    subject = named.get("subject") or hand.image
    side, face = _SIDES.get(named.get("side") or ""), named.get("face")
    if side is None and "left hand" in hand.flags:
        side = "left" if hand.flags["left hand"] else "right"
    if face is None and "palm" in hand.flags:
        face = "palm" if hand.flags["palm"] else "back"
    return portable_name(subject), side, face


def _notes(folder: LabelmeFolder) -> list[str]:
    notes = [
        f"label {shown(label)}: {count} shapes, not in the mapping"
        for label, count in sorted(folder.other_labels.items())
    ]
    conversions = Counter(note for hand in folder.hands for note in hand.notes)
    notes += [f"{count} pictures: {note}" for note, count in sorted(conversions.items())]
    return notes + notes_of(folder.changes)


def thumbnail_distance(thumbnails: NDArray[np.uint8]) -> NDArray[np.float32]:
    """[N, N] distance of thumbnails [N, 32, 32] without their mean and of length 1; 2 for a flat one."""
    unit = unit_thumbnails(thumbnails)
    return np.nan_to_num(np.sqrt(np.clip(2 - 2 * unit @ unit.T, 0, None)), nan=2)


def _same_pictures(hands: Sequence[LabelledHand], chunk: int = 2048) -> list[tuple[int, int]]:
    """Pairs of pictures of one size that are copies."""
    pairs: list[tuple[int, int]] = []
    by_shape: dict[float, list[int]] = {}
    for k, hand in enumerate(hands):
        by_shape.setdefault(round(hand.size[0] / hand.size[1], 2), []).append(k)
    for rows in by_shape.values():
        for start in range(0, len(rows), chunk):
            for other in range(start, len(rows), chunk):
                first, second = rows[start : start + chunk], rows[other : other + chunk]
                both = np.stack([hands[k].thumbnail for k in (*first, *second)])
                near = thumbnail_distance(both)[: len(first), len(first) :] < SAME_PICTURE
                pairs += [(first[i], second[j]) for i, j in np.argwhere(near) if first[i] < second[j]]
    return pairs


def _joined(subjects: list[str], same: Iterable[tuple[int, int]]) -> tuple[list[str], list[str]]:
    """Subjects after merging those that share a picture, and a note about each merge."""
    parent = {subject: subject for subject in subjects}

    def root(subject: str) -> str:
        while parent[subject] != subject:
            subject = parent[subject]
        return subject

    notes: list[str] = []
    for a, b in same:
        first, second = sorted((root(subjects[a]), root(subjects[b])))
        if first != second:
            parent[second] = first
            notes.append(f"subjects {printable(first)} and {printable(second)} share a picture: taken as one")
    return [root(subject) for subject in subjects], notes


def split_subjects(records: Sequence[HandRecord], settings: HandSettings) -> dict[str, Part]:
    """The part of each subject: ranked by SHA-256 of seed and name, then cut into the parts' shares.

    Raises:
        ConfigError: fewer subjects than parts with a share above 0.
    """
    order = ranked({record.subject for record in records}, settings.seed)
    try:
        return cut(order, settings.shares)
    except ConfigError as error:
        raise ConfigError(f"{error}; or set the pattern that finds subjects in file names") from None


def rows_of(records: Sequence[HandRecord], parts: Mapping[str, Part]) -> dict[Part, NDArray[np.int64]]:
    """Of each part the numbers of its pictures, ascending."""
    return {
        part: np.array([k for k, record in enumerate(records) if parts.get(record.subject) == part], np.int64)
        for part in PARTS
    }
