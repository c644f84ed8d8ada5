"""Checkpoints: folders with weights and a readable state, complete or absent; the last one also has moments.

    RUN/checkpoints/epoch_0012/model.safetensors       weights under the modules' names
                              /state.json              progress, figures, and the identity of the run
                              /optimizer.safetensors   AdamW's moments and steps: <kind>/<parameter>; only in ``last``
    RUN/checkpoints/last, best                         links to such folders

A checkpoint is written to a temporary folder and renamed, then the links are replaced, ``last`` after the others, each
in one step of the file system: whenever the process dies, ``last`` is a complete checkpoint, and training resumes from
it as if nothing had happened.

Formats 1 and 2 are still read: modules whose parameters had other names or shapes convert them (see Upgradable).
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acusim.errors import ConfigError, LayoutError, OutputError, few, shown
from acusim.files import PART_PREFIX, PART_SUFFIX, is_part, sha256
from acusim.folders import list_folder
from acusim.tensor_files import read_header

FORMAT = 3
READ_FORMATS = (1, 2, 3)
FOLDER, LAST, BEST = "checkpoints", "last", "best"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
STEP = "step"
"""The kind of AdamW's state that is not a moment."""
MAX_STATE_BYTES = 256 << 20
_STATE = {"epoch": int, "step": int, "best_epoch": int, "history": list, "identity": dict}
"""Entries that every state has, and their types."""
_NAME = re.compile(r"epoch_([0-9]{4,})(?:_step_([0-9]{7,}))?")


@runtime_checkable
class Upgradable(Protocol):
    """A module whose parameters had other names or shapes in checkpoints of an earlier format."""

    def upgraded(self, name: str, value: Tensor) -> dict[str, Tensor]:
        """A stored parameter, or a moment or the step of one, under the names and in the shapes of today.

        Args:
            name: within the module; a name of today is returned unchanged, and so is one that cannot be converted.
            value: the stored tensor; of a step a single number.
        """
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The content of a folder, tensors on the CPU, in the format that they were written in."""

    path: Path
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def epoch_name(epoch: int, step: int = 0) -> str:
    """Name of the checkpoint after so many complete epochs and so many steps of the next one."""
    return f"epoch_{epoch:04d}" + (f"_step_{step:07d}" if step else "")


def save(
    run: Path,
    name: str,
    links: Sequence[str],
    model: dict[str, Tensor],
    optimizer: dict[str, Tensor],
    state: dict[str, Any],
) -> None:
    """Writes a checkpoint, then lets the links point to it.

    Raises:
        OutputError: the disk is full or read-only; every earlier checkpoint is intact.
    """
    folder = run / FOLDER
    temporary = folder / _part_name()
    try:
        temporary.mkdir(parents=True)
        text = json.dumps({"format": FORMAT, **state}, ensure_ascii=False, allow_nan=False, indent=1)
        (temporary / STATE).write_text(text, encoding="utf-8")
        for file, tensors in ((MODEL, model), (OPTIMIZER, optimizer)):
            # safetensors refuses tensors that share memory or have gaps, and writes files that only their owner reads.
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary / file)
            shutil.copymode(temporary / STATE, temporary / file)
        if (folder / name).exists():  # reached again, after a resume from before it
            os.rename(folder / name, folder / _part_name())
        os.rename(temporary, folder / name)
        # If the process dies in between, a resume from the old ``last`` reaches the same epoch and the same best one.
        for link in sorted(links, key=lambda link: link == LAST):
            os.symlink(name, temporary)
            os.replace(temporary, folder / link)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"checkpoint {name!r} cannot be written to {str(folder)!r}: {reason}; earlier checkpoints are intact: "
            "make room and run the same command again"
        ) from None
    finally:
        remove_parts(folder)


def remove_parts(folder: Path) -> None:
    """Removes what is incomplete or was replaced."""
    for entry in folder.glob(f"{PART_PREFIX}*"):
        if is_part(entry.name):
            if entry.is_symlink():
                entry.unlink(missing_ok=True)
            else:
                shutil.rmtree(entry, ignore_errors=True)


def rotate(run: Path, keep: int) -> None:
    """Removes checkpoints beyond the newest ``keep`` besides last and best, and the moments of all but the last.

    What the file system does not allow to be removed stays.
    """
    folder = run / FOLDER
    links = {
        link: os.path.basename(os.readlink(folder / link)) for link in (LAST, BEST) if (folder / link).is_symlink()
    }
    names = sorted((entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name)), key=_place)
    past = [name for name in names if name not in links.values()]
    with suppress(OSError):
        for name in past[: max(len(past) - keep, 0)]:
            # Renamed first, so that a folder with the name of a checkpoint is always complete.
            os.rename(folder / name, folder / _part_name())
        for name in names if LAST in links else []:
            if name != links[LAST]:
                (folder / name / OPTIMIZER).unlink(missing_ok=True)
    remove_parts(folder)


def _place(name: str) -> tuple[int, int]:
    """Epoch and step of a checkpoint: names sort otherwise from 10,000 epochs on."""
    match = _NAME.fullmatch(name)
    assert match
    return int(match[1]), int(match[2] or 0)


def _part_name() -> str:
    return f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}"


def find(run: Path, name: str | None = None) -> Path:
    """The folder of a checkpoint.

    Args:
        run: a run's folder, or a checkpoint's own.
        name: best, last or epoch_0012; None takes best where there is one, else last.

    Raises:
        ConfigError: there is no such checkpoint.
    """
    if (run / MODEL).is_file():
        return run
    for candidate in [name] if name else [BEST, LAST]:
        if (run / FOLDER / candidate / MODEL).is_file():
            return run / FOLDER / candidate
    there = [entry.name for entry in list_folder(run / FOLDER)] if (run / FOLDER).is_dir() else []
    raise ConfigError(
        f"{str(run)!r} holds no checkpoint {name or 'best or last'!r}; "
        + (f"there are {', '.join(there)}" if there else "give the folder that train wrote with --out")
    )


def load(path: Path, *, with_optimizer: bool = False) -> Checkpoint:
    """Reads a checkpoint's folder.

    Raises:
        ConfigError: a file is missing, damaged, or not of a checkpoint.
    """
    state = load_state(path)
    model = _tensors(path / MODEL)
    return Checkpoint(path, model, _tensors(path / OPTIMIZER) if with_optimizer else {}, state)


def load_state(path: Path) -> dict[str, Any]:
    """Reads only the state in a checkpoint's folder.

    Raises:
        ConfigError: it is missing, damaged, or not a checkpoint's state.
    """
    state_path = path / STATE
    try:
        if state_path.stat().st_size > MAX_STATE_BYTES:
            raise ConfigError(
                f"{str(state_path)!r} is larger than {MAX_STATE_BYTES >> 20} MiB: not a checkpoint's state"
            )
        state = json.loads(state_path.read_text(encoding="utf-8"))
        if not isinstance(state, dict) or state.get("format") not in READ_FORMATS:
            raise ConfigError(
                f"{str(state_path)!r} is not the state of a checkpoint of format {' or '.join(map(str, READ_FORMATS))}"
            )
        for name, kind in _STATE.items():
            if type(state.get(name)) is not kind:
                raise ConfigError(f"{str(state_path)!r} is damaged: {name} is {shown(state.get(name))}")
    except OSError as error:
        raise ConfigError(
            f"checkpoint {str(path)!r} cannot be read: {error.strerror or error}: {error.filename}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{str(state_path)!r} is damaged: {str(error)[:120]}") from None
    return state


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise ConfigError(f"checkpoint file {str(path)!r} is missing")
    try:
        read_header(path)
        return load_file(path)
    except (LayoutError, SafetensorError) as error:
        raise ConfigError(f"checkpoint file {str(path)!r}: {error}; take another checkpoint of this run") from None


def checkpoint_hash(path: Path) -> str:
    """SHA-256 of a checkpoint's weights file."""
    return sha256((path / MODEL).read_bytes())


def _upgraded(module: nn.Module, tensors: dict[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    """Stored tensors: the stored name, today's name, and the tensor in today's shape."""
    layers = [
        (f"{prefix}." if prefix else "", layer)
        for prefix, layer in module.named_modules()
        if isinstance(layer, Upgradable)
    ]
    for stored, value in tensors.items():
        kind, slash, name = stored.rpartition("/")
        start, layer = next(((start, layer) for start, layer in layers if name.startswith(start)), ("", None))
        today = layer.upgraded(name.removeprefix(start), value) if layer else {name: value}
        yield from ((stored, f"{kind}{slash}{start}{own}", tensor) for own, tensor in today.items())


def upgraded_tensors(module: nn.Module, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a checkpoint, of this or an earlier format, under the names and in the shapes of today."""
    return {name: value for _, name, value in _upgraded(module, tensors)}


def load_into(module: nn.Module, tensors: dict[str, Tensor], what: str) -> None:
    """Copies the tensors of a checkpoint, of this or an earlier format, into a module.

    Raises:
        ConfigError: names or shapes differ; names them.
    """
    wanted = module.state_dict()
    found = upgraded_tensors(module, tensors)
    wrong = [f"no {name}" for name in wanted if name not in found]
    wrong += [f"an unknown {shown(name)}" for name in found if name not in wanted]
    wrong += [
        f"{name} of shape {list(found[name].shape)} instead of {list(value.shape)}"
        for name, value in wanted.items()
        if name in found and found[name].shape != value.shape
    ]
    if wrong:
        raise ConfigError(f"{what} belongs to another configuration: it has {few(wrong, 3)}")
    module.load_state_dict(found)


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as a checkpoint stores it: ``<kind>/<parameter>``."""
    return {
        f"{kind}/{name}": torch.as_tensor(value)
        for name, parameter in module.named_parameters()
        for kind, value in optimizer.state.get(parameter, {}).items()
    }


def load_optimizer(module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Copies the optimiser's tensors of a checkpoint, of this or an earlier format, into it.

    Raises:
        ConfigError: they belong to other parameters.
    """
    parameters = dict(module.named_parameters())
    for stored, key, value in _upgraded(module, tensors):
        kind, _, name = key.partition("/")
        parameter = parameters.get(name)
        if parameter is None or kind != STEP and value.shape != parameter.shape:
            wanted = "is not a parameter" if parameter is None else f"needs shape {list(parameter.shape)}"
            raise ConfigError(
                f"the optimiser's state belongs to another configuration: {shown(stored)} has shape "
                f"{list(value.shape)}; {shown(name)} {wanted}"
            )
        if kind == STEP:
            optimizer.state[parameter][kind] = value.to(parameter.device)  # where fused AdamW keeps it
        else:
            # Fused AdamW walks through memory: moments must have the memory layout of their parameter.
            optimizer.state[parameter][kind] = torch.empty_like(parameter, requires_grad=False).copy_(value)
