"""Trials as text, for the store: what ``calibrate`` has measured survives its interruption.

The arrays and numbers of some trials are one NumPy archive without pickled objects, each under the number of its trial
and the names of its fields.
"""

import base64
import io
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from evaluation.trials import Trial


def to_text(trials: Sequence[Trial]) -> str:
    """Some trials as text."""
    out = io.BytesIO()
    arrays = {name: array for number, trial in enumerate(trials) for name, array in _flat(trial, f"{number}.")}
    np.savez_compressed(out, count=np.array(len(trials)), **arrays)
    return base64.b85encode(out.getvalue()).decode()


def from_text(text: Any) -> list[Trial]:
    """The trials in a text.

    Raises:
        ValueError: it is none, or damaged.
    """
    if not isinstance(text, str):
        raise ValueError(f"trials are text, not {type(text).__name__}")
    try:
        with np.load(io.BytesIO(base64.b85decode(text)), allow_pickle=False) as arrays:
            return [_built(Trial, arrays, f"{number}.") for number in range(int(arrays["count"]))]
    except (KeyError, TypeError, ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise ValueError(f"trials are damaged: {error}") from None


def _flat(value: Any, prefix: str) -> Iterator[tuple[str, NDArray[Any]]]:
    """The fields of a dataclass and of those in it, by their names."""
    for entry in fields(value):
        inner = getattr(value, entry.name)
        if is_dataclass(inner):
            yield from _flat(inner, f"{prefix}{entry.name}.")
        else:
            yield f"{prefix}{entry.name}", np.asarray(inner)


def _built(kind: Any, arrays: Mapping[str, NDArray[Any]], prefix: str) -> Any:
    values: dict[str, Any] = {}
    for name, hint in get_type_hints(kind).items():
        if is_dataclass(hint):
            values[name] = _built(hint, arrays, f"{prefix}{name}.")
            continue
        array = arrays[prefix + name]
        is_array, is_tuple = (get_origin(hint) is wanted for wanted in (np.ndarray, tuple))
        values[name] = array if is_array else tuple(array.tolist()) if is_tuple else array.item()
    return kind(**values)
