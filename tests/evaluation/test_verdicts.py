"""Verdicts on drift whose true size is known."""

import numpy as np
import pytest

from acusim.intervals import Spread
from acusim.sample_id import SampleId
from evaluation.analysis import Drifts
from evaluation.drift import KEYPOINTS
from evaluation.pairs import Pair
from evaluation.verdicts import ALL, chance_above_zero, holm, verdicts


def _drifts(
    random: np.random.Generator, sigma: float, shift: float = 0.0, persons: int = 12, views: int = 10
) -> Drifts:
    """Keypoints of a detector whose noise differs by person."""
    out = Drifts()
    for person in range(persons):
        own = sigma * np.exp(random.normal(0, 0.2))
        for _ in range(views):
            sample = SampleId.parse(f"F_P{chr(97 + person)}_N_HA_O_0001")
            out.pairs.append(Pair(sample, "train", "a.png", "a.png", "", None, None, None, None, "female", False))
            out.shift_px.append(random.normal(0, own, (len(KEYPOINTS), 2)) + (shift, 0))
            out.discards.append(None)
            out.mm_per_px.append(0.54)
    return out


def _beyond(drifts: Drifts, null: dict[str, Drifts]) -> list[str]:
    return [row.keypoint for row in verdicts(drifts, null) if "beyond" in row.text]


def test_an_engine_that_moves_nothing_is_hardly_ever_beyond():
    found = []
    for seed in range(20):
        random = np.random.default_rng(seed)
        null = {"noise": _drifts(random, 1.0), "light": _drifts(random, 1.0)}
        found.append(len(_beyond(_drifts(random, 1.0), null)))
    assert sum(count > 1 for count in found) <= 1 and sum(found) <= 4


def test_a_shift_of_a_pixel_and_a_half_is_beyond_at_every_keypoint():
    random = np.random.default_rng(0)
    rows = verdicts(_drifts(random, 1.0, shift=1.5), {"noise": _drifts(random, 1.0)})
    assert [row.keypoint for row in rows if "beyond" in row.text] == [*KEYPOINTS, ALL]
    for row in rows:
        dx, dy = row.mean_px
        assert dx.low < 1.5 < dx.high and dy.low < 0 < dy.high and dx.value == pytest.approx(1.5, abs=0.3)
        assert row.edit == row.edit_p95 == "noise"


def test_the_noisiest_edit_is_chosen_for_each_quantile():
    random = np.random.default_rng(1)
    steady, rare = _drifts(random, 1.5), _drifts(random, 0.5)
    for row in range(0, len(rare.shift_px), 8):
        rare.shift_px[row] = rare.shift_px[row] + 20
    rows = verdicts(_drifts(random, 1.0), {"steady": steady, "rare": rare})
    assert {(row.edit, row.edit_p95) for row in rows} == {("steady", "rare")}


def test_too_few_faces_give_no_verdict():
    random = np.random.default_rng(2)
    small = _drifts(random, 1.0, persons=3, views=4)
    rows = verdicts(_drifts(random, 1.0), {"noise": small})
    assert {row.text for row in rows} == {"undecided: too few to tell: 12 faces in the null, 60 are needed (--null)"}
    assert (
        "4 faces in trusted views" in verdicts(_drifts(random, 1.0, persons=1, views=4), {"a": steady(random)})[0].text
    )
    assert "the null is missing" in verdicts(_drifts(random, 1.0), {})[0].text


def steady(random: np.random.Generator) -> Drifts:
    """A null that is large enough."""
    return _drifts(random, 1.0)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005], 0.05) == 0.01  # 0.005 <= 0.0125, 0.01 <= 0.0167, 0.03 > 0.025
    assert holm([0.02, 0.9], 0.05) == 0.02 and holm([0.03, 0.9], 0.05) < 0 and holm([], 0.05) < 0
    spread = Spread(np.array(4.0), np.array(10.0))
    assert chance_above_zero(2 * 2.228, spread) == pytest.approx(0.025, abs=1e-4), "the t table at 10 degrees"
    assert chance_above_zero(-1, spread) > 0.5 and chance_above_zero(1, Spread(np.array(np.nan), np.array(1.0))) == 1
