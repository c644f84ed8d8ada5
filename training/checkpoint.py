"""Checkpoints: a folder with weights, the optimiser's moments and a readable state; there whole or not at all.

    RUN/checkpoints/epoch_0012/model.safetensors       weights under the modules' names
                              /optimizer.safetensors   AdamW's moments and steps: <kind>/<parameter>
                              /state.json              where training stands, figures, what made it
    RUN/checkpoints/last, best                         links to such folders

A checkpoint is written aside and renamed, then the link is replaced, which is one step for the file system: whenever
the process dies, ``last`` is a whole checkpoint.
"""

import json
import os
import re
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from acusim.errors import ConfigError, LayoutError, OutputError, shown
from acusim.files import PART_PREFIX, PART_SUFFIX, is_part, sha256
from acusim.tensor_files import read_header

FORMAT = 1
FOLDER, LAST, BEST = "checkpoints", "last", "best"
MODEL, OPTIMIZER, STATE = "model.safetensors", "optimizer.safetensors", "state.json"
MAX_STATE_BYTES = 256 << 20
_STATE = {"epoch": int, "step": int, "best_epoch": int, "history": list, "identity": dict}
"""What every state must hold, and of what type."""
_NAME = re.compile(r"epoch_[0-9]{4,}(_step_[0-9]{7,})?")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a folder holds, tensors on the CPU."""

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
    aside = folder / f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}"
    try:
        aside.mkdir(parents=True)
        # safetensors refuses tensors that share memory or have gaps.
        save_file({key: value.detach().cpu().contiguous() for key, value in model.items()}, aside / MODEL)
        save_file({key: value.detach().cpu().contiguous() for key, value in optimizer.items()}, aside / OPTIMIZER)
        text = json.dumps({"format": FORMAT, **state}, ensure_ascii=False, allow_nan=False, indent=1)
        (aside / STATE).write_text(text, encoding="utf-8")
        if (folder / name).exists():  # the same place reached again, after a resume from before it
            os.rename(folder / name, aside.with_name(f"{PART_PREFIX}{secrets.token_hex(6)}{PART_SUFFIX}"))
        os.rename(aside, folder / name)
        for link in links:
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
    """Removes checkpoints beyond the newest ``keep``, but for those that last and best point to."""
    folder = run / FOLDER
    kept = {os.path.basename(os.readlink(folder / link)) for link in (LAST, BEST) if (folder / link).is_symlink()}
    past = sorted(entry.name for entry in folder.iterdir() if _NAME.fullmatch(entry.name) and entry.name not in kept)
    for name in past[: len(past) - keep]:
        shutil.rmtree(folder / name, ignore_errors=True)


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
    there = sorted(p.name for p in (run / FOLDER).glob("*") if not is_part(p.name)) if (run / FOLDER).is_dir() else []
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
        if not isinstance(state, dict) or state.get("format") != FORMAT:
            raise ConfigError(f"{str(state_path)!r} is not the state of a checkpoint of format {FORMAT}")
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


def load_into(module: nn.Module, tensors: dict[str, Tensor], what: str) -> None:
    """Puts tensors into a module of the same names and shapes.

    Raises:
        ConfigError: names or shapes differ; tells which.
    """
    wanted = module.state_dict()
    wrong = [f"no {name}" for name in wanted if name not in tensors]
    wrong += [f"an unknown {shown(name)}" for name in tensors if name not in wanted]
    wrong += [
        f"{name} of shape {list(tensors[name].shape)} instead of {list(value.shape)}"
        for name, value in wanted.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise ConfigError(f"{what} belongs to another configuration: it has {', '.join(wrong[:3])}{more}")
    module.load_state_dict(tensors)


def optimizer_tensors(module: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """An optimiser's state as tensors: ``<kind>/<parameter>``."""
    names: dict[Tensor, str] = {parameter: name for name, parameter in module.named_parameters()}
    return {
        f"{kind}/{names[parameter]}": torch.as_tensor(value)
        for parameter, state in optimizer.state.items()
        for kind, value in state.items()
    }


def load_optimizer(module: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Puts optimizer_tensors back.

    Raises:
        ConfigError: they belong to other parameters.
    """
    parameters = dict(module.named_parameters())
    for key, value in tensors.items():
        kind, _, name = key.partition("/")
        if name not in parameters:
            raise ConfigError(f"the optimiser's state belongs to another configuration: {shown(name)} is no parameter")
        parameter = parameters[name]
        if kind != "step" and value.shape != parameter.shape:
            raise ConfigError(
                f"the optimiser's {shown(key)} has shape {list(value.shape)}, not {list(parameter.shape)}"
            )
        if kind == "step":
            optimizer.state[parameter][kind] = value.to(parameter.device)  # where fused AdamW keeps it
        else:
            # Fused AdamW walks through memory: moments must lie in memory as their parameter does.
            optimizer.state[parameter][kind] = torch.empty_like(parameter, requires_grad=False).copy_(value)
