"""Warm starts: initial weights from another run's checkpoint.

What is taken is decided by name and shape alone, so the new run may have other data, another number of points or other
heads, or another task: a network of hands with heatmaps takes the encoder and the decoder of one of heads. The hash of
the weights belongs to the new run's identity (``init``): its checkpoints resume without the other run, which may be
gone by then.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from acusim.errors import ConfigError, few, shown
from training import checkpoint
from training.loop import Task
from training.shipped import files as shipped_files

INIT = "init"
"""Entry of a run's identity: the SHA-256 of the weights that it started from."""
_SHOWN = 5
_WRAPPERS = ("network.", "model.")
"""Before the names of a network's own tensors: the first in a trainee, both where the network has its own wrapper."""


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
                text += f"; {what}: {few(names, _SHOWN)}"
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
        path: a run's folder, of which the best checkpoint is taken, the folder of a checkpoint in it, or that of a
            shipped model.

    Raises:
        ConfigError: there is no such checkpoint, it is damaged, or nothing in it fits.
    """
    folder, digest, tensors = _read(path)
    stored = {_bare(name): value for name, value in checkpoint.upgraded_tensors(module, tensors).items()}
    wanted = module.state_dict()
    fitting = {
        name: stored[bare]
        for name, value in wanted.items()
        if (bare := _bare(name)) in stored and stored[bare].shape == value.shape
    }
    if not fitting:
        raise ConfigError(
            f"--init {str(path)!r}: none of its {len(stored)} tensors fits this network, by name and shape; it has "
            f"{', '.join(list(stored)[:3])}, …, the network {', '.join(map(_bare, list(wanted)[:3]))}, …; a run of the "
            "same network and backbone fits"
        )
    module.load_state_dict(fitting, strict=False)
    known = set(map(_bare, wanted))
    return WarmStart(
        folder.resolve(),
        digest,
        tuple(fitting),
        tuple(_reason(name, value, stored) for name, value in wanted.items() if name not in fitting),
        tuple(shown(name) for name in stored if name not in known),
    )


def _read(path: Path) -> tuple[Path, str, dict[str, Tensor]]:
    """Folder, hash and tensors of initial weights."""
    if shipped_files.is_shipped(path):
        held = shipped_files.read_weights(path)
        return path, held.sha256, held.weights
    folder = checkpoint.find(path)
    return folder, checkpoint.checkpoint_hash(folder), checkpoint.load(folder).model


def _bare(name: str) -> str:
    """A tensor's name within its network."""
    for wrapper in _WRAPPERS:
        name = name.removeprefix(wrapper)
    return name


def _reason(name: str, value: Tensor, stored: dict[str, Tensor]) -> str:
    bare = _bare(name)
    there = f"{list(stored[bare].shape)} there" if bare in stored else "absent there"
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
        before = _read(init)[1]
    if before is not None:
        task.identity = {**task.identity, INIT: before}
    return None
