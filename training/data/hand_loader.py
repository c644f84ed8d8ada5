"""A folder of labelled hands for training and evaluation: read, checked, divided by subject."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError, shown
from acusim.files import safe_join, sha256
from acusim.pictures import read_file
from training.data.hand_augmentation import Augmentation
from training.data.hand_dataset import SUBJECT, HandData, read_hands, rows_of, split_subjects
from training.data.hand_squares import HandSquares, squares_of
from training.data.progress import Progress
from training.data.split import Part, first_of, ranked
from training.tasks.hand_config import HandConfig
from training.tasks.hand_points import HandPoints

Side = Part | Literal["new"]
_FEW = 3


@dataclass(frozen=True, slots=True, eq=False)
class HandSet:
    """Labelled hands and the part of each subject."""

    data: HandData
    digest: str
    """Of pictures and labels."""
    persons: dict[str, Part]
    """Part of every name of every subject that training knows."""
    rows: dict[Side, NDArray[np.int64]]
    """Numbers of the pictures of each part; "new": of subjects that training does not know."""
    size: int
    """Side of the squares."""
    cache: Path | None = None
    workers: int = 1

    def limit(self, persons: float, seed: int) -> None:
        """Keeps some of the training subjects, as split.first_of takes them by rank; the others are new to the model.

        Raises:
            ConfigError: as split.first_of.
        """
        own = self.rows["train"]
        subjects = [self.data.records[row].subject for row in own]
        chosen = set(first_of(ranked(set(subjects), seed), persons))
        kept = np.array([subject in chosen for subject in subjects], bool)
        self.rows["train"], self.rows["new"] = own[kept], np.sort(np.concatenate([self.rows["new"], own[~kept]]))
        for name in {name for subject in subjects if subject not in chosen for name in self.data.aliases[subject]}:
            del self.persons[name]

    def squares(
        self,
        part: Side,
        augmentation: Augmentation | None = None,
        *,
        progress: Progress = lambda *_: None,
        say: Callable[[str], None] = lambda _: None,
    ) -> HandSquares:
        """The squares of a part.

        Raises:
            ConfigError: none of its pictures can be read.
        """
        squares = squares_of(
            self.data,
            self.digest,
            self.rows[part],
            augmentation,
            self.size,
            cache=self.cache,
            workers=self.workers,
            progress=progress,
            say=say,
        )
        if not len(squares):
            reason = f"; {squares.problems[0].path}: {squares.problems[0].reason}" if squares.problems else ""
            raise ConfigError(f"no picture of part {part!r} can be read{reason}")
        return squares


def load_hands(
    root: Path,
    config: HandConfig,
    *,
    points: HandPoints | None = None,
    persons: Mapping[str, Part] | None = None,
    cache: Path | None = None,
    workers: int = 1,
) -> HandSet:
    """Reads a folder of labelme files.

    Args:
        root: the folder.
        config: for labels, subjects and parts.
        points: the mapping of a run; None takes the configuration's.
        persons: the part of each person in a run; None divides anew.
        cache: folder of cached squares.
        workers: processes that decode.

    Raises:
        ConfigError: no picture is usable, too few subjects, or one subject in two parts.
        LayoutError: the root is not a readable folder.
    """
    data = read_hands(root, config.data.settings(), points or config.data.mapping())
    if not data.records:
        raise ConfigError(_nothing(data))
    _check_pattern(data, config.data.subject)
    known: dict[str, Part] = {}
    if persons is None:
        try:
            parts = split_subjects(data.records, config.data.settings())
        except ConfigError as error:
            if data.rejected:
                raise ConfigError(f"{error}; {data.rejected} pictures are rejected by their point masks") from None
            raise
        for subject, part in parts.items():
            known |= dict.fromkeys(data.aliases[subject], part)
    else:
        parts = _parts(data, persons)
        known |= persons
    new = [k for k, record in enumerate(data.records) if record.subject not in parts]
    rows: dict[Side, NDArray[np.int64]] = {**rows_of(data.records, parts), "new": np.array(new, np.int64)}
    return HandSet(data, _digest(data), known, rows, config.data.size, cache, workers)


def pattern_note(data: HandData, pattern: str) -> str | None:
    """A warning about pictures whose names do not contain the subject; None if all do."""
    unnamed = sum(not re.search(pattern, Path(record.image).stem) for record in data.records)
    if not unnamed:
        return None
    return (
        f"the names of {unnamed} of {len(data.records)} pictures do not contain the subject; each counts as a person "
        "of its own, so one hand may be both trained on and tested: set data.subject"
    )


def _check_pattern(data: HandData, pattern: str) -> None:
    """Checks that a pattern other than the default matches some name.

    Raises:
        ConfigError: it matches none.
    """
    stems = [Path(record.image).stem for record in data.records]
    if pattern != SUBJECT and not any(re.search(pattern, stem) for stem in stems):
        raise ConfigError(
            f"data.subject = {pattern!r} is found in none of {len(stems)} file names, such as {shown(stems[0])}"
        )


def _nothing(data: HandData) -> str:
    """Why a folder has no usable picture."""
    reasons = [f"{problem.path}: {problem.reason}" for problem in data.problems[:_FEW]]
    if data.left_out:
        ids = ", ".join(data.points.ids)
        reasons += [f"pictures without one of {ids} are left out unless data.missing=keep", *data.notes[:_FEW]]
    if data.rejected:
        reasons.append(f"{data.rejected} pictures are rejected by their point masks (accept is false there)")
    if not reasons:
        reasons = ["it contains neither a picture nor a labelme file"]
    return f"{str(data.root)!r} has no usable picture: {data.describe()}; {'; '.join(reasons)}"


def _parts(data: HandData, persons: Mapping[str, Part]) -> dict[str, Part]:
    """The part of each subject that was in a run under any of its names.

    Raises:
        ConfigError: a subject is in two parts.
    """
    out: dict[str, Part] = {}
    for subject, names in data.aliases.items():
        found: set[Part] = {persons[name] for name in names if name in persons}
        if len(found) > 1:
            listed = ", ".join(f"{name} ({persons[name]})" for name in names if name in persons)
            raise ConfigError(f"pictures of {listed} are copies: one hand cannot be in two parts; remove the copies")
        for part in found:
            out[subject] = part
    return out


def _digest(data: HandData) -> str:
    """SHA-256 over the pictures' files, their visible points and which of them are trusted.

    Those that are not seen are in the same files.
    """
    lines: list[str] = []
    shown_xy = np.where(data.visible[..., None], data.xy, 0)
    for record, xy, visible, trusted in zip(data.records, shown_xy, data.visible, data.trusted, strict=True):
        picture = sha256(read_file(safe_join(data.root, record.image)))
        doubted = b"" if trusted.all() else trusted.tobytes()
        lines.append(f"{record.image}\n{picture}\n{sha256(xy.tobytes() + visible.tobytes() + doubted)}\n")
    return sha256("".join(lines).encode())
