"""Thresholds from trials whose figures are known, and the rates they give."""

import math

import numpy as np
import pytest

from evaluation.copies import FAR, Second
from evaluation.deciding import Figures, share_moved
from evaluation.threshold_fit import count_falsely_trusted, coverage, fit, rejected, table, trusted
from evaluation.thresholds import Thresholds
from evaluation.trials import LADDER, Kind, Trial

pytestmark = pytest.mark.numeric


def _trial(
    kind: Kind = "nothing",
    size: float = 0.0,
    strength: float = 0.0,
    bound: float = 3.0,
    structure: float = 0.9,
    outline_px: float = 1.0,
    band: float = 0.2,
    copy: float = 0.0,
):
    """A trial with two acupoints, the second one moved by ``size``; its bound grows with the ladder."""
    bounds = np.outer(np.array(LADDER) / 8, [2.0, bound]).astype(np.float32)
    one, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
    return Trial(
        person="one",
        frame=1,
        look="relit",
        kind=kind,
        size_px=size,
        figures=Figures(
            structure=structure,
            texture=0.9,
            shift_px=(0.0, 0.0),
            shift_gain=0.0,
            strength=np.array([0, strength], np.float32),
            outline_moved_px=outline_px * one,
            second=Second(one, band * one, -band * one, zero, copy),
        ),
        moved_px=np.array([0, size], np.float32),
        bounds_px=bounds,
        still_px=bounds,
        mm_per_px=np.full(2, 0.5, np.float32),
    )


def test_one_in_a_hundred_of_what_did_not_move_is_rejected():
    random = np.random.default_rng(0)
    null = [_trial(strength=s) for s in random.exponential(1, 2000)]
    strangers = [_trial("stranger", structure=s) for s in random.uniform(0, 0.2, 100)]
    limits = fit([*null, *strangers], Thresholds())
    assert np.mean([rejected(trial, limits) for trial in null]) == pytest.approx(0.01, abs=0.002)
    assert np.mean([rejected(trial, limits) for trial in strangers]) == pytest.approx(0.95, abs=0.02)


def test_bounds_that_did_not_hold_become_wider_and_never_narrower():
    null = [_trial() for _ in range(100)]
    kept = fit([*null, *(_trial("warp", 2.0) for _ in range(50))], Thresholds())
    wider = fit([*null, *(_trial("warp", 4.0) for _ in range(50))], Thresholds())
    assert kept.excluded == Thresholds().excluded == 8, "few persons are no reason to loosen it"
    assert 3 * wider.excluded / 8 >= 4 > 3 * LADDER[LADDER.index(wider.excluded) - 1] / 8


def test_few_trials_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        fit([_trial()] * 99, Thresholds())


def test_rates_of_the_table():
    limits = Thresholds(found=5, excluded=8)
    believed, masked, found = (_trial("warp", 9.0, s, b) for s, b in ((0, 8.0), (0, 12.0), (9, 8.0)))
    row = next(row for row in table([believed, masked, found], limits) if row.view == "all")
    assert (row.pictures, row.rejected, row.rejected_certain) == (3, pytest.approx(1 / 3), pytest.approx(1 / 2))
    assert (row.caught, row.true, row.trusted) == (pytest.approx(2 / 3), pytest.approx(2 / 3), pytest.approx(5 / 6))
    assert (row.bound_px, row.bound_mm) == (pytest.approx(8), pytest.approx(4))
    assert count_falsely_trusted([believed, masked, found], limits, 4.0) == (3, 1), "one moved by 4.5 mm is trusted"
    assert coverage([believed, masked, found], limits) == (0.0, 1)
    assert math.isnan(table([_trial()], limits)[0].caught)


def test_one_witness_alone_is_not_enough():
    limits = Thresholds()
    assert trusted(_trial(), limits).tolist() == [True, True]
    assert trusted(_trial(band=limits.rests_band - 0.01), limits).tolist() == [False, False], "fine texture alone"
    assert trusted(_trial(bound=20.0), limits).tolist() == [True, False]
    firm = _trial(bound=20.0, band=limits.firm_band)
    assert trusted(firm, limits).all() and limits.tolerance_mm >= FAR * 0.5, "firm structure bounds it without texture"
    assert not rejected(_trial(copy=limits.most_copy), limits) and rejected(_trial(copy=1.0), limits)


def test_beside_a_silhouette_that_moved_nothing_is_known():
    limits = Thresholds()
    bled = _trial(strength=50.0, outline_px=limits.most_outline_px + 1, band=-2.0)
    assert not rejected(bled, limits) and not trusted(bled, limits).any() and share_moved(limits, bled.figures) == 0
    assert rejected(_trial(strength=50.0), limits) and not rejected(_trial(band=-2.0), limits), "two points are few"
