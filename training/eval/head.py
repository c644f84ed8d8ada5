"""From predictions of heads to files: results.json, tables in CSV, plots, and one page that shows all of it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.results import csv_line, write_result
from training.data.sources import head_key
from training.eval import breakdown, head_report, plots
from training.eval.baselines import COORDINATE_BASELINES
from training.eval.breakdown import ROW_FIGURES, Record, Sums
from training.eval.metrics import THRESHOLD, TOLERANCE_MM, errors_mm
from training.eval.occluded import occluded_errors
from training.eval.overlays import Overlay
from training.eval.predictions import Predictions, Targets
from training.eval.score import score
from training.eval.summary import DEFINITIONS, figures_of
from training.eval.tables import cell, row_lines, write_results

FORMAT = 2
"""1 had "floors" for "baselines"."""
_COUNTS = ("pictures", "persons", "points", "visible_points")


def evaluate(
    predictions: Predictions,
    targets: Targets,
    records: Sequence[Record],
    baselines: Mapping[str, Predictions],
    out: Path,
    *,
    size: int,
    title: str,
    metadata: Mapping[str, object] | None = None,
    groups: Mapping[str, Sequence[str]] | None = None,
    picture: Callable[[int], NDArray[np.uint8]] | None = None,
    threshold: float = THRESHOLD,
    zero_fpr: Mapping[str, float] | None = None,
    heatmaps: Callable[[int], NDArray[np.float32]] | None = None,
) -> dict[str, Any]:
    """Measures predictions and their baselines and writes the results to ``out``.

    ``results.json``; ``overall.csv``, ``by_group.csv``, ``by_acupoint.csv``; ``reliability.png``; and ``report.html``,
    which holds all it shows.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        records: [N] facts about each.
        baselines: predictions for the same pictures by baseline (baselines.Baselines.predict).
        out: folder, created if need be.
        size: side of the pictures in pixels, the unit of errors.
        title: of the page.
        metadata: what was evaluated: run, checkpoint, data; shown as it is.
        groups: further divisions of the pictures, title -> [N] group, such as the light of the data set's root.
        picture: the pixels [S, S, 3] of a picture by its number, for overlays; may raise AcuSimError. None shows none.
        threshold: probability from which a point counts as predicted visible.
        zero_fpr: the thresholds without false positives, chosen on other pictures: of "model" and of each baseline.
        heatmaps: those [174, h, w] of a picture by its number; None for networks without.

    Returns:
        The content of results.json.

    Raises:
        ConfigError: numbers of pictures differ, or there are none.
        OutputError: a file cannot be written.
    """
    persons = [record.person for record in records]
    divisions = _divisions(records, groups or {}, len(predictions))
    chosen = zero_fpr or {}
    by_baseline = {
        name: score(one, targets, persons, size, threshold, chosen.get(name)) for name, one in baselines.items()
    }
    for name, entry in by_baseline.items():
        entry["figures"] = figures_of(name, entry["figures"])
    sums = breakdown.add_up(predictions, targets, persons, size, threshold)
    others = {name: breakdown.add_up(one, targets, persons, size, threshold) for name, one in baselines.items()}
    placed = {"model": predictions} | {name: one for name, one in baselines.items() if name in COORDINATE_BASELINES}
    found = {
        "format": FORMAT,
        "title": title,
        "metadata": {str(name): str(value) for name, value in (metadata or {}).items()},
        "model": score(predictions, targets, persons, size, threshold, chosen.get("model")),
        "baselines": by_baseline,
        "occluded": occluded_errors(
            placed,
            targets,
            persons,
            [head_key(record.person, record.id) for record in records],
        ),
        "by_group": {"meridian": breakdown.rows_by_meridian(len(records), sums, others)}
        | {name: breakdown.rows_by_picture(labels, persons, sums, others) for name, labels in divisions.items()},
        "by_acupoint": breakdown.rows_by_point(len(records), sums, others),
    }
    shown, each = [], []
    if picture:
        shown, each = head_report.overlays(predictions, targets, records, sums, picture, threshold, heatmaps)
    errors = {name: errors_mm(one, targets, size) for name, one in placed.items()}
    return _write(out, found, _plots(found, sums, np.asarray(targets.frame), errors), shown, each)


def _divisions(records: Sequence[Record], groups: Mapping[str, Sequence[str]], count: int) -> dict[str, list[str]]:
    out = breakdown.groups_of(records) | {name: list(labels) for name, labels in groups.items()}
    for name, labels in out.items():
        if len(labels) != count:
            raise ConfigError(f"{len(labels)} pictures have a {name}, {count} have predictions")
    return out


def _plots(
    found: Mapping[str, Any], sums: Sums, frames: NDArray[np.int16], errors: Mapping[str, NDArray[np.float32]]
) -> dict[str, bytes | None]:
    camera = next((name for name in reversed(COORDINATE_BASELINES) if name in found["baselines"]), None)
    return {
        "reliability": plots.reliability_plot(found["model"]["reliability"]),
        "errors": plots.cumulative_plot(errors, "mm", {f"{TOLERANCE_MM:g} mm": TOLERANCE_MM}),
        "view": plots.view_plot(sums, frames),
        "point": plots.point_plot(found["by_acupoint"], camera),
        "visibility": plots.visibility_plot(sums),
    }


def _write(
    out: Path,
    found: Mapping[str, Any],
    drawn: Mapping[str, bytes | None],
    shown: Sequence[Overlay],
    each: Sequence[Overlay],
) -> dict[str, Any]:
    """Writes all files; returns the content of results.json."""
    results = write_results(out, found)
    write_result(out / "overall.csv", _overall_lines(results))
    for name, tables in (("by_group", results["by_group"]), ("by_acupoint", {"acupoint": results["by_acupoint"]})):
        lines = row_lines(tables, _COUNTS, ROW_FIGURES, "{figure}: {baseline}", lambda entry, figure: entry.get(figure))
        write_result(out / f"{name}.csv", lines)
    write_result(out / "reliability.png", drawn["reliability"] or b"")
    write_result(out / "report.html", head_report.page(results, drawn, shown, each))
    return results


def _overall_lines(results: Mapping[str, Any]) -> Iterable[bytes]:
    baselines = results["baselines"]
    yield csv_line(["figure", "title", "unit", "value", "low", "high", *baselines, "definition"])
    for definition in DEFINITIONS:
        figure = results["model"]["figures"][definition.name]
        others = [entry["figures"].get(definition.name, {"value": None})["value"] for entry in baselines.values()]
        unit = "share" if definition.unit == "%" else definition.unit
        yield csv_line(
            [definition.name, definition.title, unit, *map(cell, (*figure.values(), *others)), definition.meaning]
        )
