"""The accuracy of predicted hand points: the figures of Xu et al. 2025, over all points and for each.

Arrays: predicted and true xy [N, P, 2] in pixels of a square picture (224 in the paper), visible [N, P] of the truth:
only visible points count. A figure over no point is NaN.

| figure | value of a point |
|---|---|
| mse_px2, mse | squared error, mean over x and y; mse in units of the picture's side |
| error_px | Euclidean distance |
| pck | 1 where the distance is below 0.03 of the picture's side |
| precision | 1 where the distance is below 2 px |
| iou | overlap of two squares of 20 px around the true and the predicted point; the paper does not give the size |
| oks | exp(-d² / (2 s² k²)), k = 0.3 for every point, s² the object's area |

The paper does not define s: here s² is the area of the box around a picture's visible true points, or by setting that
of the square. k is twice the sigma of COCO, which keypoint_metrics.oks takes.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.errors import ConfigError
from acusim.intervals import Bounds
from acusim.statistics import Figure, Figures, cluster_sums, figures_of_sums

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

FIGURES = ("mse_px2", "mse", "error_px", "pck", "precision", "iou", "oks")
_RATES = ("pck", "precision", "iou", "oks")
"""Those of FIGURES that are at most 1."""
MIN_AREA_PX = 1.0
"""Of an object whose points are in one line; else its OKS would be 0 for any error."""


OksScale = Literal["points", "square"]


@dataclass(frozen=True, slots=True)
class MetricSettings:
    """Parameters of the figures."""

    size: int = 224
    """Side of the square picture in pixels."""
    pck: float = 0.03
    """Share of the side."""
    precision_px: float = 2.0
    box_px: float = 20.0
    """Side of the boxes of the IoU."""
    k: float = 0.3
    """Of OKS, for every point."""
    oks_scale: OksScale = "points"
    """What the object's area is: of the box around the visible points, or of the square."""

    def __post_init__(self) -> None:
        for name in ("size", "pck", "precision_px", "box_px", "k"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"hand metrics: {name} = {getattr(self, name)} must be above 0")

    def as_json(self) -> dict[str, float]:
        """All parameters by name."""
        return asdict(self)


def box_area(true: ArrayLike, visible: ArrayLike) -> Floats:
    """[N] area in square pixels of the box around each picture's visible points, at least MIN_AREA_PX; NaN for none."""
    xy, seen = np.asarray(true, np.float64), np.asarray(visible, bool)
    # points first: NumPy is slow at finding extremes along short rows
    x, y = (np.where(seen, xy[..., axis], np.nan).T.copy() for axis in (0, 1))
    width, height = (np.fmax.reduce(one) - np.fmin.reduce(one) for one in (x, y))
    return np.maximum(width * height, MIN_AREA_PX)


def point_terms(
    predicted: ArrayLike,
    true: ArrayLike,
    visible: ArrayLike,
    settings: MetricSettings | None = None,
) -> dict[str, Floats]:
    """The value of each point in each figure, [N, P], NaN where it is not visible.

    Args:
        predicted: [N, P, 2] pixels.
        true: [N, P, 2] pixels.
        visible: [N, P] bool.
        settings: parameters.

    Raises:
        ValueError: the shapes do not fit, or a prediction of a visible point is not finite.
    """
    settings = settings or MetricSettings()
    p, t, seen = np.asarray(predicted, np.float64), np.asarray(true, np.float64), np.asarray(visible)
    if p.ndim != 3 or p.shape[-1] != 2 or t.shape != p.shape or seen.shape != p.shape[:2] or seen.dtype != bool:
        raise ValueError(
            f"shapes: points are {p.shape} and {t.shape}, visible {seen.shape} of {seen.dtype}; expected [N,P,2] twice "
            "and [N,P] of bool"
        )
    unseen = np.where(seen, 0.0, np.nan)  # added to anything, leaves what is seen
    with np.errstate(invalid="ignore"):  # what is not seen may be anything
        dx, dy = p[..., 0] - t[..., 0] + unseen, p[..., 1] - t[..., 1] + unseen
    squared = dx * dx + dy * dy
    if not np.array_equal(np.isfinite(squared), seen):
        raise ValueError("a visible point, or what is predicted for it, is not a finite number")
    area = box_area(t, seen) if settings.oks_scale == "points" else np.full(len(t), float(settings.size**2))
    distance = np.sqrt(squared)
    box = settings.box_px
    shared = np.maximum(box - np.abs(dx), 0) * np.maximum(box - np.abs(dy), 0)
    return {
        "mse_px2": squared / 2,
        "mse": squared / (2 * settings.size**2),
        "error_px": distance,
        "pck": (distance < settings.pck * settings.size).astype(np.float64) + unseen,
        "precision": (distance < settings.precision_px).astype(np.float64) + unseen,
        "iou": shared / (2 * box * box - shared),
        "oks": np.exp(-squared / (2 * settings.k**2 * area)[:, None]),
    }


def picture_oks(terms: dict[str, Floats]) -> Floats:
    """[N] OKS of each picture: the mean over its visible points; NaN where none is."""
    oks = terms["oks"].T.copy()  # points first: NumPy is slow at sums along short rows
    return _ratio(np.nansum(oks, 0), (~np.isnan(oks)).sum(0))


def point_estimates(terms: dict[str, Floats]) -> dict[str, float]:
    """Each figure over all visible points, OKS over pictures, without intervals; NaN where nothing is visible."""
    visible = np.flatnonzero(~np.isnan(terms["error_px"]))
    if not len(visible):
        return dict.fromkeys(FIGURES, np.nan)
    points = {name: float(values.ravel().take(visible).mean()) for name, values in terms.items() if name != "oks"}
    return {**points, "oks": float(np.nanmean(picture_oks(terms)))}


@dataclass(frozen=True, slots=True, eq=False)
class HandReport:
    """Figures with 95 % intervals over subjects; a single subject gives no interval."""

    overall: dict[str, Figure]
    """By FIGURES, over all visible points; OKS over pictures."""
    points: dict[str, dict[str, Figure]]
    """By the points' ids, then by FIGURES."""
    pictures: int
    subjects: int


def report(
    predicted: ArrayLike,
    true: ArrayLike,
    visible: ArrayLike,
    subjects: Sequence[str],
    ids: Sequence[str],
    settings: MetricSettings | None = None,
) -> HandReport:
    """All figures of some pictures.

    Args:
        predicted: [N, P, 2] pixels.
        true: [N, P, 2] pixels.
        visible: [N, P] bool.
        subjects: [N] whose hand each picture shows: what intervals are over.
        ids: [P] the points' names, for the table.
        settings: parameters.

    Raises:
        ValueError: the shapes do not fit, or there is no picture.
    """
    settings = settings or MetricSettings()
    terms = point_terms(predicted, true, visible, settings)
    values = np.stack([terms[name] for name in FIGURES], -1)
    if values.shape[1] != len(ids):
        raise ValueError(f"{values.shape[1]} points, {len(ids)} names")
    seen = ~np.isnan(values)
    sums = cluster_sums(np.stack([np.nan_to_num(values), seen], -1), subjects)
    bounds = Bounds(0.0, np.where(np.isin(FIGURES, _RATES), 1.0, np.inf))
    each = _shares(sums, bounds)
    over_points = sums.sum(1)
    # OKS is a figure of an object: first the mean over a picture's points, then over pictures.
    of_pictures = picture_oks(terms)
    counted = np.stack([np.nan_to_num(of_pictures), ~np.isnan(of_pictures)], -1)
    over_points[:, FIGURES.index("oks")] = cluster_sums(counted, subjects)
    whole = _shares(over_points, bounds)
    return HandReport(
        {name: whole[k] for k, name in enumerate(FIGURES)},
        {point: {name: each[row, k] for k, name in enumerate(FIGURES)} for row, point in enumerate(ids)},
        len(values),
        len(sums),
    )


def _shares(sums: Floats, bounds: Bounds) -> Figures:
    """Means of sums and counts [..., 2] of each subject."""
    return figures_of_sums(sums, lambda s: _ratio(s[..., 0], s[..., 1]), bounds, lambda s: s[..., 1])


def mean_pose(xy: ArrayLike, visible: ArrayLike) -> Floats:
    """[P, 2] mean place of each point over training pictures: the baseline that a model must beat.

    Args:
        xy: [N, P, 2] pixels of the square.
        visible: [N, P] bool.

    Raises:
        ValueError: a point is visible nowhere.
    """
    places, seen = np.asarray(xy, np.float64), np.asarray(visible, bool)
    count = seen.sum(0)
    if not count.all():
        raise ValueError(f"points {np.flatnonzero(count == 0).tolist()} are visible in no picture: there is no mean")
    return np.where(seen[..., None], places, 0).sum(0) / count[:, None]


def _ratio(part: Floats, whole: NDArray[Any]) -> Floats:
    return np.divide(part, whole, out=np.full(np.shape(part), np.nan), where=whole > 0)
