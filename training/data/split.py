"""Division into training, validation and test: persons are divided, never pictures.

A person is a name, whatever hair, body size, camera or light; so no head is in two parts. Which part a person goes to
depends on the seed and the persons' names alone.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, Self, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from acusim.errors import ConfigError, shown
from acusim.settings import Settings
from training.data.records import Record

Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = get_args(Part)
Pictures = Literal["all", "originals", "augmented"]
"""Which pictures of its persons a part uses."""


class Shares(Settings):
    """Which share of the persons each part has; the three sum to 1."""

    WHAT = "setting of the split"

    train: float = Field(default=0.7, ge=0.0, le=1.0)
    """Share of the persons to train on."""
    val: float = Field(default=0.1, ge=0.0, le=1.0)
    """Share of the persons that chooses the best epoch."""
    test: float = Field(default=0.2, ge=0.0, le=1.0)
    """Share of the persons that chooses nothing."""
    seed: int = 0
    """Seed of the division."""

    @model_validator(mode="after")
    def _sum(self) -> Self:
        if abs(sum(self.shares) - 1) > 1e-6:
            raise ConfigError(f"train, val, test = {list(self.shares)} must sum to 1")
        return self

    @property
    def shares(self) -> tuple[float, float, float]:
        """In the order of PARTS."""
        return self.train, self.val, self.test


class SplitSettings(Shares):
    """How persons are divided, and which of their pictures each part uses."""

    train_pictures: Pictures = "all"
    """Pictures of the training persons."""
    val_pictures: Pictures = "originals"
    """Pictures of the validation persons."""
    test_pictures: Pictures = "originals"
    """Pictures of the test persons."""

    def pictures(self, part: Part) -> Pictures:
        """Which pictures a part uses."""
        return getattr(self, f"{part}_pictures")


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Which pictures belong to which part."""

    persons: dict[str, Part]
    """The part of each person."""
    indices: dict[Part, NDArray[np.int64]]
    """Of each part the numbers of its pictures, ascending."""
    new: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    """Pictures of persons that the assignment does not know."""
    notes: tuple[str, ...] = ()
    """What differs from the settings, for people."""


def assign(records: Sequence[Record], settings: SplitSettings) -> dict[str, Part]:
    """Divides the persons of some pictures, women and men in about the same shares.

    Persons are ranked within their gender by SHA-256 of seed and name, the two rankings are merged evenly, and the
    merged one is cut into the parts' shares. A part with a share above 0 gets at least one person.

    Raises:
        ConfigError: fewer persons than parts.
    """
    return cut(_order(records, settings.seed), settings.shares)


def _order(records: Iterable[Record], seed: int) -> list[str]:
    """The persons of some pictures, women and men mixed evenly, each by their rank."""
    genders: dict[str, Counter[str]] = {}
    for record in records:
        genders.setdefault(record.person, Counter())[record.id.gender] += 1

    by_gender: dict[str, list[str]] = {}
    for person in ranked(genders, seed):
        gender = min(genders[person], key=lambda code: (-genders[person][code], code))
        by_gender.setdefault(gender, []).append(person)
    places = {
        person: ((number + 0.5) / len(group), _rank(person, seed))
        for group in by_gender.values()
        for number, person in enumerate(group)
    }
    return sorted(places, key=lambda person: places[person])


def ranked(persons: Iterable[str], seed: int) -> list[str]:
    """Persons by SHA-256 of seed and name."""
    return sorted(persons, key=lambda person: _rank(person, seed))


def _rank(person: str, seed: int) -> str:
    return hashlib.sha256(f"{seed}\n{person}".encode()).hexdigest()


def cut(order: Sequence[str], shares: Sequence[float]) -> dict[str, Part]:
    """The part of each person: an order of persons is cut into the shares of PARTS.

    Raises:
        ConfigError: fewer persons than parts with a share above 0.
    """
    counts = _counts(len(order), shares)
    labels: list[Part] = [part for part, count in zip(PARTS, counts, strict=True) for _ in range(count)]
    return dict(sorted(zip(order, labels, strict=True)))


def _counts(total: int, shares: Sequence[float]) -> list[int]:
    """Whole numbers by largest remainder, at least 1 where the share is above 0."""
    wanted = [share > 0 for share in shares]
    if total < sum(wanted):
        raise ConfigError(
            f"split: {total} persons cannot be divided into {sum(wanted)} parts; add persons, or set the share of a "
            "part to 0"
        )
    exact = [round(total * share, 9) for share in shares]
    counts = [int(number) for number in exact]
    rest = sorted(range(len(shares)), key=lambda i: (round(counts[i] - exact[i], 9), i))
    for i in rest[: total - sum(counts)]:
        counts[i] += 1
    while short := [i for i, want in enumerate(wanted) if want and not counts[i]]:
        counts[counts.index(max(counts))] -= 1
        counts[short[0]] += 1
    return counts


def apply(records: Sequence[Record], persons: Mapping[str, Part], settings: SplitSettings) -> Split:
    """Which pictures each part has, for an earlier assignment, of these or of other data.

    Where all pictures of all persons are augmented ones, a part of originals gets these instead, with a note.

    Raises:
        ConfigError: a part that has persons here is left without a picture.
    """
    chosen: dict[Part, list[int]] = {part: [] for part in PARTS}
    present: set[Part] = set()
    new: list[int] = []
    no_originals = all(record.variant for record in records)
    instead: list[Part] = [part for part in PARTS if no_originals and settings.pictures(part) == "originals"]
    for number, record in enumerate(records):
        part = persons.get(record.person)
        if part is None:
            new.append(number)
            continue
        present.add(part)
        use = "all" if part in instead else settings.pictures(part)
        if use == "all" or (use == "originals") == (record.variant == ""):
            chosen[part].append(number)
    for part in PARTS:
        if part in present and not chosen[part]:
            raise ConfigError(
                f"split: part {part} uses {settings.pictures(part)}, and no picture of its persons is among them; "
                f"set {part}_pictures to another of {', '.join(get_args(Pictures))}, or name a root that has them"
            )
    indices: dict[Part, NDArray[np.int64]] = {part: np.array(rows, np.int64) for part, rows in chosen.items()}
    notes = tuple(
        f"{part} uses originals, but there are augmented pictures alone: it uses these"
        for part in instead
        if len(indices[part])
    )
    return Split(dict(persons), indices, np.array(new, np.int64), notes)


def split(records: Sequence[Record], settings: SplitSettings) -> Split:
    """Divides the persons and their pictures.

    Raises:
        ConfigError: as assign and apply.
    """
    return apply(records, assign(records, settings), settings)


def limited(found: Split, records: Sequence[Record], persons: float, settings: SplitSettings) -> Split:
    """A split whose training persons are some of those that were assigned; the others are new to the model.

    They are the first in the order of assign, women and men in about the same shares, so that fewer are among more.

    Args:
        found: the split.
        records: those it divides.
        persons: a share up to 1, or a number from 2 on.
        settings: of the split.

    Raises:
        ConfigError: the number is not whole, or larger than that of the training persons.
    """
    own = found.indices["train"].tolist()
    chosen = set(first_of(_order([records[row] for row in own], settings.seed), persons))
    kept = {person: part for person, part in found.persons.items() if part != "train" or person in chosen}
    used = np.array([row for row in own if records[row].person in chosen], np.int64)
    new = [row for row, record in enumerate(records) if record.person not in kept]
    return replace(found, persons=kept, indices={**found.indices, "train": used}, new=np.array(new, np.int64))


def first_of(order: Sequence[str], persons: float) -> Sequence[str]:
    """The first of some training persons: a share of them up to 1, or a number from 2 on.

    Raises:
        ConfigError: the number is not whole, or larger than that of the persons.
    """
    if persons > 1 and (persons != int(persons) or persons > len(order)):
        raise ConfigError(
            f"data.persons = {persons:g} is neither a share up to 1 nor a whole number up to {len(order)}, the number "
            "of training persons"
        )
    return order[: int(persons) if persons > 1 else max(1, round(persons * len(order)))]


def parse_persons(document: Any) -> dict[str, Part]:
    """An assignment from JSON that was read from a file or text.

    Raises:
        ConfigError: not an object of person -> part.
    """
    if isinstance(document, str):
        try:
            document = json.loads(document)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"assignment of persons: not JSON: {str(error)[:120]}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"assignment of persons: {shown(document)} is not an object of person -> part")
    for person, part in document.items():
        if not isinstance(person, str) or part not in PARTS:
            raise ConfigError(f"assignment of persons: {shown(person)} -> {shown(part)}; parts are {', '.join(PARTS)}")
    return dict(document)
