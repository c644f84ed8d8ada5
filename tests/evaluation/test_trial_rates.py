"""What thresholds make of trials whose figures are known."""

import numpy as np
import pytest

from evaluation.copies import FAR
from evaluation.deciding import median_contrast, share_moved
from evaluation.thresholds import Thresholds
from evaluation.trial_rates import beyond_bounds, falsely_trusted, rate, rejected, table, trusted
from tests.evaluation.conftest import make_trial

pytestmark = pytest.mark.numeric


def test_rates_of_the_table():
    limits = Thresholds(found=5, excluded=8)
    trials = [make_trial("warp", 9.0, s, b, person=p) for s, b, p in ((0, 8.0, "A"), (0, 12.0, "B"), (9, 8.0, "C"))]
    row = next(row for row in table(trials, limits) if row.view == "all")
    assert (row.images, row.rejected.value, row.rejected_certain.value) == pytest.approx((3, 1 / 3, 1 / 2))
    assert (row.caught.value, row.true.value, row.trusted.value) == pytest.approx((2 / 3, 2 / 3, 5 / 6))
    assert (row.bound_px.value, row.bound_mm.value) == pytest.approx((8, 4))
    assert np.isnan(row.wrong.value), "none moved by more than 5 mm"
    assert 0 <= row.caught.low < 2 / 3 < row.caught.high <= 1, "three persons"
    assert falsely_trusted(trials, limits, 4.0).sum(0).tolist() == [1, 3], "one moved by 4.5 mm is trusted"
    assert beyond_bounds(trials, limits).sum(0).tolist() == [1, 1]
    assert np.isnan(table([make_trial()], limits)[0].caught.value)


def test_what_is_gone_or_unknown():
    limits = Thresholds()
    gone, unknown = (make_trial("attack", moved) for moved in (np.inf, np.nan))
    assert falsely_trusted([gone, unknown], limits, 5.0).tolist() == [[1, 1], [0, 0]]
    assert table([gone], limits)[0].caught.value == 0 and np.isnan(table([unknown], limits)[0].caught.value)


def test_nothing_found_is_no_certainty():
    few, many = ([make_trial(person=f"P{n}") for n in range(count)] for count in (3, 12))
    ends = [rate(np.tile([0.0, 100.0], (len(trials), 1)), trials).high for trials in (few, many)]
    # One in N, its odds times exp(t): t is 4.303 for 2 degrees of freedom and 2.201 for 11.
    assert ends == pytest.approx([np.exp(4.303) / 299, np.exp(2.201) / 1199], rel=0.25)
    everything = rate(np.tile([100.0, 100.0], (3, 1)), few)
    assert everything.value == everything.high == 1 and everything.low == pytest.approx(1 - ends[0])
    assert np.isnan(rate(np.array([[0.0, 100.0]]), few[:1]).high)


def test_one_witness_alone_is_not_enough():
    limits = Thresholds()
    assert trusted(make_trial(), limits)[0].tolist() == [True, True]
    assert not trusted(make_trial(band=limits.rests_band - 0.01), limits)[0].any(), "fine texture alone"
    assert not trusted(make_trial(kept=limits.least_kept - 0.01), limits)[0].any(), "little of it is left"
    assert not trusted(make_trial(alike=limits.least_alike - 0.01), limits)[0].any(), "beside much else"
    assert not trusted(make_trial(contrast=limits.least_contrast - 0.01), limits)[0].any(), "faded"
    for contrast, expected in (([1, 0.85], [True, False]), ([0.85, 1], [False, True]), ([1, 0.7], [False, False])):
        one = make_trial(contrast=np.array(contrast, np.float32))
        assert trusted(one, limits.changed(least_contrast=0.9))[0].tolist() == expected, "or the median is 0.85"
    faded = make_trial(contrast=np.array([1, 0.5], np.float32), visible=1).figures
    assert median_contrast(faded) == 1, "of the visible acupoints"
    assert trusted(make_trial(bound=20.0), limits)[0].tolist() == [True, False]
    firm = make_trial(bound=20.0, band=limits.firm_band)
    assert trusted(firm, limits)[0].all() and limits.tolerance_mm >= FAR * 0.5, "without texture"
    shown = make_trial(bound=20.0, band=limits.firm_band, strength=2 * limits.firm_strength * limits.found)
    assert trusted(shown, limits)[0].tolist() == [True, False] and not rejected(shown, limits), "texture says it moved"
    assert not rejected(make_trial(copy=limits.most_copy), limits) and rejected(make_trial(copy=1.0), limits)
    assert not rejected(make_trial(copy=1.0, visible=19), limits), "hair seen from behind resembles itself"


def test_beside_a_silhouette_that_moved_nothing_is_known():
    limits = Thresholds()
    bled = make_trial(strength=50.0, outline_px=limits.most_outline_px + 1, band=-2.0)
    assert not rejected(bled, limits) and not trusted(bled, limits)[0].any() and share_moved(limits, bled.figures) == 0
    assert rejected(make_trial(strength=50.0), limits) and not rejected(make_trial(band=-2.0), limits), "two are few"
