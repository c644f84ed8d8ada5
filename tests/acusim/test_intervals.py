"""Known answers of Student's t, of the jackknife and of the scales without bounds."""

import math

import numpy as np
import pytest
from scipy import stats

from acusim.intervals import ANY, POSITIVE, RATE, Bounds, Spread, added, bounded, ends, jackknife, slope, t_quantile
from acusim.intervals import unbounded as to_scale

SCALES = (ANY, RATE, POSITIVE, Bounds(-np.inf, 3.0), Bounds(-1.0, 1.0))


def test_quantiles_of_students_t_are_those_of_scipy():
    freedom = np.array([[1, 1.3, 2, 4.7], [11, 39, 1e3, 1e5]])
    assert t_quantile(freedom) == pytest.approx(stats.t.ppf(0.975, freedom), rel=1e-7)
    assert math.isnan(t_quantile(np.nan))


def test_jackknife_of_a_mean_is_its_standard_error():
    values = np.array([1.0, 2.0, 4.0, 5.0, 7.0])
    without = (values.sum() - values) / 4
    got = jackknife(without, np.ones(5, bool))
    assert got.variance == pytest.approx(values.var(ddof=1) / 5) and got.freedom == 4
    with_a_stranger = jackknife(np.append(without, values.mean()), np.array([True] * 5 + [False]))
    assert with_a_stranger.variance == pytest.approx(got.variance) and with_a_stranger.freedom == 4


def test_one_person_who_decides_the_figure_takes_degrees_of_freedom():
    values = np.array([0.0] * 11 + [1.0])
    kurtosis = stats.kurtosis(values, fisher=False) * 13 / 11
    got = jackknife((values.sum() - values) / 11, np.ones(12, bool))
    assert got.freedom == pytest.approx(max(2, 2 * 12 / (kurtosis - 9 / 11)))


def test_one_person_has_no_spread():
    assert math.isnan(jackknife(np.array([1.0]), np.array([True])).variance)


@pytest.mark.parametrize("bounds", SCALES, ids=str)
def test_scales_are_inverted_and_derived(bounds):
    values = np.array([0.1, 0.5, 0.9])
    assert bounded(to_scale(values, bounds), bounds) == pytest.approx(values)
    step = 1e-6
    change = (to_scale(values + step, bounds) - to_scale(values - step, bounds)) / (2 * step)
    assert slope(values, bounds) == pytest.approx(change)


def test_scales_of_many_figures_are_those_of_each():
    bounds = Bounds(0.0, np.array([1.0, np.inf]))
    assert to_scale([0.25, 2.0], bounds) == pytest.approx([math.log(1 / 3), math.log(2)])


def test_degrees_of_freedom_of_a_sum_are_satterthwaites():
    got = added([Spread(np.array(1.0), np.array(11.0)), Spread(np.array(2.0), np.array(4.0))])
    assert got.variance == 3 and got.freedom == pytest.approx(9 / (1 / 11 + 4 / 4))
    nothing = added([Spread(np.array(0.0), np.array(11.0))])
    assert nothing.variance == 0 and nothing.freedom == 11


def test_a_figure_at_its_bound_has_an_interval_within_the_bounds():
    low, high = ends(np.array([0.0, 1.0]), Spread(np.zeros(2), np.array([4.0, 4.0])), RATE)
    assert low.tolist() == high.tolist() == [0, 1]
