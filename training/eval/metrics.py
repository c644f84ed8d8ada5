"""One definition of every figure of predicted acupoints.

Arrays are in the order of acupoints.NAMES; xy are 0..1 of the picture. A figure over nothing is NaN, never 0.

Every rate and mean is a ratio of sums of *terms*, numbers that each point of each picture has (``measure``). So a
figure of any subset of the data, and its interval, needs the sums of persons only.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints, keypoint_metrics, rig
from acusim.errors import ConfigError
from acusim.intervals import Bounds
from training.eval.predictions import Bools, Floats, Predictions, Targets

THRESHOLD = 0.5
"""A point counts as predicted visible from this probability on."""
TOLERANCE_MM = 5.0
BINS = 15
"""Of the reliability table and the expected calibration error."""
TERMS = (
    ("tp", "fp", "fn", "tn")  # visibility: positive is visible
    + ("squared",)  # squared error of the probability
    + ("wing",)  # the public code's loss, mean of x and y
    + ("located", "px", "mm", "near")  # truly visible with a trusted label; its error; whether within the tolerance
    + ("seen", "seen_near")  # located and also predicted visible; of these within the tolerance
    + ("generic",)  # located, without a depth of its own
)
VISIBILITY_TERMS = ("tp", "fp", "fn", "tn")
RATES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "micro": (("tp", "tn"), VISIBILITY_TERMS),
    "fpr": (("fp",), ("fp", "tn")),
    "fnr": (("fn",), ("fn", "tp")),
    "precision": (("tp",), ("tp", "fp")),
    "recall": (("tp",), ("tp", "fn")),
    "f1": (("tp", "tp"), ("tp", "tp", "fp", "fn")),
    "brier": (("squared",), VISIBILITY_TERMS),
    "mean_px": (("px",), ("located",)),
    "mean_mm": (("mm",), ("located",)),
    "within_5_mm": (("near",), ("located",)),
    "pck_5_mm_seen": (("seen_near",), ("seen",)),
    "joint": (("tn", "seen_near"), ("tn", "fp", "located")),
    "generic_depth": (("generic",), ("located",)),
}
"""Figures that are ratios: the terms that are added up above and below the line."""
OVER_MERIDIANS = ("macro", "official_soft_wing")
"""Figures that are means of the nine meridians' figures."""
_LENGTHS = ("mean_px", "mean_mm", "official_soft_wing")
"""Figures without an upper limit; all others are rates."""


def bounds_of(figures: Iterable[str]) -> Bounds:
    """The smallest and the largest value of each figure, which its interval stays within."""
    return Bounds(0.0, np.array([np.inf if figure in _LENGTHS else 1.0 for figure in figures]))


_COUNTED = [np.array([[pair[side].count(term) for pair in RATES.values()] for term in TERMS]) for side in (0, 1)]
"""[T, len(RATES)] how often each term is above and below the line."""
RATE_BOUNDS = bounds_of(RATES)
"""Of ``rates``."""
OVERALL_BOUNDS = bounds_of((*RATES, *OVER_MERIDIANS))
"""Of ``overall``."""


def soft_wing_of_public_code(delta: ArrayLike) -> Floats:
    """The loss as the public code of acuSimNet has it: omega 1, epsilon .01, theta 1.

    ln(1 + d / (epsilon + 1e-8)) below theta, from there on A d - omega theta with A = 1 / (epsilon + 1e-8) - theta + 1.
    It jumps from 4.6 to 99 at d = 1. Source: acuSimNet.py, soft_wing_loss, of ZoeApokalypse/acuSimNet.
    """
    d = np.clip(np.asarray(delta, np.float64), 0, 1e3)
    slope = 1 / (0.01 + 1e-8)
    return np.where(d < 1, np.log1p(d * slope), slope * d - 1)


def depths_mm(targets: Targets) -> tuple[Floats, Bools]:
    """[N, 174] the depth of each point, and where it is that of a generic head because none is known."""
    depth = np.asarray(targets.depth_mm, np.float64)
    unknown = ~(np.isfinite(depth) & (depth > 0))
    if not unknown.any():
        return depth, unknown
    # The third row of the rotation is the camera's axis.
    generic = targets.rotation[:, 2] @ acupoints.positions_mm().T + targets.translation_mm[:, 2:]
    return np.where(unknown, generic, depth), unknown


def measure(predictions: Predictions, targets: Targets, size: int, threshold: float = THRESHOLD) -> NDArray[np.float32]:
    """The terms of every point of every picture.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        size: side of the pictures in pixels.
        threshold: probability from which a point counts as predicted visible.

    Returns:
        [N, 174, len(TERMS)].

    Raises:
        ConfigError: the numbers of pictures differ, or there are none.
    """
    visible = np.asarray(targets.visible)
    if predictions.probability.shape != visible.shape or not len(visible):
        raise ConfigError(f"{len(predictions)} predictions of {len(visible)} pictures; expected as many, at least one")
    seen = predictions.probability >= threshold
    sentinel = np.where(visible[..., None], targets.xy, 0)
    located = visible & targets.trusted
    xy = predictions.xy.astype(np.float64)
    px = np.nan_to_num(keypoint_metrics.pixel_error(xy * size, sentinel * float(size), located))
    depth, generic = depths_mm(targets)
    mm = px * rig.mm_per_px(depth, size, targets.focal[:, None])
    near = located & (mm <= TOLERANCE_MM)
    columns = {
        **dict(zip(VISIBILITY_TERMS, confusion(predictions.probability, visible, threshold), strict=True)),
        "squared": (predictions.probability.astype(np.float64) - visible) ** 2,
        "wing": soft_wing_of_public_code(np.abs(xy - sentinel)).mean(-1),
        "located": located,
        "px": px,
        "mm": mm,
        "near": near,
        "seen": located & seen,
        "seen_near": near & seen,
        "generic": located & generic,
    }
    return np.stack([np.asarray(columns[term], np.float32) for term in TERMS], axis=-1)


def errors_mm(predictions: Predictions, targets: Targets, size: int) -> NDArray[np.float32]:
    """[N, 174] the error of each truly visible point whose label can be trusted, NaN elsewhere; errors as measure."""
    terms = measure(predictions, targets, size)
    return np.where(terms[..., TERMS.index("located")] > 0, terms[..., TERMS.index("mm")], np.nan)


def confusion(probability: NDArray[np.float32], visible: Bools, threshold: float) -> tuple[Bools, Bools, Bools, Bools]:
    """Where a point is a true positive, false positive, false negative, true negative; positive is visible."""
    seen = probability >= threshold
    return seen & visible, seen & ~visible, ~seen & visible, ~seen & ~visible


def rates(sums: Floats) -> Floats:
    """[..., len(RATES)] the ratios, from sums of terms [..., len(TERMS)]; NaN over nothing."""
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums @ _COUNTED[0]) / trials(sums)


def trials(sums: Floats) -> Floats:
    """[..., len(RATES)] what each ratio is a share of, from sums of terms [..., len(TERMS)]."""
    return sums @ _COUNTED[1]


def overall_trials(sums: Floats) -> Floats:
    """The same for ``overall``, from sums of terms by meridian [..., 9, len(TERMS)]."""
    whole = trials(sums.sum(-2))
    points = whole[..., [list(RATES).index("micro")] * len(OVER_MERIDIANS)]
    return np.concatenate([whole, points], -1)


def overall(sums: Floats) -> Floats:
    """[..., len(RATES) + len(OVER_MERIDIANS)] figures from sums of terms by meridian [..., 9, len(TERMS)]."""
    points = sums[..., [TERMS.index(t) for t in VISIBILITY_TERMS]].sum(-1)
    micro = rates(sums)[..., list(RATES).index("micro")]
    wing = sums[..., TERMS.index("wing")] / points
    return np.concatenate([rates(sums.sum(-2)), np.stack([micro.mean(-1), wing.mean(-1)], -1)], -1)


def by_meridian(sums: Floats) -> Floats:
    """[..., 9, T] sums over the points of each meridian, from [..., 174, T]."""
    starts = [acupoints.meridian_slice(meridian).start for meridian in acupoints.MERIDIANS]
    return np.add.reduceat(sums, starts, axis=-2)


def zero_fpr_threshold(probability: NDArray[np.float32], visible: Bools) -> float:
    """The lowest threshold at which no occluded point is predicted visible; NaN if no point is occluded.

    Choose it on validation pictures and hand it to ``score`` for the test: on the pictures it is chosen on it is a
    promise that it keeps by construction.
    """
    occluded = probability[~visible]
    return float(np.nextafter(occluded.max(), np.float32(np.inf))) if occluded.size else float("nan")


def reliability(probability: NDArray[np.float32], visible: Bools) -> tuple[float, list[dict[str, Any]]]:
    """Expected calibration error of the probability that a point is visible, and its table.

    Bins of equal width; ECE = sum of n_b / n |mean probability - share visible|.
    Source: Naeini, Cooper & Hauskrecht, AAAI 2015, for the probability of one class.
    """
    p, y = probability.astype(np.float64).ravel(), visible.ravel()
    place = np.minimum((p * BINS).astype(int), BINS - 1)
    count = np.bincount(place, minlength=BINS)
    with np.errstate(invalid="ignore"):
        mean = np.bincount(place, p, BINS) / count
        share = np.bincount(place, y, BINS) / count
    error = float(np.nansum(count * np.abs(mean - share)) / count.sum())
    rows = [
        {"low": k / BINS, "high": (k + 1) / BINS, "points": int(count[k]), "probability": mean[k], "visible": share[k]}
        for k in range(BINS)
    ]
    return error, rows


def point_estimates(
    predictions: Predictions, targets: Targets, size: int, threshold: float = THRESHOLD
) -> dict[str, float]:
    """Figures of RATES and OVER_MERIDIANS, and the calibration error ``ece``, without intervals: for every epoch.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        size: side of the pictures in pixels.
        threshold: probability from which a point counts as predicted visible.

    Raises:
        ConfigError: the numbers of pictures differ, or there are none.
    """
    sums = measure(predictions, targets, size, threshold).sum(0, dtype=np.float64)
    values = overall(by_meridian(sums))
    error, _ = reliability(predictions.probability, np.asarray(targets.visible))
    return {**dict(zip((*RATES, *OVER_MERIDIANS), values.tolist(), strict=True)), "ece": error}
