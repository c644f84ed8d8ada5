"""The experiments on heads: which data they take."""

from dataclasses import replace
from pathlib import Path

import pytest

from experiments import heads
from experiments.heads_configurations import TABLE2
from training.config import load_config

PLAN = heads.Plan(Path("out"), 4, 64, 1, 1, "resnet18", "single", 1e-3, 1, 1)


def test_given_data_take_the_place_of_the_studio_heads_alone():
    given = replace(PLAN, data=Path("acusim"))
    assert [plan.root("studio") for plan in (PLAN, given)] == [Path("out/studio"), Path("acusim")]
    assert given.root("relit") == Path("out/relit")
    assert f"data.frames={heads.VIEWS}" in PLAN.settings and "data.frames=kept" in given.settings
    heads.make_data(given)
    assert not Path("out").exists()


def test_given_data_have_no_second_light(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.setattr("sys.argv", ["heads", "--out", "out", "--data", "acusim", "--parts", "light"])
    with pytest.raises(SystemExit):
        heads.main()
    assert "leave --data out" in capsys.readouterr().err


def test_every_row_of_table_2_is_a_configuration():
    assert len(TABLE2) == 14
    assert all(load_config(config) for config in TABLE2.values())
