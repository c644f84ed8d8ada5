"""Rates and durations in words; the time left from parts of items."""

import pytest

from acusim.pace import Pace, duration_text, rate_text


@pytest.mark.parametrize(
    ("rate", "text"),
    [
        (12.34, "12.3/s"),
        (1.0, "1.0/s"),
        (0.5, "0.50/s"),
        (0.1, "0.10/s"),
        (0.0999, "6.0/min"),
        (0.05, "3.0/min"),
        (0.1 / 60, "0.1/min"),
        (0.001, "3.6/h"),
        (0.0, "0.0/h"),
    ],
)
def test_rates(rate: float, text: str):
    assert rate_text(rate) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (95.4, "95 s"), (120, "2 min"), (7199, "2 h 00 min"), (7500, "2 h 05 min"), (190_800, "2 d 5 h")],
)
def test_durations(seconds: float, text: str):
    assert duration_text(seconds) == text


def test_the_time_left_comes_from_steps_before_the_first_picture():
    pace = Pace(total=4)
    pace.update(40.0, 0)
    assert (pace.rate, pace.left) == (None, None), "nothing was seen yet"
    pace.update(60.0, 0, work_in_progress=4 * 1 / 12)
    assert pace.left is None, "one step has no duration"
    pace.update(90.0, 0, work_in_progress=4 * 4 / 12)
    # Three steps of four pictures in 30 s: one picture in 30 s; 4 - 4/3 are left.
    assert pace.rate == pytest.approx(1 / 30) and pace.left == pytest.approx(80)
    assert pace.completed == pytest.approx(4 / 3)


def test_a_batch_that_becomes_pictures_makes_no_jump():
    pace = Pace(total=8)
    for now, done, work_in_progress in ((0.0, 0, 1.0), (10.0, 0, 2.0), (20.0, 0, 3.0), (30.0, 0, 4.0)):
        pace.update(now, done, 0, work_in_progress)
    rate = pace.rate
    pace.update(30.0, 0, 0, 0.0)  # the prompt has ended, its pictures are not read yet
    assert pace.rate == rate and pace.completed == 4
    pace.update(30.0, 4)
    assert pace.rate == rate and pace.left == pytest.approx(40)


def test_what_failed_is_over_but_makes_nothing_faster():
    pace = Pace(total=10)
    pace.update(0.0, 1)
    pace.update(10.0, 2, failed=4)
    assert pace.rate == pytest.approx(0.1) and pace.left == pytest.approx(40)
    pace.update(50.0, 6, failed=4)
    assert pace.left == 0
