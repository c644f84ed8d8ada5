"""The plots and overlays of an evaluation of hands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reporting.plotting import BLUE, GREY, new_figure, png


def point_plot(results: Mapping[str, Any]) -> bytes:
    """Mean error of each point with its interval, and that of the baseline."""
    rows = [row for row in results["by_acupoint"] if row["figures"]["error_px"]["value"] is not None]
    drawing, axes = new_figure(6, 2.8)
    places = np.arange(len(rows))
    figures = [row["figures"]["error_px"] for row in rows]
    for place, entry in zip(places, figures, strict=True):
        if entry["low"] is not None:
            axes.vlines(place, entry["low"], entry["high"], BLUE, linewidth=1.5)
    axes.plot(places, [entry["value"] for entry in figures], "o", color=BLUE, label="model")
    for name in results["baselines"]:
        axes.plot(places, [row["baselines"][name]["error_px"]["value"] for row in rows], "_", color=GREY, label=name)
    axes.set(ylabel="mean error, px", xlim=(-0.5, max(0.5, len(rows) - 0.5)))
    axes.set_xticks(places, [row["value"] for row in rows])
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    return png(drawing)


def heatmap_overlay(
    pixels: NDArray[np.uint8], pair: tuple[NDArray[np.float32], NDArray[np.float32]]
) -> NDArray[np.uint8]:
    """True and predicted heatmaps [P, S, S] side by side over the picture [S, S, 3] in grey."""
    import cv2

    grey = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    sides = []
    for maps in pair:
        share = maps.max(0).clip(0, 1)[..., None]
        colours = cv2.applyColorMap((255 * share).astype(np.uint8), cv2.COLORMAP_TURBO)[..., ::-1]
        weight = 0.25 + 0.6 * share
        sides.append(np.clip((1 - weight) * grey + weight * colours, 0, 255).astype(np.uint8))
    return np.concatenate(sides, 1)
