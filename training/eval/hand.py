"""From predictions of hands to files: results.json, tables in CSV, and one page that shows all of it."""

import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.results import csv_line, write_result
from acusim.statistics import share_of
from training.data.hand_dataset import HandData
from training.data.hand_squares import HandSquares
from training.eval import hand_plots, hand_report, plots
from training.eval.hand_metrics import FIGURES, HandReport, MetricSettings, point_terms, report
from training.eval.heatmap_panels import panels
from training.eval.overlays import Overlay, enlargement, overlays
from training.eval.tables import cell, row_lines, write_results
from training.inference.drawing import draw_points, hand_palette
from training.tasks import hand_type
from training.tasks.hand import HandPredictions

FORMAT = 2
"""1 had "floors" for "baselines"."""
MEAN_POSE = "mean pose"
"""The baseline: the mean place of each point over the training pictures."""
MAJORITY = "majority of each point"
"""Visibility's baseline: what most training pictures show."""
LIMIT = 0.5
"""Probability from which a point counts as visible."""
_SQUARE = " of the square with sides of {size} px that the network sees"
MEANINGS = {
    "mse_px2": "squared error in px², mean over x and y" + _SQUARE,
    "mse": "squared error in units of the square's side",
    "error_px": "distance in px" + _SQUARE,
    "pck": "share of points nearer than {pck:g} of the side",
    "precision": "share of points nearer than {precision_px:g} px" + _SQUARE,
    "iou": "overlap of boxes of {box_px:g} px" + _SQUARE + " around the true and the predicted point",
    "oks": "exp(-d² / (2 s² k²)), k = {k:g}, s² the area of the box around the true points, 1 px² "
    "around a single one, of which hardly any error is small; mean over pictures",
}
_COUNTS = ("pictures", "subjects", "visible_points")
Heatmaps = Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]]
"""True and predicted heatmaps [P, S, S] of a square by its number."""
Measure = Callable[[NDArray[np.intp]], dict[str, HandReport]]
"""Reports of the model and its baseline over some squares."""


def evaluate(
    predictions: HandPredictions,
    squares: HandSquares,
    data: HandData,
    mean_pose: NDArray[np.float64] | None,
    out: Path,
    *,
    settings: MetricSettings,
    title: str,
    metadata: Mapping[str, object],
    majority: Sequence[int] | None = None,
    often_visible: NDArray[np.bool_] | None = None,
    heatmaps: Heatmaps | None = None,
) -> dict[str, Any]:
    """Measures predictions and their baseline, in pixels of the square, and writes the results to ``out``.

    ``results.json``; ``overall.csv``, ``by_acupoint.csv``, ``by_group.csv``, ``by_point.csv`` (every point of every
    picture, in the picture's own pixels); ``hand_type.csv`` where the network has that output; ``report.html``.

    Args:
        predictions: of N squares.
        squares: the same.
        data: the folder they come from.
        mean_pose: [P, 2] the baseline, in pixels of the square; None where no training picture is available.
        out: folder, created if need be.
        settings: parameters of the figures.
        title: of the page.
        metadata: what was evaluated; shown as it is.
        majority: as for hand_type.report.
        often_visible: [P] points that most training pictures show: visibility's baseline; None where it is not known.
        heatmaps: None for networks without.

    Returns:
        The content of results.json.

    Raises:
        OutputError: a file cannot be written.
    """
    records = [data.records[row] for row in squares.row]
    subjects = np.array([record.subject for record in records])
    predicted = {"model": predictions.xy.astype(np.float64) * squares.size}
    if mean_pose is not None:
        predicted[MEAN_POSE] = np.broadcast_to(mean_pose, squares.xy.shape)

    def measure(rows: NDArray[np.intp]) -> dict[str, HandReport]:
        true, visible, chosen = squares.xy[rows], squares.measured[rows], subjects[rows].tolist()
        return {
            name: report(xy[rows], true, visible, chosen, data.points.ids, settings) for name, xy in predicted.items()
        }

    found = {"format": FORMAT, "title": title, "metadata": {name: str(value) for name, value in metadata.items()}}
    found |= _results(squares, data, measure, settings)
    if predictions.of_visibility:
        found["visibility"] = _visibility(predictions, squares, often_visible, subjects)
    if predictions.types is not None:
        known = hand_type.known_types(records)
        found["hand_type"] = hand_type.report(predictions.types, known, subjects.tolist(), majority)
    results = write_results(out, found)
    _write_tables(out, results, predictions, squares, data)
    errors = {
        name: point_terms(xy, squares.xy, squares.measured, settings)["error_px"] for name, xy in predicted.items()
    }
    write_result(out / "report.html", _page(results, errors, predictions, squares, data, settings, heatmaps))
    return results


def _visibility(
    predictions: HandPredictions,
    squares: HandSquares,
    often_visible: NDArray[np.bool_] | None,
    subjects: NDArray[np.str_],
) -> dict[str, Any]:
    """Accuracy of the points' visibility at 0.5, and of what is visible and what is not, beside the majority."""
    assert predictions.confidence is not None
    true, predicted = squares.visible, predictions.confidence >= LIMIT
    whose = np.broadcast_to(subjects[:, None], true.shape)

    def share(right: NDArray[np.bool_], chosen: NDArray[np.bool_]) -> dict[str, float | None]:
        return share_of(right[chosen], whose[chosen]).as_json()

    everything = np.ones_like(true)
    groups = {"accuracy": everything, "visible": true, "not visible": ~true}
    names = {} if often_visible is None else {MAJORITY: share(true == often_visible, everything)}
    figures = {name: share(predicted == true, rows) for name, rows in groups.items() if rows.any()}
    return {"points": int(true.size), **figures, "baselines": names}


def _results(squares: HandSquares, data: HandData, measure: Measure, settings: MetricSettings) -> dict[str, Any]:
    """All figures: overall, by acupoint and by group."""
    reports = measure(np.arange(len(squares)))
    model, parameters = reports["model"], settings.as_json()
    groups: dict[str, list[dict[str, Any]]] = {}
    for name in ("side", "face"):
        values = np.array([getattr(data.records[row], name) or "unknown" for row in squares.row])
        for value in sorted(set(values)) if len(set(values)) > 1 else []:
            rows = np.flatnonzero(values == value)
            part = measure(rows)
            figures = {name: entry.overall for name, entry in part.items()}
            groups.setdefault(name, []).append(_row(value, figures, squares.measured[rows], part["model"].subjects))
    by_point = []
    for point in data.points.points:
        figures = {name: entry.points[point.id] for name, entry in reports.items()}
        row = _row(point.id, figures, squares.measured[:, [point.index]], model.subjects)
        by_point.append({**row, "pinyin": point.pinyin, "chinese": point.chinese})
    return {
        "settings": parameters,
        "meanings": {name: text.format(**parameters) for name, text in MEANINGS.items()},
        "pictures": model.pictures,
        "subjects": model.subjects,
        "visible_points": int(squares.measured.sum()),
        **_figures({name: entry.overall for name, entry in reports.items()}),
        "by_acupoint": by_point,
        "by_group": groups,
    }


def _figures(by_predictor: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """``figures`` of the model and ``baselines`` of the others."""
    found = {who: {name: figure.as_json() for name, figure in figures.items()} for who, figures in by_predictor.items()}
    return {"figures": found.pop("model"), "baselines": found}


def _row(value: str, by_predictor: Mapping[str, Any], visible: NDArray[np.bool_], subjects: int) -> dict[str, Any]:
    counts = {"pictures": len(visible), "subjects": subjects, "visible_points": int(visible.sum())}
    return {"value": value, **counts, **_figures(by_predictor)}


def _write_tables(
    out: Path, results: Mapping[str, Any], predictions: HandPredictions, squares: HandSquares, data: HandData
) -> None:
    write_result(out / "overall.csv", _overall_lines(results))
    for name, tables in (("by_acupoint", {"acupoint": results["by_acupoint"]}), ("by_group", results["by_group"])):
        lines = row_lines(
            tables, _COUNTS, FIGURES, "{baseline}: {figure}", lambda entry, figure: entry[figure]["value"]
        )
        write_result(out / f"{name}.csv", lines)
    write_result(out / "by_point.csv", _point_lines(predictions, squares, data))
    if predictions.types is not None:
        write_result(out / "hand_type.csv", _type_lines(predictions.types, squares, data))


def _overall_lines(results: Mapping[str, Any]) -> Iterable[bytes]:
    baselines = results["baselines"]
    yield csv_line(["figure", "value", "low", "high", *baselines, "meaning"])
    for name in FIGURES:
        others = [entry[name]["value"] for entry in baselines.values()]
        yield csv_line([name, *map(cell, (*results["figures"][name].values(), *others)), results["meanings"][name]])


def _point_lines(predictions: HandPredictions, squares: HandSquares, data: HandData) -> Iterable[bytes]:
    """Every point of every picture, in pixels of the upright picture."""
    yield csv_line(["image", "subject", "point", "visible", "true_x", "true_y", "x", "y", "confidence"])
    for k, row in enumerate(squares.row):
        record, found = data.records[row], squares.transforms[k].from_unit(predictions.xy[k])
        for point in data.points.points:
            visible = bool(squares.visible[k, point.index])
            true = data.xy[row, point.index].tolist() if squares.measured[k, point.index] else (None, None)
            confidence = None if predictions.confidence is None else float(predictions.confidence[k, point.index])
            numbers = map(cell, (*true, *found[point.index].tolist(), confidence))
            yield csv_line([record.image, record.subject, point.id, int(visible), *numbers])


def _type_lines(types: NDArray[np.float32], squares: HandSquares, data: HandData) -> Iterable[bytes]:
    """Every picture: its type, and the network's answer with its probability."""
    yield csv_line(
        ["image", "subject", *(f"{word}{name}" for name in hand_type.TRAITS for word in ("true ", "", "p "))]
    )
    for row, probability in zip(squares.row, types, strict=True):
        record, cells = data.records[row], []
        for name, answer in hand_type.type_json(probability).items():
            cells += [getattr(record, name) or "", answer["value"], cell(answer["probability"])]
        yield csv_line([record.image, record.subject, *cells])


def _page(
    results: Mapping[str, Any],
    errors: Mapping[str, NDArray[np.float64]],
    predictions: HandPredictions,
    squares: HandSquares,
    data: HandData,
    settings: MetricSettings,
    heatmaps: Heatmaps | None,
) -> bytes:
    """The page; ``errors`` are [N, P] distances in px of the model and its baseline, NaN where not visible."""
    counted = (~np.isnan(errors["model"])).sum(1)
    means = np.divide(np.nansum(errors["model"], 1), counted, out=np.full(len(counted), np.nan), where=counted > 0)

    def draw(row: int) -> NDArray[np.uint8]:
        confidence = None if predictions.confidence is None else predictions.confidence[row]
        drawn = np.arange(len(data.points))
        if predictions.of_visibility and confidence is not None:
            drawn = np.flatnonzero((confidence >= LIMIT) | squares.visible[row])
        true = np.where(squares.measured[row][:, None], squares.xy[row].astype(np.float64), np.nan)
        return draw_points(
            squares.pixels[row],
            (predictions.xy[row] * squares.size)[drawn],
            drawn,
            true_xy_px=true[drawn],
            names=True,
            confidence=None if confidence is None else confidence[drawn],
            scale=enlargement(squares.size),
            palette=hand_palette(data.points),
        )

    def caption(row: int) -> str:
        record = data.records[squares.row[row]]
        traits = ", ".join(text for text in (record.side, record.face) if text)
        named = f"{record.image} ({traits})" if traits else record.image
        return f"{named}: {means[row]:.1f} px over {squares.measured[row].sum()} points"

    maps: list[Overlay] = []
    each: list[Overlay] = []
    if heatmaps:
        names, heatmaps = [point.id for point in data.points.points], functools.cache(heatmaps)
        maps = overlays(
            means,
            lambda row: hand_plots.heatmap_overlay(squares.pixels[row], heatmaps(row)),
            caption,
            of_each=1,
        )
        each = overlays(
            means,
            lambda row: panels(squares.pixels[row], heatmaps(row)[1].clip(min=0), names, squares.measured[row]),
            caption,
            of_each=1,
        )
    limits = {"precision": settings.precision_px, "PCK": settings.pck * settings.size}
    drawn = {
        "cumulative": plots.cumulative_plot(errors, "px", limits),
        "by_point": hand_plots.point_plot(results),
    }
    return hand_report.page(results, drawn, overlays(means, draw, caption), maps, each)
