"""Pictures with true and predicted points on the page of an evaluation."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError

OF_EACH = 3
"""Pictures of each kind: the worst, the median, the best."""
SHOWN_PX = 448
"""Small pictures are enlarged by a whole number to about this side."""


@dataclass(frozen=True, slots=True)
class Overlay:
    """One picture with its points, and its caption."""

    kind: str
    order: int
    """Of the kind, from 0."""
    caption: str
    jpeg: bytes
    """Empty where the picture cannot be shown."""


def overlays(
    error: NDArray[np.floating[Any]],
    draw: Callable[[int], NDArray[np.uint8]],
    caption: Callable[[int], str],
    failed: Callable[[int, AcuSimError], str] = lambda row, error: str(error),
    of_each: int = OF_EACH,
) -> list[Overlay]:
    """The worst, median and best pictures.

    Args:
        error: [N] by which they are ordered; pictures with NaN are left out.
        draw: a picture with its points, [H, W, 3]; may raise AcuSimError.
        caption: of a picture.
        failed: the caption of one that cannot be drawn.
        of_each: at most so many of each kind.
    """
    out: list[Overlay] = []
    for order, (kind, rows) in enumerate(extremes(error).items()):
        for row in rows[:of_each]:
            try:
                out.append(Overlay(kind, order, caption(row), _jpeg(draw(row))))
            except AcuSimError as failure:
                out.append(Overlay(kind, order, failed(row, failure), b""))
    return out


def enlargement(side: int) -> int:
    """The whole number by which a picture is enlarged."""
    return max(1, round(SHOWN_PX / side))


def extremes(error: NDArray[np.floating[Any]]) -> dict[str, list[int]]:
    """Rows of the worst, median and best of [N] errors, OF_EACH of each kind and none twice; NaN are left out."""
    known = np.flatnonzero(~np.isnan(error))
    order = known[np.argsort(-error[known], kind="stable")]
    middle = max(0, (len(order) - OF_EACH) // 2)
    kinds = {"worst": order[:OF_EACH], "median": order[middle : middle + OF_EACH], "best": order[::-1][:OF_EACH]}
    used: set[int] = set()
    out: dict[str, list[int]] = {}
    for kind, rows in kinds.items():
        out[kind] = [row for row in rows.tolist() if row not in used]
        used.update(out[kind])
    return out


def _jpeg(pixels: NDArray[np.uint8]) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "JPEG", quality=85)
    return out.getvalue()
