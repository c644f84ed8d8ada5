"""How good predictions of acupoints are: one definition of every figure, with intervals over persons.

Arrays are in the order of acupoints.NAMES; xy are 0..1 of the picture. A figure over nothing is NaN, never 0.

Every rate and mean is a ratio of sums of *terms*, numbers that each point of each picture has (``measure``). So a
figure of any part of the data, and its bootstrap, needs the sums of persons only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints, keypoint_metrics, rig
from acusim.errors import ConfigError, LayoutError
from acusim.files import write_atomic
from acusim.statistics import Figure, bootstrap_of_sums, cluster_sums, difference_of_sums, quantiles_by_groups
from acusim.tensor_files import Tensor, read_header

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
_ALL = ("tp", "fp", "fn", "tn")
RATES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "micro": (("tp", "tn"), _ALL),
    "fpr": (("fp",), ("fp", "tn")),
    "fnr": (("fn",), ("fn", "tp")),
    "precision": (("tp",), ("tp", "fp")),
    "recall": (("tp",), ("tp", "fn")),
    "f1": (("tp", "tp"), ("tp", "tp", "fp", "fn")),
    "brier": (("squared",), _ALL),
    "mean_px": (("px",), ("located",)),
    "mean_mm": (("mm",), ("located",)),
    "within_5_mm": (("near",), ("located",)),
    "pck_5_mm_seen": (("seen_near",), ("seen",)),
    "generic_depth": (("generic",), ("located",)),
}
"""Figures that are ratios: the terms that are added up above and below the line."""
OVER_MERIDIANS = ("macro", "official_soft_wing")
"""Figures that are means of the nine meridians' figures."""
CLASSIFICATION = (
    "Not informative: the target of the class heads is 0, 1, 2, … in every picture, so a constant answer is always "
    "right. An accuracy of it is evidence of nothing and is not given."
)

Bools = NDArray[np.bool_]
Floats = NDArray[np.float64]


class Targets(Protocol):
    """What is true of N pictures: training.data's Targets, or anything with these arrays."""

    @property
    def xy(self) -> NDArray[np.float32]:
        """[N, 174, 2] 0..1, (0, 0) where occluded."""
        ...

    @property
    def visible(self) -> Bools:
        """[N, 174]."""
        ...

    @property
    def trusted(self) -> Bools:
        """[N, 174] False where the coordinate may not be true."""
        ...

    @property
    def depth_mm(self) -> NDArray[np.float32]:
        """[N, 174] along the camera's axis, NaN where unknown."""
        ...

    @property
    def frame(self) -> NDArray[np.int16]:
        """[N] camera 1..144."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """What a model says of N pictures."""

    probability: NDArray[np.float32]
    """[N, 174] that the point is visible."""
    xy: NDArray[np.float32]
    """[N, 174, 2] 0..1 of the picture; also of points that are predicted occluded."""

    def __post_init__(self) -> None:
        shape = self.probability.shape
        if len(shape) != 2 or shape[1] != acupoints.COUNT or self.xy.shape != (*shape, 2):
            raise ValueError(f"probability {shape} and xy {self.xy.shape}; expected [N,174] and [N,174,2]")
        if self.probability.dtype != np.float32 or self.xy.dtype != np.float32:
            raise ValueError(f"probability {self.probability.dtype} and xy {self.xy.dtype}; expected float32")
        if not ((self.probability >= 0) & (self.probability <= 1)).all():  # also refuses NaN
            raise ValueError("a probability is not within 0..1")
        if not np.isfinite(self.xy).all():
            raise ValueError("a coordinate is not a finite number")

    def __len__(self) -> int:
        return len(self.probability)

    def save(self, path: Path) -> None:
        """Writes a safetensors file.

        Raises:
            OSError: as the file system says.
        """
        from safetensors.numpy import save

        arrays = {"probability": self.probability, "xy": self.xy}
        write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))

    @classmethod
    def load(cls, path: Path) -> "Predictions":
        """Reads a file that save wrote.

        Raises:
            LayoutError: no such file, or other tensors in it, or values that are no predictions.
        """
        from safetensors.numpy import load_file

        header = read_header(path)
        count = header["probability"].shape[0] if "probability" in header and header["probability"].shape else 0
        points = acupoints.COUNT
        wanted = {"probability": Tensor("F32", (count, points)), "xy": Tensor("F32", (count, points, 2))}
        if header != wanted:
            raise LayoutError(f"{path.name!r} holds no predictions: expected probability [N,174] and xy [N,174,2], F32")
        try:
            return cls(**load_file(path))
        except ValueError as error:
            raise LayoutError(f"{path.name!r} holds no predictions: {error}") from None


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
    frames, row = np.unique(np.asarray(targets.frame), return_inverse=True)
    if not unknown.any():
        return depth, unknown
    generic = np.array([rig.project(acupoints.positions_mm(), int(frame), 1.0)[1] for frame in frames])
    return np.where(unknown, generic[row], depth), unknown


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
    mm = px * rig.mm_per_px(depth, size)
    near = located & (mm <= TOLERANCE_MM)
    columns = {
        **dict(zip(_ALL, confusion(predictions.probability, visible, threshold), strict=True)),
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


def confusion(probability: NDArray[np.float32], visible: Bools, threshold: float) -> tuple[Bools, Bools, Bools, Bools]:
    """Where a point is a true positive, false positive, false negative, true negative; positive is visible."""
    seen = probability >= threshold
    return seen & visible, seen & ~visible, ~seen & visible, ~seen & ~visible


def rates(sums: Floats) -> Floats:
    """[..., len(RATES)] the ratios, from sums of terms [..., len(TERMS)]; NaN over nothing."""
    above, below = (
        np.array([[pair[side].count(term) for pair in RATES.values()] for term in TERMS]) for side in (0, 1)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        return (sums @ above) / (sums @ below)


def _overall(sums: Floats) -> Floats:
    """[..., len(RATES) + len(OVER_MERIDIANS)] figures from sums of terms by meridian [..., 9, len(TERMS)]."""
    points = sums[..., [TERMS.index(t) for t in _ALL]].sum(-1)
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
    values = _overall(by_meridian(sums))
    error, _ = reliability(predictions.probability, np.asarray(targets.visible))
    return {**dict(zip((*RATES, *OVER_MERIDIANS), values.tolist(), strict=True)), "ece": error}


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
        persons: [N] whom each shows; intervals are from drawing persons.
        size: side of the pictures in pixels, in which errors are told.
        threshold: probability from which a point counts as predicted visible.
        zero_fpr: the threshold without false positives that was chosen on other pictures (zero_fpr_threshold);
            None chooses it on these, which the result says.

    Returns:
        ``figures``: name -> Figure (definitions: training.eval.summary); counts; ``reliability``, the table.

    Raises:
        ConfigError: the numbers of pictures or persons differ, or there are no pictures.
    """
    terms = measure(predictions, targets, size, threshold)
    if len(persons) != len(terms):
        raise ConfigError(f"{len(persons)} persons of {len(terms)} pictures; expected one each")
    kinds, person = np.unique(np.asarray(persons), return_inverse=True)
    by_person = cluster_sums(terms, person)
    visible = np.asarray(targets.visible)
    whole = bootstrap_of_sums(by_meridian(by_person), _overall)
    figures = {name: whole[k] for k, name in enumerate((*RATES, *OVER_MERIDIANS))}
    informative = visible.any(0) & ~visible.all(0)
    kept = bootstrap_of_sums(by_person[:, informative].sum(1), rates)
    figures["informative"] = kept[list(RATES).index("micro")]
    error, table = reliability(predictions.probability, visible)
    # A resample is calibrated worse than the whole by its own chance, so an interval would not be one.
    figures["ece"] = Figure(error, float("nan"), float("nan"))
    located = terms[..., TERMS.index("located")] > 0
    owner = np.broadcast_to(person[:, None], located.shape)[located]
    for unit in ("px", "mm"):
        values = terms[..., TERMS.index(unit)][located]
        pair = quantiles_by_groups(values, owner, (0.5, 0.95))
        figures[f"median_{unit}"], figures[f"p95_{unit}"] = pair
    chosen = zero_fpr_threshold(predictions.probability, visible) if zero_fpr is None else zero_fpr
    for name, figure in _at_threshold(predictions, visible, person, chosen).items():
        figures[f"{name}_at_zero_fpr"] = figure
    total = by_person.sum((0, 1))
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
        "figures": figures,
        "reliability": table,
        "classification": CLASSIFICATION,
    }


_COUNTED = {
    **{"true_positives": "tp", "false_positives": "fp", "false_negatives": "fn", "true_negatives": "tn"},
    "located": "located",
}


def _at_threshold(
    predictions: Predictions, visible: Bools, person: NDArray[np.intp], threshold: float
) -> dict[str, Figure]:
    """Visibility at another threshold; NaN where there is none."""
    names = ("fpr", "fnr", "precision", "recall")
    if np.isnan(threshold):
        return {name: Figure(*[float("nan")] * 3) for name in names}
    counts = [part.sum(1) for part in confusion(predictions.probability, visible, threshold)]
    terms = np.zeros((len(visible), len(TERMS)))
    terms[:, [TERMS.index(t) for t in _ALL]] = np.stack(counts, -1)
    whole = bootstrap_of_sums(cluster_sums(terms, person), rates)
    return {name: whole[list(RATES).index(name)] for name in names}


def compare(
    first: Predictions,
    second: Predictions,
    targets: Targets,
    persons: Sequence[str],
    size: int,
    threshold: float = THRESHOLD,
) -> dict[str, Figure]:
    """Figures of the first model less those of the second on the same pictures: a paired bootstrap over persons.

    Args:
        first: of N pictures.
        second: of the same pictures.
        targets: of the same pictures.
        persons: [N] whom each shows.
        size: side of the pictures in pixels.
        threshold: probability from which a point counts as predicted visible.

    Returns:
        Figures of RATES and OVER_MERIDIANS by name; an interval without 0 tells the models apart.

    Raises:
        ConfigError: the numbers of pictures differ, or there are none.
    """
    one, other = (
        by_meridian(cluster_sums(measure(side, targets, size, threshold), persons)) for side in (first, second)
    )
    whole = difference_of_sums(one, other, _overall)
    return {name: whole[k] for k, name in enumerate((*RATES, *OVER_MERIDIANS))}
