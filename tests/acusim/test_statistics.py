"""Known answers of figures and their intervals."""

import math

import numpy as np
import pytest

from acusim.intervals import RATE, t_quantile
from acusim.statistics import (
    cluster_sums,
    difference_of_quantiles,
    difference_of_sums,
    figures_of_sums,
    quantiles_by_groups,
    summarise,
)


def test_a_constant_has_no_interval():
    got = summarise([2.5] * 12, [f"p{k % 3}" for k in range(12)])
    for figure in (got.mean, got.median, got.p95):
        assert (figure.value, figure.low, figure.high) == (2.5, 2.5, 2.5)
    assert got.max.value == 2.5 and math.isnan(got.max.low)  # nothing bounds the maximum of others
    assert (got.count, got.groups) == (12, 3)


def test_figures_are_those_of_numpy():
    values = np.random.default_rng(1).gamma(2, 2, 201)
    got = summarise(values, ["one"] * 100 + ["two"] * 101)
    assert got.mean.value == pytest.approx(values.mean())
    assert got.median.value == pytest.approx(np.median(values))
    assert got.p95.value == pytest.approx(np.percentile(values, 95))
    assert got.max.value == values.max()


def test_intervals_are_over_persons_and_a_single_one_gives_none():
    random = np.random.default_rng(2)
    offsets = np.repeat(random.normal(0, 3, 8), 50)
    values = 10 + offsets + random.normal(0, 0.1, 400)
    persons = summarise(values, [f"p{k // 50}" for k in range(400)])
    pictures = summarise(values, [f"p{k}" for k in range(400)])
    assert persons.mean.high - persons.mean.low > 4 * (pictures.mean.high - pictures.mean.low)
    single = summarise(values, ["same"] * 400)
    assert single.mean.value == pytest.approx(persons.mean.value) and single.groups == 1
    assert np.isnan([single.mean.low, single.mean.high, single.median.low, single.p95.high]).all()


def test_interval_of_a_mean_is_students():
    values = np.array([-2.0, -1.0, 0.5, 1.5, 2.0, 4.0])
    got = summarise(values, list("abcdef"))
    half = t_quantile(5) * values.std(ddof=1) / math.sqrt(6)
    assert got.mean.low == pytest.approx(values.mean() - half) and got.mean.high == pytest.approx(values.mean() + half)


def test_interval_of_a_median_is_that_of_its_rank():
    # Each person's share of values below the median is that of all: the median of other persons is the same.
    values = np.arange(40.0)
    assert summarise(values, [str(k % 2) for k in range(40)]).median.low == pytest.approx(19.5)
    # Of 401 persons with values 0..400 the share below the median is 1/2 with a standard error of 1/40.
    single = summarise(np.arange(401.0), [str(k) for k in range(401)]).median
    half = 400 / (1 + math.exp(-t_quantile(400) * 0.5 / math.sqrt(401) / 0.25)) - 200
    assert single.low == pytest.approx(200 - half, abs=0.5) and single.high == pytest.approx(200 + half, abs=0.5)


def test_nothing_gives_nothing_and_nan_are_left_out():
    empty = summarise([], [])
    assert empty.count == 0 and math.isnan(empty.median.value) and empty.as_json()["median"]["value"] is None
    assert summarise([1.0, np.nan, 3.0], ["a", "b", "c"]).mean.value == 2


def test_the_order_of_values_does_not_matter():
    values, names = np.arange(30.0) ** 2, [str(k % 5) for k in range(30)]
    assert summarise(values, names) == summarise(values[::-1], names[::-1])


def test_difference_of_quantiles():
    names = [str(k % 6) for k in range(120)]
    values = np.random.default_rng(4).normal(0, 1, 120)
    same = difference_of_quantiles(values, names, values, names)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    apart = difference_of_quantiles(values + 1, names, values, names, 0.95)
    assert apart.value == pytest.approx(1) and apart.low == pytest.approx(1)
    assert math.isnan(difference_of_quantiles([], [], values, names).value)
    others = difference_of_quantiles(values + 1, names, values, [f"other {name}" for name in names])
    assert others.low < 1 < others.high
    assert difference_of_quantiles([3.0] * 4, ["a"] * 4, [1.0] * 4, ["a"] * 4).low == 2


def test_lengths_must_agree():
    with pytest.raises(ValueError, match=r"\(2,\).*\(1,\)"):
        summarise([1, 2], ["a"])


def _ratio(sums: np.ndarray) -> np.ndarray:
    return sums[..., 0] / sums[..., 1]


def test_sums_of_clusters_are_in_ascending_order_of_their_names():
    got = cluster_sums([[1, 10], [2, 20], [4, 40]], ["b", "a", "b"])
    assert got.tolist() == [[2, 20], [5, 50]]
    with pytest.raises(ValueError, match=r"\(2,\).*\(1,\)"):
        cluster_sums([1, 2], ["a"])


def test_a_ratio_of_sums_is_not_the_mean_of_ratios():
    got = figures_of_sums([[1, 1], [0, 3]], _ratio, RATE)
    assert got.value == 0.25  # the mean of the ratios is 0.5
    assert got.low == pytest.approx(0, abs=1e-12) and got.high == pytest.approx(1)  # of two persons one knows nothing


def test_alike_persons_give_an_interval_without_width():
    for part in (0, 3, 4):  # a rate of 0, and one of 1, too
        got = figures_of_sums([[part, 4]] * 7, _ratio, RATE)[()]
        assert (got.value, got.low, got.high) == (part / 4,) * 3


def test_interval_of_a_ratio_with_equal_denominators_is_students():
    parts = np.array([12.0, 15.0, 9.0, 14.0, 11.0, 17.0, 8.0])
    got = figures_of_sums(np.stack([parts, np.full(7, 40.0)], 1), _ratio)
    half = t_quantile(6) * (parts / 40).std(ddof=1) / math.sqrt(7)
    assert (float(got.low), float(got.high)) == pytest.approx((parts.mean() / 40 - half, parts.mean() / 40 + half))


def test_interval_of_a_rate_stays_within_its_bounds_and_is_skewed():
    got = figures_of_sums([[40, 40], [40, 40], [39, 40], [40, 40], [36, 40]], _ratio, RATE)[()]
    assert 0 < got.low < got.value - 0.02 and got.value < got.high < 1
    assert got.value - got.low > got.high - got.value
    only_one = figures_of_sums([[0, 40]] * 5 + [[4, 40]], _ratio, RATE)[()]  # no rate without that one
    assert 0 < only_one.low < only_one.value < only_one.high < 1


def test_interval_of_a_rate_of_many_persons_is_that_of_theory():
    hits = (np.random.default_rng(5).random(500) < 0.3).astype(float)
    got = figures_of_sums(np.stack([hits, np.ones(500)], 1), _ratio, RATE)
    p = hits.mean()
    assert got.value == pytest.approx(p)
    assert (got.high - got.low) / 2 == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 500), rel=0.02)


def test_many_figures_at_once_are_those_of_each_alone():
    sums = np.random.default_rng(6).integers(1, 9, (12, 3, 2)).astype(float)
    together = figures_of_sums(sums, _ratio)
    for k in range(3):
        assert together[k] == figures_of_sums(sums[:, k], _ratio)[()]


def test_where_fewer_than_two_persons_speak_there_is_no_interval():
    # The first figure knows one person only, the second none, the third misses one of three.
    sums = np.array([[[1, 2], [0, 0], [1, 2]], [[0, 0], [0, 0], [2, 2]], [[0, 0], [0, 0], [0, 0]]], float)
    got = figures_of_sums(sums, _ratio)
    assert got.value[0] == 0.5 and math.isnan(got.low[0]) and math.isnan(got.high[0])
    assert math.isnan(got.value[1])
    half = t_quantile(1) * math.sqrt(0.5 * 2 * 0.25**2)  # without either 0.5 and 1
    assert (got.value[2], got.low[2], got.high[2]) == pytest.approx((0.75, 0.75 - half, 0.75 + half))
    assert math.isnan(figures_of_sums([[1, 2]], _ratio).low)


def test_a_paired_difference_cancels_what_is_particular_to_persons():
    persons = np.random.default_rng(7).integers(200, 800, 40).astype(float)
    first, second = (np.stack([persons + shift, np.full(40, 1000.0)], 1) for shift in (10, 0))
    got = difference_of_sums(first, second, _ratio)[()]
    assert got.value == pytest.approx(0.01) and got.low == pytest.approx(0.01) and got.high == pytest.approx(0.01)
    alone = figures_of_sums(first, _ratio)
    assert alone.high - alone.low > 0.05
    with pytest.raises(ValueError, match="same persons"):
        difference_of_sums(first, second[:3], _ratio)


def test_a_paired_difference_of_tables_has_their_shape():
    first, second = (np.random.default_rng(seed).integers(1, 9, (5, 4, 3, 2)).astype(float) for seed in (8, 9))
    got = difference_of_sums(first, second, _ratio)
    assert got.value == pytest.approx(_ratio(first.sum(0)) - _ratio(second.sum(0)))


def test_quantiles_of_groups_are_those_of_summarise():
    random = np.random.default_rng(10)
    values, groups = random.gamma(2, 2, 3000), random.integers(0, 25, 3000)
    values[5] = np.nan
    median, p95 = quantiles_by_groups(values, groups, (0.5, 0.95))
    whole = summarise(values, groups)
    assert (median, p95) == (whole.median, whole.p95)
    assert median.value == np.nanmedian(values) and p95.value == np.nanquantile(values, 0.95)
    assert all(math.isnan(figure.value) for figure in quantiles_by_groups([np.nan], ["a"], (0.5,)))
    (alone,) = quantiles_by_groups([1.0, 2.0], ["a", "a"], (0.5,))
    assert alone.value == 1.5 and math.isnan(alone.low)


def test_quantiles_of_alike_groups_have_no_width():
    values = np.tile(np.random.default_rng(11).random(2500), 4)
    (median,) = quantiles_by_groups(values, np.repeat(range(4), 2500), (0.5,))
    assert median.low == pytest.approx(median.value, abs=1e-3) and median.high == pytest.approx(median.value, abs=1e-3)
