"""How small a displacement the certificate finds: known ones are injected into pictures whose geometry is exact.

Each pair of an original and its relit picture gives trials: pictures in which nothing moved (as it is, and under strong
changes of appearance), local warps around a visible acupoint, shifts of the whole picture, and the picture of another
person. Thresholds are fitted on some persons, rates are told for others.
"""

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from evaluation.certificate import Judge
from evaluation.drift import azimuth_deg
from evaluation.edits import strongly_edited
from evaluation.matching import bounds
from evaluation.reference import Reference
from evaluation.thresholds import Thresholds
from evaluation.warps import random_warp, shifted

SIZES_PX = (1.0, 2.0, 3.0, 5.0, 8.0, 9.25)
"""9.25 px are 5 mm at 512."""
LADDER = (4.0, 6.0, 8.0, 10.0, 12.0, 16.0, 20.0, 25.0)
"""Candidates for the threshold ``excluded``."""
FALSE_ALARMS = 0.01
FOUND_SHARE, OUTLINE_SHARE = 0.8, 0.1
"""How the false alarms are shared out between the tests; the rest of them stay far from their thresholds."""
STRUCTURE_SHARE = 0.5
"""Of the lowest agreement of structure among them: persons differ in it, and strangers fail other tests as well."""
COVERAGE = 0.99
"""Share of the displaced, trusted points, and of the pictures with large warps, in which the bounds must hold."""

Look = Literal["relit", "strong"]
Kind = Literal["nothing", "warp", "shift", "stranger"]


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
    still_px: NDArray[np.float32]
    """[len(LADDER), V] the bounds in the relit picture without any displacement."""
    mm_per_px: NDArray[np.float32]
    """[V]"""


VIEWS: Mapping[str, Callable[[Trial], bool]] = {
    "all": lambda trial: True,
    "azimuth to 45°": lambda trial: abs(azimuth_deg(trial.frame)) <= 45,
    "azimuth 50-90°": lambda trial: 45 < abs(azimuth_deg(trial.frame)) <= 90,
    "azimuth beyond 90°": lambda trial: abs(azimuth_deg(trial.frame)) > 90,
    "elevation 0°": lambda trial: rig.camera(trial.frame).elevation_deg == 0,
    "elevation +30°": lambda trial: rig.camera(trial.frame).elevation_deg == 30,
    "elevation +60°": lambda trial: rig.camera(trial.frame).elevation_deg == 60,
    "elevation -30°": lambda trial: rig.camera(trial.frame).elevation_deg == -30,
}
"""Views of the table by name."""


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
    unmoved: list[NDArray[np.float32]] = []

    def trial(pixels: NDArray[np.uint8], look: Look, kind: Kind, size: float, moved: NDArray[Any]) -> Trial:
        if look == "strong":
            pixels = strongly_edited(pixels, random)[0]
        found = judge.measure(reference, pixels)
        local = found.match.local[: len(points)]
        limits = np.array([bounds(local, excluded) for excluded in LADDER], np.float32)
        unmoved.append(limits)
        return Trial(
            person=person,
            frame=frame,
            look=look,
            kind=kind,
            size_px=size,
            strength=float(found.match.strength.max()) if found.match.strength.size else 0.0,
            texture=found.texture,
            structure=found.structure,
            shift_px=float(np.hypot(*found.shift_px)),
            shift_gain=found.shift_gain,
            outline_px=found.outline.distance_px,
            outline_seen=found.outline.seen,
            moved_px=np.linalg.norm(moved, axis=1).astype(np.float32),
            bounds_px=limits,
            still_px=unmoved[0],
            mm_per_px=reference.mm_per_px,
        )

    still = np.zeros_like(points)
    yield trial(augmented, "relit", "nothing", 0.0, still)
    for _ in range(2):
        yield trial(augmented, "strong", "nothing", 0.0, still)
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
    null = [trial for trial in trials if trial.kind == "nothing"]
    if len(null) < 100:
        raise ValueError(f"{len(null)} pictures in which nothing moved; at least 100 are needed to tell 1 %")
    rank = 1 - FALSE_ALARMS * FOUND_SHARE
    outlines = [t.outline_px for t in null if t.outline_seen >= base.least_outline_seen]
    values = {
        "found": _upper([t.strength for t in null if t.texture >= base.faithful_texture], rank),
        "found_remade": _upper([t.strength for t in null if t.texture < base.faithful_texture], rank),
        "most_outline_px": _upper(outlines, 1 - FALSE_ALARMS * OUTLINE_SHARE) + 0.5,
        "global_gain": max((t.shift_gain for t in null if t.shift_px > 0), default=0.08) + 0.02,
    }
    strangers = [trial.structure for trial in trials if trial.kind == "stranger"]
    if strangers:
        lowest = float(np.quantile([trial.structure for trial in null], 0.001))
        values["least_structure"] = min(STRUCTURE_SHARE * lowest, float(np.quantile(strangers, 0.95)))
    fitted = dataclasses.replace(base, **{name: round(value, 3) for name, value in values.items()})
    for excluded in LADDER:
        fitted = dataclasses.replace(fitted, excluded=excluded)
        if min(coverage(trials, fitted)[0], _truthful(trials, fitted)) >= COVERAGE:
            break
    return fitted


def _truthful(trials: Sequence[Trial], limits: Thresholds) -> float:
    """Share of the pictures with large local warps that are rejected or in which every trusted point is within its
    bound: the hardest case, told picture by picture."""
    chosen = [trial for trial in trials if trial.kind == "warp" and trial.size_px >= 5]
    return float(np.mean([rejected(trial, limits) or not lies(trial, limits) for trial in chosen])) if chosen else 1.0


def lies(trial: Trial, limits: Thresholds) -> bool:
    """Whether a trusted point moved farther than its bound (and by more than a pixel)."""
    bound = trial.bounds_px[LADDER.index(limits.excluded)]
    return bool((trusted(trial, limits) & (trial.moved_px > np.maximum(bound, 1))).any())


def _upper(values: list[float], rank: float) -> float:
    return max(0.5, float(np.quantile(values, rank))) if values else 0.5


def rejected(trial: Trial, limits: Thresholds) -> bool:
    """Whether the certificate rejects a trial's picture; the same tests as Judge.decide."""
    least = limits.found if trial.texture >= limits.faithful_texture else limits.found_remade
    return bool(
        not trial.structure >= limits.least_structure
        or (trial.shift_gain > limits.global_gain and trial.shift_px > 0)
        or trial.strength > least
        or (trial.outline_seen >= limits.least_outline_seen and trial.outline_px > limits.most_outline_px)
    )


def trusted(trial: Trial, limits: Thresholds) -> NDArray[np.bool_]:
    """[V] the points that the certificate trusts."""
    return trial.bounds_px[LADDER.index(limits.excluded)] * trial.mm_per_px <= limits.tolerance_mm


def coverage(trials: Iterable[Trial], limits: Thresholds) -> tuple[float, int]:
    """Share of trusted points in accepted pictures that moved by no more than their bound, and how many points.

    Points moved by a pixel or more count: those that stay are always within.
    """
    held = total = 0
    for trial in trials:
        if trial.kind in ("warp", "shift") and not rejected(trial, limits):
            counted = trusted(trial, limits) & (trial.moved_px >= 1)
            total += int(counted.sum())
            held += int((counted & (trial.moved_px <= trial.bounds_px[LADDER.index(limits.excluded)])).sum())
    return (held / total if total else 1.0), total


def deceived(trials: Iterable[Trial], limits: Thresholds, least_mm: float) -> tuple[int, int]:
    """How many acupoints warps moved farther than ``least_mm``, and how many of them are trusted nevertheless."""
    moved = believed = 0
    for trial in trials:
        if trial.kind == "warp":
            far = trial.moved_px * trial.mm_per_px > least_mm
            moved += int(far.sum())
            believed += 0 if rejected(trial, limits) else int((far & trusted(trial, limits)).sum())
    return moved, believed


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the table: pictures of one look, displacement and view."""

    look: str
    kind: str
    size_px: float
    view: str
    pictures: int
    rejected: float
    """Share that the certificate rejects: false alarms where nothing moved, detections elsewhere."""
    rejected_certain: float
    """The same of those in which the acupoint that moves farthest is trusted while nothing moves."""
    caught: float
    """Share that is rejected, or in which the acupoint that moves farthest is not trusted."""
    true: float
    """Share that is rejected, or in which no trusted point moved farther than its bound."""
    trusted: float
    """Mean share of the visible acupoints that are trusted."""
    bound_px: float
    """Bound within which 95 % of the trusted acupoints are told to be."""
    bound_mm: float


def table(trials: Sequence[Trial], limits: Thresholds) -> list[Row]:
    """Rates by look, kind, size and view."""
    keys = sorted({(t.look, t.kind, t.size_px) for t in trials}, key=lambda key: (key[0], key[1] != "nothing", key[1:]))
    rows = []
    for key in keys:
        for view, belongs in VIEWS.items():
            chosen = [t for t in trials if (t.look, t.kind, t.size_px) == key and belongs(t)]
            if chosen:
                rows.append(_row(*key, view, chosen, limits))
    return rows


def _row(look: str, kind: str, size: float, view: str, chosen: list[Trial], limits: Thresholds) -> Row:
    place = LADDER.index(limits.excluded)
    refused = np.array([rejected(trial, limits) for trial in chosen])
    certain, caught, false, shares = [], [], [], []
    bounds_px, bounds_mm = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for trial in chosen:
        believed = trusted(trial, limits)
        false.append(lies(trial, limits))
        bounds_px.append(trial.bounds_px[place, believed])
        bounds_mm.append(bounds_px[-1] * trial.mm_per_px[believed])
        if len(believed):
            shares.append(believed.mean())
            farthest = int(trial.moved_px.argmax())
            certain.append(trial.still_px[place, farthest] * trial.mm_per_px[farthest] <= limits.tolerance_mm)
            if trial.moved_px[farthest] > 0:
                caught.append(rejected(trial, limits) or not believed[farthest])
        else:
            certain.append(False)
    known = np.array(certain)
    return Row(
        look,
        kind,
        size,
        view,
        len(chosen),
        float(refused.mean()),
        float(refused[known].mean()) if known.any() else float("nan"),
        float(np.mean(caught)) if caught else float("nan"),
        float((refused | ~np.array(false)).mean()),
        float(np.mean(shares)) if shares else float("nan"),
        *(_p95(np.concatenate(parts)) for parts in (bounds_px, bounds_mm)),
    )


def _p95(values: NDArray[np.floating]) -> float:
    return float(np.quantile(values, 0.95)) if len(values) else float("nan")
