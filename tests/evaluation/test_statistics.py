"""Known answers of the bootstrap."""

import math

import numpy as np
import pytest

from evaluation.statistics import difference_of_quantiles, summarise


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
