"""Figures with bootstrap intervals.

Pictures of one person are alike, so persons are drawn, not pictures, wherever there are several: the interval then
speaks of other persons, which is what a reader wants to know (cluster bootstrap; Cameron, Gelbach & Miller 2008).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

DRAWS = 1000
SEED = 20250101
LEVEL = 0.95
FIGURES = ("mean", "median", "p95", "max")
_QUANTILES = (0.5, 0.95)


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure with its interval; NaN where there is nothing to count."""

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


def summarise(values: ArrayLike, groups: Sequence[str] | NDArray[Any], draws: int = DRAWS, seed: int = SEED) -> Summary:
    """Mean, median, 95th percentile and maximum with 95 % bootstrap intervals.

    Args:
        values: [N] numbers; NaN are left out.
        groups: [N] the person each comes from. Persons are drawn if there are several, else single values.
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
    tail = (1 - LEVEL) / 2
    figures = [
        Figure(float(whole[name][0]), *(float(v) for v in np.quantile(samples[name], (tail, 1 - tail))))
        for name in FIGURES
    ]
    return Summary(len(data), len(kinds), *figures)


def _resampled(data: NDArray[np.float64], member: NDArray[np.intp], draws: int, seed: int) -> dict[str, Any]:
    """Figures of each resample: how often a group was drawn is the weight of its values."""
    random = np.random.Generator(np.random.PCG64(seed))
    count = int(member.max()) + 1
    out: dict[str, list[NDArray[np.float64]]] = {name: [] for name in FIGURES}
    # In pieces of some 16 MB, however many values there are.
    piece = max(1, 2_000_000 // len(data))
    for start in range(0, draws, piece):
        rows = min(piece, draws - start)
        drawn = random.multinomial(count, np.full(count, 1 / count), size=rows)
        for name, values in _figures(data, drawn[:, member].astype(np.float64)).items():
            out[name].append(values)
    return {name: np.concatenate(parts) for name, parts in out.items()}


def _figures(data: NDArray[np.float64], weights: NDArray[np.float64]) -> dict[str, NDArray[np.float64]]:
    """Figures of ascending values [N] under each row of weights [D, N] (whole numbers: how often each occurs).

    Quantiles are interpolated as NumPy's default does, between the values at ranks (n - 1) q.
    """
    total = np.cumsum(weights, axis=1)
    count = total[:, -1]
    out = {"mean": (weights @ data) / count}
    for name, quantile in zip(("median", "p95"), _QUANTILES, strict=True):
        rank = (count - 1) * quantile
        low = _at_rank(data, total, np.floor(rank))
        high = _at_rank(data, total, np.ceil(rank))
        out[name] = low + (rank - np.floor(rank)) * (high - low)
    out["max"] = _at_rank(data, total, count - 1)
    return out


def _at_rank(data: NDArray[np.float64], total: NDArray[np.float64], rank: NDArray[np.float64]) -> NDArray[np.float64]:
    """The value at a rank (from 0) in each row of cumulated weights."""
    return data[(total > rank[:, None]).argmax(1)]


def difference_of_quantiles(
    first: ArrayLike,
    first_groups: Sequence[str],
    second: ArrayLike,
    second_groups: Sequence[str],
    quantile: float = 0.5,
    draws: int = DRAWS,
    seed: int = SEED,
) -> Figure:
    """A quantile of some values less that of others, with its bootstrap interval; NaN if one side is empty.

    A person who is in both sides is drawn for both, so what is particular to persons cancels out.
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
    low, high = np.quantile(samples, ((1 - LEVEL) / 2, (1 + LEVEL) / 2))
    return Figure(value, float(low), float(high))


def _quantile_of_drawn(
    data: NDArray[np.float64], member: NDArray[np.intp], drawn: NDArray[np.int64], quantile: float
) -> NDArray[np.float64]:
    """[D] the quantile under each draw of persons; NaN where no one with a value was drawn."""
    out = np.full(len(drawn), np.nan)
    piece = max(1, 2_000_000 // len(data))
    for start in range(0, len(drawn), piece):
        total = np.cumsum(drawn[start : start + piece, member].astype(np.float64), axis=1)
        count = total[:, -1]
        rank = np.maximum(count - 1, 0) * quantile
        low, high = _at_rank(data, total, np.floor(rank)), _at_rank(data, total, np.ceil(rank))
        values = low + (rank - np.floor(rank)) * (high - low)
        out[start : start + piece] = np.where(count > 0, values, np.nan)
    return out
