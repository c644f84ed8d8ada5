"""The report as one HTML page; its text is in templates/report.html."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from markupsafe import Markup

from acusim.seeds import generator_of
from evaluation import plots
from evaluation.analysis import mean_of_pair
from evaluation.drift import KEYPOINTS
from evaluation.measuring import BASELINES
from evaluation.run import Outcome
from evaluation.settings import ReportSettings
from evaluation.thresholds import Thresholds
from reporting.page import figure, number, percent, render

PROBLEMS_SHOWN = 100
POINTS_SHOWN = 25
SAMPLES_SHOWN = 8
HARMLESS_BASELINES = BASELINES[:2]
"""Copies, which must be accepted; in the others something moved."""
_COLOURS = (("beyond", "bad"), ("indistinguishable", "good"))
"""Colour of a verdict by a word in it."""
_QUARTILES = ("mean", "median", "p95")

Row = tuple[Any, ...]
"""Cells of a table; text is escaped."""


def page(settings: ReportSettings, outcome: Outcome, results: dict[str, Any]) -> bytes:
    """The page's bytes, from what write_results returned."""
    certificate, drift = results.get("certificate"), results.get("drift")
    values: dict[str, Any] = {"certificate": None, "drift": None}
    if certificate:
        bounds = np.array([entry.worst_mm for entry in outcome.certified], float)
        tolerance = settings.thresholds.tolerance_mm
        values["certificate"] = certificate | {
            "tolerance_mm": tolerance,
            "coverage_plot": plots.coverage_plot(certificate["by_view"]),
            "excluded_plot": plots.excluded_plot(bounds, tolerance),
            "groups": {title: _groups(rows) for title, rows in certificate["by_group"].items()},
            "head_plot": plots.head_plot(certificate["by_point"]),
            "points": _points(certificate["by_point"]),
            "limits": list(_limits(settings)),
        }
    if drift:
        discards = drift["discards"]
        values["drift"] = drift | {
            "plot": plots.drift_plot(drift),
            "map": plots.drift_map(_drift_by_view(outcome)),
            "keypoints": [_keypoint(name, drift) for name in (*KEYPOINTS, "all keypoints")],
            "verdicts": [_verdict(row, drift) for row in drift["verdicts"]],
            "null": [_null(name, entry) for name, entry in drift["null"].items()],
            "groups": [_drift_group(row) for row in drift["groups"]],
            "views": [
                (frame, *(counts.get(name, 0) for name in ("kept", *discards["reasons"])))
                for frame, counts in discards["by_frame"].items()
            ],
        }
    return render(
        "evaluation",
        "report.html",
        title="Is every label still true?",
        results=results,
        baselines=[_baseline(row) for row in results.get("baselines", ())],
        samples=list(_samples(settings, outcome)),
        worst=list(_worst(settings, outcome)),
        problems=[
            (Markup("<code>{}</code>").format(item["path"]), item["reason"])
            for item in results["problems"]["items"][:PROBLEMS_SHOWN]
        ],
        **values,
    )


def _groups(rows: list[dict[str, Any]]) -> list[Row]:
    return [
        (
            row["value"],
            row["pictures"],
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


def _points(rows: list[dict[str, Any]]) -> list[Row]:
    worst = sorted(rows, key=lambda row: (row["trusted"], row["acupoint"]))[:POINTS_SHOWN]
    return [(row["acupoint"], row["visible"], percent(row["trusted"])) for row in worst]


def _keypoint(name: str, drift: dict[str, Any]) -> Row:
    pixels, millimetres = drift["px"][name], drift["mm"][name]
    shown = (figure(pixels[key]) for key in (*_QUARTILES, "max"))
    return name, pixels["count"], *shown, *(number(millimetres[key]["value"]) for key in ("median", "p95"))


def _verdict(row: dict[str, Any], drift: dict[str, Any]) -> Row:
    colour = next((colour for word, colour in _COLOURS if word in row["text"]), "soft")
    return (
        row["keypoint"],
        Markup('<span class="{}">{}</span>').format(colour, row["text"]),
        figure(drift["px_trusted_views"][row["keypoint"]]["median"]),
        figure(row["above_median"]),
        figure(row["above_p95"]),
        ", ".join(dict.fromkeys(filter(None, (row["edit"], row["edit_p95"])))),
        *(figure(mean) for mean in row["mean_px"]),
    )


def _null(name: str, entry: dict[str, Any]) -> Row:
    pixels = entry["px"]["all keypoints"]
    shown = (figure(pixels[key]) for key in _QUARTILES)
    return name, pixels["count"], percent(entry["detection_failure_rate"]), *shown


def _drift_group(row: dict[str, Any]) -> Row:
    shown = (figure(row["drift_px"][key]) for key in ("median", "p95"))
    return f"{row['group']}: {row['value']}", row["pairs"], row["kept"], percent(row["failure_rate"]), *shown


def _baseline(row: dict[str, Any]) -> Row:
    accepted = percent(row["accepted"])
    if row["baseline"] in BASELINES and row["accepted"] is not None:
        colour = "good" if row["accepted"] == (row["baseline"] in HARMLESS_BASELINES) else "bad"
        accepted = Markup('<span class="{}">{}</span>').format(colour, accepted)
    return (
        row["baseline"],
        row["pictures"],
        accepted,
        percent(row["trusted"]),
        number(row["excluded_mm"], 1),
        percent(row["detection_failure_rate"]),
        figure(row["px"]["median"]),
        figure(row["px"]["p95"]),
        row["verdict"]["text"],
    )


def _limits(settings: ReportSettings) -> Iterable[Row]:
    """Name, value and meaning of each threshold."""
    for name, value in settings.thresholds.as_dict().items():
        yield name, f"{value:g}", Thresholds.model_fields[name].description or ""


def _drift_by_view(outcome: Outcome) -> dict[int, float]:
    """Median over the pairs of each camera, of the mean of their keypoints."""
    values: dict[int, list[float]] = {}
    for pair, value in zip(outcome.drifts.pairs, mean_of_pair(outcome.drifts.distances_px), strict=True):
        if not np.isnan(value):
            values.setdefault(pair.id.frame, []).append(float(value))
    return {frame: float(np.median(found)) for frame, found in values.items()}


def _samples(settings: ReportSettings, outcome: Outcome) -> Iterable[dict[str, Any]]:
    """A few pairs drawn at random, the same ones for the same pairs."""
    pairs = [entry.pair for entry in outcome.certified] or outcome.drifts.pairs
    pairs = sorted(pairs, key=lambda pair: pair.augmented)
    drawn = generator_of("\n".join(pair.augmented for pair in pairs)).permutation(len(pairs))[:SAMPLES_SHOWN]
    for index in sorted(drawn):
        if images := plots.before_and_after(settings, pairs[index]):
            yield {"path": pairs[index].augmented, "images": images}


def _worst(settings: ReportSettings, outcome: Outcome) -> Iterable[dict[str, Any]]:
    """The worst pairs whose images can be read."""
    for worst in outcome.worst:
        images = plots.worst_pictures(settings, worst)
        if images is not None:
            names = ("original", "augmented", "displacements")
            yield {
                "path": worst.pair.augmented,
                "record": worst.record,
                "images": dict(zip(names, images, strict=True)),
            }
