"""Known answers of figures over persons and training runs."""

import math

import numpy as np
import pytest

from acusim.intervals import RATE, t_quantile
from acusim.seed_statistics import difference_over_seeds, figures_over_seeds
from acusim.statistics import difference_of_sums, figures_of_sums


def _ratio(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def _sums(values: np.ndarray) -> np.ndarray:
    return np.stack([values, np.ones(values.shape)], axis=-1)


PERSONS = np.array([1.0, 2.0, 4.0, 5.0, 7.0, 11.0])
RUNS = np.array([-1.0, 0.0, 3.0])


def test_alike_runs_add_nothing():
    over_persons = figures_of_sums(_sums(PERSONS), _ratio)[()]
    got = figures_over_seeds(_sums(np.tile(PERSONS, (4, 1))), _ratio)[()]
    assert (got.value, got.low, got.high) == pytest.approx((over_persons.value, over_persons.low, over_persons.high))
    assert figures_over_seeds(_sums(PERSONS[None]), _ratio)[()] == over_persons


def test_alike_persons_leave_students_interval_over_runs():
    got = figures_over_seeds(_sums(np.repeat(RUNS[:, None], 6, axis=1)), _ratio)[()]
    half = t_quantile(2) * RUNS.std(ddof=1) / math.sqrt(3)
    assert (got.value, got.low, got.high) == pytest.approx((2 / 3, 2 / 3 - half, 2 / 3 + half))


def test_variances_of_persons_and_runs_add_up():
    persons = np.arange(6.0)
    got = figures_over_seeds(_sums(persons + RUNS[:, None]), _ratio)[()]
    of_persons, of_runs = persons.var(ddof=1) / 6, RUNS.var(ddof=1) / 3
    freedom = (of_persons + of_runs) ** 2 / (of_persons**2 / 5 + of_runs**2 / 2)
    assert got.high - got.value == pytest.approx(t_quantile(freedom) * math.sqrt(of_persons + of_runs))


def test_one_person_has_no_interval():
    got = figures_over_seeds(_sums(RUNS[:, None]), _ratio)[()]
    assert got.value == pytest.approx(2 / 3) and math.isnan(got.low)


def test_rates_stay_within_their_bounds():
    sums = np.array([[[40, 40], [39, 40], [40, 40]], [[40, 40], [30, 40], [40, 40]]])
    got = figures_over_seeds(sums, _ratio, RATE)[()]
    assert 0 < got.low < got.value < got.high < 1


def test_what_is_particular_to_persons_cancels_out_what_is_particular_to_runs_does_not():
    first, second = PERSONS + RUNS[:, None], PERSONS - np.array([2.0, 2.0])[:, None]
    got = difference_over_seeds(_sums(first), _sums(second), _ratio)[()]
    half = t_quantile(2) * RUNS.std(ddof=1) / math.sqrt(3)  # the runs of the second are alike
    assert (got.value, got.low, got.high) == pytest.approx((2 / 3 + 2, 2 / 3 + 2 - half, 2 / 3 + 2 + half))


def test_of_single_runs_the_difference_is_that_over_persons():
    first, second = _sums(PERSONS), _sums(PERSONS[::-1] ** 2)
    got = difference_over_seeds(first[None], second[None], _ratio)[()]
    assert got == difference_of_sums(first, second, _ratio)[()]


def test_persons_must_be_the_same():
    with pytest.raises(ValueError, match="same persons"):
        difference_over_seeds(_sums(PERSONS[None]), _sums(PERSONS[None, :3]), _ratio)
