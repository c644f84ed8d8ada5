"""Known answers of the bootstrap."""

import math

import numpy as np
import pytest

from acusim.statistics import (
    bootstrap_of_sums,
    cluster_sums,
    difference_of_quantiles,
    difference_of_sums,
    quantiles_by_groups,
    summarise,
)


def test_a_constant_has_no_interval():
    got = summarise([2.5] * 12, [f"p{k % 3}" for k in range(12)])
    for figure in (got.mean, got.median, got.p95, got.max):
        assert (figure.value, figure.low, figure.high) == (2.5, 2.5, 2.5)
    assert (got.count, got.groups) == (12, 3)


def test_figures_are_those_of_numpy():
    values = np.random.default_rng(1).gamma(2, 2, 201)
    got = summarise(values, ["one"] * 100 + ["two"] * 101)
    assert got.mean.value == pytest.approx(values.mean())
    assert got.median.value == pytest.approx(np.median(values))
    assert got.p95.value == pytest.approx(np.percentile(values, 95))
    assert got.max.value == values.max()


def test_one_persons_pictures_are_drawn_one_by_one_several_persons_as_wholes():
    random = np.random.default_rng(2)
    offsets = np.repeat(random.normal(0, 3, 8), 50)
    values = 10 + offsets + random.normal(0, 0.1, 400)
    persons = summarise(values, [f"p{k // 50}" for k in range(400)])
    pictures = summarise(values, ["same"] * 400)
    assert persons.mean.high - persons.mean.low > 4 * (pictures.mean.high - pictures.mean.low)


def test_interval_of_the_mean_is_that_of_theory():
    values = np.random.default_rng(3).normal(5, 2, 400)
    got = summarise(values, [str(k) for k in range(400)])
    assert (got.mean.high - got.mean.low) / 2 == pytest.approx(1.96 * values.std() / 20, rel=0.15)


def test_nothing_gives_nothing_and_nan_are_left_out():
    empty = summarise([], [])
    assert empty.count == 0 and math.isnan(empty.median.value) and empty.as_json()["median"]["value"] is None
    assert summarise([1.0, np.nan, 3.0], ["a", "b", "c"]).mean.value == 2


def test_the_same_values_give_the_same_intervals():
    values, names = np.arange(30.0), [str(k % 5) for k in range(30)]
    assert summarise(values, names) == summarise(values, names)


def test_difference_of_quantiles():
    names = [str(k % 6) for k in range(120)]
    values = np.random.default_rng(4).normal(0, 1, 120)
    same = difference_of_quantiles(values, names, values, names)
    assert (same.value, same.low, same.high) == (0, 0, 0)
    apart = difference_of_quantiles(values + 1, names, values, names, 0.95)
    assert apart.value == pytest.approx(1) and apart.low == pytest.approx(1)
    assert math.isnan(difference_of_quantiles([], [], values, names).value)
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
    got = bootstrap_of_sums([[1, 1], [0, 3]], _ratio)
    assert got.value == 0.25  # the mean of the ratios is 0.5
    assert (got.low, got.high) == (0, 1)  # of four resamples one has the first person only, one the second


def test_alike_persons_give_an_interval_without_width():
    got = bootstrap_of_sums([[3, 4]] * 7, _ratio)[()]
    assert (got.value, got.low, got.high) == (0.75, 0.75, 0.75)


def test_interval_of_a_rate_is_that_of_theory():
    hits = (np.random.default_rng(5).random(500) < 0.3).astype(float)
    got = bootstrap_of_sums(np.stack([hits, np.ones(500)], 1), _ratio)
    p = hits.mean()
    assert got.value == pytest.approx(p)
    assert (got.high - got.low) / 2 == pytest.approx(1.96 * math.sqrt(p * (1 - p) / 500), rel=0.1)


def test_many_figures_at_once_are_those_of_each_alone():
    sums = np.random.default_rng(6).integers(1, 9, (12, 3, 2)).astype(float)
    together = bootstrap_of_sums(sums, _ratio)
    for k in range(3):
        assert together[k] == bootstrap_of_sums(sums[:, k], _ratio)[()]


def test_where_fewer_than_two_persons_speak_there_is_no_interval():
    # The first figure knows one person only, the second none, the third misses one of three.
    sums = np.array([[[1, 2], [0, 0], [1, 2]], [[0, 0], [0, 0], [2, 2]], [[0, 0], [0, 0], [0, 0]]], float)
    got = bootstrap_of_sums(sums, _ratio)
    assert got.value[0] == 0.5 and math.isnan(got.low[0]) and math.isnan(got.high[0])
    assert math.isnan(got.value[1])
    assert (got.value[2], got.low[2], got.high[2]) == (0.75, 0.5, 1)
    assert math.isnan(bootstrap_of_sums([[1, 2]], _ratio).low)


def test_a_paired_difference_cancels_what_is_particular_to_persons():
    persons = np.random.default_rng(7).integers(200, 800, 40).astype(float)
    first, second = (np.stack([persons + shift, np.full(40, 1000.0)], 1) for shift in (10, 0))
    got = difference_of_sums(first, second, _ratio)[()]
    assert got.value == pytest.approx(0.01) and got.low == pytest.approx(0.01) and got.high == pytest.approx(0.01)
    alone = bootstrap_of_sums(first, _ratio)
    assert alone.high - alone.low > 0.05
    with pytest.raises(ValueError, match="same persons"):
        difference_of_sums(first, second[:3], _ratio)


def test_a_paired_difference_of_tables_has_their_shape():
    first, second = (np.random.default_rng(seed).integers(1, 9, (5, 4, 3, 2)).astype(float) for seed in (8, 9))
    got = difference_of_sums(first, second, _ratio)
    assert got.value == pytest.approx(_ratio(first.sum(0)) - _ratio(second.sum(0)))


def test_quantiles_of_many_values():
    random = np.random.default_rng(10)
    values, groups = random.gamma(2, 2, 30_000), random.integers(0, 25, 30_000)
    values[5] = np.nan
    median, p95 = quantiles_by_groups(values, groups, (0.5, 0.95))
    exact = summarise(values[:8000], groups[:8000])
    assert median.value == np.nanmedian(values) and p95.value == np.nanquantile(values, 0.95)
    few = quantiles_by_groups(values[:8000], groups[:8000], (0.5, 0.95))
    for got, wanted in zip(few, (exact.median, exact.p95), strict=True):
        assert got.low == pytest.approx(wanted.low, rel=0.01) and got.high == pytest.approx(wanted.high, rel=0.01)
    assert all(math.isnan(figure.value) for figure in quantiles_by_groups([np.nan], ["a"], (0.5,)))


def test_quantiles_of_alike_groups_have_no_width():
    values = np.tile(np.random.default_rng(11).random(2500), 4)
    (median,) = quantiles_by_groups(values, np.repeat(range(4), 2500), (0.5,))
    assert median.low == pytest.approx(median.value, abs=1e-12) and median.high == pytest.approx(
        median.value, abs=1e-12
    )
