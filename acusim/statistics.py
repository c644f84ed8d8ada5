"""Statistics with bootstrap intervals.

Images of one person are alike, so persons are resampled, not images, wherever there are several: the interval then
applies to other persons, which is what a reader wants to know (cluster bootstrap; Cameron, Gelbach & Miller 2008).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

_DRAWS = 1000
_SEED = 20250101
_LEVEL = 0.95
FIGURES = ("mean", "median", "p95", "max")
_QUANTILES = (0.5, 0.95)
_BINS = 2048
_ENDS = ((1 - _LEVEL) / 2, (1 + _LEVEL) / 2)


@dataclass(frozen=True, slots=True)
class Figure:
    """One statistic with its interval; NaN where there is nothing to count."""

    value: float
    low: float
    high: float

    def as_json(self) -> dict[str, float | None]:
        """The three numbers, None for NaN."""
        return {name: None if np.isnan(v) else round(float(v), 5) for name, v in self._items()}

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


def summarise(
    values: ArrayLike, groups: Sequence[str] | NDArray[Any], draws: int = _DRAWS, seed: int = _SEED
) -> Summary:
    """Mean, median, 95th percentile and maximum with 95 % bootstrap intervals.

    Args:
        values: [N] numbers; NaN are ignored.
        groups: [N] the person each comes from. Persons are resampled if there are several, else single values.
        draws: resamples.
        seed: the same values give the same intervals.

    Raises:
        ValueError: lengths differ.
    """
    data, names = np.asarray(values, np.float64), np.asarray(groups)
    if data.ndim != 1 or names.shape != data.shape:
        raise ValueError(f"values are {data.shape}, groups {names.shape}; expected [N] twice")
    keep = ~np.isnan(data)
    data, names = data[keep], names[keep]
    if not len(data):
        nothing = Figure(float("nan"), float("nan"), float("nan"))
        return Summary(0, 0, nothing, nothing, nothing, nothing)
    order = np.argsort(data, kind="stable")
    data = data[order]
    kinds, member = np.unique(names[order], return_inverse=True)
    if len(kinds) == 1:
        member = np.arange(len(data))
    samples = _resampled(data, member.reshape(-1), draws, seed)
    whole = _figures(data, np.ones((1, len(data))))
    figures = [
        Figure(float(whole[name][0]), *(float(v) for v in np.quantile(samples[name], _ENDS))) for name in FIGURES
    ]
    return Summary(len(data), len(kinds), *figures)


def _resampled(data: NDArray[np.float64], member: NDArray[np.intp], draws: int, seed: int) -> dict[str, Any]:
    """Statistics of each resample: how often a group was drawn is the weight of its values."""
    random = np.random.Generator(np.random.PCG64(seed))
    count = int(member.max()) + 1
    out: dict[str, list[NDArray[np.float64]]] = {name: [] for name in FIGURES}
    # In blocks of some 16 MB, however many values there are.
    piece = max(1, 2_000_000 // len(data))
    for start in range(0, draws, piece):
        rows = min(piece, draws - start)
        drawn = random.multinomial(count, np.full(count, 1 / count), size=rows)
        for name, values in _figures(data, drawn[:, member].astype(np.float64)).items():
            out[name].append(values)
    return {name: np.concatenate(parts) for name, parts in out.items()}


def _figures(data: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Statistics of ascending values [N] under each row of weights [D, N] (whole numbers: how often each occurs).

    Quantiles are interpolated as NumPy's default does, between the values at ranks (n - 1) q.
    """
    total = np.cumsum(weights, axis=1)
    count = total[:, -1]
    out = {"mean": (weights @ data) / count}
    for name, quantile in zip(("median", "p95"), _QUANTILES, strict=True):
        out[name] = _quantile(data, total, quantile)
    out["max"] = _at_rank(data, total, count - 1)
    return out


def _quantile(data: NDArray[np.float64], total: NDArray[np.float64], quantile: float) -> NDArray[np.float64]:
    """[D] a quantile of ascending values [N] in each row of cumulated weights [D, N], as NumPy interpolates."""
    rank = np.maximum(total[:, -1] - 1, 0) * quantile
    low, high = _at_rank(data, total, np.floor(rank)), _at_rank(data, total, np.ceil(rank))
    return low + (rank - np.floor(rank)) * (high - low)


def _at_rank(data: NDArray[np.float64], total: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value at a rank (from 0) in each row of cumulated weights."""
    return data[(total > rank[:, None]).argmax(1)]


def difference_of_quantiles(
    first: ArrayLike,
    first_groups: Sequence[str],
    second: ArrayLike,
    second_groups: Sequence[str],
    quantile: float = 0.5,
    draws: int = _DRAWS,
    seed: int = _SEED,
) -> Figure:
    """A quantile of some values minus that of others, with its bootstrap interval; NaN if one side is empty.

    A person who is on both sides is drawn for both, so differences between persons cancel out.
    """
    sides = []
    for values, groups in ((first, first_groups), (second, second_groups)):
        data, names = np.asarray(values, np.float64), np.asarray(groups)
        keep = ~np.isnan(data)
        order = np.argsort(data[keep], kind="stable")
        sides.append((data[keep][order], names[keep][order]))
    if not all(len(data) for data, _ in sides):
        return Figure(float("nan"), float("nan"), float("nan"))
    people = np.unique(np.concatenate([names for _, names in sides]))
    random = np.random.Generator(np.random.PCG64(seed))
    if len(people) == 1:
        quantiles = [np.quantile(random.choice(data, (draws, len(data))), quantile, axis=1) for data, _ in sides]
    else:
        drawn = random.multinomial(len(people), np.full(len(people), 1 / len(people)), size=draws)
        quantiles = [_quantile_of_drawn(data, np.searchsorted(people, names), drawn, quantile) for data, names in sides]
    samples = quantiles[0] - quantiles[1]
    samples = samples[~np.isnan(samples)]
    value = float(np.quantile(sides[0][0], quantile) - np.quantile(sides[1][0], quantile))
    if not len(samples):
        return Figure(value, float("nan"), float("nan"))
    low, high = np.quantile(samples, _ENDS)
    return Figure(value, float(low), float(high))


def _quantile_of_drawn(
    data: NDArray[np.float64], member: NDArray[np.intp], drawn: NDArray[np.int64], quantile: float
) -> NDArray[np.float64]:
    """[D] the quantile under each draw of persons; NaN where no one with a value was drawn."""
    out = np.full(len(drawn), np.nan)
    piece = max(1, 2_000_000 // len(data))
    for start in range(0, len(drawn), piece):
        total = np.cumsum(drawn[start : start + piece, member].astype(np.float64), axis=1)
        out[start : start + piece] = np.where(total[:, -1] > 0, _quantile(data, total, quantile), np.nan)
    return out


@dataclass(frozen=True, slots=True, eq=False)
class Figures:
    """Many statistics of one kind: arrays of one shape, NaN where there is nothing to count."""

    value: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]

    def __getitem__(self, index: int | tuple[int, ...]) -> Figure:
        """One of them."""
        return Figure(float(self.value[index]), float(self.low[index]), float(self.high[index]))


_Function = Callable[[NDArray[np.float64]], NDArray[np.float64]]
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


def bootstrap_of_sums(sums: ArrayLike, function: _Function, draws: int = _DRAWS, seed: int = _SEED) -> Figures:
    """Statistics that depend only on sums over persons, such as rates, with 95 % intervals from resampling persons.

    Only each person's sums are needed, however many values they stand for. A single person says nothing about others:
    a statistic to which fewer than two persons contribute has no interval.

    Args:
        sums: [P, *S] one block for each person.
        function: from [..., *S] to [..., *F]; NaN where there is nothing to count.
        draws: resamples.
        seed: the same sums give the same intervals.
    """
    blocks = np.asarray(sums, np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.asarray(function(blocks.sum(0)), np.float64)
        samples = function(_drawn_sums(blocks, draws, seed))
        contributing = (~np.isnan(function(blocks))).sum(0)
    low, high = np.full(value.shape, np.nan), np.full(value.shape, np.nan)
    known = ~np.isnan(samples)
    full = (contributing > 1) & known.all(0)
    low[full], high[full] = np.quantile(samples[:, full], _ENDS, axis=0)
    for index in np.argwhere((contributing > 1) & ~full):  # some resamples have no value
        column = (slice(None), *index)
        low[tuple(index)], high[tuple(index)] = np.quantile(samples[column][known[column]], _ENDS)
    return Figures(value, low, high)


def difference_of_sums(
    first: ArrayLike, second: ArrayLike, function: _Function, draws: int = _DRAWS, seed: int = _SEED
) -> Figures:
    """Statistics of the first minus those of the second, of the same persons: a paired bootstrap.

    A person is drawn for both sides, so differences between persons cancel out.

    Args:
        first: [P, *S] as in bootstrap_of_sums.
        second: [P, *S] of the same persons in the same order.
        function: as in bootstrap_of_sums.
        draws: resamples.
        seed: the same sums give the same intervals.

    Raises:
        ValueError: the shapes differ.
    """
    blocks = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if blocks[0].shape != blocks[1].shape:
        raise ValueError(f"sums are {blocks[0].shape} and {blocks[1].shape}; expected those of the same persons")
    pairs = np.stack(blocks, axis=1)

    def difference(sums: NDArray[np.float64]) -> NDArray[np.float64]:
        sides = np.moveaxis(sums, sums.ndim - pairs.ndim + 1, 0)
        return function(sides[0]) - function(sides[1])

    return bootstrap_of_sums(pairs, difference, draws, seed)


def quantiles_by_groups(
    values: ArrayLike,
    groups: Sequence[str] | NDArray[Any],
    quantiles: Sequence[float],
    draws: int = _DRAWS,
    seed: int = _SEED,
) -> list[Figure]:
    """Quantiles of very many values with 95 % intervals from resampling groups.

    The quantiles are exact. For the intervals, neighbouring values are merged into 2048 bins of equal count: their ends
    are accurate to 0.05 % of the values, and the time does not depend on their number.

    Args:
        values: [N] numbers; NaN are ignored.
        groups: [N] the person each comes from.
        quantiles: from 0 to 1.
        draws: resamples.
        seed: the same values give the same intervals.
    """
    data, names = np.asarray(values, np.float64), np.asarray(groups)
    if data.ndim != 1 or names.shape != data.shape:
        raise ValueError(f"values are {data.shape}, groups {names.shape}; expected [N] twice")
    keep = ~np.isnan(data)
    order = np.argsort(data[keep], kind="stable")
    data, names = data[keep][order], names[keep][order]
    if not len(data):
        return [Figure(float("nan"), float("nan"), float("nan")) for _ in quantiles]
    kinds, member = np.unique(names, return_inverse=True)
    bin_of = np.arange(len(data)) * min(_BINS, len(data)) // len(data)
    sizes = np.bincount(bin_of)
    middles = np.add.reduceat(data, np.r_[0, np.cumsum(sizes)[:-1]]) / sizes
    counts = np.bincount(member * len(sizes) + bin_of, minlength=len(kinds) * len(sizes)).reshape(len(kinds), -1)
    whole = np.quantile(data, quantiles)

    def of_counts(weights: NDArray[np.float64]) -> NDArray[np.float64]:
        total = np.cumsum(np.atleast_2d(weights), axis=1)
        return np.stack([_quantile(middles, total, q) for q in quantiles], axis=-1).reshape(*weights.shape[:-1], -1)

    rough = bootstrap_of_sums(counts, of_counts, draws, seed)
    # The binning shifts the interval as much as the quantile itself.
    exact = Figures(whole, rough.low + whole - rough.value, rough.high + whole - rough.value)
    return [exact[k] for k in range(len(quantiles))]


def _drawn_sums(blocks: NDArray[np.float64], draws: int, seed: int) -> NDArray[np.float64]:
    """[D, *S] the sums of each resample of the persons' blocks [P, *S]."""
    random = np.random.Generator(np.random.PCG64(seed))
    drawn = random.multinomial(len(blocks), np.full(len(blocks), 1 / len(blocks)), size=draws)
    return (drawn.astype(np.float64) @ blocks.reshape(len(blocks), -1)).reshape(draws, *blocks.shape[1:])
