"""The Python API: one image certified as the command does it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import evaluation
from acusim import rig
from acusim.errors import ConfigError, LabelError, PictureError
from acusim.labels import empty_label, read_label
from acusim.parallel import run
from acusim.pictures import read_depth, read_rgb
from evaluation.masks import record_of
from evaluation.measuring import Measured, Task, measure, prepare
from evaluation.run import plan
from evaluation.settings import ReportSettings
from evaluation.store import Store
from evaluation.thresholds import Thresholds
from tests.evaluation.conftest import relit

pytestmark = pytest.mark.numeric


def test_agrees_with_the_report(heads: Path, augment: Callable[..., Path], tmp_path: Path):
    augmented = augment(heads)
    settings = ReportSettings(
        original=heads, augmented=augmented, out=tmp_path / "out", faces=False, thresholds=Thresholds(tolerance_mm=4)
    )
    tasks = [Task("pair", pair) for pair in plan(settings).pairs[:3]]
    with Store(settings.out) as store:
        results = list(run(measure, tasks, 0, prepare=prepare, arguments=(settings, store.path)))
    for task, result in results:
        assert isinstance(result, Measured)
        pair, record = task.pair, result.certificates["augmented"]
        assert pair.label and pair.depth and not record.pop("notes")
        paths = heads / pair.original, augmented / pair.augmented
        label, depth = heads / pair.label, heads / pair.depth
        arrays = [read_rgb(path).pixels for path in paths]
        known = {"frame": pair.id.frame, "thresholds": settings.thresholds}
        by_path = evaluation.certify(*paths, label=label, depth=depth, **known)
        by_array = evaluation.certify(*arrays, label=read_label(label), depth=read_depth(depth)[0], **known)
        assert record_of(by_path) == record_of(by_array) == record
        assert by_path.valid and by_path.trusted.shape == (174,) and by_path.trusted.any()


def test_without_depth_and_label(skin: tuple[NDArray[np.uint8], NDArray[np.bool_]]):
    certificate = evaluation.certify(skin[0], relit(skin[0]), label=None, frame=1)
    assert certificate.valid and certificate.trusted.shape == (0,) and certificate.depth_agreement is None


def test_an_augmented_image_of_another_size_is_rejected(skin: tuple[NDArray[np.uint8], NDArray[np.bool_]]):
    certificate = evaluation.certify(skin[0], skin[0][:100], label=empty_label(), frame=1)
    assert not certificate.valid and certificate.reason == "its size is 256 x 100, the original's 256 x 256"
    assert certificate.trusted.shape == (174,) and not certificate.trusted.any()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"original": np.zeros((8, 8))}, ValueError, r"original is \(8, 8\) float64; expected \[H, W, 3\] uint8"),
        ({"original": "none.png"}, PictureError, "none.png"),
        ({"augmented": "none.png"}, PictureError, "none.png"),
        ({"label": "none.json"}, LabelError, "none.json"),
        ({"frame": 145}, ConfigError, f"145.*{rig.FRAMES[-1]}"),
        ({"depth": np.zeros((3, 4))}, ValueError, r"depth is \(3, 4\); expected \(256, 256\)"),
        ({"depth": np.full((256, 256), -1.0)}, ValueError, "outside 0..65535 mm"),
        ({"depth": np.zeros((256, 256))}, PictureError, "depth map is not used.*give another depth map"),
        ({"depth": "none.png"}, PictureError, "none.png"),
    ],
)
def test_bad_input_is_named(
    skin: tuple[NDArray[np.uint8], NDArray[np.bool_]], change: dict[str, object], error: type[Exception], message: str
):
    known = {"original": skin[0], "augmented": skin[0], "label": None, "frame": 1} | change
    with pytest.raises(error, match=message):
        evaluation.certify(**known)  # type: ignore[arg-type]
