"""Positions of points that a picture does not show, from the key ``synthetic`` of label files of synthetic hands.

    "synthetic": {"points": [{"label": "2", "x": 130.2, "y": 88.0, "visible": false, …}, …], …}

labelme keeps keys that it does not know. Whatever is written there otherwise is not ours and gives no position.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.tasks.hand_points import HandPoints

TRUTH_KEY = "synthetic"
_FAR_PX = 1e6


def hidden_positions(document: dict[str, Any], points: HandPoints) -> NDArray[np.float64]:
    """[P, 2] pixels of the points that are listed as not visible; NaN for all others.

    Args:
        document: the content of a label file, untrusted.
        points: the mapping.
    """
    out = np.full((len(points), 2), np.nan)
    truth = document.get(TRUTH_KEY)
    rows = truth.get("points") if isinstance(truth, dict) else None
    for row in rows if isinstance(rows, list) else ():
        if not isinstance(row, dict) or row.get("visible") is not False or not isinstance(row.get("label"), str):
            continue
        index, place = points.index_of(row["label"]), (row.get("x"), row.get("y"))
        if index is not None and all(_is_coordinate(value) for value in place):
            out[index] = place
    return out


def _is_coordinate(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < _FAR_PX  # also false of NaN
