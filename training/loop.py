"""The training loop: epochs, steps, checkpoints, figures. A Task defines what is trained.

All random numbers are drawn from (seed, epoch, step), so a run that was interrupted anywhere and resumed ends with the
same weights as one that was not.
"""

import contextlib
import math
import signal
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from acusim.errors import ConfigError, TrainingError
from acusim.processes import handling
from acusim.seeds import seed_of
from training import checkpoint
from training.hardware import Hardware
from training.history import Curves, History
from training.parts import freeze
from training.precision import mixed_precision
from training.run_identity import same_task
from training.settings import BaseConfig, TrainConfig

SAVE_SECONDS = 1800.0
"""Interval of checkpoints within an epoch."""
CHECK_EVERY = 20
"""Interval, in steps, at which losses are checked on a GPU, as the program has to wait for it."""


class Interrupted(Exception):
    """A signal ended the run; the checkpoint is saved."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Pictures of one part of a step."""

    images: Tensor
    """[B, S, S, 3] uint8."""
    index: Tensor
    """[B] int64, numbers of the pictures in the task's data."""


class Step(NamedTuple):
    """Result of a batch."""

    loss: Tensor
    """Scalar with gradient; those of a step's parts, in all processes, add up to the step's loss."""
    logs: Tensor
    """[K] without gradient: sums to add up over an epoch, read by Task.read_logs."""


class Task(ABC):
    """What a loop trains."""

    identity: dict[str, Any]
    """What must equal that of a checkpoint to resume it: settings, data, the part of each person, initial weights."""
    curves: Curves = {"loss": ("loss", ("train_loss", "loss"))}
    """Figures to plot."""

    @property
    @abstractmethod
    def trainee(self) -> nn.Module:
        """Weights and criterion."""

    @abstractmethod
    def steps(self, hardware: Hardware) -> int:
        """Steps of an epoch."""

    @abstractmethod
    def batches(self, epoch: int, first_step: int, hardware: Hardware) -> Iterator[Batch]:
        """This process's parts of every step of an epoch from ``first_step`` on, in order."""

    @abstractmethod
    def step(self, module: nn.Module, batch: Batch, epoch: int, generator: torch.Generator, scale: float) -> Step:
        """Loss of a batch.

        Args:
            module: the trainee, possibly compiled or wrapped for several GPUs.
            batch: on the device.
            epoch: counted from 0.
            generator: on the device; for augmentation.
            scale: 1 / parts of a step.
        """

    @abstractmethod
    def read_logs(self, logs: Tensor) -> dict[str, float]:
        """Figures of the training pictures from an epoch's sum of Step.logs."""

    @abstractmethod
    def validate(self, epoch: int, hardware: Hardware) -> dict[str, float]:
        """Figures of the validation pictures; must contain ``score``: the higher, the better the epoch."""

    @abstractmethod
    def names(self, index: Tensor) -> list[str]:
        """Names of the pictures of a batch, for messages."""


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of one step.

    Args:
        config: its schedule.
        step: counted from 0 over all epochs.
        steps: of an epoch.
    """
    warmup = config.warmup_epochs * steps
    if step < warmup:
        return config.lr * (step + 1) / warmup
    if config.schedule == "constant":
        return config.lr
    done = (step - warmup) / max(config.epochs * steps - warmup, 1)
    return config.lr * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


class Loop:
    """Trains a task in a folder, or resumes that folder's last checkpoint.

    Args:
        config: the whole configuration.
        task: what to train.
        run: the folder.
        hardware: device and processes.
        compiled: whether torch.compile is used.
        progress: called with (epoch, step, steps, loss) after steps.
    """

    def __init__(
        self,
        config: BaseConfig,
        task: Task,
        run: Path,
        hardware: Hardware,
        *,
        compiled: bool = False,
        progress: Callable[[int, int, int, float], None] | None = None,
    ):
        self.config, self.task, self.run, self.hardware = config, task, run, hardware
        self.progress = progress or (lambda *_: None)
        parts = hardware.world * config.train.accumulate
        if config.train.batch_size % parts:
            raise ConfigError(
                f"train.batch_size = {config.train.batch_size} cannot be divided among {hardware.world} processes with "
                f"{config.train.accumulate} parts each; make it a multiple of {parts}"
            )
        self.scale = 1 / parts
        trainee = task.trainee.to(hardware.device)
        self.frozen = freeze(trainee, config.train.freeze)
        self.module = hardware.wrap(trainee.to(memory_format=torch.channels_last), compiled)  # type: ignore[call-overload]
        self.optimizer = torch.optim.AdamW(
            [parameter for parameter in trainee.parameters() if parameter.requires_grad],
            lr=config.train.lr,
            weight_decay=config.train.weight_decay,
            fused=True,
        )
        scaled = config.train.precision == "fp16"
        self.scaler = torch.amp.GradScaler(hardware.device.type, enabled=scaled)
        self.history = History(curves=task.curves)
        self.epoch = self.step = self.best_epoch = 0
        self.logs: Tensor | None = None
        self.best = -math.inf
        self.stopping = False
        self.unchecked: list[tuple[int, Tensor, Tensor]] = []

    def resume(self) -> bool:
        """Loads the run's last checkpoint; False if there is none.

        Raises:
            ConfigError: it is of another configuration or other data, or damaged.
        """
        if not (self.run / checkpoint.FOLDER / checkpoint.LAST).exists():
            return False
        path = checkpoint.find(self.run, checkpoint.LAST)
        last = checkpoint.load(path, with_optimizer=True)
        before = last.state.get("identity", {})
        if isinstance(before.get("config"), dict) and "task" in before["config"]:
            before = {**before, "config": self.config.completed(before["config"])}
        same_task(before, self.task.identity, self.run)
        checkpoint.load_into(self.task.trainee, last.model, f"checkpoint {str(path)!r}")
        checkpoint.load_optimizer(self.task.trainee, self.optimizer, last.optimizer)
        self.epoch, self.step, self.best_epoch = (last.state[name] for name in ("epoch", "step", "best_epoch"))
        self.best = -math.inf if last.state["best"] is None else last.state["best"]
        self.history = History(last.state["history"], self.task.curves)
        if last.state["logs"] is not None:
            self.logs = torch.tensor(last.state["logs"], dtype=torch.float64, device=self.hardware.device)
        if self.scaler.is_enabled():
            self.scaler.load_state_dict(last.state["scaler"])
        return True

    @property
    def done(self) -> bool:
        """Whether the last epoch or patience has ended."""
        train = self.config.train
        waited = self.epoch - max(self.best_epoch, train.patience_from)
        return self.epoch >= train.epochs or 0 < train.patience <= waited

    def train(self) -> None:
        """Trains until it is done.

        Raises:
            Interrupted: SIGTERM or SIGINT; the checkpoint is saved.
            TrainingError: a loss is not finite, or memory ran out.
            OutputError: a checkpoint or the figures cannot be written.
        """
        with self._signals():
            try:
                if self.hardware.is_main and self.history.rows and not self.history.is_written(self.run):
                    # The process died, or the disk was full, after the checkpoint.
                    self.history.write(self.run, done=self.done)
                while not self.done:
                    self._epoch()
            except torch.OutOfMemoryError:
                train = self.config.train
                raise TrainingError(
                    f"out of memory on {self.hardware.device} with {train.batch_size} pictures a step in "
                    f"{round(1 / self.scale)} parts; set train.accumulate={2 * train.accumulate} or a smaller "
                    "train.batch_size, in another --out; the checkpoints are intact"
                ) from None

    def _epoch(self) -> None:
        steps = self.task.steps(self.hardware)
        self.task.trainee.train()
        for part in self.frozen:
            part.eval()
        saved = time.monotonic()
        batches = self.task.batches(self.epoch, self.step, self.hardware)
        with contextlib.closing(batches):  # type: ignore[type-var]  # a generator
            while self.step < steps:
                self._step(batches, steps)
                self.step += 1
                if self.hardware.any(self.stopping):
                    self._check()
                    self._save([checkpoint.LAST])
                    raise Interrupted
                if self.step < steps and time.monotonic() - saved > SAVE_SECONDS:
                    self._check()
                    self._save([checkpoint.LAST])
                    saved = time.monotonic()
        self._check()
        self._finish_epoch(steps)

    def _step(self, batches: Iterator[Batch], steps: int) -> None:
        train, device = self.config.train, self.hardware.device
        rate = learning_rate(train, self.epoch * steps + self.step, steps)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        self.optimizer.zero_grad(set_to_none=True)
        for part in range(train.accumulate):
            batch = next(batches)
            batch = Batch(batch.images.to(device, non_blocking=True), batch.index.to(device, non_blocking=True))
            seed = seed_of("step", train.seed, self.epoch, self.step, part, self.hardware.rank)
            torch.manual_seed(seed)
            generator = torch.Generator(device).manual_seed(seed)
            last = part == train.accumulate - 1
            with self.hardware.syncing(self.module, last):
                with mixed_precision(device, train.precision):
                    result = self.task.step(self.module, batch, self.epoch, generator, self.scale)
                # Gradients are averaged over the processes; a step's is the sum of its parts'.
                self.scaler.scale(result.loss * self.hardware.world).backward()
            logs = result.logs.double()
            # A version that logged less may have left the checkpoint in mid-epoch.
            before = self.logs
            self.logs = logs if before is None or before.shape != logs.shape else before + logs
            self.unchecked.append((self.step, batch.index, result.loss.detach()))
        if train.clip_norm:
            self.scaler.unscale_(self.optimizer)
            self.hardware.clip(self.task.trainee.parameters(), train.clip_norm)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        if device.type == "cpu" or (self.step + 1) % CHECK_EVERY == 0:
            self.progress(self.epoch, self.step + 1, steps, self._check())

    def _check(self) -> float:
        """Checks the losses since the last check; returns the newest."""
        newest = math.nan
        for step, index, loss in self.unchecked:
            newest = loss.item()
            if not math.isfinite(newest):
                names = self.task.names(index.cpu())
                raise TrainingError(
                    f"the loss of epoch {self.epoch + 1}, step {step + 1} is {newest}; its pictures: "
                    f"{', '.join(names)}. The last checkpoint is from before it; check these pictures, or try a "
                    "lower train.lr or train.clip_norm=1, in another --out"
                )
        self.unchecked.clear()
        return newest

    def _finish_epoch(self, steps: int) -> None:
        assert self.logs is not None
        total = self.hardware.sum(self.logs)
        figures = {f"train_{name}": value for name, value in self.task.read_logs(total.cpu()).items()}
        self.task.trainee.eval()
        valid = self.task.validate(self.epoch, self.hardware)
        score = valid.pop("score")
        rate = learning_rate(self.config.train, (self.epoch + 1) * steps - 1, steps)
        self.history.add({"epoch": self.epoch + 1, "lr": rate, **figures, **valid})
        self.epoch, self.step, self.logs = self.epoch + 1, 0, None
        better = score > self.best
        if better:
            self.best, self.best_epoch = score, self.epoch
        self._save([checkpoint.LAST, checkpoint.BEST] if better else [checkpoint.LAST])
        if self.hardware.is_main:
            self.history.write(self.run, done=self.done)

    def _save(self, links: list[str]) -> None:
        if self.hardware.is_main:
            state = {
                "epoch": self.epoch,
                "step": self.step,
                "best": self.best if math.isfinite(self.best) else None,
                "best_epoch": self.best_epoch,
                "identity": self.task.identity,
                "history": self.history.rows,
                "logs": None if self.logs is None else self.logs.tolist(),
                "scaler": self.scaler.state_dict() if self.scaler.is_enabled() else None,
            }
            trainee = self.task.trainee
            moments = checkpoint.optimizer_tensors(trainee, self.optimizer)
            name = checkpoint.epoch_name(self.epoch, self.step)
            checkpoint.save(self.run, name, links, trainee.state_dict(), moments, state)
            checkpoint.rotate(self.run, self.config.train.keep)
        self.hardware.wait()

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT end the run after the current step."""

        def stop(*_: object) -> None:
            self.stopping = True

        with handling(stop, signal.SIGTERM, signal.SIGINT):
            yield
