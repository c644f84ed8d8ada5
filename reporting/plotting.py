"""Plots as PNG bytes in one style. Equal figures are equal bytes."""

import io
from typing import Any

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
    out = io.BytesIO()
    # Without the library's version in the file, equal figures are equal bytes.
    figure.savefig(out, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    return out.getvalue()
