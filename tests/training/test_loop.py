"""The loop on a task so small that its answers are known."""

import json
import os
import signal
from pathlib import Path

import pytest
import torch
from torch import nn

from acusim.errors import ConfigError, OutputError, TrainingError
from training import checkpoint
from training.hardware import Hardware
from training.history import History
from training.loop import Batch, Interrupted, Loop, Step, Task, learning_rate
from training.tasks.head_config import HeadConfig, HeadTrainConfig


class Line(Task):
    """Learns y = 2 x from eight numbers; the picture of a number holds nothing."""

    def __init__(self, spoil: int | None = None, stop_after: int | None = None, batch: int = 4, dropout: float = 0.5):
        torch.manual_seed(0)
        self.line = nn.Sequential(nn.Linear(1, 16), nn.Dropout(dropout), nn.Linear(16, 1))
        self.identity = {"data": "eight numbers", "config": {"lr": 1}}
        self.spoil, self.stop_after, self.batch = spoil, stop_after, batch
        self.made: list[tuple[int, int]] = []

    @property
    def trainee(self):
        return self.line

    def steps(self, hardware):
        return 8 // self.batch

    def batches(self, epoch, first_step, hardware):
        order = torch.randperm(8, generator=torch.Generator().manual_seed(epoch))
        for step in range(first_step, 8 // self.batch):
            index = order[step * self.batch : (step + 1) * self.batch].chunk(hardware.world)[hardware.rank]
            for part in index.split(self.batch // self.parts):
                yield Batch(torch.zeros(len(part), 1, 1, 3, dtype=torch.uint8), part)

    parts = 1

    def step(self, module, batch, epoch, generator, scale):
        x = batch.index[:, None].float() / 8 + 0.01 * torch.randn(1, generator=generator)
        error = (module(x) - 2 * x).square().sum()
        self.made.append((epoch, len(batch.index)))
        if self.spoil is not None and self.spoil in batch.index:
            error = error * float("nan")
        if self.stop_after is not None and len(self.made) == self.stop_after:
            os.kill(os.getpid(), signal.SIGTERM)
        return Step(error * scale, torch.stack([error.detach(), torch.tensor(float(len(x)))]))

    def read_logs(self, logs):
        return {"loss": float(logs[0] / logs[1])}

    def validate(self, epoch, hardware):
        with torch.no_grad():
            error = float((self.trainee(torch.ones(1, 1)) - 2).abs())
        return {"score": -error, "error": error}

    def names(self, index):
        return [f"number {i}" for i in index.tolist()]


def _plain(module, batch, epoch, generator, scale):
    """A step without anything random; the sum over the batch, whatever parts it comes in."""
    x = batch.index[:, None].float() / 8
    error = (module(x) - 2 * x).square().sum()
    return Step(error, torch.stack([error.detach(), torch.tensor(float(len(x)))]))


def shared(run: Path) -> None:
    """Trains on all processes of a launcher: nothing random, so that their number makes no difference.

    Each process leaves a file ``run-RANKofWORLD``: what several of them print comes in pieces.
    """
    hardware, task = Hardware("cpu"), Line(dropout=0.0)
    run.with_name(f"{run.name}-{hardware.rank}of{hardware.world}").touch()
    task.step = _plain
    Loop(HeadConfig(train=HeadTrainConfig(epochs=2, batch_size=4, lr=0.05)), task, run, hardware).train()
    hardware.close()


def _loop(run: Path, task: Task, **train) -> Loop:
    settings = {"epochs": 3, "batch_size": 4, "lr": 0.05} | train
    return Loop(HeadConfig(train=HeadTrainConfig(**settings)), task, run, Hardware("cpu"))


def _weights(run: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(checkpoint.find(run, "last")).model


def _files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.fixture(autouse=True)
def no_curves(request, monkeypatch):
    """Drawing takes half a second: one test does it."""
    if request.node.name != "test_it_learns_and_writes_its_figures":
        monkeypatch.setattr(History, "_curves", lambda *_: b"")


def test_it_learns_and_writes_its_figures(tmp_path):
    task = Line(dropout=0.0)
    _loop(tmp_path, task, epochs=60).train()
    assert abs(task.trainee(torch.full((1, 1), 0.5)).item() - 1) < 0.1
    lines = (tmp_path / "metrics.csv").read_text().splitlines()
    assert lines[0] == "epoch,lr,train_loss,error" and len(lines) == 61
    assert {path.name for path in (tmp_path / "curves").iterdir()} == {"loss.png"}
    assert list((tmp_path / "tensorboard").glob("events*"))


@pytest.mark.parametrize("stop_after", [1, 2, 3, 5])
def test_a_run_that_was_cut_off_ends_with_the_same_bytes(tmp_path, stop_after):
    _loop(tmp_path / "whole", Line()).train()
    with pytest.raises(Interrupted):
        _loop(tmp_path / "cut", Line(stop_after=stop_after)).train()
    resumed = _loop(tmp_path / "cut", Line())
    assert resumed.resume() and 2 * resumed.epoch + resumed.step == stop_after
    resumed.train()
    assert (tmp_path / "whole/metrics.csv").read_bytes() == (tmp_path / "cut/metrics.csv").read_bytes()
    whole, cut = (_files(checkpoint.find(tmp_path / name, "last").resolve()) for name in ("whole", "cut"))
    assert set(whole) == {"model.safetensors", "optimizer.safetensors", "state.json"}
    assert whole == cut


def test_a_finished_run_is_left_as_it_is(tmp_path):
    _loop(tmp_path, Line()).train()
    task = Line()
    again = _loop(tmp_path, task)
    assert again.resume()
    again.train()
    assert task.made == []


def test_parts_of_a_step_add_up_to_the_step(tmp_path):
    for parts, folder in ((1, "whole"), (2, "parts")):
        task = Line(dropout=0.0)
        task.parts = parts

        task.step = _plain
        _loop(tmp_path / folder, task, accumulate=parts).train()
    whole, parts_ = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert all(torch.allclose(value, parts_[key], atol=1e-5) for key, value in whole.items())


def test_a_loss_that_is_no_number_stops_and_names_the_pictures(tmp_path):
    with pytest.raises(TrainingError, match="number 5") as error:
        _loop(tmp_path, Line(spoil=5)).train()
    assert "epoch 1" in str(error.value)
    assert not (tmp_path / "checkpoints").exists()


def test_a_late_nan_leaves_the_checkpoint_of_the_epoch_before(tmp_path):
    task = Line()
    validate = task.validate

    def spoiled(epoch, hardware):
        task.spoil = 5 if epoch == 1 else None
        return validate(epoch, hardware)

    task.validate = spoiled
    with pytest.raises(TrainingError, match="epoch 3"):
        _loop(tmp_path, task).train()
    state = checkpoint.load(checkpoint.find(tmp_path, "last")).state
    assert state["epoch"] == 2 and len(state["history"]) == 2


def test_out_of_memory_says_what_to_change(tmp_path):
    task = Line()

    def step(*_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    task.step = step
    with pytest.raises(TrainingError, match=r"4 pictures.*train\.accumulate=2"):
        _loop(tmp_path, task).train()


def test_a_full_disk_loses_no_checkpoint(tmp_path, monkeypatch):
    _loop(tmp_path, Line(), epochs=2).train()
    before = _files(tmp_path / "checkpoints")

    def full(*_, **__):
        raise OSError(28, "No space left on device")

    loop = _loop(tmp_path, Line(), epochs=4)
    loop.resume()
    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OutputError, match="No space left"):
        loop.train()
    assert _files(tmp_path / "checkpoints") == before


def test_another_configuration_or_other_data_are_refused(tmp_path):
    _loop(tmp_path, Line(), epochs=1).train()
    task = Line()
    task.identity = {"data": "nine numbers", "config": {"lr": 2}}
    with pytest.raises(ConfigError, match=r"config.lr was 1, is 2; data was 'eight numbers', is 'nine numbers'"):
        _loop(tmp_path, task).resume()


def test_best_is_the_best_and_old_ones_go(tmp_path):
    task = Line()
    scores = iter([1.0, 3.0, 2.0, 0.0, 2.5])
    task.validate = lambda *_: {"score": next(scores), "error": 0.0}
    _loop(tmp_path, task, epochs=5, keep=1).train()
    assert checkpoint.load(checkpoint.find(tmp_path)).state["epoch"] == 2
    assert checkpoint.load(checkpoint.find(tmp_path, "last")).state["epoch"] == 5
    names = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert names == ["best", "epoch_0002", "epoch_0004", "epoch_0005", "last"]


def _scored(scores: list[float]) -> Line:
    """A task whose epochs have these scores."""
    task = Line()
    task.validate = lambda epoch, hardware: {"score": scores[epoch], "error": 0.0}
    return task


@pytest.mark.parametrize(("patience", "begins", "ends"), [
    (0, 0, 9),  # never early
    (2, 0, 4),  # the best is epoch 2; 3 and 4 are not better
    (2, 4, 6),  # counts from epoch 4 on
    (3, 4, 9),  # epoch 7 is better, and 8 and 9 are only two
    (9, 4, 9),
])  # fmt: skip
def test_patience_by_hand(tmp_path, patience, begins, ends):
    scores = [1.0, 3.0, 2.0, 3.0, 2.5, 2.5, 4.0, 0.0, 0.0]
    loop = _loop(tmp_path, _scored(scores), epochs=9, patience=patience, patience_from=begins)
    loop.train()
    assert loop.epoch == ends
    again = _loop(tmp_path, _scored(scores), epochs=9, patience=patience, patience_from=begins)
    assert again.resume() and again.done and again.best_epoch == loop.best_epoch == (7 if ends == 9 else 2)
    again.train()
    assert again.epoch == ends


def test_patience_goes_on_counting_after_a_stop(tmp_path):
    scores = [-1.0, 0.0, -1.0, -1.0, -0.5, -0.5]  # the best score is 0, which must not be taken for none
    first = _loop(tmp_path, _scored(scores), epochs=6, patience=3)
    first.progress = lambda epoch, step, *_: setattr(first, "stopping", (epoch, step) == (3, 1))
    with pytest.raises(Interrupted):
        first.train()
    second = _loop(tmp_path, _scored(scores), epochs=6, patience=3)
    assert second.resume()
    second.train()
    assert (second.epoch, second.best_epoch, second.best) == (5, 2, 0.0)


def test_a_batch_that_parts_cannot_share_is_refused(tmp_path):
    loop = _loop(tmp_path, Line(), batch_size=6, accumulate=3)
    loop.hardware.world = 4
    with pytest.raises(ConfigError, match="multiple of 12"):
        Loop(loop.config, Line(), tmp_path, loop.hardware)


def test_the_learning_rate_by_hand():
    cosine = HeadTrainConfig(epochs=10, lr=1.0, schedule="cosine", warmup_epochs=2)
    # 5 steps an epoch: warm-up over steps 0..9, then half a cosine over 40 steps.
    rates = [learning_rate(cosine, step, 5) for step in (0, 4, 9, 10, 30, 49)]
    assert rates == pytest.approx([0.1, 0.5, 1.0, 1.0, 0.5, 0.0015413], abs=1e-6)
    assert learning_rate(HeadTrainConfig(lr=0.3), 999, 5) == 0.3


@pytest.mark.parametrize(("file", "content", "message"), [
    ("state.json", b"{}", "not the state"),
    ("state.json", b"{", "damaged"),
    ("state.json", b'{"format": 1, "epoch": "two"}', "damaged: epoch is 'two'"),
    ("model.safetensors", b"PK\x03\x04 a pickle", "take another checkpoint"),
    ("optimizer.safetensors", None, "missing"),
])  # fmt: skip
def test_damaged_checkpoints_are_reported(tmp_path, file, content, message):
    _loop(tmp_path, Line(), epochs=1).train()
    path = checkpoint.find(tmp_path, "last") / file
    path.unlink() if content is None else path.write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        _loop(tmp_path, Line(), epochs=1).resume()


def test_weights_of_another_network_are_reported(tmp_path):
    _loop(tmp_path, Line(), epochs=1).train()
    model = checkpoint.load(checkpoint.find(tmp_path)).model
    with pytest.raises(ConfigError, match=r"no 1.weight, no 1.bias, an unknown '2\..* and 1 more"):
        checkpoint.load_into(nn.Sequential(nn.Linear(1, 16), nn.Linear(16, 1)), model, "checkpoint 'x'")


def test_the_state_is_readable(tmp_path):
    _loop(tmp_path, Line(), epochs=1).train()
    state = json.loads((checkpoint.find(tmp_path) / "state.json").read_text())
    assert state["history"][0]["epoch"] == 1 and state["identity"]["data"] == "eight numbers"


def test_epochs_to_accuracy():
    history = History([{"epoch": k + 1, "micro": value} for k, value in enumerate((0.5, 0.91, 0.89, 0.96))])
    assert history.reached() == {"e90": 2, "e95": 4, "e99": None}
