"""What given thresholds make of trials: rates with intervals over persons."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.statistics import Figure, cluster_sums, quantiles_by_groups, rate_of_sums
from evaluation import deciding
from evaluation.drift import azimuth_deg
from evaluation.thresholds import Thresholds
from evaluation.trials import LADDER, Trial

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


def rejected(trial: Trial, limits: Thresholds) -> bool:
    """Whether the certificate rejects a trial's image."""
    return any(deciding.faults(limits, trial.figures).values())


def trusted(trial: Trial, limits: Thresholds) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
    """[V] the points that the certificate trusts, and [V] the bounds that it states, pixels."""
    bounds_px = trial.bounds_px[LADDER.index(limits.excluded)]
    return deciding.trusted(limits, trial.figures, bounds_px, trial.mm_per_px)


def exceeds_bound(trial: Trial, limits: Thresholds) -> bool:
    """Whether a trusted point moved farther than its bound (and by more than a pixel)."""
    return _exceeds(trial, *trusted(trial, limits))


def _exceeds(trial: Trial, chosen: NDArray[np.bool_], bound: NDArray[np.float32]) -> bool:
    return bool((chosen & (trial.moved_px > np.maximum(bound, 1))).any())


def beyond_bounds(trials: Iterable[Trial], limits: Thresholds) -> NDArray[np.float64]:
    """[N, 2] of each accepted image: trusted points that moved farther than their bound, and trusted points that moved.

    Only points moved by a pixel or more count: the others are always within.
    """
    rows: list[tuple[int, int]] = []
    for trial in trials:
        chosen, bound = trusted(trial, limits)
        counted = chosen & (trial.moved_px >= 1) & (not rejected(trial, limits))
        rows.append((int((counted & (trial.moved_px > bound)).sum()), int(counted.sum())))
    return np.array(rows, np.float64).reshape(-1, 2)


def falsely_trusted(trials: Iterable[Trial], limits: Thresholds, least_mm: float) -> NDArray[np.float64]:
    """[N, 2] of each image: acupoints that moved farther than ``least_mm`` and are trusted, and all that did."""
    rows = [_wrong(trial, trusted(trial, limits)[0], rejected(trial, limits), least_mm) for trial in trials]
    return np.array(rows, np.float64).reshape(-1, 2)


def _wrong(trial: Trial, chosen: NDArray[np.bool_], refused: bool, least_mm: float) -> tuple[int, int]:
    far = trial.moved_px * trial.mm_per_px > least_mm
    return int((far & chosen).sum()) * (not refused), int(far.sum())


def rate(counts: NDArray[np.float64], trials: Sequence[Trial]) -> Figure:
    """A share with its interval over persons.

    Args:
        counts: [N, 2] of each trial: how many, and of how many.
        trials: N of them.
    """
    if not len(trials):
        return Figure(float("nan"), float("nan"), float("nan"))
    return rate_of_sums(cluster_sums(counts, [trial.person for trial in trials]))


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table: images of one look, displacement and view; rates with intervals over persons."""

    look: str
    kind: str
    size_px: float
    view: str
    images: int
    rejected: Figure
    """Share that the certificate rejects: false alarms where nothing moved, detections elsewhere."""
    rejected_certain: Figure
    """The same of those in which the acupoint that moves farthest is trusted while nothing moves."""
    caught: Figure
    """Share that is rejected, or in which the acupoint that moves farthest is not trusted."""
    true: Figure
    """Share that is rejected, or in which no trusted point moved farther than its bound."""
    trusted: Figure
    """Share of the visible acupoints that are trusted, in rejected images as well."""
    wrong: Figure
    """Share of the acupoints that moved by more than the tolerance that are trusted in an accepted image."""
    bound_px: Figure
    """Bound within which 95 % of the trusted acupoints are stated to be."""
    bound_mm: Figure


def table(trials: Sequence[Trial], limits: Thresholds) -> list[Row]:
    """Rates by look, kind, size and view; views of which there is no image are left out."""
    groups: dict[tuple[str, str, float], list[Trial]] = {}
    for trial in trials:
        groups.setdefault((trial.look, trial.kind, trial.size_px), []).append(trial)
    rows: list[Row] = []
    for key, all_views in groups.items():
        for view, belongs in VIEWS.items():
            chosen = [trial for trial in all_views if belongs(trial)]
            if chosen:
                rows.append(Row(*key, view, len(chosen), **_figures(chosen, limits)))
    return rows


def _figures(trials: list[Trial], limits: Thresholds) -> dict[str, Figure]:
    """The figures of a row."""
    decided = [trusted(trial, limits) for trial in trials]
    refused = np.array([rejected(trial, limits) for trial in trials])
    outcomes = [_farthest(trial, chosen, limits) for trial, (chosen, _) in zip(trials, decided, strict=True)]
    certain, missed = np.array(outcomes, np.float64).T
    beyond = np.array([_exceeds(trial, *each) for trial, each in zip(trials, decided, strict=True)])
    wrong = [
        _wrong(trial, chosen, bool(no), limits.tolerance_mm)
        for trial, (chosen, _), no in zip(trials, decided, refused, strict=True)
    ]
    moves = ~np.isnan(missed)
    every = np.ones(len(trials))
    counts = {
        "rejected": (refused, every),
        "rejected_certain": (refused * certain, certain),
        "caught": (moves & (refused | (missed == 0)), moves),
        "true": (refused | ~beyond, every),
        "trusted": ([chosen.sum() for chosen, _ in decided], [len(chosen) for chosen, _ in decided]),
    }
    figures = {name: rate(np.stack(pair, axis=1).astype(np.float64), trials) for name, pair in counts.items()}
    figures["wrong"] = rate(np.array(wrong, np.float64), trials)
    bounds = [bound[chosen] for chosen, bound in decided]
    lengths = [
        bound * trial.mm_per_px[chosen] for (chosen, _), bound, trial in zip(decided, bounds, trials, strict=True)
    ]
    persons = np.repeat([trial.person for trial in trials], [len(one) for one in bounds])
    for name, parts in (("bound_px", bounds), ("bound_mm", lengths)):
        [figures[name]] = quantiles_by_groups(np.concatenate(parts), persons, [0.95])
    return figures


def _farthest(trial: Trial, chosen: NDArray[np.bool_], limits: Thresholds) -> tuple[float, float]:
    """Of the acupoint that moved farthest: whether it is certain while nothing moves, and whether it is trusted.

    Zeros and NaN: 1 or 0 for the first; the second is NaN where none moved.
    """
    moved = np.nan_to_num(trial.moved_px, nan=0.0, posinf=1e9)
    if not len(moved):
        return 0.0, float("nan")
    one = int(moved.argmax())
    still_px = trial.still_px[LADDER.index(limits.excluded)]
    certain = still_px[one] * trial.mm_per_px[one] <= limits.tolerance_mm
    return float(certain), float(chosen[one]) if moved[one] > 0 else float("nan")
