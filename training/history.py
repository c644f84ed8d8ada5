"""The figures of every epoch as CSV, TensorBoard events and plots, always written from the checkpoint's own rows.

So the files of a resumed run equal those of an uninterrupted one.
"""

import csv
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from acusim.errors import OutputError
from acusim.files import write_atomic

CSV, TENSORBOARD, CURVES = "metrics.csv", "tensorboard", "curves"
DRAW_SECONDS = 60.0
"""Least interval of plots during a run, since plotting takes about a second."""
REACHED = (0.90, 0.95, 0.99)
"""The paper's e90, e95 and e99: the first epoch with so high a visibility accuracy."""
Curves = Mapping[str, tuple[str, tuple[str, ...]]]
"""File names, without extension, to the axis's label and the figures of one plot."""


class History:
    """Rows of figures, one for each epoch.

    Args:
        rows: those of earlier epochs.
        curves: the plots.
    """

    def __init__(self, rows: list[dict[str, Any]] | None = None, curves: Curves | None = None):
        self.rows = list(rows or [])
        self.curves = dict(curves or {})
        self._drawn = -math.inf
        self._writer: Any = None

    def add(self, row: dict[str, Any]) -> None:
        """Adds an epoch; figures that are not finite become None."""
        self.rows.append({name: _plain(value) for name, value in row.items()})

    def reached(self, figure: str = "micro") -> dict[str, int | None]:
        """First epoch, from 1, at which a figure was at least 0.90, 0.95 and 0.99; None where it never was."""
        out: dict[str, int | None] = {}
        for level in REACHED:
            epochs = (row["epoch"] for row in self.rows if (row.get(figure) or 0.0) >= level)
            out[f"e{round(100 * level)}"] = next(epochs, None)
        return out

    def write(self, run: Path, done: bool = False) -> None:
        """Writes TensorBoard's events, the plots at intervals and when ``done``, and last metrics.csv.

        Raises:
            OutputError: the disk is full or read-only; the figures are in the checkpoint, too.
        """
        try:
            self._tensorboard(run / TENSORBOARD, done)
            if done or time.monotonic() - self._drawn > DRAW_SECONDS:
                self._drawn = time.monotonic()
                (run / CURVES).mkdir(exist_ok=True)
                for name, (label, figures) in self.curves.items():
                    write_atomic(run / CURVES / f"{name}.png", self._curves(label, figures))
            write_atomic(run / CSV, self.to_csv().encode())
        except OSError as error:
            raise OutputError(
                f"the figures of the run cannot be written to {str(run)!r}: {error.strerror or error}; the checkpoint "
                "contains them: make room and run the same command again"
            ) from None

    def is_written(self, run: Path) -> bool:
        """Whether metrics.csv has all rows; it is written last, so the other files have them, too."""
        try:
            return (run / CSV).read_bytes() == self.to_csv().encode()
        except OSError:
            return False

    def to_csv(self) -> str:
        """One line an epoch, under the names of all figures."""
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(self.rows)
        return text.getvalue()

    def _tensorboard(self, folder: Path, done: bool) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        new = self.rows[-1:]
        if self._writer is None:
            # A killed process may have written epochs that are repeated now: this one starts its own file.
            for old in folder.glob("events.out.tfevents.*"):
                old.unlink()
            self._writer = SummaryWriter(str(folder))
            new = self.rows
        for row in new:
            for name, value in row.items():
                if name != "epoch" and value is not None:
                    group = "train" if name.startswith("train_") else "validation"
                    self._writer.add_scalar(f"{group}/{name.removeprefix('train_')}", value, row["epoch"])
        self._writer.flush()
        if done:
            self._writer.close()
            self._writer = None

    def _curves(self, label: str, figures: tuple[str, ...]) -> bytes:
        from matplotlib.figure import Figure

        figure = Figure(figsize=(7, 4.2), dpi=110, layout="constrained")
        axes = figure.add_subplot()
        for name in figures:
            points = [(row["epoch"], row[name]) for row in self.rows if row.get(name) is not None]
            if points:
                style = ":" if name.startswith("floor") else "--" if name.startswith("train") else "-"
                axes.plot(*zip(*points, strict=True), style, marker="." if len(points) < 40 else "", label=name)
        axes.set_xlabel("epoch")
        axes.set_ylabel(label)
        axes.grid(alpha=0.3)
        if axes.has_data():
            axes.legend(fontsize=8)
        out = io.BytesIO()
        figure.savefig(out, format="png", metadata={"Software": None})
        return out.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.7g}") if math.isfinite(value) else None
    return value
