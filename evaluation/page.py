"""The report: one HTML page that holds everything it shows."""

import base64
import html
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from evaluation import figures
from evaluation.drift import KEYPOINTS
from evaluation.run import Outcome, Settings

PROBLEMS_SHOWN = 100
POINTS_SHOWN = 25
_WORDS = ("verdict", "drift", "what", "noisiest edit")
"""Columns of words."""
_COLOURS = (("beyond", "bad"), ("indistinguishable", "good"))
"""Which verdicts are printed in which colour."""
_CSS = """
:root { color-scheme: light; --ink: #1a202c; --soft: #4a5568; --line: #e2e8f0; --back: #f7fafc; --good: #276749;
  --bad: #9b2c2c; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; } h3 { font-size: 1rem; }
p { max-width: 46rem; } .soft { color: var(--soft); }
section, .cards > div { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 0.8rem 1rem; }
section { margin: 1rem 0; } section > h2:first-child { margin-top: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.7rem; }
.cards b { display: block; font-size: 1.4rem; } .cards span { color: var(--soft); font-size: 0.85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.7rem 0.22rem 0; text-align: right; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .text { text-align: left; }
.text { white-space: normal; min-width: 9rem; }
th { color: var(--soft); font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
img { max-width: 100%; height: auto; display: block; }
.plot { overflow-x: auto; } .plot img { min-width: 32rem; }
.worst { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; margin-top: 0.3rem; }
.worst img { width: 100%; }
details { margin: 0.5rem 0; } summary { cursor: pointer; }
code { overflow-wrap: anywhere; }
"""


def page(settings: Settings, outcome: Outcome, results: dict[str, Any]) -> bytes:
    """The page's bytes, from what write_results returned."""
    parts = [_head(results)]
    parts += [_certificate(settings, outcome, results)] if "certificate" in results else []
    parts += [_drift(results["drift"])] if "drift" in results else []
    parts += [_baselines(results["baselines"])] if "baselines" in results else []
    parts += [_worst(settings, outcome)]
    parts += [_problems(results)]
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Is every label still true?</title><style>{_CSS}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    ).encode()


def _e(text: object) -> str:
    return html.escape(str(text))


def _number(value: float | None, digits: int = 2) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _percent(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _figure(figure: dict[str, Any], digits: int = 2) -> str:
    """A value with its interval."""
    if figure["value"] is None:
        return "–"
    interval = f'<span class="soft"> [{figure["low"]:.{digits}f}, {figure["high"]:.{digits}f}]</span>'
    return f"{figure['value']:.{digits}f}{interval if figure['low'] is not None else ''}"


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Cells are HTML already."""
    kinds = [_kind(title) for title in head]
    top = "".join(f"<th{kind}>{_e(title)}</th>" for kind, title in zip(kinds, head, strict=True))
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def _kind(title: str) -> str:
    """Words stand at the left, numbers at the right."""
    return ' class="text"' if title in _WORDS else ""


def _plot(data: bytes | None, alt: str) -> str:
    return f'<div class="plot">{_image(data, "png", alt)}</div>'


def _image(data: bytes | None, kind: str, alt: str) -> str:
    if data is None:
        return '<p class="soft">Nothing to show.</p>'
    return f'<img alt="{_e(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def _cards(cards: Iterable[tuple[str, str]]) -> str:
    return (
        '<div class="cards">'
        + "".join(f"<div><b>{value}</b><span>{_e(name)}</span></div>" for name, value in cards)
        + "</div>"
    )


def _head(results: dict[str, Any]) -> str:
    cards = [("pairs", f"{results['pairs']}"), ("persons", f"{results['persons']}")]
    if "certificate" in results:
        certificate = results["certificate"]
        cards += [
            ("pictures accepted", _percent(certificate["accepted"])),
            ("visible acupoints trusted", _percent(certificate["trusted"])),
            ("displacement excluded at them (median picture)", f"{_number(certificate['excluded_mm'], 1)} mm"),
        ]
    if "drift" in results:
        drift = results["drift"]
        median = drift["px_trusted_views"]["all keypoints"]["median"]["value"]
        cards += [
            ("median drift, trusted views", f"{_number(median)} px"),
            ("detection failures", _percent(drift["detection_failure_rate"])),
        ]
    cards.append(("items with problems", f"{results['problems']['count']}"))
    return f"<h1>Is every label still true?</h1>\n{_cards(cards)}"


def _certificate(settings: Settings, outcome: Outcome, results: dict[str, Any]) -> str:
    certificate = results["certificate"]
    bounds = np.array([entry.worst_mm for entry in outcome.certified], float)
    tolerance = settings.thresholds.tolerance_mm
    columns = ("", "pictures", "accepted", "trusted", "excluded mm", "structure", "texture", "outline px", "depth")
    groups = []
    for title, rows in certificate["by_group"].items():
        cells = [
            (
                _e(row["value"]),
                str(row["pictures"]),
                _percent(row["accepted"]),
                _percent(row["trusted"]),
                _number(row["excluded_mm"], 1),
                _number(row["structure"]),
                _number(row["texture"]),
                _number(row["outline_px"], 1),
                _percent(row["depth_agreement"], 0),
            )
            for row in rows
        ]
        groups.append(f"<details{' open' if title == 'elevation' else ''}><summary>by {_e(title)}</summary>")
        groups.append(_table(columns, cells) + "</details>")
    points = sorted(certificate["by_point"], key=lambda row: (row["trusted"], row["acupoint"]))[:POINTS_SHOWN]
    point_rows = [(_e(row["acupoint"]), str(row["visible"]), _percent(row["trusted"])) for row in points]
    reasons = [(_e(kind), str(count)) for kind, count in certificate["reasons"].items()]
    return f"""<section><h2>Certificate of every view</h2>
<p>For each visible acupoint the structure around it, light taken away, is laid over the augmented picture at every
shift up to 12 px. A label is <b>trusted</b> if no displacement beyond {tolerance:g} mm fits; where skin is bare the
picture cannot tell, and the label is masked rather than believed. A picture is rejected if something moved, if it is
black or flat, or if it does not show the same head.</p>
<h3>Share of the visible acupoints that are trusted, by camera (white: no pictures)</h3>
{_plot(figures.coverage_plot(certificate["by_view"]), "trusted share by camera")}
<h3>How far a trusted acupoint can have moved at most, picture by picture</h3>
{_plot(figures.excluded_plot(bounds, tolerance), "histogram of excluded displacements")}
<h3>Verdicts</h3>{_table(("", "pictures"), reasons)}
<h3>Groups (medians over pictures)</h3>{"".join(groups)}
<details><summary>Acupoints that are trusted least</summary>
{_table(("acupoint", "visible in", "trusted"), point_rows)}</details>
</section>"""


def _drift(drift: dict[str, Any]) -> str:
    verdicts = {row["keypoint"]: row for row in drift["verdicts"]}
    rows, told = [], []
    for name in (*KEYPOINTS, "all keypoints"):
        pixels, millimetres = drift["px"][name], drift["mm"][name]
        rows.append(
            (
                _e(name),
                str(pixels["count"]),
                *(_figure(pixels[key]) for key in ("mean", "median", "p95", "max")),
                *(_number(millimetres[key]["value"]) for key in ("median", "p95")),
            )
        )
        verdict = verdicts[name]
        kind = next((kind for word, kind in _COLOURS if word in verdict["text"]), "soft")
        told.append(
            (
                _e(name),
                f'<span class="{kind}">{_e(verdict["text"])}</span>',
                _figure(drift["px_trusted_views"][name]["median"]),
                _figure(verdict["above_median"]),
                _figure(verdict["above_p95"]),
                _e(verdict["edit"]),
            )
        )
    null = [
        (
            _e(name),
            str(part["px"]["all keypoints"]["count"]),
            _percent(part["detection_failure_rate"]),
            *(_figure(part["px"]["all keypoints"][key]) for key in ("mean", "median", "p95")),
        )
        for name, part in drift["null"].items()
    ]
    groups = [
        (
            f"{_e(row['group'])}: {_e(row['value'])}",
            str(row["pairs"]),
            str(row["kept"]),
            _percent(row["failure_rate"]),
            _figure(row["drift_px"]["median"]),
            _figure(row["drift_px"]["p95"]),
        )
        for row in drift["groups"]
    ]
    reasons = drift["discards"]["reasons"]
    total = drift["discards"]["total"]
    views = [
        (frame, str(counts.get("kept", 0)), *(str(counts.get(reason, 0)) for reason in reasons))
        for frame, counts in drift["discards"]["by_frame"].items()
    ]
    discarded = ", ".join(f"{total.get(reason, 0)} {_e(reason)}" for reason in reasons)
    return f"""<section><h2>Drift of facial keypoints</h2>
<p>MediaPipe's landmarks on both pictures, as the paper measures them; intervals are 95 % bootstrap intervals over
persons. The detector has noise of its own, so the figures stand beside those of photometric edits of the originals
that move nothing. A change of light that is stronger than each of them can add some tenths of a pixel of noise by
itself: a displacement that small is no evidence against a label. Detection failed in
<b>{_percent(drift["detection_failure_rate"])}</b> of the pairs
({_percent(drift["detection_failure_rate_trusted_views"])} in views it can be trusted in: azimuth within 45°, elevation
within 30°). Kept {total.get("kept", 0)} pairs; discarded: {discarded}.</p>
{_plot(figures.drift_plot(drift), "drift beside the detector's noise")}
<h3>All views, raw</h3>
{_table(("keypoint", "pairs", "mean px", "median px", "p95 px", "max px", "median mm", "p95 mm"), rows)}
<h3>Trusted views, above the null</h3>
{_table(("keypoint", "verdict", "median px", "above the null: median", "p95", "noisiest edit"), told)}
<h3>The detector's null: edits that move nothing (trusted views, all keypoints)</h3>
{_table(("edit", "pictures", "failures", "mean px", "median px", "p95 px"), null)}
<details><summary>By group (all keypoints, all views)</summary>
{_table(("group", "pairs", "kept", "failures", "median px", "p95 px"), groups)}</details>
<details><summary>Kept and discarded by camera</summary>{_table(("camera", "kept", *reasons), views)}</details>
</section>"""


def _baselines(baselines: list[dict[str, Any]]) -> str:
    rows = [
        (
            _e(row["baseline"]),
            str(row["pictures"]),
            _percent(row["accepted"]),
            _percent(row["trusted"]),
            _number(row["excluded_mm"], 1),
            _percent(row["detection_failure_rate"]),
            _figure(row["px"]["median"]),
            _figure(row["px"]["p95"]),
            _e(row["verdict"]["text"]),
        )
        for row in baselines
    ]
    head = ("baseline", "pictures", "accepted", "trusted", "excluded mm", "failures", "median px", "p95 px", "drift")
    return f"""<section><h2>Baselines</h2>
<p>Pictures of which it is known how they should be judged, made from a sample of the same pairs: copies must pass with
no drift beyond the noise; pictures in which something was moved must be rejected.</p>{_table(head, rows)}</section>"""


def _worst(settings: Settings, outcome: Outcome) -> str:
    blocks = []
    for worst in outcome.worst:
        pictures = figures.worst_pictures(settings, worst)
        if pictures is None:
            continue
        record = worst.record
        told = "accepted" if record["accept"] else f"rejected: {record['reason']}"
        images = "".join(
            _image(data, "jpeg", f"{name} {worst.pair.augmented}")
            for name, data in zip(("original", "augmented", "displacements"), pictures, strict=True)
        )
        blocks.append(
            f"<div><code>{_e(worst.pair.augmented)}</code><br>{_e(told)}; {record['trusted']} of {record['visible']} "
            f'points trusted<div class="worst">{images}</div></div>'
        )
    if not blocks:
        return ""
    return f"""<section><h2>Worst pictures</h2>
<p>Original, augmented picture, and what the certificate found in it: green points are trusted, red ones cannot be
told; lines are displacements, four times as long. Rejected pictures come first.</p>{"<br>".join(blocks)}</section>"""


def _problems(results: dict[str, Any]) -> str:
    problems, notes = results["problems"], results["notes"]
    lines = [f"<p>{_e(note)}</p>" for note in notes]
    if not problems["count"]:
        return f"<section><h2>Problems</h2><p>None.</p>{''.join(lines)}</section>"
    rows = [(f"<code>{_e(item['path'])}</code>", _e(item["reason"])) for item in problems["items"][:PROBLEMS_SHOWN]]
    more = problems["count"] - len(rows)
    rest = f"<p>And {more} more: see the JSON file beside this page.</p>" if more > 0 else ""
    return f"<section><h2>Problems</h2>{''.join(lines)}{_table(('item', 'what'), rows)}{rest}</section>"
