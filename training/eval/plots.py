"""The plots of an evaluation's page."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from reporting.plotting import BLUE, GREY, ORANGE, new_figure, png
from training.eval.breakdown import Sums, angle, row_rates, signed_azimuth
from training.eval.metrics import TERMS
from training.inference.drawing import MERIDIAN_COLOURS

_RING_COLOURS = {0.0: BLUE, 30.0: ORANGE, 60.0: "#97266d", -30.0: "#2f855a"}
_DARK = "#1a202c"
"""Meridians' colours are chosen for pictures on black."""


def reliability_plot(table: Sequence[Mapping[str, Any]]) -> bytes:
    """Share visible against predicted probability, and how many points each bin holds."""
    figure, (axes, counts) = new_figure(4.6, 4.6, nrows=2, sharex=True, height_ratios=(4, 1))
    points = np.array([row["points"] for row in table])
    middle = np.array([(row["low"] + row["high"]) / 2 for row in table])
    held = points > 0
    axes.plot([0, 1], [0, 1], color=GREY, linewidth=1)
    axes.plot(*np.array([(row["probability"], row["visible"]) for row in table])[held].T, "o-", color=BLUE)
    axes.set(xlim=(0, 1), ylim=(0, 1), ylabel="share truly visible", aspect="auto")
    counts.bar(middle, points, width=0.9 / len(table), color=BLUE)
    counts.set(xlabel="predicted probability of visible", ylabel="points", yscale="log" if held.any() else "linear")
    return png(figure)


def cumulative_plot(errors: Mapping[str, NDArray[np.floating[Any]]], unit: str, limits: Mapping[str, float]) -> bytes:
    """Share of points within a distance.

    Args:
        errors: name -> errors of any shape, NaN where there is none; the model first, then its baselines.
        unit: of the errors.
        limits: name -> distance that counts as near, dotted; the plot ends at three times the largest.
    """
    drawing, axes = new_figure(6, 2.8)
    styles = [{"color": BLUE}, *({"color": GREY, "linestyle": style} for style in ("-", "--", ":"))]
    for (name, values), style in zip(errors.items(), styles, strict=False):
        known = np.sort(values[~np.isnan(values)], axis=None)
        axes.plot(known, np.arange(1, len(known) + 1) / max(1, len(known)), label=name, **style)
    for limit in limits.values():
        axes.axvline(limit, color=ORANGE, linewidth=0.8, linestyle=":")
    axes.set(xlabel=f"error, {unit} (dotted: {', '.join(limits)})", ylabel="share of points", ylim=(0, 1.02))
    axes.set_xlim(0, 3 * max(limits.values()))
    axes.legend(frameon=False, loc="lower right")
    return png(drawing)


def view_plot(sums: Sums, frames: NDArray[np.integer[Any]]) -> bytes | None:
    """Mean error in mm by azimuth, one line for each ring; None if no point is visible."""
    known = np.unique(frames)
    totals = np.array([sums.by_picture[frames == frame].sum(0) for frame in known])
    error = row_rates(totals)["mean_mm"]
    if np.isnan(error).all():
        return None
    figure, axes = new_figure(8, 3)
    for elevation in rig.RING_ELEVATIONS_DEG:
        of_ring = [k for k, frame in enumerate(known) if rig.camera(int(frame)).elevation_deg == elevation]
        azimuth = np.array([signed_azimuth(int(known[k])) for k in of_ring])
        order = np.argsort(azimuth)
        if of_ring:
            line = axes.plot(azimuth[order], error[of_ring][order], "o-", color=_RING_COLOURS[elevation])[0]
            line.set(markersize=3, linewidth=1, label=angle(round(elevation)))
    axes.set(xlabel="azimuth (0° faces the subject)", ylabel="mean error, mm", xlim=(-185, 185))
    axes.set_xticks(range(-180, 181, 60), [angle(degrees) for degrees in range(-180, 181, 60)])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False, title="elevation", loc="center left", bbox_to_anchor=(1, 0.5))
    return png(figure)


def point_plot(rows: Sequence[Mapping[str, Any]], baseline: str | None) -> bytes | None:
    """Mean error in mm of each acupoint with its interval, the worst first, coloured by meridian; a baseline in grey.

    Args:
        rows: of breakdown.rows_by_point.
        baseline: whose figures are drawn beside them.
    """
    known = [k for k, row in enumerate(rows) if not np.isnan(row["figures"]["mean_mm"].value)]
    if not known:
        return None
    known.sort(key=lambda k: -rows[k]["figures"]["mean_mm"].value)
    figures = [rows[k]["figures"]["mean_mm"] for k in known]
    figure, axes = new_figure(9, 3.4)
    axes.set_facecolor(_DARK)
    if baseline is not None:
        below = [rows[k]["baselines"][baseline]["mean_mm"] for k in known]
        axes.plot(below, "_", color=GREY, markersize=4, label="baseline")
    colours = [np.array(MERIDIAN_COLOURS[acupoints.ACUPOINTS[k].meridian]) / 255 for k in known]
    places = np.arange(len(known))
    axes.vlines(places, [entry.low for entry in figures], [entry.high for entry in figures], colours, linewidth=0.8)
    axes.scatter(places, [entry.value for entry in figures], 9, colours, zorder=3)
    for meridian, colour in MERIDIAN_COLOURS.items():
        axes.plot([], [], "o", color=np.array(colour) / 255, label=meridian)
    axes.set(xlabel=f"{len(known)} acupoints, the worst first", ylabel="mean error, mm", xlim=(-1, len(known)))
    axes.set_xticks([])
    axes.set_ylim(bottom=0)
    place = {"loc": "upper left", "bbox_to_anchor": (0, -0.08), "ncols": 10, "columnspacing": 1.2, "handletextpad": 0.2}
    axes.legend(**place, facecolor=_DARK, labelcolor="white", edgecolor="none", framealpha=1)
    return png(figure)


def visibility_plot(sums: Sums) -> bytes:
    """Shares truly visible, predicted visible, and wrong, by acupoint and azimuth; white where there is no picture."""
    tp, fp, fn, tn = (
        np.roll(sums.by_azimuth[..., TERMS.index(term)], 18, axis=0).T for term in ("tp", "fp", "fn", "tn")
    )
    total = tp + fp + fn + tn
    figure, panels = new_figure(10, 4.6, ncols=3, sharey=True)
    parts = {"truly visible": tp + fn, "predicted visible": tp + fp, "wrong": fp + fn}
    for axes, (title, part) in zip(panels, parts.items(), strict=True):
        share = np.divide(part, total, out=np.full(part.shape, np.nan), where=total > 0)
        axes.imshow(share, vmin=0, vmax=1, cmap="viridis", aspect="auto", interpolation="nearest")
        axes.set_title(title, fontsize=9)
        axes.set_xticks(range(0, 36, 9), [angle(10 * column - 180) for column in range(0, 36, 9)])
        axes.set_xlabel("azimuth")
    runs = [acupoints.meridian_slice(meridian) for meridian in acupoints.MERIDIANS]
    panels[0].set_yticks([(run.start + run.stop - 1) / 2 for run in runs], acupoints.MERIDIANS)
    for axes in panels:
        axes.tick_params(axis="y", length=0)
        for run in runs[1:]:
            axes.axhline(run.start - 0.5, color="white", linewidth=0.6)
    figure.colorbar(panels[0].images[0], ax=list(panels), label="share of pictures", fraction=0.02, pad=0.02)
    return png(figure)
