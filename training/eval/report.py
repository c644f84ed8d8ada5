"""The page of an evaluation, and the pictures with true and predicted points on it."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError
from reporting.html_page import cards, document, escaped, figure, image, number, percent, plot, table
from training.eval.breakdown import ROW_FIGURES, Record, Sums
from training.eval.metrics import TERMS, Predictions, Targets
from training.eval.summary import BY_NAME, DEFINITIONS, HEADLINES, Definition
from training.inference.drawing import draw_points

OF_EACH = 3
"""Pictures of each kind: the worst, the median, the best."""
SHOWN_PX = 448
"""Small pictures are enlarged by a whole number to about this side."""
_WORDS = ("what it is", "value")
_WORST_POINTS = 10
_FEW_PERSONS = 10
_FEW = "<p><b>Few persons:</b> with so few, bootstrap intervals are narrower than they should be.</p>"
_OPEN = ("meridian", "ring")
"""Tables that are not folded."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """One picture with its points, as JPEG, and what to say of it."""

    kind: str
    caption: str
    jpeg: bytes


def overlays(
    predictions: Predictions,
    targets: Targets,
    records: Sequence[Record],
    sums: Sums,
    picture: Callable[[int], NDArray[np.uint8]],
    threshold: float,
) -> list[Overlay]:
    """The worst, median and best pictures by their mean error in mm; of those that cannot be read the reason.

    Points that are truly visible have a ring at their true place; points that are only predicted visible have none.
    """
    located, millimetres = (sums.by_picture[:, TERMS.index(term)] for term in ("located", "mm"))
    error = np.divide(millimetres, located, out=np.full(len(located), np.nan), where=located > 0)
    out: list[Overlay] = []
    for kind, chosen in extremes(error).items():
        for row in chosen:
            try:
                pixels = picture(row)
            except AcuSimError as failure:
                out.append(Overlay(kind, f"{records[row].id}: not shown, {failure}", b""))
                continue
            seen, visible = predictions.probability[row] >= threshold, np.asarray(targets.visible[row])
            shown = np.flatnonzero(seen | visible)
            true = np.where(visible[:, None], targets.xy[row].astype(np.float64), np.nan)
            width = pixels.shape[1]
            drawn = draw_points(
                pixels,
                predictions.xy[row, shown] * width,
                shown,
                true_xy_px=true[shown] * width,
                confidence=predictions.probability[row, shown],
                scale=max(1, round(SHOWN_PX / width)),
            )
            caption = (
                f"{records[row].id}, {records[row].variant or 'original'}: {error[row]:.1f} mm "
                f"over {int(located[row])} points; {int((visible & ~seen).sum())} visible points missed, "
                f"{int((seen & ~visible).sum())} occluded ones predicted visible"
            )
            out.append(Overlay(kind, caption, jpeg(drawn)))
    return out


def extremes(error: NDArray[np.floating[Any]]) -> dict[str, list[int]]:
    """The worst, median and best of [N] errors, OF_EACH of each kind and none twice; NaN are left out."""
    known = np.flatnonzero(~np.isnan(error))
    order = known[np.argsort(-error[known], kind="stable")]
    middle = max(0, (len(order) - OF_EACH) // 2)
    kinds = {"worst": order[:OF_EACH], "median": order[middle : middle + OF_EACH], "best": order[::-1][:OF_EACH]}
    taken: set[int] = set()
    out: dict[str, list[int]] = {}
    for kind, rows in kinds.items():
        out[kind] = [row for row in rows.tolist() if row not in taken]
        taken.update(out[kind])
    return out


def jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()


def page(results: Mapping[str, Any], plots: Mapping[str, bytes | None], pictures: Sequence[Overlay]) -> bytes:
    """The page's bytes.

    Args:
        results: what results.json holds.
        plots: PNG of reliability, view, point and visibility.
        pictures: of overlays.
    """
    return document(
        results["title"],
        [_head(results), _overall(results), _visibility(results, plots), _coordinates(results, plots)]
        + [_groups(results), pictures_section(pictures, _PICTURES)],
    )


def _shown(definition: Definition, values: Mapping[str, Any]) -> str:
    """A figure with its interval and unit."""
    unit = "" if definition.unit in ("probability", "loss") or values["value"] is None else f" {definition.unit}"
    return figure(values, definition.digits, definition.factor) + f'<span class="soft">{unit}</span>'


def _bare(definition: Definition, value: float | None) -> str:
    """A figure's value alone, without its unit."""
    return number(None if value is None else definition.factor * value, definition.digits)


def _interval(definition: Definition, values: Mapping[str, Any]) -> str:
    """The interval alone, as text."""
    if values["low"] is None:
        return "no interval"
    return " to ".join(_bare(definition, values[end]) for end in ("low", "high"))


def _head(results: Mapping[str, Any]) -> str:
    model = results["model"]
    entries = [(f"pictures of {model['persons']} persons", f"{model['pictures']}")]
    for name in HEADLINES:
        definition, values = BY_NAME[name], model["figures"][name]
        below = [
            _bare(definition, entry["figures"][name]["value"])
            for entry in results["floors"].values()
            if name in entry["figures"]
        ]
        title = f"{definition.title}, {_interval(definition, values)}"
        title += f"; floors {' / '.join(below)}" if below else ""
        unit = "" if values["value"] is None else f" {definition.unit}"
        entries.append((title, _bare(definition, values["value"]) + unit))
    about = [(escaped(name), f"<code>{escaped(value)}</code>") for name, value in results["metadata"].items()]
    told = f"<section><h2>What was evaluated</h2>{table(('', 'value'), about, _WORDS)}</section>" if about else ""
    return f"<h1>{escaped(results['title'])}</h1>\n{cards(entries)}\n{told}"


def _overall(results: Mapping[str, Any]) -> str:
    model, floors = results["model"], results["floors"]
    rows = []
    for definition in DEFINITIONS:
        name = definition.name
        below = (
            _bare(definition, entry["figures"][name]["value"]) if name in entry["figures"] else ""
            for entry in floors.values()
        )
        rows.append((escaped(definition.title), _shown(definition, model["figures"][name]), *below))
    meanings = [(escaped(entry.title), escaped(entry.unit), escaped(entry.meaning)) for entry in DEFINITIONS]
    return f"""<section><h2>Figures and floors</h2>
<p>Brackets hold 95 % bootstrap intervals over persons. Floors look at no picture: they are fitted on the training part,
and what a model adds is what it has above them. The last one is told the camera, which the model is not.</p>
{_FEW if model["persons"] < _FEW_PERSONS else ""}{table(("", "model", *floors), rows)}
<details><summary>What each figure is</summary>{table(("", "unit", "what it is"), meanings, _WORDS)}</details>
<p>Coordinates are measured at {model["located"]} of {model["visible_points"]} visible points; {model["untrusted"]} have
a label that may not be true there and are left out. Of the visible points
{percent(model["figures"]["generic_depth"]["value"])} have no depth of their own.
<b>Classification.</b> {escaped(model["classification"])}</p></section>"""


def _visibility(results: Mapping[str, Any], plots: Mapping[str, bytes | None]) -> str:
    model = results["model"]
    chosen = model["zero_fpr_threshold"]
    told = "–" if chosen is None else f"{chosen:.6g}"
    warning = (
        "chosen on these pictures themselves, where it holds by construction"
        if model["zero_fpr_threshold_from"] == "these pictures"
        else "chosen on other pictures"
    )
    bins = [
        (
            f"{row['low']:.2f} to {row['high']:.2f}",
            str(row["points"]),
            number(row["probability"], 3),
            number(row["visible"], 3),
        )
        for row in model["reliability"]
    ]
    return f"""<section><h2>Visibility</h2>
<p>{model["visible_points"]} of {model["points"]} points are visible, so that "all occluded" is already right in
{percent(1 - model["visible_points"] / model["points"])}. Of the 174 acupoints {model["always_occluded_points"]} are
occluded in all these pictures and {model["always_visible_points"]} visible in all; the remaining
{model["informative_points"]} are the informative ones. Threshold without false positives: {told}, {warning}.</p>
{plot(plots["visibility"], "share of pictures by acupoint and azimuth")}
<h3>Is the probability true?</h3>
{image(plots["reliability"], "png", "reliability diagram")}
<details><summary>Table</summary>
{table(("probability", "points", "mean probability", "share visible"), bins)}</details></section>"""


def _coordinates(results: Mapping[str, Any], plots: Mapping[str, bytes | None]) -> str:
    errors = [
        (row["figures"]["mean_mm"]["value"], row["value"])
        for row in results["by_acupoint"]
        if row["figures"]["mean_mm"]["value"] is not None
    ]
    worst = sorted(errors, reverse=True)[:_WORST_POINTS]
    named = ", ".join(f"{escaped(name)} {value:.1f}" for value, name in worst)
    return f"""<section><h2>Coordinates</h2>
<h3>Error by azimuth and ring</h3>{plot(plots["view"], "mean error by azimuth and elevation")}
<h3>Error of each acupoint</h3>
<p>With intervals, coloured by meridian; grey lines are the floor that is told the camera. Acupoints that are visible in
none of these pictures have no error. The worst, in mm: {named or "–"}.</p>
{plot(plots["point"], "mean error of each acupoint, sorted")}</section>"""


def _groups(results: Mapping[str, Any]) -> str:
    parts = []
    for title, rows in results["by_group"].items():
        name, rows_table = f"By {escaped(title)}", _row_table(title, rows)
        if title in _OPEN:
            parts.append(f"<h3>{name}</h3>{rows_table}")
        else:
            parts.append(f"<details><summary>{name}</summary>{rows_table}</details>")
    points = _row_table("acupoint", results["by_acupoint"])
    order = " / ".join(escaped(floor) for floor in results["floors"])
    return f"""<section><h2>Groups</h2>
<p>Floors stand beside a figure in this order: {order}; those that know no positions have none for errors. A group in
which only one person is found has no interval.</p>
{"".join(parts)}<details><summary>By acupoint</summary>{points}</details></section>"""


def _row_table(title: str, rows: Sequence[Mapping[str, Any]]) -> str:
    counts = {"pictures": "pictures", "persons": "persons", "points": "points", "visible": "visible_points"}
    head = [title, *counts]
    for name in ROW_FIGURES:
        head += [_SHORT[name], f"floors: {_SHORT[name]}"]
    lines = []
    for row in rows:
        line = [escaped(row["value"]), *(str(row[name]) for name in counts.values())]
        for name in ROW_FIGURES:
            definition = BY_NAME[name]
            below = " / ".join(_bare(definition, values[name]) for values in row["floors"].values() if name in values)
            shown = figure(row["figures"][name], definition.digits, definition.factor)
            line += [shown, f'<span class="soft">{below}</span>']
        lines.append(line)
    return table(head, lines, _WORDS)


_SHORT = {
    "micro": "accuracy %",
    "fpr": "FPR %",
    "fnr": "FNR %",
    "mean_px": "error px",
    "mean_mm": "error mm",
    "within_5_mm": "within 5 mm %",
}


_PICTURES = """The worst, the median and the best by their mean error in mm. A ring is the true place of a visible
point, a dot the predicted one, the smaller the less sure; a dot without a ring is an occluded point that was predicted
visible."""


def pictures_section(pictures: Sequence[Overlay], text: str, title: str = "Pictures") -> str:
    """Pictures by their kind, after a text; nothing where there are none."""
    parts = []
    for kind in dict.fromkeys(overlay.kind for overlay in pictures):
        figures = (
            f"<div>{image(overlay.jpeg or None, 'jpeg', overlay.caption)}"
            f'<span class="soft">{escaped(overlay.caption)}</span></div>'
            for overlay in pictures
            if overlay.kind == kind
        )
        parts.append(f'<h3>{escaped(kind.capitalize())}</h3><div class="pictures">{"".join(figures)}</div>')
    if not parts:
        return ""
    return f"""<section><h2>{escaped(title)}</h2>
<p>{escaped(text)}</p>
{"".join(parts)}</section>"""
