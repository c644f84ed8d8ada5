"""The trials of calibrate."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from acusim.parallel import run
from evaluation import calibration
from evaluation.run import plan
from evaluation.settings import CalibrationSettings
from evaluation.subjects import Task, prepare
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
        [(_, answer)] = run(calibration.make_trials, tasks, 0, prepare=prepare, arguments=(settings,))
        assert isinstance(answer, calibration.Answer)
        assert answer.problem is None and len(answer.trials) == 27 + 8 + 12
        strengths.append([float(trial.figures.strength.max(initial=0)) for trial in answer.trials])
    assert max(strengths[0]) > 20 and strengths[1] == pytest.approx(strengths[0], rel=0.1, abs=0.5)
