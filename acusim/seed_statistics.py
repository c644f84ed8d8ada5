"""Figures over several training runs of one configuration, tested on the same persons: intervals over both.

Another reader has other persons and another seed. The variance is the sum of two jackknifes, one over persons and one
over seeds, and the degrees of freedom are Satterthwaite's: with five seeds of which two differ much, few. What a seed
does to single persons is in both variances, so intervals are somewhat too wide rather than too narrow.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.intervals import ANY, Bounds, Spread, added, ends, spread_of
from acusim.statistics import Figures, Function, leave_one_out, paired


def figures_over_seeds(sums: ArrayLike, function: Function, bounds: Bounds = ANY) -> Figures:
    """Statistics of sums over persons and training runs, with 95 % intervals over persons x seeds.

    With a single run the interval is over persons alone, as that of figures_of_sums: it says nothing about other seeds.

    Args:
        sums: [R, P, *S] one block for each run and person.
        function: from [..., *S] to [..., *F]; NaN where there is nothing to count.
        bounds: as in figures_of_sums.
    """
    blocks = np.asarray(sums, np.float64)
    value, without, contributing = leave_one_out(blocks.sum(0), function)
    spreads = [spread_of(value, without, contributing, bounds)]
    if len(blocks) > 1:
        spreads.append(spread_of(*leave_one_out(blocks.sum(1), function), bounds))
    return Figures(value, *ends(value, added(spreads), bounds))


def difference_over_seeds(first: ArrayLike, second: ArrayLike, function: Function) -> Figures:
    """Statistics of a configuration minus those of another: of the same persons, and of independent training runs.

    Args:
        first: [R1, P, *S] as in figures_over_seeds.
        second: [R2, P, *S] of the same persons in the same order.
        function: as in figures_over_seeds.

    Raises:
        ValueError: the persons or sums differ in shape.
    """
    sides = np.asarray(first, np.float64), np.asarray(second, np.float64)
    if sides[0].shape[1:] != sides[1].shape[1:]:
        raise ValueError(f"sums are {sides[0].shape} and {sides[1].shape}; expected those of the same persons")
    pairs = np.stack([side.mean(0) for side in sides], axis=1)
    value, left_out, weights = leave_one_out(pairs, paired(function, pairs.ndim - 1))
    spreads = [
        spread_of(value, left_out, weights, ANY),
        *(_over_runs(side, function) for side in sides if len(side) > 1),
    ]
    return Figures(value, *ends(value, added(spreads), ANY))


def _over_runs(blocks: NDArray[np.float64], function: Function) -> Spread:
    return spread_of(*leave_one_out(blocks.sum(1), function), ANY)
