"""What a ControlNet for depth sees of a head: near is bright, the background black."""

import numpy as np
from numpy.typing import NDArray

from acusim.errors import PictureError
from acusim.foreground import Foreground
from acusim.relative_depth import in_millimetres

NO_DEPTH = (
    "control_strength > 0 needs a depth map, and there is none: run python -m synthetic fit --dataset ROOT, which "
    "makes them from the labels, or set control_strength to 0"
)
_NEAREST = 1.0
"""Percentile of the head's depth that counts as the nearest: a few stray pixels do not darken the rest."""


def control_hint(head: Foreground) -> NDArray[np.uint8]:
    """[H, W] 0..255: 2 n / z - 1 of the largest level at depth z, where n is the head's nearest; 0 off the head.

    This is inverse depth, as the estimators whose maps ControlNets for SD 1.5 were trained on give it (MiDaS; Zhang,
    Rao & Agrawala 2023), white at the nearest point and black at twice its distance.

    Args:
        head: from find_foreground, with a depth map.

    Raises:
        PictureError: there is no depth map, or none of the head's pixels has a depth.
    """
    if head.depth is None:
        raise PictureError(NO_DEPTH)
    z = in_millimetres(head.depth, head.mask)[0] if head.depth_kind == "rel8" else head.depth
    on_head = head.mask & (z > 0)
    if not on_head.any():
        raise PictureError("none of the head's pixels has a depth: the depth map was made for another picture")
    nearest = np.percentile(z[on_head], _NEAREST)
    level = 2 * nearest / np.where(on_head, z, np.inf) - 1
    return np.where(on_head, np.rint(255 * np.clip(level, 0, 1)), 0).astype(np.uint8)
