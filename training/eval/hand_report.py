"""The page of an evaluation of hands: figures beside their floor, acupoints, pictures and heatmaps."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reporting.html_page import cards, document, escaped, figure, number, plot, table
from reporting.plotting import BLUE, GREY, ORANGE, new_figure, png
from training.data.hand_dataset import HandData, HandSquares
from training.eval.hand_metrics import FIGURES, MetricSettings
from training.eval.report import SHOWN_PX, Overlay, extremes, jpeg, pictures_section
from training.inference.drawing import draw_points
from training.inference.hand import palette_of
from training.tasks.hand import HandPredictions

_TITLES = {
    "mse_px2": ("MSE, px²", 2, 1),
    "mse": ("MSE, side²", 5, 1),
    "error_px": ("error, px", 2, 1),
    "pck": ("PCK, %", 1, 100),
    "precision": ("precision, %", 1, 100),
    "iou": ("IoU, %", 1, 100),
    "oks": ("OKS, %", 1, 100),
}
"""Of each figure: title, digits, and what it is multiplied by."""
_WORDS = ("what it is", "value", "name")
_TYPE_WORDS = ("trait", "no picture looked at, %", "right of each value, %")
_FEW = 10
_PICTURES = "The worst, the median and the best by their mean error. A ring is the true place, a dot the predicted one."
_HEATMAPS = "Left what was to be learned, right what was predicted; the highest value of all points at each pixel."


def page(
    results: Mapping[str, Any],
    errors: Mapping[str, NDArray[np.float64]],
    predictions: HandPredictions,
    squares: HandSquares,
    data: HandData,
    settings: MetricSettings,
    heatmaps: Callable[[int], tuple[NDArray[np.float32], NDArray[np.float32]]] | None,
) -> bytes:
    """The page's bytes.

    Args:
        results: what results.json holds.
        errors: distances in px [N, P] of the model, and of floors by their name; NaN where not visible.
        predictions: of N squares.
        squares: the same.
        data: the folder they come from.
        settings: what the figures are measured with.
        heatmaps: as for evaluation.evaluate.
    """
    counted = (~np.isnan(errors["model"])).sum(1)
    means = np.divide(np.nansum(errors["model"], 1), counted, out=np.full(len(counted), np.nan), where=counted > 0)
    chosen = extremes(means)
    pictures = [
        Overlay(kind, _caption(data, squares, row, means[row]), jpeg(_drawn(predictions, squares, data, row)))
        for kind, rows in chosen.items()
        for row in rows
    ]
    maps: list[Overlay] = []
    for kind, rows in chosen.items():
        if heatmaps and rows:
            row = rows[0]
            drawn = _heat(squares.pixels[row], heatmaps(row))
            maps.append(Overlay(kind, _caption(data, squares, row, means[row]), jpeg(drawn)))
    return document(
        results["title"],
        [
            _head(results),
            _overall(results, plot(_cumulative(errors, settings), "share of points within a distance")),
            _points(results, plot(_by_point(results), "error of each point")),
            _hand_type(results),
            _groups(results),
            pictures_section(pictures, _PICTURES),
            pictures_section(maps, _HEATMAPS, "Heatmaps"),
        ],
    )


def _caption(data: HandData, squares: HandSquares, row: int, error: float) -> str:
    record = data.records[squares.row[row]]
    told = ", ".join(text for text in (record.side, record.face) if text)
    return f"{record.image}{f' ({told})' if told else ''}: {error:.1f} px over {squares.visible[row].sum()} points"


def _drawn(predictions: HandPredictions, squares: HandSquares, data: HandData, row: int) -> NDArray[np.uint8]:
    true = np.where(squares.visible[row][:, None], squares.xy[row].astype(np.float64), np.nan)
    confidence = None if predictions.confidence is None else predictions.confidence[row]
    return draw_points(
        squares.pixels[row],
        predictions.xy[row] * squares.size,
        np.arange(len(true)),
        true_xy_px=true,
        names=True,
        confidence=confidence,
        scale=max(1, round(SHOWN_PX / squares.size)),
        palette=palette_of(data.points),
    )


def _heat(pixels: NDArray[np.uint8], pair: tuple[NDArray[np.float32], NDArray[np.float32]]) -> NDArray[np.uint8]:
    """True and predicted heatmaps side by side over the picture in grey."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    sides = []
    for maps in pair:
        share = maps.max(0).clip(0, 1)[..., None]
        colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
        weight = 0.25 + 0.6 * share
        sides.append(np.clip((1 - weight) * grey + weight * colours, 0, 255).astype(np.uint8))
    return np.concatenate(sides, 1)


def _cumulative(errors: Mapping[str, NDArray[np.float64]], settings: MetricSettings) -> bytes:
    """Share of points within a distance, of the model and its floor."""
    drawing, axes = new_figure(6, 2.8)
    for (who, values), colour in zip(errors.items(), (BLUE, GREY), strict=False):
        known = np.sort(values[~np.isnan(values)])
        axes.plot(known, np.arange(1, len(known) + 1) / max(1, len(known)), color=colour, label=who)
    for limit in (settings.precision_px, settings.pck * settings.size):
        axes.axvline(limit, color=ORANGE, linewidth=0.8, linestyle=":")
    axes.set(xlabel="error, px (dotted: precision, PCK)", ylabel="share of points", ylim=(0, 1.02))
    axes.set_xlim(0, max(3 * settings.pck * settings.size, 3 * settings.precision_px))
    axes.legend(frameon=False, loc="lower right")
    return png(drawing)


def _by_point(results: Mapping[str, Any]) -> bytes:
    """Mean error of each point with its interval, and that of the floor."""
    rows = [row for row in results["by_acupoint"] if row["figures"]["error_px"]["value"] is not None]
    drawing, axes = new_figure(6, 2.8)
    places = np.arange(len(rows))
    figures = [row["figures"]["error_px"] for row in rows]
    for place, entry in zip(places, figures, strict=True):
        if entry["low"] is not None:
            axes.vlines(place, entry["low"], entry["high"], BLUE, linewidth=1.5)
    axes.plot(places, [entry["value"] for entry in figures], "o", color=BLUE, label="model")
    for name in results["floors"]:
        axes.plot(places, [row["floors"][name]["error_px"]["value"] for row in rows], "_", color=GREY, label=name)
    axes.set(ylabel="mean error, px", xlim=(-0.5, max(0.5, len(rows) - 0.5)))
    axes.set_xticks(places, [row["value"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return png(drawing)


def _shown(name: str, values: Mapping[str, Any]) -> str:
    _, digits, factor = _TITLES[name]
    return figure(values, digits, factor)


def _bare(name: str, values: Mapping[str, Any]) -> str:
    _, digits, factor = _TITLES[name]
    return number(None if values["value"] is None else factor * values["value"], digits)


def _head(results: Mapping[str, Any]) -> str:
    entries = [(f"pictures of {results['subjects']} subjects", str(results["pictures"]))]
    for name in ("pck", "precision", "oks", "iou", "error_px"):
        below = " / ".join(_bare(name, entry[name]) for entry in results["floors"].values())
        title = _TITLES[name][0] + (f"; mean pose {below}" if below else "")
        entries.append((title, _shown(name, results["figures"][name])))
    about = [(escaped(name), f"<code>{escaped(value)}</code>") for name, value in results["metadata"].items()]
    few = "<p><b>Few subjects:</b> with so few, bootstrap intervals are narrower than they should be.</p>"
    return f"""<h1>{escaped(results["title"])}</h1>
{cards(entries)}
{few if results["subjects"] < _FEW else ""}<section><h2>What was evaluated</h2>
{table(("", "value"), about, _WORDS)}</section>"""


def _overall(results: Mapping[str, Any], curve: str) -> str:
    floors = results["floors"]
    rows = [
        (
            escaped(_TITLES[name][0]),
            _shown(name, results["figures"][name]),
            *(_shown(name, entry[name]) for entry in floors.values()),
            escaped(results["meanings"][name]),
        )
        for name in FIGURES
    ]
    told = "" if floors else " No picture of a training subject is there, so the floor is not known."
    return f"""<section><h2>Figures and floor</h2>
<p>Brackets hold 95 % bootstrap intervals over subjects. Pixels are those of the square, whose side has
{results["settings"]["size"]}. The mean pose looks at no picture: what a model adds is what it has above it.{told}</p>
{table(("", "model", *floors, "what it is"), rows, _WORDS)}
{curve}</section>"""


def _points(results: Mapping[str, Any], bars: str) -> str:
    rows = []
    for row in results["by_acupoint"]:
        below = " / ".join(_bare("error_px", entry["error_px"]) for entry in row["floors"].values())
        figures = (_shown(name, row["figures"][name]) for name in FIGURES)
        name = escaped(f"{row['pinyin']} {row['chinese']}")
        rows.append((escaped(row["value"]), name, str(row["visible_points"]), *figures, below))
    titles = (_TITLES[name][0] for name in FIGURES)
    return f"""<section><h2>Acupoints</h2>
{table(("acupoint", "name", "visible", *titles, "mean pose: error, px"), rows, _WORDS)}
{bars}</section>"""


def _groups(results: Mapping[str, Any]) -> str:
    parts = [f"<h3>By {escaped(title)}</h3>{_table(title, rows)}" for title, rows in results["by_group"].items()]
    return f"<section><h2>Groups</h2>{''.join(parts)}</section>" if parts else ""


def _hand_type(results: Mapping[str, Any]) -> str:
    """How often the hand's type is right; nothing for networks that do not tell it."""
    rows = [
        (
            escaped(name),
            str(row["pictures"]),
            str(row["subjects"]),
            figure(row["accuracy"], 1, 100),
            "; ".join(f"{escaped(told)} {figure(floor, 1, 100)}" for told, floor in row["floors"].items()),
            "; ".join(f"{escaped(value)} {figure(share, 1, 100)}" for value, share in row["recall"].items()),
        )
        for name, row in results.get("hand_type", {}).items()
    ]
    head = ("trait", "pictures", "subjects", "right, %", "no picture looked at, %", "right of each value, %")
    return f"<section><h2>Type of the hand</h2>{table(head, rows, _TYPE_WORDS)}</section>" if rows else ""


def _table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    head = (title, "pictures", "subjects", "points", *(_TITLES[name][0] for name in FIGURES))
    counts = ("pictures", "subjects", "visible_points")
    lines = (
        (escaped(row["value"]), *(str(row[name]) for name in counts))
        + tuple(_shown(name, row["figures"][name]) for name in FIGURES)
        for row in rows
    )
    return table(head, lines)
