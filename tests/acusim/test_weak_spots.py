"""The table of weak spots: a round trip, expected errors worked out by hand, and refusals."""

from pathlib import Path

import pytest

from acusim.errors import ConfigError
from acusim.sample_id import SampleId
from acusim.weak_spots import WeakSpot, WeakSpots, values_of, view_of


def _spot(effect: float) -> WeakSpot:
    return WeakSpot(pictures=4, persons=2, mean_mm=3.0, effect_mm=effect)


TABLE = WeakSpots(
    *(2.0, 40, 8, "run", 'new of "data"'),
    {
        "view": {"+90° 30°": _spot(1.0), "0° 0°": _spot(-0.5)},
        "gender": {"F": _spot(0.5), "M": _spot(-0.5)},
        "light": {"ab" * 32: WeakSpot(pictures=1, persons=1, mean_mm=9.0, effect_mm=-8.0, name="a \x7f street.jpg")},
    },
)


def test_a_written_table_is_read_as_it_was(tmp_path: Path):
    path = tmp_path / "weak.toml"
    path.write_text(TABLE.to_toml(), encoding="utf-8")
    assert WeakSpots.read(path) == TABLE


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"view": "+90° 30°", "gender": "F"}, 1.75),  # (2 + 1 + 0.5) / 2
        ({"view": "0° 0°", "gender": "M"}, 0.5),
        ({"view": "+60° 0°", "gender": "M", "hair": "HZ"}, 0.75),  # the view and the hair were not measured
        ({"light": "ab" * 32}, 0.1),  # the floor, not a negative error
        ({}, 1.0),
    ],
)
def test_the_weight_is_the_expected_error_over_the_mean(values: dict[str, str], expected: float):
    assert TABLE.weight(values) == expected


@pytest.mark.parametrize(
    ("frame", "view"),
    [(1, "0° 0°"), (2, "0° 0°"), (3, "+30° 0°"), (19, "-180° 0°"), (36, "0° 0°"), (46, "+90° 30°"), (144, "0° -30°")],
)
def test_views_are_sectors_of_thirty_degrees_of_a_ring(frame: int, view: str):
    assert view_of(frame) == view


def test_values_of_a_sample():
    values = values_of(SampleId.parse("F_Ann_N_HB_O_0010"), bald=True)
    assert values == {"view": "+90° 0°", "gender": "F", "bald": "yes", "hair": "HB"}


HEAD = 'format = 1\nmodel = "m"\ndata = "d"\npictures = 4\npersons = 2\nmean_mm = 2.0\n'
SPOT = "pictures = 4\npersons = 2\nmean_mm = 3.0\neffect_mm = 0.5\n"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("steps = 20\n", "training evaluate RUN --weak FILE"),
        (HEAD.replace("format = 1", "format = 2"), "format = 2"),
        (HEAD.replace("mean_mm = 2.0", "mean_mm = 0"), "mean_mm = 0"),
        (HEAD.replace("mean_mm = 2.0", "mean_mm = nan"), "mean_mm = nan"),
        (HEAD.replace("persons = 2", "persons = true"), "persons = True"),
        (f"{HEAD}[views.a]\n{SPOT}", "'views'"),
        (f"{HEAD}view = 3\n", "view = 3"),
        (f"{HEAD}[gender]\nF = 3\n", "gender.'F' = 3"),
        (f"{HEAD}[gender.F]\n{SPOT}".replace("effect_mm = 0.5", "effect_mm = inf"), "gender.'F': effect_mm = inf"),
        (f"{HEAD}[gender.F]\n{SPOT}extra = 1\n", "gender.'F': 'extra'"),
        (f"{HEAD}[gender.F]\npictures = 4\n", "gender.'F': persons is missing"),
    ],
)
def test_what_is_no_such_table_is_refused_by_name(text: str, named: str, tmp_path: Path):
    path = tmp_path / "weak.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        WeakSpots.read(path)
    assert named in str(error.value) and "weak.toml" in str(error.value)
