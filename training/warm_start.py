"""Warm starts: initial weights from another run's checkpoint.

What is taken is decided by name and shape alone, so the new run may have other data, another number of points or other
heads. The hash of the weights belongs to the new run's identity (``init``): its checkpoints resume without the other
run, which may be gone by then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from acusim.errors import ConfigError, shown
from training import checkpoint
from training.loop import Task

INIT = "init"
"""Entry of a run's identity: the SHA-256 of the weights that it started from."""
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Which tensors a module took from a checkpoint."""

    checkpoint: Path
    sha256: str
    taken: tuple[str, ...]
    fresh: tuple[str, ...]
    """Those that kept their own initial values, with the reason."""
    unused: tuple[str, ...]
    """Names in the checkpoint that the module does not have."""

    def __str__(self) -> str:
        """For people."""
        text = f"initial weights from {str(self.checkpoint)!r}: {len(self.taken)} tensors taken"
        for what, names in (("new", self.fresh), ("not used", self.unused)):
            if names:
                more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
                text += f"; {what}: {', '.join(names[:_SHOWN])}{more}"
        return text

    def as_json(self) -> dict[str, Any]:
        """The record in the run's data.json."""
        return {
            "checkpoint": str(self.checkpoint),
            "sha256": self.sha256,
            "taken": len(self.taken),
            "fresh": list(self.fresh),
            "unused": list(self.unused),
        }


def start_from(module: nn.Module, path: Path) -> WarmStart:
    """Copies those tensors of a checkpoint into a module that it has under the same names, in the same shapes.

    Args:
        module: a task's trainee, with fresh values.
        path: a run's folder, of which the best checkpoint is taken, or the folder of a checkpoint in it.

    Raises:
        ConfigError: there is no such checkpoint, it is damaged, or nothing in it fits.
    """
    folder = checkpoint.find(path)
    stored = checkpoint.upgraded_tensors(module, checkpoint.load(folder).model)
    wanted = module.state_dict()
    fitting = {name: value for name, value in stored.items() if name in wanted and wanted[name].shape == value.shape}
    if not fitting:
        raise ConfigError(
            f"--init {str(path)!r}: none of its {len(stored)} tensors fits this network, by name and shape; it has "
            f"{', '.join(list(stored)[:3])}, …, the network {', '.join(list(wanted)[:3])}, …; a run of the same task "
            "and backbone fits"
        )
    module.load_state_dict(fitting, strict=False)
    return WarmStart(
        folder.resolve(),
        checkpoint.checkpoint_hash(folder),
        tuple(fitting),
        tuple(_reason(name, value, stored) for name, value in wanted.items() if name not in fitting),
        tuple(shown(name) for name in stored if name not in wanted),
    )


def _reason(name: str, value: Tensor, stored: dict[str, Tensor]) -> str:
    there = f"{list(stored[name].shape)} there" if name in stored else "absent there"
    return f"{name} {list(value.shape)} ({there})"


def prepare(task: Task, init: Path | None, run: Path) -> WarmStart | None:
    """Gives a task the initial weights of ``--init``, unless its run goes on from a checkpoint of its own.

    The task's identity gets the hash of the weights. That of a run which goes on is known without them.

    Args:
        task: before its loop resumes.
        init: a run or checkpoint; None for fresh weights.
        run: the task's own folder.

    Returns:
        What was taken; None where nothing was.

    Raises:
        ConfigError: as start_from.
    """
    started = (run / checkpoint.FOLDER / checkpoint.LAST).exists()
    if not started:
        if init is None:
            return None
        taken = start_from(task.trainee, init)
        task.identity = {**task.identity, INIT: taken.sha256}
        return taken
    before = checkpoint.load_state(checkpoint.find(run, checkpoint.LAST))["identity"].get(INIT)
    if init is not None and (init.exists() or before is None):
        before = checkpoint.checkpoint_hash(checkpoint.find(init))
    if before is not None:
        task.identity = {**task.identity, INIT: before}
    return None
