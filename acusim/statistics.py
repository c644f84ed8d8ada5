"""Statistics with 95 % intervals over persons.

Images of one person are alike, so persons are what intervals are over, not images, wherever there are several: the
interval then applies to other persons, which is what a reader wants to know. How: acusim.intervals. Figures over
several training runs as well: acusim.seed_statistics.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.intervals import (
    ANY,
    POSITIVE,
    RATE,
    Bounds,
    Spread,
    bounded,
    ends,
    spread_of,
    t_quantile,
    unbounded,
)

FIGURES = ("mean", "median", "p95", "max")
_QUANTILES = (0.5, 0.95)
_NAN = float("nan")


@dataclass(frozen=True, slots=True)
class Figure:
    """One statistic with its interval; NaN where there is nothing to count."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """The three numbers to seven digits, None for NaN."""
        return {name: None if np.isnan(v) else float(f"{v:.7g}") for name, v in self._items()}

    def text(self, digits: int, factor: float = 1.0, unit: str = "", sign: str = "") -> str:
        """``value [low, high]``: times a factor, the unit behind the value; a dash where there is no value.

        Args:
            digits: after the point.
            factor: 100 for per cent.
            unit: with its space.
            sign: "+" shows that of positive numbers as well.
        """
        if np.isnan(self.value):
            return "–"
        value, low, high = (f"{factor * number:{sign}.{digits}f}" for _, number in self._items())
        return f"{value}{unit}" if np.isnan(self.low) else f"{value}{unit} [{low}, {high}]"

    def _items(self) -> tuple[tuple[str, float], ...]:
        return (("value", self.value), ("low", self.low), ("high", self.high))


@dataclass(frozen=True, slots=True)
class Summary:
    """Count, mean, median, 95th percentile and maximum of some values."""

    count: int
    groups: int
    """Persons the values come from."""
    mean: Figure
    median: Figure
    p95: Figure
    max: Figure

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON values."""
        return {
            "count": self.count,
            "groups": self.groups,
            **{name: getattr(self, name).as_json() for name in FIGURES},
        }


def summarise(values: ArrayLike, groups: Sequence[str] | NDArray[Any]) -> Summary:
    """Mean, median, 95th percentile and maximum; all but the maximum with 95 % intervals.

    A maximum has no interval: nothing in the data bounds that of other persons.

    Args:
        values: [N] numbers; NaN are ignored.
        groups: [N] the person each comes from; a single person says nothing about others, so it gives no interval.

    Raises:
        ValueError: lengths differ.
    """
    data, names = _known(values, groups)
    if not len(data):
        nothing = Figure(_NAN, _NAN, _NAN)
        return Summary(0, 0, nothing, nothing, nothing, nothing)
    kinds, member = np.unique(names, return_inverse=True)
    sums = np.stack([np.bincount(member, data), np.bincount(member)], axis=-1)
    mean = figures_of_sums(sums, _ratio, POSITIVE if data[0] >= 0 else ANY)[()]
    median, p95 = (_quantile(data, member, quantile) for quantile in _QUANTILES)
    return Summary(len(data), len(kinds), mean, median, p95, Figure(float(data.max()), _NAN, _NAN))


def _known(values: ArrayLike, groups: Sequence[str] | NDArray[Any]) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Values that are numbers, ascending, and their groups.

    Raises:
        ValueError: lengths differ.
    """
    data, names = np.asarray(values, np.float64), np.asarray(groups)
    if data.ndim != 1 or names.shape != data.shape:
        raise ValueError(f"values are {data.shape}, groups {names.shape}; expected [N] twice")
    keep = ~np.isnan(data)
    order = np.argsort(data[keep], kind="stable")
    return data[keep][order], names[keep][order]


def _shares(data: NDArray[np.float64], member: NDArray[np.intp], quantile: float, count: int) -> NDArray[np.float64]:
    """[P, 2] of each group how many of its values are below the quantile, and how many it has.

    Of values that equal the quantile such a share counts as below that the whole share is the quantile's own.
    """
    value = np.quantile(data, quantile)
    below, equal = np.searchsorted(data, value, "left"), np.searchsorted(data, value, "right")
    share = np.clip((quantile * len(data) - below) / max(equal - below, 1), 0, 1)
    weights = np.zeros(len(data))
    weights[:below], weights[below:equal] = 1, share
    columns = np.bincount(member, weights, count), np.bincount(member, np.ones(len(data)), count)
    return np.stack(columns, axis=-1).astype(np.float64)


def _ratio(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[..., 0] / sums[..., 1]


def _quantile(data: NDArray[np.float64], member: NDArray[np.intp], quantile: float) -> Figure:
    """A quantile of ascending values with its interval: that of the share of values below it, read off the values.

    Source: Woodruff 1952; the share's interval is that of a rate.
    """
    value = float(np.quantile(data, quantile))
    shares = _shares(data, member, quantile, int(member.max()) + 1)
    spread = _spread_of_sums(shares, _ratio, RATE)
    if np.isnan(spread.variance):
        return Figure(value, _NAN, _NAN)
    half = float(t_quantile(spread.freedom) * np.sqrt(spread.variance))
    centre = unbounded(quantile, RATE)
    low, high = np.quantile(data, bounded([centre - half, centre + half], RATE))
    return Figure(value, min(float(low), value), max(float(high), value))


def difference_of_quantiles(
    first: ArrayLike,
    first_groups: Sequence[str],
    second: ArrayLike,
    second_groups: Sequence[str],
    quantile: float = 0.5,
) -> Figure:
    """A quantile of some values minus that of others, with its 95 % interval; NaN if one side is empty."""
    value, spread = spread_of_difference(first, first_groups, second, second_groups, quantile)
    low, high = ends(np.array(value), spread, ANY)
    return Figure(value, float(low), float(high))


def spread_of_difference(
    first: ArrayLike,
    first_groups: Sequence[str],
    second: ArrayLike,
    second_groups: Sequence[str],
    quantile: float = 0.5,
) -> tuple[float, Spread]:
    """A quantile of some values minus that of others, and how far it would be off with other persons.

    What a person does to both sides cancels out: the two quantiles' correlation is that of the persons' shares of
    values below them. Of a single person, values are independent. NaN if one side is empty.
    """
    sides = [_known(first, first_groups), _known(second, second_groups)]
    if not all(len(data) for data, _ in sides):
        return _NAN, Spread(np.array(_NAN), np.array(_NAN))
    value = float(np.quantile(sides[0][0], quantile) - np.quantile(sides[1][0], quantile))
    people = np.unique(np.concatenate([names for _, names in sides]))
    errors, spreads, deviations = [], [], []
    for data, names in sides:
        member = np.searchsorted(people, names) if len(people) > 1 else np.arange(len(data))
        shares = _shares(data, member, quantile, len(people) if len(people) > 1 else len(data))
        figure, spread = _quantile(data, member, quantile), _spread_of_sums(shares, _ratio, RATE)
        errors.append((figure.high - figure.low) / 2 / float(t_quantile(spread.freedom)))
        spreads.append(spread)
        deviations.append(shares[:, 0] - quantile * shares[:, 1])
    covariance = 0.0
    if len(people) > 1:
        length = np.linalg.norm(deviations[0]) * np.linalg.norm(deviations[1])
        correlation = float(deviations[0] @ deviations[1] / length) if length else 0.0
        covariance = min(correlation, 1.0) * errors[0] * errors[1]
    variance = max(errors[0] ** 2 + errors[1] ** 2 - 2 * covariance, 0.0)
    freedom = min(float(spread.freedom) for spread in spreads)
    return value, Spread(np.array(variance), np.array(freedom))


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Many statistics of one kind: arrays of one shape, NaN where there is nothing to count."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __getitem__(self, index: int | tuple[int, ...]) -> Figure:
        """One of them."""
        return Figure(float(self.value[index]), float(self.low[index]), float(self.high[index]))


Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
"""From sums over persons [..., *S] to statistics [..., *F]."""


def cluster_sums(values: ArrayLike, groups: Sequence[str] | NDArray[Any]) -> NDArray[np.float64]:
    """[P, ...] values [N, ...] added up for each group, the groups in ascending order.

    Raises:
        ValueError: lengths differ, or there are none.
    """
    data, names = np.asarray(values), np.asarray(groups)
    if names.ndim != 1 or data.shape[:1] != names.shape or not len(names):
        raise ValueError(f"values are {data.shape}, groups {names.shape}; expected [N, ...] and [N], N above 0")
    order = np.argsort(names, kind="stable")
    starts = np.flatnonzero(np.r_[True, names[order][1:] != names[order][:-1]])
    return np.add.reduceat(data[order], starts, axis=0, dtype=np.float64)


def leave_one_out(
    blocks: NDArray[np.float64], function: Function
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Figures of all blocks [n, *S] together, figures without each, and which blocks contribute to which figure.

    Returns:
        [*F], [n, *F], [n, *F].
    """
    total = blocks.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(function(total), np.float64)
        without = np.asarray(function(total - blocks), np.float64)
        contributing = ~np.isnan(function(blocks))
    return value, without, contributing


def _spread_of_sums(blocks: NDArray[np.float64], function: Function, bounds: Bounds) -> Spread:
    return spread_of(*leave_one_out(blocks, function), bounds)


def figures_of_sums(
    sums: ArrayLike, function: Function, bounds: Bounds = ANY, trials: Function | None = None
) -> Figures:
    """Statistics that depend only on sums over persons, such as rates, with 95 % intervals over persons.

    Only each person's sums are needed, however many values they stand for. A single person says nothing about others:
    a statistic to which fewer than two persons contribute has no interval.

    Args:
        sums: [P, *S] one block for each person.
        function: from [..., *S] to [..., *F]; NaN where there is nothing to count.
        bounds: smallest and largest values of the figures, which their intervals stay within: RATE, POSITIVE, ANY, or
            arrays [*F].
        trials: of how many each figure that is a RATE is a share, from [*S] to [*F]; where nothing, or everything, was
            found, its interval is then that of ``rate_of_sums``. Without it, that has no width.
    """
    blocks = np.asarray(sums, np.float64)
    value, without, contributing = leave_one_out(blocks, function)
    low, high = ends(value, spread_of(value, without, contributing, bounds), bounds)
    if trials is not None:
        unseen = _unseen(np.asarray(trials(blocks.sum(0)), np.float64), contributing.sum(0))
        rates = (np.asarray(bounds.low) == 0) & (np.asarray(bounds.high) == 1)
        low = np.where(rates & (value == 1), 1 - unseen, low)
        high = np.where(rates & (value == 0), unseen, high)
    return Figures(value, low, high)


def _unseen(trials: NDArray[np.float64], persons: NDArray[np.intp]) -> NDArray[np.float64]:
    """How large a share may be of which nothing was found in some trials; NaN of fewer than two persons.

    Nothing found has no spread. The interval ends where that of a single find would, whose relative error is 1: odds of
    1 / N, times exp(t) with Student's t of the persons. So what few persons do not show may still be likely.
    """
    one = unbounded(1 / np.maximum(trials, 2), RATE)
    freedom = np.where(persons > 1, persons - 1.0, np.nan)
    return bounded(one + t_quantile(freedom), RATE)


def rate_of_sums(sums: ArrayLike) -> Figure:
    """A share with its 95 % interval over persons, also where nothing, or everything, was found.

    Args:
        sums: [P, 2] of each person: how many, and of how many.

    Returns:
        NaN if there is nothing to count; no interval of fewer than two persons who have any.
    """
    return figures_of_sums(sums, _ratio, RATE, lambda total: total[..., 1])[()]


def share_of(right: ArrayLike, groups: Sequence[str] | NDArray[Any]) -> Figure:
    """The share of values [N] that are true, with its interval over groups [N], as ``rate_of_sums``."""
    values = np.asarray(right, np.float64)
    return rate_of_sums(cluster_sums(np.stack([values, np.ones(len(values))], axis=-1), groups))


def difference_of_sums(first: ArrayLike, second: ArrayLike, function: Function) -> Figures:
    """Statistics of the first minus those of the second, of the same persons: a paired difference.

    A person is left out on both sides, so differences between persons cancel out.

    Args:
        first: [P, *S] as in figures_of_sums.
        second: [P, *S] of the same persons in the same order.
        function: as in figures_of_sums.

    Raises:
        ValueError: the shapes differ.
    """
    blocks = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if blocks[0].shape != blocks[1].shape:
        raise ValueError(f"sums are {blocks[0].shape} and {blocks[1].shape}; expected those of the same persons")
    return figures_of_sums(np.stack(blocks, axis=1), paired(function, blocks[0].ndim))


def paired(function: Function, dimensions: int) -> Function:
    """The difference of a function of sums between two sides: from [..., 2, *S], where [P, *S] has ``dimensions``."""

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = np.moveaxis(sums, sums.ndim - dimensions, 0)
        return function(sides[0]) - function(sides[1])

    return difference


def quantiles_by_groups(
    values: ArrayLike, groups: Sequence[str] | NDArray[Any], quantiles: Sequence[float]
) -> list[Figure]:
    """Quantiles of values with 95 % intervals over groups; no interval of fewer than two groups.

    Args:
        values: [N] numbers; NaN are ignored.
        groups: [N] the person each comes from.
        quantiles: from 0 to 1.

    Raises:
        ValueError: lengths differ.
    """
    data, names = _known(values, groups)
    if not len(data):
        return [Figure(_NAN, _NAN, _NAN) for _ in quantiles]
    _, member = np.unique(names, return_inverse=True)
    return [_quantile(data, member, quantile) for quantile in quantiles]
