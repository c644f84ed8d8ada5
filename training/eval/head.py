"""From predictions to files: results.json, tables in CSV, plots, and one page that shows all of it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.results import csv_line, plain, put
from training.eval import breakdown
from training.eval import plots as evaluation_plots
from training.eval import report as evaluation_page
from training.eval.baselines import COORDINATE_FLOORS
from training.eval.breakdown import ROW_FIGURES, Record
from training.eval.metrics import THRESHOLD, Predictions, Targets, score
from training.eval.summary import DEFINITIONS, told_by

FORMAT = 1
_COUNTS = ("pictures", "persons", "points", "visible_points")


def evaluate(
    predictions: Predictions,
    targets: Targets,
    records: Sequence[Record],
    floors: Mapping[str, Predictions],
    out: Path,
    *,
    size: int,
    title: str,
    metadata: Mapping[str, object] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    picture: Callable[[int], NDArray[np.uint8]] | None = None,
    threshold: float = THRESHOLD,
    zero_fpr: float | None = None,
) -> dict[str, Any]:
    """Measures predictions and their floors and writes what was found below ``out``.

    ``results.json``; ``overall.csv``, ``by_group.csv``, ``by_acupoint.csv``; ``reliability.png``; and ``report.html``,
    which holds all it shows.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        records: [N] what is known of each.
        floors: predictions of the same pictures by floor (floors.Floors.predict).
        out: folder, made if need be.
        size: side of the pictures in pixels, in which errors are told.
        title: of the page.
        metadata: what was evaluated: run, checkpoint, data; shown as it is.
        groups: further divisions of the pictures, title -> [N] group, such as the light of the data set's root.
        picture: the pixels [S, S, 3] of a picture by its number, for overlays; may raise AcuSimError. None shows none.
        threshold: probability from which a point counts as predicted visible.
        zero_fpr: the threshold without false positives, chosen on other pictures.

    Returns:
        What results.json holds.

    Raises:
        ConfigError: numbers of pictures differ, or there are none.
        OutputError: a file cannot be written.
    """
    divisions = breakdown.groups_of(records) | {name: list(labels) for name, labels in (groups or {}).items()}
    for name, labels in divisions.items():
        if len(labels) != len(predictions):
            raise ConfigError(f"{len(labels)} pictures have a {name}, {len(predictions)} have predictions")
    persons = [record.person for record in records]
    model = score(predictions, targets, persons, size, threshold, zero_fpr)
    below = {name: score(floor, targets, persons, size, threshold) for name, floor in floors.items()}
    for name, entry in below.items():
        entry["figures"] = told_by(name, entry["figures"])
    sums = breakdown.add_up(predictions, targets, persons, size, threshold)
    floor_sums = {name: breakdown.add_up(floor, targets, persons, size, threshold) for name, floor in floors.items()}
    by_group = {"meridian": breakdown.rows_by_meridian(len(records), sums, floor_sums)} | {
        name: breakdown.rows_by_picture(labels, persons, sums, floor_sums) for name, labels in divisions.items()
    }
    by_point = breakdown.rows_by_point(len(records), sums, floor_sums)
    for row in (*by_point, *(row for rows in by_group.values() for row in rows)):
        row["floors"] = {name: told_by(name, values) for name, values in row["floors"].items()}
    found = {
        "format": FORMAT,
        "title": title,
        "metadata": {str(name): str(value) for name, value in (metadata or {}).items()},
        "model": model,
        "floors": below,
        "by_group": by_group,
        "by_acupoint": by_point,
    }
    results = plain(found, decimals=None)
    put(out / "results.json", (json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode())
    put(out / "overall.csv", _overall_lines(results))
    put(out / "by_group.csv", _row_lines(results["by_group"], list(floors)))
    put(out / "by_acupoint.csv", _row_lines({"acupoint": results["by_acupoint"]}, list(floors)))
    camera_floor = next((name for name in reversed(COORDINATE_FLOORS) if name in floors), None)
    plots = {
        "reliability": evaluation_plots.reliability_plot(model["reliability"]),
        "view": evaluation_plots.view_plot(sums, np.asarray(targets.frame)),
        "point": evaluation_plots.point_plot(by_point, camera_floor),
        "visibility": evaluation_plots.visibility_plot(sums),
    }
    put(out / "reliability.png", plots["reliability"])
    shown = evaluation_page.overlays(predictions, targets, records, sums, picture, threshold) if picture else []
    put(out / "report.html", evaluation_page.page(results, plots, shown))
    return results


def _overall_lines(results: Mapping[str, Any]) -> Iterable[bytes]:
    floors = results["floors"]
    yield csv_line(["figure", "title", "unit", "value", "low", "high", *floors, "definition"])
    for definition in DEFINITIONS:
        figure = results["model"]["figures"][definition.name]
        below = [entry["figures"].get(definition.name, {"value": None})["value"] for entry in floors.values()]
        unit = "share" if definition.unit == "%" else definition.unit
        yield csv_line(
            [definition.name, definition.title, unit, *map(_cell, (*figure.values(), *below)), definition.meaning]
        )


def _row_lines(tables: Mapping[str, Sequence[Mapping[str, Any]]], floors: Sequence[str]) -> Iterable[bytes]:
    ends = ("value", "low", "high")
    header = [name if end == "value" else f"{name}_{end}" for name in ROW_FIGURES for end in ends]
    yield csv_line(
        ["group", "value", *_COUNTS, *header, *(f"{name}: {floor}" for floor in floors for name in ROW_FIGURES)]
    )
    for group, rows in tables.items():
        for row in rows:
            figures = [row["figures"][name][end] for name in ROW_FIGURES for end in ends]
            below = [row["floors"][floor].get(name) for floor in floors for name in ROW_FIGURES]
            yield csv_line([group, row["value"], *(row[name] for name in _COUNTS), *map(_cell, (*figures, *below))])


def _cell(value: float | None) -> str:
    """Six digits are more than any of these figures is good for; empty where there is nothing."""
    return "" if value is None else f"{value:.6g}"
