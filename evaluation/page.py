"""The report: one HTML page that holds everything it shows."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from evaluation import figures
from evaluation.drift import KEYPOINTS
from evaluation.run import Outcome, Settings
from reporting.html_page import cards, document, escaped, figure, image, number, percent, plot, table

PROBLEMS_SHOWN = 100
POINTS_SHOWN = 25
_WORDS = ("verdict", "drift", "what", "noisiest edit")
"""Columns of words."""
_COLOURS = (("beyond", "bad"), ("indistinguishable", "good"))
"""Which verdicts are printed in which colour."""


def page(settings: Settings, outcome: Outcome, results: dict[str, Any]) -> bytes:
    """The page's bytes, from what write_results returned."""
    parts = [_head(results)]
    parts += [_certificate(settings, outcome, results)] if "certificate" in results else []
    parts += [_drift(results["drift"])] if "drift" in results else []
    parts += [_baselines(results["baselines"])] if "baselines" in results else []
    parts += [_worst(settings, outcome)]
    parts += [_problems(results)]
    return document("Is every label still true?", parts)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return table(head, rows, _WORDS)


def _head(results: dict[str, Any]) -> str:
    entries = [("pairs", f"{results['pairs']}"), ("persons", f"{results['persons']}")]
    if "certificate" in results:
        certificate = results["certificate"]
        entries += [
            ("pictures accepted", percent(certificate["accepted"])),
            ("visible acupoints trusted", percent(certificate["trusted"])),
            ("displacement excluded at them (median picture)", f"{number(certificate['excluded_mm'], 1)} mm"),
        ]
    if "drift" in results:
        drift = results["drift"]
        median = drift["px_trusted_views"]["all keypoints"]["median"]["value"]
        entries += [
            ("median drift, trusted views", f"{number(median)} px"),
            ("detection failures", percent(drift["detection_failure_rate"])),
        ]
    entries.append(("items with problems", f"{results['problems']['count']}"))
    return f"<h1>Is every label still true?</h1>\n{cards(entries)}"


def _certificate(settings: Settings, outcome: Outcome, results: dict[str, Any]) -> str:
    certificate = results["certificate"]
    bounds = np.array([entry.worst_mm for entry in outcome.certified], float)
    tolerance = settings.thresholds.tolerance_mm
    columns = ("", "pictures", "accepted", "trusted", "excluded mm", "structure", "texture", "outline px", "depth")
    groups = []
    for title, rows in certificate["by_group"].items():
        cells = [
            (
                escaped(row["value"]),
                str(row["pictures"]),
                percent(row["accepted"]),
                percent(row["trusted"]),
                number(row["excluded_mm"], 1),
                number(row["structure"]),
                number(row["texture"]),
                number(row["outline_px"], 1),
                percent(row["depth_agreement"], 0),
            )
            for row in rows
        ]
        groups.append(f"<details{' open' if title == 'elevation' else ''}><summary>by {escaped(title)}</summary>")
        groups.append(_table(columns, cells) + "</details>")
    points = sorted(certificate["by_point"], key=lambda row: (row["trusted"], row["acupoint"]))[:POINTS_SHOWN]
    point_rows = [(escaped(row["acupoint"]), str(row["visible"]), percent(row["trusted"])) for row in points]
    reasons = [(escaped(kind), str(count)) for kind, count in certificate["reasons"].items()]
    return f"""<section><h2>Certificate of every view</h2>
<p>For each visible acupoint the structure around it, light taken away, is laid over the augmented picture at every
shift up to 12 px. A label is <b>trusted</b> if no displacement beyond {tolerance:g} mm fits; where skin is bare the
picture cannot tell, and the label is masked rather than believed. A picture is rejected if something moved, if it is
black or flat, or if it does not show the same head.</p>
<h3>Share of the visible acupoints that are trusted, by camera (white: no pictures)</h3>
{plot(figures.coverage_plot(certificate["by_view"]), "trusted share by camera")}
<h3>How far a trusted acupoint can have moved at most, picture by picture</h3>
{plot(figures.excluded_plot(bounds, tolerance), "histogram of excluded displacements")}
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
                escaped(name),
                str(pixels["count"]),
                *(figure(pixels[key]) for key in ("mean", "median", "p95", "max")),
                *(number(millimetres[key]["value"]) for key in ("median", "p95")),
            )
        )
        verdict = verdicts[name]
        kind = next((kind for word, kind in _COLOURS if word in verdict["text"]), "soft")
        told.append(
            (
                escaped(name),
                f'<span class="{kind}">{escaped(verdict["text"])}</span>',
                figure(drift["px_trusted_views"][name]["median"]),
                figure(verdict["above_median"]),
                figure(verdict["above_p95"]),
                escaped(verdict["edit"]),
            )
        )
    null = [
        (
            escaped(name),
            str(part["px"]["all keypoints"]["count"]),
            percent(part["detection_failure_rate"]),
            *(figure(part["px"]["all keypoints"][key]) for key in ("mean", "median", "p95")),
        )
        for name, part in drift["null"].items()
    ]
    groups = [
        (
            f"{escaped(row['group'])}: {escaped(row['value'])}",
            str(row["pairs"]),
            str(row["kept"]),
            percent(row["failure_rate"]),
            figure(row["drift_px"]["median"]),
            figure(row["drift_px"]["p95"]),
        )
        for row in drift["groups"]
    ]
    reasons = drift["discards"]["reasons"]
    total = drift["discards"]["total"]
    views = [
        (frame, str(counts.get("kept", 0)), *(str(counts.get(reason, 0)) for reason in reasons))
        for frame, counts in drift["discards"]["by_frame"].items()
    ]
    discarded = ", ".join(f"{total.get(reason, 0)} {escaped(reason)}" for reason in reasons)
    return f"""<section><h2>Drift of facial keypoints</h2>
<p>MediaPipe's landmarks on both pictures, as the paper measures them; intervals are 95 % bootstrap intervals over
persons. The detector has noise of its own, so the figures stand beside those of photometric edits of the originals
that move nothing. A change of light that is stronger than each of them can add some tenths of a pixel of noise by
itself: a displacement that small is no evidence against a label. Detection failed in
<b>{percent(drift["detection_failure_rate"])}</b> of the pairs
({percent(drift["detection_failure_rate_trusted_views"])} in views it can be trusted in: azimuth within 45°, elevation
within 30°). Kept {total.get("kept", 0)} pairs; discarded: {discarded}.</p>
{plot(figures.drift_plot(drift), "drift beside the detector's noise")}
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
            escaped(row["baseline"]),
            str(row["pictures"]),
            percent(row["accepted"]),
            percent(row["trusted"]),
            number(row["excluded_mm"], 1),
            percent(row["detection_failure_rate"]),
            figure(row["px"]["median"]),
            figure(row["px"]["p95"]),
            escaped(row["verdict"]["text"]),
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
            image(data, "jpeg", f"{name} {worst.pair.augmented}")
            for name, data in zip(("original", "augmented", "displacements"), pictures, strict=True)
        )
        blocks.append(
            f"<div><code>{escaped(worst.pair.augmented)}</code><br>{escaped(told)}; {record['trusted']} of "
            f'{record["visible"]} points trusted<div class="worst">{images}</div></div>'
        )
    if not blocks:
        return ""
    return f"""<section><h2>Worst pictures</h2>
<p>Original, augmented picture, and what the certificate found in it: green points are trusted, red ones cannot be
told; lines are displacements, four times as long. Rejected pictures come first.</p>{"<br>".join(blocks)}</section>"""


def _problems(results: dict[str, Any]) -> str:
    problems, notes = results["problems"], results["notes"]
    lines = [f"<p>{escaped(note)}</p>" for note in notes]
    if not problems["count"]:
        return f"<section><h2>Problems</h2><p>None.</p>{''.join(lines)}</section>"
    rows = [
        (f"<code>{escaped(item['path'])}</code>", escaped(item["reason"]))
        for item in problems["items"][:PROBLEMS_SHOWN]
    ]
    more = problems["count"] - len(rows)
    rest = f"<p>And {more} more: see the JSON file beside this page.</p>" if more > 0 else ""
    return f"<section><h2>Problems</h2>{''.join(lines)}{_table(('item', 'what'), rows)}{rest}</section>"
