"""Thresholds of the certificate from trials on some persons.

A threshold is changed only where these persons contradict it with confidence (both ends of its 95 % interval over
persons lie on one side), and those that decide what is trusted never become looser: few persons leave the alarms as
they were and tighten the trust.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.statistics import quantiles_by_groups
from evaluation.attacks import FAINT
from evaluation.deciding import strengths
from evaluation.thresholds import Thresholds
from evaluation.trial_rates import beyond_bounds, exceeds_bound, falsely_trusted, rate, rejected
from evaluation.trials import LADDER, Trial

FALSE_ALARMS = 0.01
FOUND_SHARE, REST_SHARE = 0.8, 0.1
"""How the false alarms are divided: displaced points, each of the other tests."""
STRUCTURE_SHARE = 0.5
"""Share of the lowest agreement of structure: persons differ in it, and strangers fail other tests as well."""
LEAST_FOUND = 0.5
"""Of the evidence that rejects an image, where copies of the originals show none at all."""
GAIN_MARGIN = 0.02
"""Above the evidence of a shift of images that were not shifted."""
COVERAGE = 0.99
"""Share of the displaced, trusted points, and of the images with large warps, for which the bounds must hold."""
WRONG = 0.01
"""Largest share of the acupoints that attacks and warps moved beyond the tolerance that may be trusted."""
NEVER_FIRM = 10.0
"""As ``firm_band``: coarse structure bounds nothing."""
RESTS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5)
"""What is tried on top of ``rests_band``."""
REMADE = ("cartoon", "another's light")
"""Harmless edits that replace what a head looks like: measured, but no reason to loosen an alarm."""


def fit(trials: Sequence[Trial], base: Thresholds) -> Thresholds:
    """Thresholds for FALSE_ALARMS where nothing moved, and for COVERAGE and WRONG where something did.

    Raises:
        ValueError: there are too few trials to measure a rate of one in a hundred.
    """
    null = [trial for trial in trials if trial.kind == "nothing" and trial.look not in REMADE]
    if len(null) < 100:
        raise ValueError(f"{len(null)} images in which nothing moved; at least 100 are needed to measure a rate of 1 %")
    fitted = base.changed(**_alarms(null, base))
    moved = [trial for trial in trials if trial.kind in ("warp", "shift")]
    large = [trial for trial in trials if trial.kind == "warp" and trial.size_px >= 5]

    def beyond(limits: Thresholds) -> float:
        """By fine texture alone: the larger share of points, as it may be for other persons, and of images, as it is.

        Of images a share of 1 % cannot be excluded for others by fewer than several hundred of many persons.
        """
        limits = limits.changed(firm_band=NEVER_FIRM)
        images = [not rejected(trial, limits) and exceeds_bound(trial, limits) for trial in large]
        return max(_at_most(beyond_bounds(moved, limits), moved), float(np.mean(images)) if images else 0.0)

    fitted = _loosest(
        [fitted.changed(excluded=step) for step in LADDER if step >= min(base.excluded, LADDER[-1])],
        beyond,
        1 - COVERAGE,
    )
    attacked = [trial for trial in trials if trial.kind in ("attack", "warp") and trial.look not in FAINT]
    return _loosest(
        [fitted.changed(rests_band=round(base.rests_band + step, 3)) for step in RESTS],
        lambda limits: _at_most(falsely_trusted(attacked, limits, limits.tolerance_mm), attacked),
        WRONG,
    )


def _at_most(counts: NDArray[np.float64], trials: Sequence[Trial]) -> float:
    """A share as it may be for other persons; of a single person as it is; 0 where there is nothing to count."""
    figure = rate(counts, trials)
    return float(np.nan_to_num(figure.value if np.isnan(figure.high) else figure.high, nan=0.0))


def _alarms(null: Sequence[Trial], base: Thresholds) -> dict[str, float]:
    """The thresholds that reject images in which nothing moved."""
    persons = [trial.person for trial in null]
    faithful = np.array([trial.figures.texture >= base.faithful_texture for trial in null])
    raw = base.changed(found=1.0, found_remade=1.0)
    found = np.array([strengths(raw, trial.figures).max(initial=0) for trial in null])
    gains = [trial.figures.shift_gain if any(trial.figures.shift_px) else np.nan for trial in null]
    structure = [-STRUCTURE_SHARE * trial.figures.structure for trial in null]
    most = 1 - FALSE_ALARMS * FOUND_SHARE, 1 - FALSE_ALARMS * REST_SHARE
    values = {
        "found": max(_agreed(base.found, np.where(faithful, found, np.nan), persons, most[0]), LEAST_FOUND),
        "found_remade": max(
            _agreed(base.found_remade, np.where(faithful, np.nan, found), persons, most[0]), LEAST_FOUND
        ),
        "global_gain": _agreed(base.global_gain, gains, persons, most[1], GAIN_MARGIN),
        "least_structure": -_agreed(-base.least_structure, structure, persons, most[1]),
    }
    return {name: round(value, 3) for name, value in values.items()}


def _agreed(base: float, values: ArrayLike, persons: Sequence[str], rank: float, margin: float = 0.0) -> float:
    """The number closest to ``base`` within the interval of a quantile; ``base`` if these are too few to have one."""
    [figure] = quantiles_by_groups(values, persons, [rank])
    return base if np.isnan(figure.low) else float(np.clip(base, figure.low + margin, figure.high + margin))


def _loosest(candidates: Sequence[Thresholds], share: Callable[[Thresholds], float], most: float) -> Thresholds:
    """The first candidate with at most that share; where none has, the one with the least."""
    shares: list[float] = []
    for limits in candidates:
        shares.append(share(limits))
        if shares[-1] <= most:
            return limits
    return candidates[int(np.argmin(shares))]
