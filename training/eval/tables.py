"""The files of an evaluation that programs read: results.json and tables in CSV."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from acusim.results import csv_line, json_values, write_result

Rows = Sequence[Mapping[str, Any]]


def write_results(out: Path, results: Mapping[str, Any]) -> dict[str, Any]:
    """Writes results.json; returns what it holds: JSON values, null for NaN.

    Raises:
        OutputError: it cannot be written.
    """
    found: dict[str, Any] = json_values(dict(results), decimals=None)
    text = json.dumps(found, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_result(out / "results.json", text.encode())
    return found


def row_lines(
    tables: Mapping[str, Rows],
    counts: Sequence[str],
    figures: Sequence[str],
    column: str,
    value: Callable[[Mapping[str, Any], str], float | None],
) -> Iterable[bytes]:
    """One line for each row of some tables: counts, figures with their intervals, and the baselines' figures.

    Args:
        tables: by their title.
        counts: keys of whole numbers in a row.
        figures: keys in a row's figures.
        column: title of a baseline's column, with {figure} and {baseline}.
        value: a figure, by its name, of a baseline's entry in a row.
    """
    ends = ("value", "low", "high")
    header = [name if end == "value" else f"{name}_{end}" for name in figures for end in ends]
    baselines = next((list(row["baselines"]) for rows in tables.values() for row in rows), [])
    titles = [column.format(figure=name, baseline=baseline) for baseline in baselines for name in figures]
    yield csv_line(["group", "value", *counts, *header, *titles])
    for group, rows in tables.items():
        for row in rows:
            own = [row["figures"][name][end] for name in figures for end in ends]
            others = [value(row["baselines"][baseline], name) for baseline in baselines for name in figures]
            yield csv_line([group, row["value"], *(row[name] for name in counts), *map(cell, (*own, *others))])


def cell(value: float | None) -> str:
    """A number with six digits, more than any of these figures is good for; empty for None."""
    return "" if value is None else f"{value:.6g}"
