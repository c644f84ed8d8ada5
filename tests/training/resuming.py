"""A run that is cut off and gone on with, beside one that is not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from training import checkpoint
from training.loop import Interrupted, Loop


def assert_going_on_ends_with_the_same_bytes(loop: Callable[[str], Loop], folder: Path, stop_after: int) -> Path:
    """Trains one run whole and cuts another off after some steps; returns the last checkpoint of the whole one.

    Args:
        loop: a fresh loop whose run is the named folder below ``folder``.
        folder: where the runs are.
        stop_after: steps.
    """
    loop("whole").train()
    cut = loop("cut")

    def count(epoch: int, step: int, steps: int, loss: float) -> None:
        cut.stopping = epoch * steps + step == stop_after

    cut.progress = count
    with pytest.raises(Interrupted):
        cut.train()
    resumed = loop("cut")
    assert resumed.resume() and resumed.epoch * resumed.task.steps(resumed.hardware) + resumed.step == stop_after
    resumed.train()
    whole, again = (checkpoint.find(folder / name, "last").resolve() for name in ("whole", "cut"))
    for name in ("model.safetensors", "optimizer.safetensors", "state.json"):
        assert (whole / name).read_bytes() == (again / name).read_bytes(), name
    return whole
