"""Plots of a report as PNG bytes, and images of the worst pairs."""

from collections.abc import Mapping
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.errors import AcuSimError
from acusim.files import safe_join
from acusim.labels import read_label
from acusim.pictures import read_rgb
from evaluation.drift import KEYPOINTS, azimuth_deg
from evaluation.pairs import Pair
from evaluation.run import Worst
from evaluation.settings import ReportSettings
from reporting.plotting import BLUE, GREY, ORANGE, new_figure, png

THUMB = 320
"""Side of the images of a worst pair."""
ARROW = 4.0
"""Displacements are drawn this many times as long."""
_SURE, _UNSURE = (70, 200, 90), (230, 80, 60)


def drift_plot(results: dict[str, Any]) -> bytes | None:
    """Median and 95th percentile of each keypoint beside those of the noisiest edit; None if there is nothing."""
    drift, null = results["px_trusted_views"], results["null"]
    if not drift["all keypoints"]["count"]:
        return None
    edits = {row["keypoint"]: row["edit"] for row in results["verdicts"]}
    figure, axes = new_figure(7, 3.2)
    for place, name in enumerate(KEYPOINTS):
        edit = edits.get(name)
        rows = [(drift[name], BLUE, -0.13)]
        if edit in null:
            rows.append((null[edit]["px"][name], GREY, 0.13))
        for row, colour, side in rows:
            if row["median"]["value"] is None:
                continue
            at, median, p95 = place + side, row["median"], row["p95"]
            axes.plot([at, at], [median["value"], p95["value"]], color=colour, linewidth=1)
            ends = None
            if median["low"] is not None:  # of a single person, there is no interval
                ends = [[median["value"] - median["low"]], [median["high"] - median["value"]]]
            axes.errorbar(at, median["value"], yerr=ends, fmt="o", color=colour, capsize=3, markersize=5)
            axes.plot(at, p95["value"], "_", color=colour, markersize=10)
    axes.set_xticks(range(len(KEYPOINTS)), KEYPOINTS, rotation=30, ha="right")
    axes.set_ylabel("displacement, px")
    axes.set_ylim(bottom=0)
    axes.plot([], [], "o-", color=BLUE, label="original against augmented")
    axes.plot([], [], "o-", color=GREY, label="noisiest edit that moves nothing")
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0)
    return png(figure)


def coverage_plot(by_view: list[dict[str, Any]]) -> bytes | None:
    """Share of trusted acupoints by camera, as a map of azimuth and elevation; None if nothing was certified."""
    return _view_map({row["frame"]: row["trusted"] for row in by_view}, "trusted share", 1.0)


def drift_map(by_view: dict[int, float]) -> bytes | None:
    """Median drift by camera, pixels; None if there is none."""
    return _view_map(by_view, "median drift, px", None)


def _view_map(values: Mapping[int, float | None], label: str, largest: float | None) -> bytes | None:
    if not any(value is not None for value in values.values()):
        return None
    rings = sorted({rig.camera(frame).elevation_deg for frame in rig.FRAMES}, reverse=True)
    grid = np.full((len(rings), 36), np.nan)
    for frame, value in values.items():
        if value is not None:
            grid[rings.index(rig.camera(frame).elevation_deg), round((azimuth_deg(frame) + 180) / 10) % 36] = value
    figure, axes = new_figure(7, 1.9)
    image = axes.imshow(grid, vmin=0, vmax=largest, cmap="viridis", aspect="auto", interpolation="nearest")
    axes.set_yticks(range(len(rings)), [f"{ring:+.0f}°" for ring in rings])
    axes.set_xticks(range(0, 36, 6), [f"{10 * column - 180:+d}°" for column in range(0, 36, 6)])
    axes.set_xlabel("azimuth (0° faces the subject)")
    axes.set_ylabel("elevation")
    figure.colorbar(image, ax=axes, label=label)
    return png(figure)


def head_plot(by_point: list[dict[str, Any]]) -> bytes | None:
    """Every acupoint on a head seen from the front, the left and behind, coloured by the share in which it is trusted;
    None if none was ever visible."""
    if not by_point:
        return None
    share = np.full(acupoints.COUNT, np.nan)
    for row in by_point:
        share[acupoints.NAMES.index(row["acupoint"])] = row["trusted"]
    figure, axes = new_figure(7, 3.4, ncols=3)
    places, normals = acupoints.positions_mm(), acupoints.normals()
    shown = None
    for part, (frame, title) in zip(axes, ((1, "front"), (10, "left side"), (19, "behind")), strict=True):
        xy, _ = rig.project(places, frame, 1.0)
        facing = ((places - rig.camera(frame).center_mm) * normals).sum(1) < 0
        chosen = facing & ~acupoints.INNER
        known = chosen & ~np.isnan(share)
        part.scatter(*xy[chosen & ~known].T, s=9, facecolors="none", edgecolors=GREY, linewidths=0.6)
        shown = part.scatter(*xy[known].T, c=share[known], s=16, cmap="RdYlGn", vmin=0, vmax=1)
        part.set(title=title, xticks=[], yticks=[], aspect="equal", xlim=(0.15, 0.85), ylim=(1.0, 0.05))
        for side in part.spines.values():
            side.set_visible(False)
    figure.colorbar(shown, ax=list(axes), label="trusted share", shrink=0.7)
    return png(figure)


def excluded_plot(values_mm: NDArray[np.floating], tolerance_mm: float) -> bytes | None:
    """Histogram of the bound that holds for each picture's trusted points; None if there is none."""
    known = values_mm[np.isfinite(values_mm)]
    if not known.size:
        return None
    figure, axes = new_figure(7, 2.2)
    axes.hist(known, bins=np.linspace(0, max(tolerance_mm, float(known.max())) * 1.02, 41).tolist(), color=BLUE)
    axes.axvline(tolerance_mm, color=ORANGE, linewidth=1.5, label="tolerance")
    axes.legend(frameon=False, loc="upper left")
    axes.set_xlabel("largest displacement that is possible at a trusted acupoint, mm")
    axes.set_ylabel("pictures")
    return png(figure)


def before_and_after(settings: ReportSettings, pair: Pair) -> tuple[bytes, bytes] | None:
    """Original and augmented image as JPEG; None if they can no longer be read."""
    try:
        before, after = _pictures(settings, pair)
    except AcuSimError:
        return None
    factor = THUMB / max(before.shape[:2])
    return _jpeg(_thumb(before, factor)), _jpeg(_thumb(after, factor))


def _pictures(settings: ReportSettings, pair: Pair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    places = (settings.original, pair.original), (settings.augmented, pair.augmented)
    before, after = (read_rgb(safe_join(root, path)).pixels for root, path in places)
    return before, after


def worst_pictures(settings: ReportSettings, worst: Worst) -> tuple[bytes, bytes, bytes] | None:
    """Original, augmented image, and its displacements, as JPEG; None if they can no longer be read.

    Arrows are four times as long as the displacement; green points are trusted, red ones are not.
    """
    try:
        before, after = _pictures(settings, worst.pair)
        label = read_label(safe_join(settings.original, worst.pair.label)) if worst.pair.label else None
    except AcuSimError:
        return None
    factor = THUMB / max(before.shape[:2])
    small, other = (_thumb(picture, factor) for picture in (before, after))
    drawn = other.copy()
    for row, dx, dy, *_, ok in worst.record["points"] if label is not None else ():
        if label is None or not 0 <= row < acupoints.COUNT or not label.listed[row]:
            continue
        start = label.xy[row] * before.shape[1::-1] * factor
        colour = _SURE if ok else _UNSURE
        centre = (round(start[0]), round(start[1]))
        if ok and dx is not None and dy is not None:
            end = (round(start[0] + ARROW * dx * factor), round(start[1] + ARROW * dy * factor))
            cv2.line(drawn, centre, end, colour, 1, cv2.LINE_AA)
        cv2.circle(drawn, centre, 2, colour, -1 if ok else 1, cv2.LINE_AA)
    return _jpeg(small), _jpeg(other), _jpeg(drawn)


def _thumb(picture: NDArray[np.uint8], factor: float) -> NDArray[np.uint8]:
    size = (max(1, round(picture.shape[1] * factor)), max(1, round(picture.shape[0] * factor)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def _jpeg(picture: NDArray[np.uint8]) -> bytes:
    return cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 82])[1].tobytes()
