"""The trials of calibrate."""

import shutil
import sqlite3
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from acusim.parallel import run
from evaluation import calibration
from evaluation.run import plan
from evaluation.settings import CalibrationSettings
from evaluation.store import FILE, Store
from evaluation.subjects import Task
from evaluation.trial_records import from_text, to_text
from tests.evaluation.conftest import draw_skin, relit

pytestmark = pytest.mark.numeric


def test_trials_of_large_pictures_are_those_of_work_size(make_dataset: Callable[..., Path], tmp_path: Path):
    pixels, _ = draw_skin(side=512)
    roots = [make_dataset(name=name, models=("F_Ann_N_HA_O",), frames=(1,)) for name in ("a", "b")]
    strengths: list[list[float]] = []
    for enlarged in (1, 2):
        for root, picture in zip(roots, (pixels, relit(pixels)), strict=True):
            shutil.rmtree(root / "train/depth", ignore_errors=True)
            large = picture.repeat(enlarged, 0).repeat(enlarged, 1)  # shrinks to the very same picture
            for path in (root / "train/image/img_64").iterdir():
                Image.fromarray(large).save(path)
        settings = CalibrationSettings(original=roots[0], augmented=roots[1], out=tmp_path / "out")
        tasks = [Task(plan(settings).pairs[0], None)]
        [(_, answer)] = run(calibration.make_trials, tasks, 0, prepare=calibration.prepare, arguments=(settings, None))
        assert isinstance(answer, calibration.Answer)
        assert answer.problem is None and len(answer.trials) == 27 + 8 + 12
        strengths.append([float(trial.figures.strength.max(initial=0)) for trial in answer.trials])
    assert max(strengths[0]) > 20 and strengths[1] == pytest.approx(strengths[0], rel=0.1, abs=0.5)


@pytest.fixture
def pair(make_dataset: Callable[..., Path], tmp_path: Path) -> CalibrationSettings:
    """Settings for one pair."""
    pixels, _ = draw_skin(side=128)
    roots = [make_dataset(name=name, models=("F_Ann_N_HA_O",), frames=(1,)) for name in ("a", "b")]
    for root, picture in zip(roots, (pixels, relit(pixels)), strict=True):
        shutil.rmtree(root / "train/depth", ignore_errors=True)
        for path in (root / "train/image/img_64").iterdir():
            Image.fromarray(picture).save(path)
    return CalibrationSettings(original=roots[0], augmented=roots[1], out=tmp_path / "out")


def _answer(settings: CalibrationSettings) -> calibration.Answer:
    """As the command measures the one pair, with what its store has."""
    with Store(settings.out) as store:
        tasks = [Task(plan(settings).pairs[0], None)]
        arguments = settings, store.path
        [(_, answer)] = run(calibration.make_trials, tasks, 0, prepare=calibration.prepare, arguments=arguments)
        assert isinstance(answer, calibration.Answer) and answer.problem is None
        store.add(answer.records)
    return answer


def _equal(one: Any, other: Any) -> bool:
    """Whether dataclasses hold the same, NaN included."""
    if is_dataclass(one):
        return all(_equal(getattr(one, entry.name), getattr(other, entry.name)) for entry in fields(one))
    return type(one) is type(other) and np.array_equal(one, other, equal_nan=not isinstance(one, str))


def test_what_was_measured_is_not_measured_again(pair: CalibrationSettings, monkeypatch: pytest.MonkeyPatch):
    first = _answer(pair)
    assert len(first.records) == 1
    monkeypatch.setattr(calibration, "trials_of", lambda *_: pytest.fail("measured again"))
    again = _answer(pair)
    assert not again.records and len(again.trials) == len(first.trials) == 47
    assert all(_equal(one, other) for one, other in zip(again.trials, first.trials, strict=True))
    assert any(np.isinf(trial.bounds_px).any() for trial in again.trials)
    for change in ({"seed": 1}, {"thresholds": pair.thresholds.changed(allowed_px=2.0)}):
        with pytest.raises(pytest.fail.Exception, match="measured again"):
            _answer(pair.changed(**change))
    path = next((pair.augmented / "train/image/img_64").iterdir())
    pixels = np.array(Image.open(path))
    pixels[0, 0] ^= 1
    Image.fromarray(pixels).save(path)
    with pytest.raises(pytest.fail.Exception, match="measured again"):
        _answer(pair)


def test_damaged_trials_are_measured_again(pair: CalibrationSettings):
    first = _answer(pair)
    with sqlite3.connect(pair.out / FILE) as store:
        store.execute("UPDATE measured SET record = '\"damaged\"'")
    again = _answer(pair)
    assert len(again.records) == 1
    assert all(_equal(one, other) for one, other in zip(again.trials, first.trials, strict=True))


@pytest.mark.parametrize("text", [None, 3, "", "!", "ab c", to_text([])[:-5]])
def test_text_that_holds_no_trials(text: object):
    assert from_text(to_text([])) == []
    with pytest.raises(ValueError, match="trials are"):
        from_text(text)
