"""Thresholds from trials whose figures are known."""

import numpy as np
import pytest

from evaluation.threshold_fit import fit
from evaluation.thresholds import Thresholds
from evaluation.trial_rates import rejected
from evaluation.trials import LADDER, Trial
from tests.evaluation.conftest import make_trial

pytestmark = pytest.mark.numeric
PERSONS = [f"P{number}" for number in range(20)]
DEFAULT = Thresholds()


def _null(count: int = 2000, scale: float = 1.0, persons: list[str] = PERSONS, look: str = "relit") -> list[Trial]:
    """Nothing moved: the evidence that something did is exponential, so that its quantiles are known."""
    random = np.random.default_rng(0)
    return [
        make_trial(person=persons[index % len(persons)], strength=strength, look=look)
        for index, strength in enumerate(random.exponential(scale, count))
    ]


def test_alarms_that_are_too_frequent_become_rarer():
    null = _null(scale=2.0)  # found = 5.5 rejects exp(-5.5 / 2) = 6 %
    assert np.mean([rejected(trial, DEFAULT) for trial in null]) > 0.05
    limits = fit(null, DEFAULT)
    assert np.mean([rejected(trial, limits) for trial in null]) == pytest.approx(0.012, abs=0.006)
    assert limits.changed(found=DEFAULT.found, least_structure=DEFAULT.least_structure) == DEFAULT


def test_what_the_persons_do_not_contradict_stays():
    assert fit(_null(scale=DEFAULT.found / np.log(125)), DEFAULT).found == DEFAULT.found, "0.8 % is right as it is"
    few = fit(_null(scale=2.0, persons=["P"]), DEFAULT)
    assert few == DEFAULT.changed(excluded=few.excluded, rests_band=few.rests_band), "one person is not all"


def test_edits_that_redraw_the_head_loosen_no_alarm():
    redrawn = [*_null(look="cartoon", scale=9.0), *_null(look="another's light", scale=9.0)]
    assert fit([*_null(), *redrawn], DEFAULT).found == fit(_null(), DEFAULT).found


def test_copies_of_the_originals_leave_room_for_evidence():
    assert fit([make_trial(person=name) for name in PERSONS for _ in range(100)], DEFAULT).found == 0.5


def test_bounds_that_did_not_hold_become_wider_and_never_narrower():
    null = _null()
    kept, wider = (
        fit([*null, *(make_trial("warp", size, person=name) for name in PERSONS for _ in range(50))], DEFAULT)
        for size in (2.0, 4.0)
    )
    assert kept.excluded == DEFAULT.excluded == 8, "wide enough"
    assert 3 * wider.excluded / 8 >= 4 > 3 * LADDER[LADDER.index(wider.excluded) - 1] / 8


def _attacks(persons: list[str], band: float, look: str = "detail 1", count: int = 150) -> list[Trial]:
    return [make_trial("attack", 12.0, person=name, band=band, look=look) for name in persons for _ in range(count)]


def test_trust_that_attacks_deceive_is_tightened():
    believed = _attacks(PERSONS, DEFAULT.rests_band + 0.12)
    assert fit([*_null(), *believed], DEFAULT).rests_band == pytest.approx(DEFAULT.rests_band + 0.2)
    assert fit([*_null(), *_attacks(PERSONS, -1.0)], DEFAULT).rests_band == DEFAULT.rests_band, "none is trusted"
    faint = _attacks(PERSONS, DEFAULT.rests_band + 0.12, look="80 % original")
    assert fit([*_null(), *faint], DEFAULT).rests_band == DEFAULT.rests_band, "one sees what did not move"


@pytest.mark.parametrize(("persons", "tightened"), [(60, False), (3, True)])
def test_few_persons_tighten_the_trust(persons: int, tightened: bool):
    """Every third person has 3 of 200 points that are believed: 0.5 % of all, for three persons maybe more than 1."""
    names = [f"P{number}" for number in range(persons)]
    believed = [name for name in names[::3] for _ in range(3)]
    trials = [make_trial("attack", 12.0, person=name, band=DEFAULT.rests_band + 0.02) for name in believed]
    limits = fit([*_null(persons=names), *_attacks(names, -1.0, count=199), *trials], DEFAULT)
    assert limits.rests_band == pytest.approx(DEFAULT.rests_band + (0.05 if tightened else 0.0))


def test_few_trials_are_refused():
    with pytest.raises(ValueError, match="at least 100"):
        fit([make_trial()] * 99, DEFAULT)
