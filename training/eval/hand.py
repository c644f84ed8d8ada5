"""From predictions of hands to files: results.json, tables in CSV, and one page that shows all of it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.results import csv_line, plain, put
from training.data.hand_dataset import HandData, HandSquares
from training.eval import hand_report as page
from training.eval.hand_metrics import FIGURES, MetricSettings, point_terms, report
from training.tasks import hand_type
from training.tasks.hand import HandPredictions

FORMAT = 1
MEAN_POSE = "mean pose"
"""The floor: the mean place of each point over the training pictures, told without looking at a picture."""
MEANINGS = {
    "mse_px2": "squared error in px², mean over x and y",
    "mse": "squared error in units of the square's side",
    "error_px": "distance in px",
    "pck": "share of points nearer than {pck:g} of the side",
    "precision": "share of points nearer than {precision_px:g} px",
    "iou": "overlap of boxes of {box_px:g} px around the true and the predicted point",
    "oks": "exp(-d² / (2 s² k²)), k = {k:g}, s² the area of the box around the true points; mean over pictures",
}


def evaluate(
    predictions: HandPredictions,
    squares: HandSquares,
    data: HandData,
    floor: NDArray[np.float64] | None,
    out: Path,
    *,
    settings: MetricSettings,
    title: str,
    metadata: Mapping[str, object],
    majority: Sequence[int] | None = None,
    heatmaps: Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]] | None = None,
) -> dict[str, Any]:
    """Measures predictions and their floor, in pixels of the square, and writes what was found below ``out``.

    ``results.json``; ``overall.csv``, ``by_acupoint.csv``, ``by_group.csv``, ``by_point.csv`` (every point of every
    picture, in the picture's own pixels); ``hand_type.csv`` where the network tells it; and ``report.html``.

    Args:
        predictions: of N squares.
        squares: the same.
        data: the folder they come from.
        floor: [P, 2] mean pose in pixels of the square; None where no training picture is there.
        out: folder, made if need be.
        settings: what the figures are measured with.
        title: of the page.
        metadata: what was evaluated; shown as it is.
        majority: as for hand_type.report.
        heatmaps: true and predicted heatmaps [P, S, S] of a square by its number; None for networks without.

    Returns:
        What results.json holds.

    Raises:
        OutputError: a file cannot be written.
    """
    records = [data.records[row] for row in squares.row]
    subjects = [record.subject for record in records]
    predicted = {"model": predictions.xy.astype(np.float64) * squares.size}
    if floor is not None:
        predicted[MEAN_POSE] = np.broadcast_to(floor, squares.xy.shape)

    def measured(rows: NDArray[np.intp], who: str) -> Any:
        chosen = [subjects[row] for row in rows]
        true, visible = squares.xy[rows], squares.visible[rows]
        return report(predicted[who][rows], true, visible, chosen, data.points.ids, settings)

    everything = np.arange(len(squares))
    reports = {who: measured(everything, who) for who in predicted}
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in ("side", "face"):
        values = np.array([getattr(record, name) or "not told" for record in records])
        groups[name] = []
        for value in sorted(set(values)) if len(set(values)) > 1 else []:
            rows = np.flatnonzero(values == value)
            figures = {who: measured(rows, who).overall for who in predicted}
            groups[name].append(_row(value, figures, squares.visible[rows], len({subjects[row] for row in rows})))
    model = reports["model"]
    by_point = [
        {
            **_row(
                point.id,
                {who: found.points[point.id] for who, found in reports.items()},
                squares.visible[:, [point.index]],
                model.subjects,
            ),
            "pinyin": point.pinyin,
            "chinese": point.chinese,
        }
        for point in data.points.points
    ]
    found = {
        "format": FORMAT,
        "title": title,
        "metadata": {str(name): str(value) for name, value in metadata.items()},
        "settings": model.as_json()["settings"],
        "meanings": {name: text.format(**model.as_json()["settings"]) for name, text in MEANINGS.items()},
        "pictures": model.pictures,
        "subjects": model.subjects,
        "visible_points": int(squares.visible.sum()),
        **_figures({who: entry.overall for who, entry in reports.items()}),
        "by_acupoint": by_point,
        "by_group": {name: rows for name, rows in groups.items() if rows},
    }
    if predictions.types is not None:
        found["hand_type"] = hand_type.report(predictions.types, hand_type.known_types(records), subjects, majority)
    results = plain(found, decimals=None)
    put(out / "results.json", (json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n").encode())
    put(out / "overall.csv", _overall_lines(results))
    put(out / "by_acupoint.csv", _row_lines({"acupoint": results["by_acupoint"]}))
    put(out / "by_group.csv", _row_lines(results["by_group"]))
    put(out / "by_point.csv", _point_lines(predictions, squares, data))
    if predictions.types is not None:
        put(out / "hand_type.csv", _type_lines(predictions.types, squares, data))
    errors = {
        who: point_terms(places, squares.xy, squares.visible, settings)["error_px"] for who, places in predicted.items()
    }
    put(out / "report.html", page.page(results, errors, predictions, squares, data, settings, heatmaps))
    return results


def _figures(by_whom: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``figures`` of the model and ``floors`` of the others."""
    told = {who: {name: figure.as_json() for name, figure in figures.items()} for who, figures in by_whom.items()}
    return {"figures": told.pop("model"), "floors": told}


def _row(value: str, by_whom: Mapping[str, Any], visible: NDArray[np.bool_], subjects: int) -> dict[str, Any]:
    counts = {"pictures": len(visible), "subjects": subjects, "visible_points": int(visible.sum())}
    return {"value": value, **counts, **_figures(by_whom)}


def _overall_lines(results: Mapping[str, Any]) -> Iterable[bytes]:
    floors = results["floors"]
    yield csv_line(["figure", "value", "low", "high", *floors, "meaning"])
    for name in FIGURES:
        below = [entry[name]["value"] for entry in floors.values()]
        yield csv_line([name, *map(_cell, (*results["figures"][name].values(), *below)), results["meanings"][name]])


def _row_lines(tables: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterable[bytes]:
    ends = ("value", "low", "high")
    header = [name if end == "value" else f"{name}_{end}" for name in FIGURES for end in ends]
    counts = ("pictures", "subjects", "visible_points")
    floors = next((list(row["floors"]) for rows in tables.values() for row in rows), [])
    yield csv_line(["group", "value", *counts, *header, *(f"{floor}: {name}" for floor in floors for name in FIGURES)])
    for group, rows in tables.items():
        for row in rows:
            figures = [row["figures"][name][end] for name in FIGURES for end in ends]
            below = [row["floors"][floor][name]["value"] for floor in floors for name in FIGURES]
            yield csv_line([group, row["value"], *(row[name] for name in counts), *map(_cell, (*figures, *below))])


def _point_lines(predictions: HandPredictions, squares: HandSquares, data: HandData) -> Iterable[bytes]:
    """Every point of every picture, in pixels of the upright picture."""
    yield csv_line(["image", "subject", "point", "visible", "true_x", "true_y", "x", "y", "confidence"])
    for k, row in enumerate(squares.row):
        record, way = data.records[row], squares.transforms[k]
        found = way.from_unit(predictions.xy[k])
        for point in data.points.points:
            seen = bool(squares.visible[k, point.index])
            true = data.xy[row, point.index].tolist() if seen else (None, None)
            sure = None if predictions.confidence is None else float(predictions.confidence[k, point.index])
            numbers = map(_cell, (*true, *found[point.index].tolist(), sure))
            yield csv_line([record.image, record.subject, point.id, int(seen), *numbers])


def _type_lines(types: NDArray[np.float32], squares: HandSquares, data: HandData) -> Iterable[bytes]:
    """Every picture: what it is and what the network says, with its probability."""
    yield csv_line(
        ["image", "subject", *(f"{word}{name}" for name in hand_type.TRAITS for word in ("true ", "", "p "))]
    )
    for row, probability in zip(squares.row, types, strict=True):
        record, cells = data.records[row], []
        for name, said in hand_type.type_json(probability).items():
            cells += [getattr(record, name) or "", said["value"], _cell(said["probability"])]
        yield csv_line([record.image, record.subject, *cells])


def _cell(value: float | None) -> str:
    """Six digits are more than any of these figures is good for; empty where there is nothing."""
    return "" if value is None else f"{value:.6g}"
