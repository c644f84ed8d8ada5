"""The page of an evaluation of hands: figures beside their baseline, acupoints, pictures and heatmaps."""

from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from reporting.page import figure, number, render
from training.eval.hand_metrics import FIGURES
from training.eval.overlays import Overlay

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
_HEADLINES = ("pck", "precision", "oks", "iou", "error_px")


def page(
    results: Mapping[str, Any],
    plots: Mapping[str, bytes],
    pictures: Sequence[Overlay],
    heatmaps: Sequence[Overlay],
    each: Sequence[Overlay],
) -> bytes:
    """The page's bytes.

    Args:
        results: the content of results.json.
        plots: PNG of cumulative and by_point.
        pictures: with true and predicted points.
        heatmaps: true and predicted ones; none for networks without.
        each: the predicted ones, one panel for each point.
    """
    baselines = results["baselines"]
    return render(
        "training.eval",
        "hand.html",
        title=results["title"],
        results=results,
        baselines=list(baselines),
        headlines=_headlines(results),
        overall=[
            (
                _TITLES[name][0],
                _shown(name, results["figures"][name]),
                *(_shown(name, entry[name]) for entry in baselines.values()),
                results["meanings"][name],
            )
            for name in FIGURES
        ],
        titles=[_TITLES[name][0] for name in FIGURES],
        points=[
            (row["value"], f"{row['pinyin']} {row['chinese']}", row["visible_points"], *_figures(row), _baselines(row))
            for row in results["by_acupoint"]
        ],
        groups={
            title: [
                (row["value"], *(row[name] for name in ("pictures", "subjects", "visible_points")), *_figures(row))
                for row in rows
            ]
            for title, rows in results["by_group"].items()
        },
        visibility=_visibility(results.get("visibility")),
        hand_type=[_trait(name, row) for name, row in results.get("hand_type", {}).items()],
        plots=plots,
        pictures=pictures,
        heatmaps=heatmaps,
        each=each,
    )


def _shown(name: str, values: Mapping[str, Any]) -> Markup:
    _, digits, factor = _TITLES[name]
    return Markup(figure(values, digits, factor))


def _bare(name: str, values: Mapping[str, Any]) -> str:
    _, digits, factor = _TITLES[name]
    return number(None if values["value"] is None else factor * values["value"], digits)


def _figures(row: Mapping[str, Any]) -> list[Markup]:
    return [_shown(name, row["figures"][name]) for name in FIGURES]


def _baselines(row: Mapping[str, Any]) -> str:
    return " / ".join(_bare("error_px", entry["error_px"]) for entry in row["baselines"].values())


def _headlines(results: Mapping[str, Any]) -> list[tuple[str, object]]:
    entries: list[tuple[str, object]] = [(f"pictures of {results['subjects']} subjects", results["pictures"])]
    for name in _HEADLINES:
        others = " / ".join(_bare(name, entry[name]) for entry in results["baselines"].values())
        title = _TITLES[name][0] + (f"; mean pose {others}" if others else "")
        entries.append((title, _shown(name, results["figures"][name])))
    return entries


def _visibility(found: Mapping[str, Any] | None) -> list[tuple[object, ...]]:
    """Rows of visibility's table: of all points, of the visible ones and of the others."""
    if found is None:
        return []
    titles = {"accuracy": "all", "visible": "visible", "not visible": "not visible"}
    others = "; ".join(f"{name} {number(100 * one['value'], 1)}" for name, one in found["baselines"].items())
    return [
        (title, Markup(figure(found[name], 1, 100)), others if name == "accuracy" else "")
        for name, title in titles.items()
        if name in found
    ]


def _trait(name: str, row: Mapping[str, Any]) -> tuple[object, ...]:
    """How often a trait of the hand's type is right."""

    def listed(figures: Mapping[str, Any]) -> Markup:
        return Markup("; ").join(
            Markup("{} {}").format(value, Markup(figure(share, 1, 100))) for value, share in figures.items()
        )

    accuracy = Markup(figure(row["accuracy"], 1, 100))
    return name, row["pictures"], row["subjects"], accuracy, listed(row["baselines"]), listed(row["recall"])
