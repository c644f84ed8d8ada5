"""Thresholds of the certificate from trials on some persons, and its rates on trials of others."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from evaluation import deciding
from evaluation.deciding import faults, strengths
from evaluation.drift import azimuth_deg
from evaluation.thresholds import Thresholds
from evaluation.trials import LADDER, Trial

FALSE_ALARMS = 0.01
FOUND_SHARE, OUTLINE_SHARE = 0.8, 0.1
"""How the false alarms are divided between the tests; the other tests stay far from their thresholds."""
STRUCTURE_SHARE = 0.5
"""Share of the lowest agreement of structure: persons differ in it, and strangers fail other tests as well."""
COVERAGE = 0.99
"""Share of the displaced, trusted points, and of the images with large warps, for which the bounds must hold."""


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


def fit(trials: Sequence[Trial], base: Thresholds) -> Thresholds:
    """Thresholds at FALSE_ALARMS on the images in which nothing moved, and at COVERAGE on the displaced points.

    Raises:
        ValueError: there are too few trials to measure a rate of one in a hundred.
    """
    null = [trial for trial in trials if trial.kind == "nothing"]
    if len(null) < 100:
        raise ValueError(f"{len(null)} images in which nothing moved; at least 100 are needed to measure a rate of 1 %")
    rank = 1 - FALSE_ALARMS * FOUND_SHARE
    outlines = [float(trial.figures.outline_moved_px.max(initial=0)) for trial in null]
    base = base.changed(most_outline_px=round(_upper(outlines, 1 - FALSE_ALARMS * OUTLINE_SHARE) + 0.5, 3))
    faithful = [trial.figures.texture >= base.faithful_texture for trial in null]
    raw = base.changed(found=1.0, found_remade=1.0)
    found = [float(strengths(raw, trial.figures).max(initial=0)) for trial in null]
    shifts = [trial.figures.shift_gain for trial in null if any(trial.figures.shift_px)]
    values = {
        "found": _upper([value for value, kept in zip(found, faithful, strict=True) if kept], rank),
        "found_remade": _upper([value for value, kept in zip(found, faithful, strict=True) if not kept], rank),
        "global_gain": max(shifts, default=0.08) + 0.02,
    }
    strangers = [trial.figures.structure for trial in trials if trial.kind == "stranger"]
    if strangers:
        lowest = float(np.quantile([trial.figures.structure for trial in null], 0.001))
        values["least_structure"] = min(STRUCTURE_SHARE * lowest, float(np.quantile(strangers, 0.95)))
    fitted = base.changed(**{name: round(value, 3) for name, value in values.items()})
    # Few persons may show the need of a stricter threshold, never that a looser one will do.
    for excluded in (step for step in LADDER if step >= min(base.excluded, LADDER[-1])):
        fitted = fitted.changed(excluded=excluded)
        if min(coverage(trials, fitted)[0], _share_within_bounds(trials, fitted)) >= COVERAGE:
            break
    return fitted


def _share_within_bounds(trials: Sequence[Trial], limits: Thresholds) -> float:
    """Share of the images with large local warps that are rejected or in which every trusted point is within its
    bound: the hardest case, decided image by image."""
    chosen = [trial for trial in trials if trial.kind == "warp" and trial.size_px >= 5]
    return (
        float(np.mean([rejected(trial, limits) or not _exceeds_bound(trial, limits) for trial in chosen]))
        if chosen
        else 1.0
    )


def _exceeds_bound(trial: Trial, limits: Thresholds) -> bool:
    """Whether a trusted point moved farther than its bound (and by more than a pixel)."""
    chosen, bound = _decided(trial, limits)
    return bool((chosen & (trial.moved_px > np.maximum(bound, 1))).any())


def _upper(values: list[float], rank: float) -> float:
    return max(0.5, float(np.quantile(values, rank))) if values else 0.5


def rejected(trial: Trial, limits: Thresholds) -> bool:
    """Whether the certificate rejects a trial's image."""
    return any(faults(limits, trial.figures).values())


def trusted(trial: Trial, limits: Thresholds) -> NDArray[np.bool_]:
    """[V] the points that the certificate trusts."""
    return _decided(trial, limits)[0]


def _decided(trial: Trial, limits: Thresholds) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """[V] the points that the certificate trusts, and [V] the bounds that it states, pixels."""
    bounds_px = trial.bounds_px[LADDER.index(limits.excluded)]
    return deciding.trusted(limits, trial.figures, bounds_px, trial.mm_per_px)


def coverage(trials: Iterable[Trial], limits: Thresholds) -> tuple[float, int]:
    """Share of trusted points in accepted images that moved by no more than their bound, and how many points.

    Only points moved by a pixel or more count: the others are always within.
    """
    held = total = 0
    for trial in trials:
        if trial.kind in ("warp", "shift") and not rejected(trial, limits):
            chosen, bound = _decided(trial, limits)
            counted = chosen & (trial.moved_px >= 1)
            total += int(counted.sum())
            held += int((counted & (trial.moved_px <= bound)).sum())
    return (held / total if total else 1.0), total


def count_falsely_trusted(trials: Iterable[Trial], limits: Thresholds, least_mm: float) -> tuple[int, int]:
    """How many acupoints warps moved farther than ``least_mm``, and how many of them are still trusted."""
    moved = false = 0
    for trial in trials:
        if trial.kind == "warp":
            far = trial.moved_px * trial.mm_per_px > least_mm
            moved += int(far.sum())
            false += 0 if rejected(trial, limits) else int((far & trusted(trial, limits)).sum())
    return moved, false


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: images of one look, displacement and view."""

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
    """Bound within which 95 % of the trusted acupoints are stated to be."""
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
    refused = np.array([rejected(trial, limits) for trial in chosen])
    certain, caught, false, shares = [], [], [], []
    bounds_px, bounds_mm = [np.zeros(0, np.float32)], [np.zeros(0, np.float32)]
    for trial in chosen:
        trusts, bound = _decided(trial, limits)
        false.append(_exceeds_bound(trial, limits))
        bounds_px.append(bound[trusts])
        bounds_mm.append(bounds_px[-1] * trial.mm_per_px[trusts])
        if len(trusts):
            shares.append(trusts.mean())
            farthest = int(trial.moved_px.argmax())
            still_px = trial.still_px[LADDER.index(limits.excluded)]
            certain.append(still_px[farthest] * trial.mm_per_px[farthest] <= limits.tolerance_mm)
            if trial.moved_px[farthest] > 0:
                caught.append(rejected(trial, limits) or not trusts[farthest])
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
