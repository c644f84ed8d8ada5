"""All figures over all pictures, with intervals over persons, and the difference of two models."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.statistics import Figure, cluster_sums, difference_of_sums, figures_of_sums, quantiles_by_groups
from training.eval.metrics import (
    OVER_MERIDIANS,
    OVERALL_BOUNDS,
    RATE_BOUNDS,
    RATES,
    TERMS,
    THRESHOLD,
    VISIBILITY_TERMS,
    by_meridian,
    confusion,
    measure,
    overall,
    overall_trials,
    rates,
    reliability,
    trials,
    zero_fpr_threshold,
)
from training.eval.predictions import Bools, Predictions, Targets

CLASSIFICATION = (
    "Not informative: the target of the class heads is 0, 1, 2, … in every picture, so a constant answer is always "
    "right. An accuracy of it is evidence of nothing and is not given."
)
_COUNTED = {
    **{"true_positives": "tp", "false_positives": "fp", "false_negatives": "fn", "true_negatives": "tn"},
    "located": "located",
}
_NAN = float("nan")


def score(
    predictions: Predictions,
    targets: Targets,
    persons: Sequence[str],
    size: int,
    threshold: float = THRESHOLD,
    zero_fpr: float | None = None,
) -> dict[str, Any]:
    """All figures over all pictures.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        persons: [N] whom each shows; intervals are over persons.
        size: side of the pictures in pixels, the unit of errors.
        threshold: probability from which a point counts as predicted visible.
        zero_fpr: the threshold without false positives that was chosen on other pictures (zero_fpr_threshold);
            None chooses it on these, which the result states.

    Returns:
        ``figures``: name -> Figure (definitions: training.eval.summary); counts; ``reliability``, the table.

    Raises:
        ConfigError: the numbers of pictures or persons differ, or there are no pictures.
    """
    terms = measure(predictions, targets, size, threshold)
    if len(persons) != len(terms):
        raise ConfigError(f"{len(persons)} persons of {len(terms)} pictures; expected one each")
    kinds, person = np.unique(np.asarray(persons), return_inverse=True)
    visible = np.asarray(targets.visible)
    informative = visible.any(0) & ~visible.all(0)
    error, table = reliability(predictions.probability, visible)
    chosen = zero_fpr_threshold(predictions.probability, visible) if zero_fpr is None else zero_fpr
    total = terms.sum((0, 1), dtype=np.float64)
    return {
        "pictures": len(terms),
        "persons": len(kinds),
        "points": int(visible.size),
        "visible_points": int(visible.sum()),
        "size": size,
        "threshold": threshold,
        **{name: int(total[TERMS.index(term)]) for name, term in _COUNTED.items()},
        "untrusted": int((visible & ~np.asarray(targets.trusted)).sum()),
        "informative_points": int(informative.sum()),
        "always_occluded_points": int((~visible.any(0)).sum()),
        "always_visible_points": int(visible.all(0).sum()),
        "zero_fpr_threshold": chosen,
        "zero_fpr_threshold_from": "these pictures" if zero_fpr is None else "other pictures",
        "figures": {
            **_rates(terms, person, informative),
            # Fewer persons are calibrated worse than all by their own chance, so an interval would not be one.
            "ece": Figure(error, _NAN, _NAN),
            **_quantiles(terms, person),
            **_at_threshold(predictions, visible, person, chosen),
        },
        "reliability": table,
        "classification": CLASSIFICATION,
    }


def _rates(terms: NDArray[np.float32], person: NDArray[np.intp], informative: Bools) -> dict[str, Figure]:
    """RATES and OVER_MERIDIANS, and the accuracy of the informative points [174]."""
    by_person = cluster_sums(terms, person)
    whole = figures_of_sums(by_meridian(by_person), overall, OVERALL_BOUNDS, overall_trials)
    kept = figures_of_sums(by_person[:, informative].sum(1), rates, RATE_BOUNDS, trials)
    figures = {name: whole[k] for k, name in enumerate((*RATES, *OVER_MERIDIANS))}
    return {**figures, "informative": kept[list(RATES).index("micro")]}


def _quantiles(terms: NDArray[np.float32], person: NDArray[np.intp]) -> dict[str, Figure]:
    """Median and 95th percentile of the errors."""
    located = terms[..., TERMS.index("located")] > 0
    owner = np.broadcast_to(person[:, None], located.shape)[located]
    out: dict[str, Figure] = {}
    for unit in ("px", "mm"):
        values = terms[..., TERMS.index(unit)][located]
        out[f"median_{unit}"], out[f"p95_{unit}"] = quantiles_by_groups(values, owner, (0.5, 0.95))
    return out


def _at_threshold(
    predictions: Predictions, visible: Bools, person: NDArray[np.intp], threshold: float
) -> dict[str, Figure]:
    """Visibility at the threshold without false positives; NaN where there is none."""
    names = ("fpr", "fnr", "precision", "recall")
    if np.isnan(threshold):
        return {f"{name}_at_zero_fpr": Figure(_NAN, _NAN, _NAN) for name in names}
    counts = [part.sum(1) for part in confusion(predictions.probability, visible, threshold)]
    terms = np.zeros((len(visible), len(TERMS)))
    terms[:, [TERMS.index(t) for t in VISIBILITY_TERMS]] = np.stack(counts, -1)
    whole = figures_of_sums(cluster_sums(terms, person), rates, RATE_BOUNDS, trials)
    return {f"{name}_at_zero_fpr": whole[list(RATES).index(name)] for name in names}


def compare(
    first: Predictions,
    second: Predictions,
    targets: Targets,
    persons: Sequence[str],
    size: int,
    threshold: float = THRESHOLD,
) -> dict[str, Figure]:
    """Figures of the first model less those of the second on the same pictures, paired by person.

    Args:
        first: of N pictures.
        second: of the same pictures.
        targets: of the same pictures.
        persons: [N] whom each shows.
        size: side of the pictures in pixels.
        threshold: probability from which a point counts as predicted visible.

    Returns:
        Figures of RATES and OVER_MERIDIANS by name; where an interval excludes 0, the models differ.

    Raises:
        ConfigError: the numbers of pictures differ, or there are none.
    """
    one, other = (
        by_meridian(cluster_sums(measure(side, targets, size, threshold), persons)) for side in (first, second)
    )
    whole = difference_of_sums(one, other, overall)
    return {name: whole[k] for k, name in enumerate((*RATES, *OVER_MERIDIANS))}
