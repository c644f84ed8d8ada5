"""8-bit relative depth maps, as estimators give them, in pseudo-millimetres."""

import math

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.regions import eroded

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

HEAD_DEPTH_MM = 190.0
"""From the nearest to the farthest visible surface of a head: the scale of relative depth."""
_RIM = 0.2
"""Width of the head's rim, as a share of the radius of a disc of its area: there it is farther than inside."""


def in_millimetres(values: Floats, mask: Mask) -> tuple[Floats, bool]:
    """Relative depth as that of a head on AcuSim's rig.

    Args:
        values: [H, W] 0..255.
        mask: [H, W] True on the head.

    Returns:
        [H, W] mm, 0 off the head; and whether near is bright, which follows from the head's roundness.
    """
    inner = eroded(mask, max(1, round(_RIM * math.sqrt(mask.sum() / math.pi))))
    rim = mask & ~inner
    near_bright = bool(inner.any() and values[inner].mean() > values[rim].mean())
    low, high = np.percentile(values[mask], (1, 99))
    nearness = (values - low) / max(high - low, 1.0)
    if not near_bright:
        nearness = 1 - nearness
    z = np.where(mask, rig.ORBIT_RADIUS_MM + HEAD_DEPTH_MM * (0.5 - nearness), 0).astype(np.float32)
    return z, near_bright
