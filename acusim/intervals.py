"""95 % intervals from the jackknife over persons, with Student's t: the arithmetic below acusim.statistics.

A figure is computed again without each person in turn. The spread of these values gives the variance (Efron & Stein
1981), and Student's t the width. Two refinements keep intervals of some twelve persons near their nominal coverage
(``python -m experiments.interval_coverage`` measures it; the percentile bootstrap covers 82-91 % there):

- Figures with bounds are taken to a scale without any: rates to log odds, lengths to logarithms. The interval then
  stays within the bounds and is as skewed as the figure.
- The degrees of freedom are Satterthwaite's, 2 / Var(s²) x s⁴ with the kurtosis of the pseudo-values, at most n - 1:
  fewer where few persons decide the figure.
"""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(40)
_NORMAL_QUANTILE = 1.959963984540054
"""Student's t has no smaller quantile at 97.5 %."""
_ROUNDING = 1e-12
"""Figures without each person that differ by less, relative to the figure, are equal."""


class Bounds(NamedTuple):
    """The smallest and the largest value that figures can have; infinite where there is no limit."""

    low: ArrayLike = -np.inf
    """A number, or one for each figure."""
    high: ArrayLike = np.inf


ANY = Bounds()
RATE = Bounds(0.0, 1.0)
POSITIVE = Bounds(0.0)


class Spread(NamedTuple):
    """How far figures would be from theirs with other persons, or with other seeds."""

    variance: Floats
    """[*F]; NaN where it is unknown."""
    freedom: Floats
    """[*F] degrees of freedom of the variance."""


def t_quantile(freedom: ArrayLike) -> Floats:
    """The 97.5 % quantile of Student's t, to 8 digits.

    Solved by Newton's method from below; the distribution is integrated over the angle atan(t / sqrt(freedom)), where
    its density is proportional to cos^(freedom - 1).

    Args:
        freedom: [...] degrees of freedom, at least 1; NaN stays NaN.
    """
    values, place = np.unique(np.asarray(freedom, np.float64), return_inverse=True)
    logs = [math.lgamma((one + 1) / 2) - math.lgamma(one / 2) if one == one else math.nan for one in values]
    scale = np.exp(logs) / math.sqrt(math.pi)
    t = np.where(np.isnan(values), np.nan, _NORMAL_QUANTILE)
    for _ in range(60):
        angle = np.arctan(t / np.sqrt(values))
        powers = np.cos(angle[:, None] * (1 + _NODES) / 2) ** (values[:, None] - 1)
        above = scale * angle / 2 * (powers * _WEIGHTS).sum(1)
        density = scale / np.sqrt(values) * np.cos(angle) ** (values + 1)
        step = (LEVEL / 2 - above) / density
        moving = np.abs(step) > 1e-10 * t
        if not moving.any():
            break
        t = np.where(moving, t + step, t)  # each value by itself, so that others do not change its last digits
    return t[place.reshape(-1)].reshape(np.shape(freedom))


def jackknife(without: Floats, contributing: NDArray[np.bool_]) -> Spread:
    """The spread of figures from their values without each of n persons.

    Args:
        without: [n, *F].
        contributing: [n, *F] whether the person contributes to the figure; the others do not count.

    Returns:
        NaN where fewer than two contribute, or where the figure of the others is not a number.
    """
    count = contributing.sum(0).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(contributing, without, 0).sum(0) / count
        square = np.where(contributing, without - mean, 0) ** 2
        variance = np.where(count > 1, (count - 1) / count * square.sum(0), np.nan)
        # That of n normal values is 3 (n - 1) / (n + 1) on average.
        kurtosis = count * (square**2).sum(0) / square.sum(0) ** 2 * (count + 1) / (count - 1)
        # Var(s²) = s⁴ (kurtosis - (n - 3) / (n - 1)) / n; below 0 for values that are more regular than chance.
        relative = (kurtosis - (count - 3) / (count - 1)) / count
        freedom = np.where(relative > 0, 2 / relative, np.inf)
    most = np.maximum(count - 1, 1)
    freedom = np.where(np.isnan(kurtosis), most, np.clip(freedom, np.minimum(2, most), most))
    return Spread(variance, freedom)


def added(spreads: list[Spread]) -> Spread:
    """The spread of a sum of independent parts: Satterthwaite's degrees of freedom."""
    variance = np.sum([one.variance for one in spreads], axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = np.sum([one.variance**2 / one.freedom for one in spreads], axis=0)
        freedom = np.where(parts > 0, variance**2 / parts, spreads[0].freedom)
    return Spread(variance, np.maximum(freedom, 1))


def unbounded(values: ArrayLike, bounds: Bounds) -> Floats:
    """Values on a scale without bounds: log odds of what has two, logarithms of what has one."""
    x, low, high = np.asarray(values, np.float64), *_arrays(bounds)
    with np.errstate(invalid="ignore", divide="ignore"):
        y = np.where(np.isfinite(low), np.log(x - low), 0.0) - np.where(np.isfinite(high), np.log(high - x), 0.0)
    return np.where(np.isfinite(low) | np.isfinite(high), y, x)


def bounded(values: ArrayLike, bounds: Bounds) -> Floats:
    """The inverse of ``unbounded``."""
    y, low, high = np.asarray(values, np.float64), *_arrays(bounds)
    with np.errstate(over="ignore", invalid="ignore"):
        between = low + (high - low) / (1 + np.exp(-y))
        one_sided = np.where(np.isfinite(low), low + np.exp(y), np.where(np.isfinite(high), high - np.exp(-y), y))
    return np.where(np.isfinite(low) & np.isfinite(high), between, one_sided)


def slope(values: ArrayLike, bounds: Bounds) -> Floats:
    """The derivative of ``unbounded``."""
    x, low, high = np.asarray(values, np.float64), *_arrays(bounds)
    with np.errstate(divide="ignore", invalid="ignore"):
        y = np.where(np.isfinite(low), 1 / (x - low), 0.0) + np.where(np.isfinite(high), 1 / (high - x), 0.0)
    return np.where(np.isfinite(low) | np.isfinite(high), y, 1.0)


def _arrays(bounds: Bounds) -> tuple[Floats, Floats]:
    return np.asarray(bounds.low, np.float64), np.asarray(bounds.high, np.float64)


def spread_of(value: Floats, without: Floats, contributing: NDArray[np.bool_], bounds: Bounds) -> Spread:
    """The spread on the scale without bounds; where a value without someone is at a bound, to first order only.

    Args:
        value: [*F] the figures.
        without: [n, *F] the figures without each.
        contributing: [n, *F] as of jackknife.
        bounds: of the figures.
    """
    exact = jackknife(unbounded(without, bounds), contributing)
    plain = jackknife(without, contributing)
    with np.errstate(invalid="ignore", over="ignore"):
        first_order = np.where(plain.variance > 0, plain.variance * slope(value, bounds) ** 2, plain.variance)
    known = np.isfinite(exact.variance)
    alike = plain.variance <= (_ROUNDING * np.abs(value)) ** 2
    return Spread(
        np.where(alike, 0, np.where(known, exact.variance, first_order)),
        np.where(known, exact.freedom, plain.freedom),
    )


def ends(value: Floats, spread: Spread, bounds: Bounds) -> tuple[Floats, Floats]:
    """Both ends of the intervals: [*F] each, NaN where the spread is unknown."""
    with np.errstate(invalid="ignore"):
        half = t_quantile(spread.freedom) * np.sqrt(spread.variance)
        centre = unbounded(value, bounds)
        low, high = bounded(centre - half, bounds), bounded(centre + half, bounds)
    # Rounding in the scales must not move an end past the figure; a figure at its bound has no finite centre.
    low, high = np.fmin(low, value), np.fmax(high, value)
    unknown = ~np.isfinite(spread.variance) | np.isnan(value)
    exact = spread.variance == 0
    low, high = np.where(exact, value, low), np.where(exact, value, high)
    return np.where(unknown, np.nan, low), np.where(unknown, np.nan, high)
