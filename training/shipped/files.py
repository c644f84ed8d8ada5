"""Files of a shipped model: a network's settings and weights without the history of its training.

Matrices and kernels are stored as fp16; biases, scales and running statistics, which are small and sensitive, as fp32.
Reading gives fp32. The header of the weights' file holds what results and data splits need: epoch, digest of the
training data, hash of the checkpoint, and the part of each person.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acusim.errors import ConfigError, LayoutError, shown
from acusim.files import sha256, write_atomic
from acusim.settings import toml_lines
from acusim.tensor_files import read_header
from training.shipped import FOLDER, MODEL_FILE, NAMES, available

if TYPE_CHECKING:
    from torch import Tensor

FORMAT = 1
_OF_RUNS = ("data.json", "state.json")
"""Files that a run or a checkpoint has, and no shipped model."""
METADATA = "acusim_model"
"""Key in the header of the weights' file; a single one, because safetensors does not keep an order of several."""
CONFIG_FILE, POINTS_FILE, CARD_FILE = "config.toml", "points.toml", "card.md"
TEMPLATE_FILE = "template.safetensors"
MAX_BYTES = 8_000_000
"""Of the weights' file."""
MAX_READ_BYTES = 256 << 20
"""A larger file is none of ours."""
_FACTS = {"epoch": int, "digest": str, "source_sha256": str, "persons": dict}
"""Entries of the metadata beside the format, and their types."""
DTYPES = {"F16", "F32", "I64"}


@dataclass(frozen=True, slots=True, eq=False)
class ShippedWeights:
    """Content of a weights' file."""

    weights: "dict[str, Tensor]"
    """fp32, and integers as they are; by the network's own names."""
    sha256: str
    """Of the file."""
    epoch: int
    """Epochs of training."""
    digest: str
    """Of the training data."""
    source_sha256: str
    """Of the weights in the run's checkpoint."""
    persons: dict[str, Any]
    """The part of each person."""


def is_shipped(folder: Path) -> bool:
    """Whether a folder holds a model in this form rather than a run or a checkpoint."""
    if folder.parent == FOLDER and folder.name in NAMES:
        return True
    return (folder / MODEL_FILE).is_file() and not any((folder / name).exists() for name in _OF_RUNS)


def check_installed(folder: Path) -> None:
    """Checks that the files of a shipped model are there.

    Raises:
        ConfigError: they are missing from this installation.
    """
    missing = [name for name in (CONFIG_FILE, MODEL_FILE) if not (folder / name).is_file()]
    if missing and folder.parent == FOLDER:
        others = ", ".join(available())
        raise ConfigError(
            f"the shipped model {folder.name!r} is not installed: {str(folder)!r} lacks {' and '.join(missing)}; "
            f"reinstall the package, or name a folder that train wrote" + (f" (installed: {others})" if others else "")
        )


def read_weights(folder: Path) -> ShippedWeights:
    """Reads the weights of a folder.

    Raises:
        ConfigError: they are missing or damaged, or were not written by ``ship``.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import load

    path = folder / MODEL_FILE
    check_installed(folder)
    try:
        if path.stat().st_size > MAX_READ_BYTES:
            raise ConfigError(f"{str(path)!r} is larger than {MAX_READ_BYTES >> 20} MiB: ship did not write it")
        types = {tensor.dtype for tensor in read_header(path).values()}
        data = path.read_bytes()
        facts = _facts(data, path)
        if types - DTYPES:
            raise LayoutError(f"it holds {', '.join(sorted(types - DTYPES))}; ship writes {', '.join(sorted(DTYPES))}")
        tensors = load(data)
    except OSError as error:
        raise ConfigError(f"{str(path)!r} cannot be read: {error.strerror}") from None
    except (LayoutError, SafetensorError) as error:
        raise ConfigError(f"the model's weights {str(path)!r}: {error}; take another copy of the file") from None
    weights = {name: tensor.float() if tensor.dtype == torch.float16 else tensor for name, tensor in tensors.items()}
    return ShippedWeights(weights, sha256(data), **facts)


def _facts(data: bytes, path: Path) -> dict[str, Any]:
    """What the header says of the training."""
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    try:
        facts = json.loads(header.get("__metadata__", {})[METADATA])
        version = facts.pop("format")
    except (KeyError, ValueError, AttributeError, TypeError, RecursionError):
        raise ConfigError(f"{str(path)!r} lacks the metadata that ship writes: it is no shipped model") from None
    if version != FORMAT:
        raise ConfigError(f"{str(path)!r} is of format {shown(version)}; this version reads {FORMAT}: update it")
    if {name: type(value) for name, value in facts.items()} != _FACTS:
        raise ConfigError(f"{str(path)!r} is damaged: its metadata are {shown(sorted(facts))}")
    return facts


def packed(tensors: "dict[str, Tensor]", facts: dict[str, Any]) -> bytes:
    """A weights' file; the same bytes for the same values.

    Raises:
        ConfigError: a number does not fit fp16, or the file is larger than MAX_BYTES.
    """
    import torch
    from safetensors.torch import save

    stored: dict[str, torch.Tensor] = {}
    for name, tensor in tensors.items():
        value = tensor.detach().cpu().contiguous()
        if value.is_floating_point():
            value = value.half() if value.ndim > 1 else value.float()
            if not value.isfinite().all():
                raise ConfigError(f"weights {name!r} hold a number that is not finite as fp16; train with weight decay")
        stored[name] = value
    text = json.dumps({"format": FORMAT, **facts}, ensure_ascii=False, sort_keys=True)
    data = save(stored, {METADATA: text})
    if len(data) > MAX_BYTES:
        raise ConfigError(
            f"the weights take {len(data) / 1e6:.1f} MB as fp16; a shipped model has at most {MAX_BYTES / 1e6:g} MB: "
            "train a smaller network"
        )
    return data


def write_folder(
    folder: Path,
    config: str,
    weights: bytes,
    card: str,
    points: list[dict[str, Any]] | None,
    template: bytes | None = None,
) -> None:
    """Writes the files of a shipped model, the weights last; files of the same names are replaced.

    Raises:
        OSError: the folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if points is not None:
        rows = "\n".join(f"[[point]]\n{toml_lines(row)}" for row in points)
        write_atomic(folder / POINTS_FILE, rows.encode())
    if template is not None:
        write_atomic(folder / TEMPLATE_FILE, template)
    write_atomic(folder / CONFIG_FILE, config.encode())
    write_atomic(folder / CARD_FILE, card.encode())
    write_atomic(folder / MODEL_FILE, weights)
