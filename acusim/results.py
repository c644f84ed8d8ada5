"""Results of a command: values for JSON, lines of CSV, files that are written completely or not at all."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from acusim.errors import OutputError
from acusim.files import write_atomic


def json_values(value: Any, decimals: int | None = 5) -> Any:
    """Dataclasses and NumPy numbers as JSON values; NaN and infinities become None.

    Args:
        value: anything made of dataclasses, dictionaries, sequences, arrays, numbers and texts.
        decimals: digits after the point that are kept; None keeps all.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): json_values(entry, decimals) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [json_values(entry, decimals) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return value if decimals is None else round(value, decimals)
    return value


def csv_line(values: Iterable[Any]) -> bytes:
    """One line of a CSV file; a cell that starts like a formula is turned into text, so that no spreadsheet runs it."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        f"'{value}" if isinstance(value, str) and value[:1] in ("=", "@", "\t") else value for value in values
    )
    return out.getvalue().encode()


def write_result(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes a file of the output folder, atomically; creates the folder.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another --out") from None
