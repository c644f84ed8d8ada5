"""Effects on the error: planted ones are found, what no evidence supports is not."""

import numpy as np
import pytest

from acusim.errors import ConfigError
from acusim.weak_spots import ATTRIBUTES
from tests.training.eval.scoring import perfect, truth
from training.eval.predictions import Predictions
from training.eval.weak import fitted_effects, weak_spots

PERSONS, VIEWS = 40, 6
OWNER = np.repeat(np.arange(PERSONS), VIEWS)
VIEW = np.tile(np.arange(VIEWS), PERSONS)
GENDER = OWNER % 2
OF_VIEW = np.array([-1.0, -0.6, -0.2, 0.2, 0.6, 1.0])
EVEN = np.ones(len(OWNER))


def _noise(level: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, len(OWNER))


def test_planted_effects_are_found():
    error = 3 + OF_VIEW[VIEW] + np.array([-0.4, 0.4])[GENDER] + _noise(0.3)
    found = fitted_effects(error, EVEN, OWNER, {"view": VIEW, "gender": GENDER})
    # A mean of 40 persons of spread 0.3 is 0.05 off, one of 20 persons with 6 views each less.
    assert np.abs(found["view"] - OF_VIEW).max() < 0.15
    assert np.abs(found["gender"] - [-0.4, 0.4]).max() < 0.1


def test_chance_is_no_effect():
    """Persons differ by 1 mm; what a view or a gender seems to add is much less than that."""
    error = 3 + np.random.default_rng(5).normal(0, 1, PERSONS)[OWNER] + _noise(0.1)
    raw = [abs(error[view == VIEW].mean() - error.mean()) for view in range(VIEWS)]
    found = fitted_effects(error, EVEN, OWNER, {"view": VIEW, "hair": OWNER % 5})
    by_hair = [abs(error[hair == OWNER % 5].mean() - error.mean()) for hair in range(5)]
    assert np.abs(found["view"]).max() <= max(raw) and np.abs(found["view"]).max() < 0.02
    assert np.abs(found["hair"]).max() < 0.7 * max(by_hair)


def test_attributes_that_are_one_share_one_effect():
    """A hair code that is bald, and bald: the sum is the effect, not twice as much."""
    error = 3 + np.array([-0.5, 0.5])[GENDER] + _noise(0.1)
    found = fitted_effects(error, EVEN, OWNER, {"bald": GENDER, "hair": GENDER})
    assert np.abs(found["bald"] + found["hair"] - [-0.5, 0.5]).max() < 0.05


def test_fewer_persons_are_believed_less():
    few = np.isin(OWNER, [0, 2, 4])  # three persons, and all others
    error = 3 + 0.8 * few + np.random.default_rng(1).normal(0, 0.6, PERSONS)[OWNER]
    found = fitted_effects(error, EVEN, OWNER, {"hair": few.astype(int)})["hair"]
    raw = error[few].mean() - error.mean()
    assert 0 < found[1] < 0.95 * raw


@pytest.mark.parametrize("member", [np.zeros(len(OWNER), int), OWNER])
def test_nothing_to_compare_with_is_no_effect(member: np.ndarray):
    """One value alone; or one person for each value, where nothing says how far persons of one value differ."""
    found = fitted_effects(3 + _noise(1.0), EVEN, OWNER, {"hair": member})["hair"]
    assert not found.any()


def _shifted(millimetres: np.ndarray) -> tuple:
    """Targets at one depth, and predictions that are off by so many mm in each picture."""
    visible = np.zeros((len(millimetres), 174), bool)
    visible[:, :5] = True
    targets = truth(visible)
    found = perfect(targets)
    shift = millimetres / 870 * targets.focal  # of the picture's width
    return targets, Predictions(found.probability, found.xy + np.stack([shift, 0 * shift], -1)[:, None].astype("f4"))


def test_the_table_holds_counts_means_and_effects():
    targets, predictions = _shifted(np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0]))
    persons = ["a", "a", "b", "b", "c", "c"]
    common = dict.fromkeys(ATTRIBUTES, "x")
    values = [common | {"light": light} for light in ["dark", "lit"] * 3]
    spots = weak_spots(
        *(predictions, targets, persons, values), size=64, model="m", data="d", light_names={"lit": "Lamp"}
    )
    assert (spots.pictures, spots.persons) == (6, 3) and spots.mean_mm == pytest.approx(1.5, abs=1e-3)
    dark, lit = spots.spots["light"]["dark"], spots.spots["light"]["lit"]
    assert (lit.pictures, lit.persons, lit.name) == (3, 3, "Lamp") and dark.name is None
    assert lit.mean_mm == pytest.approx(2, abs=1e-3)
    assert (dark.effect_mm, lit.effect_mm) == pytest.approx((-0.5, 0.5), abs=1e-3)
    assert spots.spots["gender"]["x"].effect_mm == 0
    assert spots.weight({"light": "lit"}) == pytest.approx(4 / 3, abs=1e-3)


def test_pictures_without_a_visible_point_do_not_count():
    targets, predictions = _shifted(np.array([1.0, 3.0]))
    targets.visible[0] = False
    values = [dict.fromkeys(ATTRIBUTES, "x")] * 2
    spots = weak_spots(predictions, targets, ["a", "b"], values, size=64, model="m", data="d")
    assert spots.pictures == 1 and spots.mean_mm == pytest.approx(3, abs=1e-3)
    targets.visible[:] = False
    with pytest.raises(ConfigError, match="no picture has a visible point"):
        weak_spots(predictions, targets, ["a", "b"], values, size=64, model="m", data="d")
