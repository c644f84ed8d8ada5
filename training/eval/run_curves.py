"""Several training runs in one plot for each figure, by epoch; and a table of what each run reached.

Reads ``metrics.csv`` of each run, so a run on another machine, or one that is still going, needs nothing else.
"""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, shown
from acusim.results import write_result
from acusim.text_files import text_of
from reporting.page import number, render
from reporting.plotting import GREY, new_figure, saved
from training.history import CSV, History

MAX_RUNS = 12
"""More lines than that cannot be distinguished."""
_MAX_BYTES = 32 << 20
_COLOURS = (
    *("#2b6cb0", "#dd6b20", "#2f855a", "#c53030", "#6b46c1", "#975a16"),
    *("#0987a0", "#b83280", "#4a5568", "#9ae6b4", "#f6ad55", "#90cdf4"),
)
PLOTS: Mapping[str, tuple[str, tuple[str, ...], bool]] = {
    "accuracy": ("visibility accuracy", ("micro",), True),
    "joint": ("visibility and position right", ("joint",), True),
    "fpr": ("false positive rate", ("fpr",), False),
    "fnr": ("false negative rate", ("fnr",), False),
    "error_mm": ("error of visible points, mm", ("error_mm",), False),
    "error_px": ("error of visible points, px", ("error_px",), False),
    "pck": ("PCK", ("pck",), True),
    "precision": ("precision", ("precision",), True),
    "oks": ("OKS", ("oks",), True),
    "iou": ("IoU", ("iou",), True),
    "loss": ("loss (dashed: of training)", ("loss", "train_loss"), False),
    "uncertainty_visibility": ("log sigma of visibility", ("log_sigma_visibility",), False),
    "uncertainty_coordinate": ("log sigma of coordinates", ("log_sigma_coordinate",), False),
    "uncertainty_class": ("log sigma of classes", ("log_sigma_class",), False),
}
"""File name -> axis, figures of validation (``train_`` of training, dashed), and whether more is better."""
BASELINES: Mapping[str, Mapping[str, str]] = {
    "accuracy": {"floor_all_occluded": "all occluded", "floor_majority": "majority of each point"},
    **{
        name: {f"floor_{name}": "mean pose or position"}
        for name in ("error_px", "error_mm", "pck", "precision", "oks", "iou")
    },
}
"""Plot -> figures of answers that need no image, and their names."""


@dataclass(frozen=True)
class RunCurves:
    """The figures of one run."""

    name: str
    """As shown."""
    rows: list[dict[str, float | None]]
    """One for each epoch, with ``epoch``."""

    def points(self, figure: str) -> list[tuple[float, float]]:
        """(epoch, value) wherever the run has the figure."""
        pairs = ((row["epoch"], row.get(figure)) for row in self.rows)
        return [(epoch, value) for epoch, value in pairs if epoch is not None and value is not None]

    def best(self, figure: str, more: bool) -> tuple[float, float] | None:
        """(epoch, value) of the best epoch, the first of equals."""
        points = self.points(figure)
        return min(points, key=lambda point: (-point[1] if more else point[1], point[0])) if points else None


def read_curves(runs: Sequence[Path]) -> list[RunCurves]:
    """The figures of some runs, named by their folders.

    Args:
        runs: folders of train, or metrics.csv files.

    Raises:
        ConfigError: too many, named twice, or one has no such file or a damaged one; names it.
    """
    if len(runs) > MAX_RUNS:
        raise ConfigError(f"{len(runs)} runs; at most {MAX_RUNS} lines can be distinguished in one plot")
    files = [run if run.suffix == ".csv" else run / CSV for run in runs]
    real = [file.resolve() for file in files]
    for place, file in enumerate(real):
        if file in real[:place]:
            raise ConfigError(f"{str(runs[place])!r} is named twice")
    return [RunCurves(name, _read(file)) for name, file in zip(_names(files), files, strict=True)]


def _names(files: Sequence[Path]) -> list[str]:
    """The folders' names, with as much of their paths as makes them differ."""
    parts = [file.absolute().parent.parts for file in files]
    depth = 1
    while depth < max(map(len, parts)) and len({part[-depth:] for part in parts}) < len(parts):
        depth += 1
    return ["/".join(part[-depth:]) for part in parts]


def _read(file: Path) -> list[dict[str, float | None]]:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{str(file)!r} has more than {_MAX_BYTES >> 20} MB: not the figures of a run")
        table = list(csv.DictReader(io.StringIO(text_of(file.read_bytes()))))
    except OSError as error:
        raise ConfigError(
            f"{str(file)!r} cannot be read: {error.strerror}; name the folder of a run that has finished an epoch"
        ) from None
    except (ValueError, csv.Error) as error:
        raise ConfigError(f"{str(file)!r} is not a table of figures: {error}") from None
    rows = [{str(name): _number(file, name, value) for name, value in row.items()} for row in table]
    if not rows or any(row.get("epoch") is None for row in rows):
        raise ConfigError(f"{str(file)!r} is not a table of figures: it needs a column epoch, and at least one row")
    return rows


def _number(file: Path, name: Any, value: Any) -> float | None:
    if not isinstance(value, str) or not value:
        return None
    try:
        found = float(value)
    except ValueError:
        raise ConfigError(f"{str(file)!r}: {shown(name)} = {shown(value)} is not a number") from None
    return found if math.isfinite(found) else None


def overlays(runs: Sequence[RunCurves]) -> dict[str, Any]:
    """Plot name -> matplotlib figure with a line for each run that has its figures; without plots that no run has."""
    found: dict[str, Any] = {}
    for name, (label, figures, _) in PLOTS.items():
        if not any(run.points(figure) for run in runs for figure in figures):
            continue
        figure, axes = new_figure(7, 4)
        for colour, run in zip(_COLOURS, runs, strict=False):
            for which in figures:
                if points := run.points(which):
                    training = which.startswith("train_")
                    mark = "." if len(points) < 40 else ""
                    style = {"ls": "--", "lw": 1} if training else {"ls": "-", "lw": 1.6, "label": run.name}
                    axes.plot(*zip(*points, strict=True), marker=mark, color=colour, **style)
        for which, words in BASELINES.get(name, {}).items():
            if level := next((points[-1][1] for run in runs if (points := run.points(which))), None):
                axes.axhline(level, color=GREY, ls=":", label=f"baseline: {words}")
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, frameon=False)
        found[name] = figure
    return found


def reached(runs: Sequence[RunCurves]) -> tuple[list[str], list[list[str]]]:
    """Titles and rows of a table: of each figure every run's best value with its epoch, and its last.

    For runs of heads also the first epochs at which visibility is right in 90, 95 and 99 %.
    """
    rows = [["epochs", *(f"{run.rows[-1]['epoch']:.0f}" for run in runs)]]
    for name, (label, (which, *_), more) in PLOTS.items():
        if not name.startswith("uncertainty") and any(run.points(which) for run in runs):
            cells = (_best_and_last(run, which, more) for run in runs)
            rows.append([f"{label}: best (epoch), last", *cells])
    if any(run.points("micro") for run in runs):
        histories = [History([{**row, "epoch": int(row["epoch"] or 0)} for row in run.rows]) for run in runs]
        levels = [history.reached() for history in histories]
        rows += [[level, *(number(found[level], 0) for found in levels)] for level in levels[0]]
    return ["", *(run.name for run in runs)], rows


def _best_and_last(run: RunCurves, figure: str, more: bool) -> str:
    best = run.best(figure, more)
    return f"{best[1]:.4g} ({best[0]:.0f}), {run.points(figure)[-1][1]:.4g}" if best else "–"


def write_comparison(runs: Sequence[RunCurves], out: Path) -> Path:
    """Writes ``compare.html``, and each plot as PNG and PDF into ``plots/``.

    Returns:
        The page.

    Raises:
        OutputError: a file cannot be written.
    """
    drawn = overlays(runs)
    files = {name: {kind: saved(figure, kind) for kind in ("png", "pdf")} for name, figure in drawn.items()}
    for name, kinds in files.items():
        for kind, data in kinds.items():
            write_result(out / "plots" / f"{name}.{kind}", data)
    titles, rows = reached(runs)
    page = render(
        "training.eval",
        "compare.html",
        title="Training runs" if len(runs) > 1 else f"Training run {runs[0].name}",
        titles=titles,
        rows=rows,
        plots=[(PLOTS[name][0], kinds["png"]) for name, kinds in files.items()],
    )
    write_result(out / "compare.html", page)
    return out / "compare.html"
