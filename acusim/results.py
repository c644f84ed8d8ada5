"""What a command results in: values for JSON, lines of CSV, files that are there whole or not at all."""

import csv
import dataclasses
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from acusim.errors import OutputError
from acusim.files import write_atomic


def plain(value: Any, decimals: int | None = 5) -> Any:
    """Dataclasses and NumPy numbers as JSON values; NaN and infinities become None.

    Args:
        value: anything made of dataclasses, dictionaries, sequences, arrays, numbers and texts.
        decimals: numbers are rounded to so many; None leaves them as they are.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(entry, decimals) for key, entry in value.items()}
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list | tuple):
        return [plain(entry, decimals) for entry in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        if not np.isfinite(value):
            return None
        return value if decimals is None else round(value, decimals)
    return value


def csv_line(values: Iterable[Any]) -> bytes:
    """One line of a CSV file; a cell that starts like a formula is made a text, lest a spreadsheet runs it."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerow(
        f"'{value}" if isinstance(value, str) and value[:1] in ("=", "@", "\t") else value for value in values
    )
    return out.getvalue().encode()


def put(path: Path, data: bytes | Iterable[bytes]) -> None:
    """Writes one file of the output folder, aside and renamed; makes the folder.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another --out") from None
