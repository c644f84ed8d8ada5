"""The page of an evaluation of heads."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from acusim import acupoints
from reporting.page import figure, number, render
from training.eval.breakdown import ROW_FIGURES, Record, Sums
from training.eval.heatmap_panels import panels
from training.eval.metrics import TERMS
from training.eval.occluded import FIGURES as OCCLUDED
from training.eval.overlays import Overlay, enlargement
from training.eval.overlays import overlays as extreme_overlays
from training.eval.predictions import Predictions, Targets
from training.eval.summary import BY_NAME, DEFINITIONS, HEADLINES, Definition
from training.inference.drawing import draw_points, short_code

_WORST_POINTS = 10
_COUNTS = {"pictures": "pictures", "persons": "persons", "points": "points", "visible": "visible_points"}
_SHORT = {
    "micro": "accuracy %",
    "fpr": "FPR %",
    "fnr": "FNR %",
    "mean_px": "error px",
    "mean_mm": "error mm",
    "within_5_mm": "within 5 mm %",
}


def overlays(
    predictions: Predictions,
    targets: Targets,
    records: Sequence[Record],
    sums: Sums,
    picture: Callable[[int], NDArray[np.uint8]],
    threshold: float,
    heatmaps: Callable[[int], NDArray[np.float32]] | None = None,
) -> tuple[list[Overlay], list[Overlay]]:
    """The worst, median and best pictures by their mean error in mm; of those that cannot be read the reason.

    In the first list, points that are truly visible have a ring at their true place; points that are only predicted
    visible have none. The second has the heatmap of each acupoint, of one picture of each kind, where there are any.
    """
    located, millimetres = (sums.by_picture[:, TERMS.index(term)] for term in ("located", "mm"))
    error = np.divide(millimetres, located, out=np.full(len(located), np.nan), where=located > 0)
    predicted, visible = predictions.probability >= threshold, np.asarray(targets.visible)

    def draw(row: int) -> NDArray[np.uint8]:
        pixels = picture(row)
        shown, width = np.flatnonzero(predicted[row] | visible[row]), pixels.shape[1]
        true = np.where(visible[row][:, None], targets.xy[row].astype(np.float64), np.nan)
        return draw_points(
            pixels,
            predictions.xy[row, shown] * width,
            shown,
            true_xy_px=true[shown] * width,
            confidence=predictions.probability[row, shown],
            scale=enlargement(width),
        )

    def caption(row: int) -> str:
        missed, wrong = (visible[row] & ~predicted[row]).sum(), (predicted[row] & ~visible[row]).sum()
        return (
            f"{records[row].id}, {records[row].variant or 'original'}: {error[row]:.1f} mm "
            f"over {int(located[row])} points; {int(missed)} visible points missed, "
            f"{int(wrong)} occluded ones predicted visible"
        )

    def draw_heatmaps(row: int) -> NDArray[np.uint8]:
        assert heatmaps is not None
        return panels(picture(row), heatmaps(row), [short_code(point) for point in acupoints.ACUPOINTS], predicted[row])

    def failed(row: int, failure: Exception) -> str:
        return f"{records[row].id}: not shown, {failure}"

    each = extreme_overlays(error, draw_heatmaps, caption, failed, of_each=1) if heatmaps else []
    return extreme_overlays(error, draw, caption, failed), each


def page(
    results: Mapping[str, Any],
    plots: Mapping[str, bytes | None],
    pictures: Sequence[Overlay],
    heatmaps: Sequence[Overlay],
) -> bytes:
    """The page's bytes.

    Args:
        results: the content of results.json.
        plots: PNG of reliability, errors, view, point and visibility.
        pictures: of overlays.
        heatmaps: of overlays.
    """
    tables = results["by_group"] | {"acupoint": results["by_acupoint"]}
    return render(
        "training.eval",
        "head.html",
        title=results["title"],
        metadata=results["metadata"],
        model=results["model"],
        baselines=list(results["baselines"]),
        headlines=_headlines(results),
        overall=_overall(results),
        meanings=[(entry.title, entry.unit, entry.meaning) for entry in DEFINITIONS],
        confusion=[
            [f"predicted {said}", *(f"{results['model'][name]:,}" for name in names)]
            for said, names in (
                ("visible", ("true_positives", "false_positives")),
                ("occluded", ("false_negatives", "true_negatives")),
            )
        ],
        bins=[
            (
                f"{row['low']:.2f} to {row['high']:.2f}",
                row["points"],
                number(row["probability"], 3),
                number(row["visible"], 3),
            )
            for row in results["model"]["reliability"]
        ],
        worst=_worst(results["by_acupoint"]),
        occluded=_occluded(results["occluded"]),
        occluded_points=results["occluded"]["points"],
        columns=[*_COUNTS, *(title for short in _SHORT.values() for title in (short, f"baselines: {short}"))],
        groups={title: [_row(row) for row in rows] for title, rows in tables.items()},
        plots=plots,
        pictures=pictures,
        heatmaps=heatmaps,
    )


def _shown(definition: Definition, values: Mapping[str, Any]) -> Markup:
    """A figure with its interval and unit."""
    unit = "" if definition.unit in ("probability", "loss") or values["value"] is None else f" {definition.unit}"
    return Markup(figure(values, definition.digits, definition.factor)) + Markup('<span class="soft">{}</span>').format(
        unit
    )


def _bare(definition: Definition, value: float | None) -> str:
    """A figure's value alone, without its unit."""
    return number(None if value is None else definition.factor * value, definition.digits)


def _of_baselines(results: Mapping[str, Any], definition: Definition) -> list[str | None]:
    """The figure of each baseline; None for those without it."""
    figures = [entry["figures"].get(definition.name) for entry in results["baselines"].values()]
    return [None if values is None else _bare(definition, values["value"]) for values in figures]


def _headlines(results: Mapping[str, Any]) -> list[tuple[str, str]]:
    model = results["model"]
    entries = [(f"pictures of {model['persons']} persons", f"{model['pictures']}")]
    for definition in (BY_NAME[name] for name in HEADLINES):
        values = model["figures"][definition.name]
        ends = [_bare(definition, values[end]) for end in ("low", "high")]
        title = f"{definition.title}, {'no interval' if values['low'] is None else ' to '.join(ends)}"
        others = [text for text in _of_baselines(results, definition) if text is not None]
        title += f"; baselines {' / '.join(others)}" if others else ""
        unit = "" if values["value"] is None else f" {definition.unit}"
        entries.append((title, _bare(definition, values["value"]) + unit))
    return entries


def _overall(results: Mapping[str, Any]) -> list[tuple[object, ...]]:
    figures = results["model"]["figures"]
    return [
        (entry.title, _shown(entry, figures[entry.name]), *(text or "" for text in _of_baselines(results, entry)))
        for entry in DEFINITIONS
    ]


def _worst(rows: Sequence[Mapping[str, Any]]) -> str:
    errors = [(row["figures"]["mean_mm"]["value"], row["value"]) for row in rows]
    worst = sorted((entry for entry in errors if entry[0] is not None), reverse=True)[:_WORST_POINTS]
    return ", ".join(f"{name} {value:.1f}" for value, name in worst)


def _occluded(found: Mapping[str, Any]) -> list[tuple[object, ...]]:
    """Errors of occluded points: model and baselines."""
    definitions = [BY_NAME[name] for name in OCCLUDED]
    rows = ((name, entry) for name, entry in found.items() if name != "points")
    return [(name, *(_shown(one, entry[one.name]) for one in definitions)) for name, entry in rows]


def _row(row: Mapping[str, Any]) -> list[object]:
    cells: list[object] = [row["value"], *(row[name] for name in _COUNTS.values())]
    for definition in (BY_NAME[name] for name in ROW_FIGURES):
        others = [
            _bare(definition, values[definition.name])
            for values in row["baselines"].values()
            if definition.name in values
        ]
        cells.append(Markup(figure(row["figures"][definition.name], definition.digits, definition.factor)))
        cells.append(Markup('<span class="soft">{}</span>').format(" / ".join(others)))
    return cells
