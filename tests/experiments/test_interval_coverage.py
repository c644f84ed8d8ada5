"""Intervals hold the truth as often as they should, in few simulated studies."""

import numpy as np
import pytest

from acusim.seed_statistics import difference_over_seeds, figures_over_seeds
from acusim.statistics import difference_of_sums, figures_of_sums
from experiments.interval_coverage import coverage, percentile_bootstrap, ratio, studies_of_persons, studies_of_seeds

STUDIES = 600
CHANCE = 2.0
"""Percentage points that the coverage of so few studies may be off (2 standard errors)."""
HARD = {"log-normal 1.0", "log-normal 1.0, unequal pictures", "difference, log-normal 0.8, unequal pictures"}
"""Shapes whose coverage is known to be 90-92 %."""


def test_intervals_over_twelve_persons_hold_the_truth() -> None:
    low, ours, bootstrap = {}, [], []
    for study in studies_of_persons(12, STUDIES):
        if study.other is None:
            got = figures_of_sums(study.sums, ratio, study.bounds)
        else:
            got = difference_of_sums(study.sums, study.other, ratio)
        share = float(coverage(got.low, got.high, study.truth)[0])
        ours.append(share)
        bootstrap.append(float(coverage(*percentile_bootstrap(study.sums, study.other), study.truth)[0]))
        if share < (89 if study.name in HARD else 93) - CHANCE:
            low[study.name] = share
    assert not low
    assert min(np.subtract(ours, bootstrap)) > 1  # the old intervals were narrower everywhere


def test_intervals_over_persons_and_seeds_hold_the_truth_and_seeds_do_not_differ() -> None:
    for study, again in studies_of_seeds(12, 5, STUDIES):
        got = figures_over_seeds(study.sums, ratio, study.bounds)
        assert float(coverage(got.low, got.high, study.truth)[0]) > 93 - CHANCE, study.name
        apart = difference_over_seeds(study.sums, again, ratio)
        assert np.mean((apart.low > 0) | (apart.high < 0)) < 0.07, study.name


def test_columns_of_coverage() -> None:
    low, high = np.array([0.0, 2.0, 0.0, 0.0]), np.array([2.0, 4.0, 0.5, 4.0])
    assert coverage(low, high, 1.0) == ["50.0", "25.0", "25.0", "2"]


def test_the_same_seed_gives_the_same_studies() -> None:
    first, again = (next(studies_of_persons(3, 5)) for _ in range(2))
    assert first.sums == pytest.approx(again.sums, abs=0)
