"""The tolerance of recorded float32 numbers: wide enough for any order of adding, and for little else."""

import numpy as np
import pytest

from tests.support import UNIT, rounding

pytestmark = pytest.mark.numeric


@pytest.mark.parametrize("terms", [16, 256, 4096])
def test_sums_in_two_orders_differ_by_less_than_the_tolerance_and_not_by_far_less(terms: int):
    draws = np.random.default_rng(0).normal(size=(2000, terms)).astype(np.float32)
    one_after_the_other = np.cumsum(draws, axis=1, dtype=np.float32)[:, -1]  # the worst order, the same everywhere
    backwards = np.cumsum(draws[:, ::-1], axis=1, dtype=np.float32)[:, -1]
    apart = np.abs(one_after_the_other.astype(float) - backwards).max() / one_after_the_other.std()
    assert rounding([terms]) / 4 < apart < rounding([terms])


def test_variances_add_and_a_gain_multiplies():
    assert rounding([3]) == pytest.approx(6 * UNIT)
    assert rounding([300, 400]) == pytest.approx(rounding([700])) and rounding([9], 2) == pytest.approx(
        2 * rounding([9])
    )
    assert rounding([]) == 0
