"""Plots as PNG or PDF bytes in one style. Equal figures are equal bytes."""

import io
from typing import Any, Literal

BLUE, ORANGE, GREY = "#2b6cb0", "#dd6b20", "#a0aec0"
_STYLE = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#4a5568",
    "figure.facecolor": "white",
}


def new_figure(width: float, height: float, **layout: Any) -> tuple[Any, Any]:
    """A new figure and its axes.

    Args:
        width: in inches, drawn at 130 dots each.
        height: in inches.
        layout: of ``Figure.subplots``, such as nrows.
    """
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams.update(_STYLE)  # type: ignore[call-overload]
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(**layout)


def png(figure: Any) -> bytes:
    """The PNG file of a figure."""
    return saved(figure, "png")


def saved(figure: Any, kind: Literal["png", "pdf"]) -> bytes:
    """The file of a figure, PNG for pages, PDF for print."""
    out = io.BytesIO()
    # Without the library's version and the time in the file, equal figures are equal bytes.
    about = {"png": {"Software": None}, "pdf": {"Creator": None, "Producer": None, "CreationDate": None}}[kind]
    figure.savefig(out, format=kind, dpi=130, bbox_inches="tight", metadata=about)
    return out.getvalue()
