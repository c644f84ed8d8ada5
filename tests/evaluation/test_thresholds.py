"""Thresholds: checked, and TOML in both directions."""

from pathlib import Path

import pytest

from acusim.errors import ConfigError
from evaluation.thresholds import Thresholds


def test_toml_round_trip(tmp_path: Path):
    path = tmp_path / "t.toml"
    chosen = Thresholds(tolerance_mm=3, allowed_px=0.5)
    path.write_text(chosen.to_toml())
    assert Thresholds.from_toml(path) == chosen
    path.write_text("tolerance_mm = 2\n")
    assert Thresholds.from_toml(path) == Thresholds(tolerance_mm=2.0)
    assert Thresholds.from_toml(None) == Thresholds()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("tolerance = 5", "'tolerance' is not a threshold"),
        ("tolerance_mm = -1", "outside 0.1..100"),
        ("tolerance_mm = nan", "outside 0.1..100"),
        ("tolerance_mm = true", "not of type float"),
        ('tolerance_mm = "5"', "not of type float"),
        ("tolerance_mm =", "cannot be read"),
    ],
)
def test_bad_files_are_reported(tmp_path: Path, text: str, message: str):
    path = tmp_path / "t.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        Thresholds.from_toml(path)


def test_a_missing_file_is_reported(tmp_path: Path):
    with pytest.raises(ConfigError, match="cannot be read"):
        Thresholds.from_toml(tmp_path / "none.toml")
