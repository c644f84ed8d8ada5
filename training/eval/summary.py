"""The meaning of each figure of training.eval.score, for people: title, unit, definition, in the tables' order."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from training.eval.baselines import COORDINATE_BASELINES

_T = TypeVar("_T")
Unit = Literal["%", "px", "mm", "probability", "loss"]
Better = Literal["higher", "lower", ""]


@dataclass(frozen=True, slots=True)
class Definition:
    """One figure."""

    name: str
    """Key in the result of ``score``."""
    title: str
    unit: Unit
    of: Literal["visibility", "coordinates", "sentinels"]
    """What it measures, and so which baselines have it; sentinels: coordinates of all points, occluded too."""
    better: Better
    """Empty where neither is better."""
    meaning: str

    @property
    def factor(self) -> float:
        """What a value is multiplied by to be shown."""
        return 100.0 if self.unit == "%" else 1.0

    @property
    def digits(self) -> int:
        """Decimals that are shown."""
        return {"%": 2, "px": 2, "mm": 2, "probability": 4, "loss": 3}[self.unit]


def _visibility(name: str, title: str, better: Better, meaning: str, unit: Unit = "%") -> Definition:
    return Definition(name, title, unit, "visibility", better, meaning)


def _coordinates(name: str, title: str, unit: Unit, better: Better, meaning: str) -> Definition:
    return Definition(name, title, unit, "coordinates", better, meaning)


_PX = "distance in the picture's pixels, over truly visible points"
_MM = "distance across the line of sight at the point's true depth, over truly visible points"
DEFINITIONS: tuple[Definition, ...] = (
    _visibility("macro", "visibility accuracy, macro", "higher", "mean of the nine meridians' accuracies"),
    _visibility("micro", "visibility accuracy, micro", "higher", "share of all points classified correctly"),
    _visibility(
        "informative",
        "visibility accuracy, informative points",
        "higher",
        "the same over the acupoints that are visible in some of these pictures and occluded in others",
    ),
    _visibility("fpr", "FPR", "lower", "FP / (FP + TN): occluded points predicted visible"),
    _visibility("fnr", "FNR", "lower", "FN / (FN + TP): visible points predicted occluded"),
    _visibility("precision", "precision", "higher", "TP / (TP + FP)"),
    _visibility("recall", "recall", "higher", "TP / (TP + FN)"),
    _visibility("f1", "F1", "higher", "2 TP / (2 TP + FP + FN)"),
    _visibility(
        "ece",
        "ECE",
        "lower",
        "15 bins of equal width: mean of |mean probability - share visible|, each bin by its points",
        "probability",
    ),
    _visibility("brier", "Brier", "lower", "mean of (probability - visible)²", "probability"),
    _visibility("recall_at_zero_fpr", "recall at 0 % FPR", "higher", "at the lowest threshold without false positives"),
    _visibility("fnr_at_zero_fpr", "FNR at 0 % FPR", "lower", "at that threshold"),
    _visibility("precision_at_zero_fpr", "precision at 0 % FPR threshold", "higher", "at that threshold"),
    _visibility("fpr_at_zero_fpr", "FPR at 0 % FPR threshold", "lower", "0 where it was chosen on these pictures"),
    _coordinates("mean_px", "error, mean", "px", "lower", _PX),
    _coordinates("median_px", "error, median", "px", "lower", _PX),
    _coordinates("p95_px", "error, 95th percentile", "px", "lower", _PX),
    _coordinates("mean_mm", "error, mean", "mm", "lower", _MM),
    _coordinates("median_mm", "error, median", "mm", "lower", _MM),
    _coordinates("p95_mm", "error, 95th percentile", "mm", "lower", _MM),
    _coordinates(
        "within_5_mm",
        "within 5 mm",
        "%",
        "higher",
        "share of truly visible points whose error is at most 5 mm, whether predicted visible or not",
    ),
    _coordinates(
        "pck_5_mm_seen",
        "PCK at 5 mm, seen",
        "%",
        "higher",
        "the same share of the points that are truly visible and also predicted visible",
    ),
    _coordinates(
        "joint",
        "joint",
        "%",
        "higher",
        "share of all points that are right: occluded and predicted so, or visible, predicted visible and within 5 mm",
    ),
    _coordinates(
        "generic_depth",
        "points without depth",
        "%",
        "",
        "truly visible points whose depth is not known: their mm use the depth of a generic head in that camera",
    ),
    Definition(
        "official_soft_wing",
        "official_soft_wing, not pixels",
        "loss",
        "sentinels",
        "lower",
        "the public code's figure in its own units: mean soft wing of |predicted - target| in 0..1 of the picture over "
        "all points, occluded ones at (0, 0) included, and both coordinates; mean of the nine meridians",
    ),
)
BY_NAME = {definition.name: definition for definition in DEFINITIONS}
HEADLINES = ("macro", "fpr", "fnr", "median_px", "median_mm", "within_5_mm")
"""Figures at the top of a report."""


def figures_of(baseline: str, figures: Mapping[str, _T]) -> dict[str, _T]:
    """The figures, by name, that a baseline has: without positions, no errors of positions."""
    if baseline in COORDINATE_BASELINES:
        return dict(figures)
    return {name: figure for name, figure in figures.items() if BY_NAME[name].of != "coordinates"}
