"""The plots and overlays of an evaluation of hands."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reporting.plotting import BLUE, GREY, new_figure, png
from training.eval.heatmap_panels import over_picture


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
    return np.concatenate([over_picture(pixels, maps) for maps in pair], 1)
