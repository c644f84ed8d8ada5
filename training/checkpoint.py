"""Checkpoints: a folder with weights and a readable state, there whole or not at all; the last one with moments, too.

    RUN/checkpoints/epoch_0012/model.safetensors       weights under the modules' names
                              /state.json              where training stands, figures, what made it
                              /optimizer.safetensors   AdamW's moments and steps: <kind>/<parameter>; in ``last`` alone
    RUN/checkpoints/last, best                         links to such folders

A checkpoint is written aside and renamed, then the links are replaced, ``last`` after the others, each of which is one
step for the file system: whenever the process dies, ``last`` is a whole checkpoint, and training goes on from it as if
nothing had happened.

Layers that are padded in memory (see Padded) are stored without their padding. Format 1, which stored the padding, is
still read.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acusim.errors import ConfigError, LayoutError, OutputError, shown
from acusim.files import PART_PREFIX, PART_SUFFIX, is_part, sha256
from acusim.folders import list_folder
from acusim.tensor_files import read_header

FORMAT = 2
READ_FORMATS = (1, 2)
FOLDER, LAST, BEST = "checkpoints", "last", "best"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
STEP = "step"
"""The kind of AdamW's state that is no moment."""
MAX_STATE_BYTES = 256 << 20
_STATE = {"epoch": int, "step": int, "best_epoch": int, "history": list, "identity": dict}
"""What every state must hold, and of what type."""
_NAME = re.compile(r"epoch_([0-9]{4,})(?:_step_([0-9]{7,}))?")


@runtime_checkable
class Padded(Protocol):
    """A layer whose parameters are padded in memory; not in a checkpoint."""

    padding_of: dict[str, int]
    """How many numbers of each parameter are padding."""

    def pack(self, name: str, value: Tensor) -> Tensor:
        """A parameter, or a moment of it, without padding; of another number of axes."""
        ...

    def unpack(self, name: str, value: Tensor) -> Tensor:
        """With padding, which is zero.

        Raises:
            ValueError: the shape is not what pack gives.
        """
        ...


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a folder holds, tensors on the CPU, without padding unless it is of format 1."""

    path: Path
    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]


def epoch_name(epoch: int, step: int = 0) -> str:
    """Name of the checkpoint after so many whole epochs and, in the one after, so many steps."""
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
        OutputError: the disk is full or read-only; every earlier checkpoint is still there.
    """
    folder = run / FOLDER
    aside = folder / _part_name()
    try:
        aside.mkdir(parents=True)
        text = json.dumps({"format": FORMAT, **state}, ensure_ascii=False, allow_nan=False, indent=1)
        (aside / STATE).write_text(text, encoding="utf-8")
        for file, tensors in ((MODEL, model), (OPTIMIZER, optimizer)):
            # safetensors refuses tensors that share memory or have gaps, and writes files that only their owner reads.
            save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, aside / file)
            shutil.copymode(aside / STATE, aside / file)
        if (folder / name).exists():  # the same place reached again, after a resume from before it
            os.rename(folder / name, folder / _part_name())
        os.rename(aside, folder / name)
        # Where the process dies in between, the old ``last`` comes to the same epoch, and to the same best one.
        for link in sorted(links, key=lambda link: link == LAST):
            os.symlink(name, aside)
            os.replace(aside, folder / link)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or error
        raise OutputError(
            f"checkpoint {name!r} cannot be written to {str(folder)!r}: {reason}; the ones before it are whole: "
            "make room and run the same command again"
        ) from None
    finally:
        remove_parts(folder)


def remove_parts(folder: Path) -> None:
    """Removes what is half-written, or was replaced."""
    for entry in folder.glob(f"{PART_PREFIX}*"):
        if is_part(entry.name):
            if entry.is_symlink():
                entry.unlink(missing_ok=True)
            else:
                shutil.rmtree(entry, ignore_errors=True)


def rotate(run: Path, keep: int) -> None:
    """Removes what is not needed any more, as far as the file system allows it.

    That is checkpoints beyond the newest ``keep``, but for those that last and best point to, and the moments of all
    checkpoints but the last.
    """
    folder = run / FOLDER
    links = {
        link: os.path.basename(os.readlink(folder / link)) for link in (LAST, BEST) if (folder / link).is_symlink()
    }
    names = sorted((entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name)), key=_place)
    past = [name for name in names if name not in links.values()]
    with suppress(OSError):
        for name in past[: max(len(past) - keep, 0)]:
            # Renamed first, so that one with the name of a checkpoint is always whole.
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
        ConfigError: there is none.
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
        ConfigError: a file is missing, damaged, or something else.
    """
    state = load_state(path)
    model = _tensors(path / MODEL)
    return Checkpoint(path, model, _tensors(path / OPTIMIZER) if with_optimizer else {}, state)


def load_state(path: Path) -> dict[str, Any]:
    """Reads the state in a checkpoint's folder alone.

    Raises:
        ConfigError: it is missing, damaged, or something else.
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


def padded_layers(module: nn.Module) -> dict[str, tuple[Padded, str]]:
    """The layer of each parameter that has padding, and what it is called there, by its name in the module."""
    return {
        f"{prefix}.{name}" if prefix else name: (layer, name)
        for prefix, layer in module.named_modules()
        if isinstance(layer, Padded)
        for name, count in layer.padding_of.items()
        if count
    }


def model_tensors(module: nn.Module) -> dict[str, Tensor]:
    """A module's weights as a checkpoint stores them: without padding."""
    padded = padded_layers(module)
    return {name: _packed(padded, name, value) for name, value in module.state_dict().items()}


def _packed(padded: Mapping[str, tuple[Padded, str]], name: str, value: Tensor) -> Tensor:
    if name not in padded:
        return value
    layer, own = padded[name]
    return layer.pack(own, value)


def _unpacked(padded: Mapping[str, tuple[Padded, str]], name: str, value: Tensor, wanted: Tensor) -> Tensor:
    """As the module has it; ValueError where it does not fit. Format 1 stored the padding."""
    if value.shape == wanted.shape:
        return value
    if name not in padded:
        raise ValueError(f"shape {list(value.shape)} instead of {list(wanted.shape)}")
    layer, own = padded[name]
    return layer.unpack(own, value)


def load_into(module: nn.Module, tensors: dict[str, Tensor], what: str) -> None:
    """Puts tensors into a module of the same names and shapes.

    Raises:
        ConfigError: names or shapes differ; names them.
    """
    wanted, padded = module.state_dict(), padded_layers(module)
    wrong = [f"no {name}" for name in wanted if name not in tensors]
    wrong += [f"an unknown {shown(name)}" for name in tensors if name not in wanted]
    whole: dict[str, Tensor] = {}
    for name, value in wanted.items():
        if name in tensors:
            try:
                whole[name] = _unpacked(padded, name, tensors[name], value)
            except ValueError as error:
                wrong.append(f"{name} of {error}")
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ConfigError(f"{what} belongs to another configuration: it has {', '.join(wrong[:3])}{more}")
    module.load_state_dict(whole)


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as a checkpoint stores it: ``<kind>/<parameter>``, without padding."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    padded = padded_layers(module)
    return {
        f"{kind}/{names[parameter]}": _packed({} if kind == STEP else padded, names[parameter], torch.as_tensor(value))
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def load_optimizer(module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts optimizer_tensors back.

    Raises:
        ConfigError: they belong to other parameters.
    """
    parameters, padded = dict(module.named_parameters()), padded_layers(module)
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            raise ConfigError(f"the optimiser's state belongs to another configuration: {shown(name)} is no parameter")
        parameter = parameters[name]
        if kind == STEP:
            optimizer.state[parameter][kind] = value.to(parameter.device)  # where fused AdamW keeps it
            continue
        try:
            whole = _unpacked(padded, name, value, parameter)
        except ValueError as error:
            raise ConfigError(
                f"the optimiser's state belongs to another configuration: {shown(key)} has {error}"
            ) from None
        # Fused AdamW walks through memory: moments must lie in memory as their parameter does.
        optimizer.state[parameter][kind] = torch.empty_like(parameter, requires_grad=False).copy_(whole)
