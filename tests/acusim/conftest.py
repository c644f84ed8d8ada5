"""Fixtures of the tests of data sets' folders."""

from pathlib import Path

import pytest

from tests.support import add_sample


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A data set of two pictures."""
    for frame in (1, 8):
        add_sample(tmp_path / "ACUSIM", f"F_Ann_N_HA_O_{frame:04d}")
    return tmp_path / "ACUSIM"
