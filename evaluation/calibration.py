"""How small a displacement the certificate finds: known ones are injected into pictures whose geometry is exact.

Each pair of an original and its relit picture gives trials: pictures in which nothing moved (as it is, and under strong
changes of appearance), local warps around a visible acupoint, shifts of the whole picture, and the picture of another
person. Thresholds are fitted on some persons, rates are told for others.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from evaluation.certificate import Judge
from evaluation.drift import azimuth_deg
from evaluation.edits import strongly_edited
from evaluation.matching import bounds
from evaluation.reference import Reference
from evaluation.thresholds import Thresholds
from evaluation.warps import random_warp, shifted

SIZES_PX = (1.0, 2.0, 3.0, 5.0, 8.0)
LADDER = (4.0, 6.0, 8.0, 10.0, 12.0, 16.0)
"""Candidates for the threshold ``excluded``."""
FALSE_ALARMS = 0.01
SHARES = {"found": 0.6, "outline": 0.3}
"""How the false alarms are shared out between the tests."""
COVERAGE = 0.99
"""Share of the displaced, trusted points whose true displacement must be within the bound."""

Look = Literal["relit", "strong"]
Kind = Literal["null", "warp", "shift", "stranger"]
VIEWS = ("front", "side", "back")
"""|azimuth| up to 45°, up to 90°, beyond."""


@dataclass(frozen=True, slots=True, eq=False)
class Trial:
    """One picture with a known displacement and what was measured on it."""

    person: str
    frame: int
    look: Look
    """strong: two strong changes of appearance on top of the relit picture."""
    kind: Kind
    size_px: float
    strength: float
    """Largest log-likelihood ratio of a displacement."""
    texture: float
    structure: float
    shift_px: float
    shift_gain: float
    outline_px: float
    outline_seen: float
    moved_px: NDArray[np.float32]
    """[V] how far each visible acupoint was moved."""
    bounds_px: NDArray[np.float32]
    """[len(LADDER), V] bound on its displacement by each candidate of ``excluded``."""
    mm_per_px: NDArray[np.float32]
    """[V]"""

    @property
    def view(self) -> str:
        """One of VIEWS."""
        away = abs(azimuth_deg(self.frame))
        return VIEWS[0] if away <= 45 else VIEWS[1] if away <= 90 else VIEWS[2]


def trials_of(
    reference: Reference,
    augmented: NDArray[np.uint8],
    stranger: NDArray[np.uint8] | None,
    judge: Judge,
    person: str,
    frame: int,
    random: np.random.Generator,
) -> Iterator[Trial]:
    """The trials of one pair at work size 512.

    Args:
        reference: the original.
        augmented: [H, W, 3] the relit picture.
        stranger: [H, W, 3] another person's relit picture in the same view, None if there is none.
        judge: measures.
        person: whose picture it is.
        frame: camera.
        random: draws warps, shifts and edits.
    """
    points = reference.points[: len(reference.rows)]

    def trial(pixels: NDArray[np.uint8], look: Look, kind: Kind, size: float, moved: NDArray[Any]) -> Trial:
        if look == "strong":
            pixels = strongly_edited(pixels, random)[0]
        found = judge.measure(reference, pixels)
        local = found.match.local[: len(points)]
        return Trial(
            person,
            frame,
            look,
            kind,
            size,
            float(found.match.strength.max()) if found.match.strength.size else 0.0,
            found.texture,
            found.structure,
            float(np.hypot(*found.shift_px)),
            found.shift_gain,
            found.outline.distance_px,
            found.outline.seen,
            np.linalg.norm(moved, axis=1).astype(np.float32),
            np.array([bounds(local, excluded) for excluded in LADDER], np.float32),
            reference.mm_per_px,
        )

    still = np.zeros_like(points)
    yield trial(augmented, "relit", "null", 0.0, still)
    for _ in range(2):
        yield trial(augmented, "strong", "null", 0.0, still)
    if stranger is not None and stranger.shape == augmented.shape:
        yield trial(stranger, "relit", "stranger", 0.0, still)
    looks: tuple[Look, ...] = ("relit", "strong")
    for look in looks:
        for size in SIZES_PX:
            if len(points):
                warp = random_warp(points, size, random)
                yield trial(warp.apply(augmented), look, "warp", size, warp.displacement(points))
            angle = random.uniform(0, 2 * np.pi)
            step = size * np.array([np.cos(angle), np.sin(angle)])
            yield trial(shifted(augmented, *step), look, "shift", size, np.tile(step, (len(points), 1)))


def fit(trials: Sequence[Trial], base: Thresholds) -> Thresholds:
    """Thresholds at FALSE_ALARMS on the pictures in which nothing moved, and at COVERAGE on the displaced points.

    Raises:
        ValueError: there are too few trials to tell one in a hundred.
    """
    null = [trial for trial in trials if trial.kind == "null"]
    if len(null) < 100:
        raise ValueError(f"{len(null)} pictures in which nothing moved; at least 100 are needed to tell 1 %")
    faithful = [trial.strength for trial in null if trial.texture >= base.faithful_texture]
    remade = [trial.strength for trial in null if trial.texture < base.faithful_texture]
    strangers = [trial.structure for trial in trials if trial.kind == "stranger"]
    rank = 1 - FALSE_ALARMS * SHARES["found"]
    values: dict[str, float] = {
        "found_faithful": _upper(faithful, rank, base.found_faithful),
        "found_remade": _upper(remade, rank, base.found_remade),
        "most_outline_px": min(12.0, _outline_limit(null, base)),
        "global_gain": max(t.shift_gain for t in null if t.shift_px > 0) + 0.02
        if any(t.shift_px for t in null)
        else 0.1,
    }
    lowest = min(trial.structure for trial in null)
    if strangers:
        # Half way between the pictures of the same head and those of others, if they part at all.
        values["least_structure"] = round((lowest + float(np.quantile(strangers, 0.99))) / 2, 3)
    fitted = dataclasses.replace(base, **{name: round(value, 3) for name, value in values.items()})
    for position, excluded in enumerate(LADDER):
        fitted = dataclasses.replace(fitted, excluded=excluded)
        if coverage(trials, fitted, position)[0] >= COVERAGE:
            break
    return fitted


def _upper(values: list[float], rank: float, otherwise: float) -> float:
    return max(0.5, float(np.quantile(values, rank))) if len(values) >= 50 else otherwise


def _outline_limit(null: Sequence[Trial], base: Thresholds) -> float:
    seen = [t.outline_px for t in null if t.outline_seen >= base.least_outline_seen]
    return _upper(seen, 1 - FALSE_ALARMS * SHARES["outline"], base.most_outline_px)


def rejected(trial: Trial, limits: Thresholds) -> bool:
    """Whether the certificate rejects a trial's picture; the same tests as Judge.decide."""
    least = limits.found_faithful if trial.texture >= limits.faithful_texture else limits.found_remade
    return bool(
        not trial.structure >= limits.least_structure
        or (trial.shift_gain > limits.global_gain and trial.shift_px > 0)
        or trial.strength > least
        or (trial.outline_seen >= limits.least_outline_seen and trial.outline_px > limits.most_outline_px)
    )


def coverage(trials: Iterable[Trial], limits: Thresholds, position: int | None = None) -> tuple[float, int]:
    """Share of trusted points in accepted pictures that moved by no more than their bound, and how many points.

    Points moved by a pixel or more count: those that stay are always within.
    """
    place = LADDER.index(limits.excluded) if position is None else position
    held = total = 0
    for trial in trials:
        if trial.kind == "null" or trial.kind == "stranger" or rejected(trial, limits):
            continue
        bound = trial.bounds_px[place]
        counted = (bound * trial.mm_per_px <= limits.tolerance_mm) & (trial.moved_px >= 1)
        total += int(counted.sum())
        held += int((counted & (trial.moved_px <= bound)).sum())
    return (held / total if total else 1.0), total


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: pictures of one look, displacement and view."""

    look: str
    kind: str
    size_px: float
    view: str
    pictures: int
    rejected: float
    """Share of the pictures that the certificate rejects: false alarms where nothing moved, detections elsewhere."""
    harmless: float
    """Share that is rejected, or whose labels that moved farther than 5 mm or ``size_px`` (the less) are masked."""
    trusted: float
    """Mean share of the visible acupoints that are trusted."""


def table(trials: Sequence[Trial], limits: Thresholds) -> list[Row]:
    """Rates by look, kind, size and view (and over all views)."""
    rows: list[Row] = []
    keys = sorted({(t.look, t.kind, t.size_px) for t in trials}, key=lambda key: (key[0], key[1] != "null", key[1:]))
    place = LADDER.index(limits.excluded)
    for look, kind, size in keys:
        for view in ("all", *VIEWS):
            chosen = [
                t for t in trials if (t.look, t.kind, t.size_px) == (look, kind, size) and view in ("all", t.view)
            ]
            if not chosen:
                continue
            refused = np.array([rejected(t, limits) for t in chosen])
            trusted = [t.bounds_px[place] * t.mm_per_px <= limits.tolerance_mm for t in chosen]
            # A label is harmed if it moved by half of what was injected or more, and is trusted nevertheless.
            harmed = np.array(
                [bool((ok & (t.moved_px > np.maximum(t.bounds_px[place], 1))).any()) for ok, t in zip(trusted, chosen)]
            )
            shares = [ok.mean() for ok in trusted if ok.size]
            rows.append(
                Row(
                    look,
                    kind,
                    size,
                    view,
                    len(chosen),
                    float(refused.mean()),
                    float((refused | ~harmed).mean()),
                    float(np.mean(shares)) if shares else float("nan"),
                )
            )
    return rows
