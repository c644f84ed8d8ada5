"""The ear: a shallow relief over an ellipse, hung up by the acupoint at its apex, EX-HN6."""

import numpy as np
from numpy.typing import NDArray

from synthetic.grids import grid_faces

FloatArray = NDArray[np.floating]

RINGS, SPOKES = 36, 72
_HALF_WIDTH_MM, _HALF_HEIGHT_MM = 14.5, 27.5
_FLARE_RAD = np.radians(20.0)
_LEAN_RAD = np.radians(-14.0)


def _bump(a: FloatArray, b: FloatArray, center: tuple[float, float], size: tuple[float, float]) -> FloatArray:
    return np.exp(-((((a - center[0]) / size[0]) ** 2) + ((b - center[1]) / size[1]) ** 2))


def _ear_relief() -> FloatArray:
    """[RINGS, SPOKES, 3] ear in its own frame, mm: out of the head, backwards, up. Centre at the origin."""
    rho = np.linspace(0.0, 1.32, RINGS)[:, None]
    turn = np.linspace(0.0, 2 * np.pi, SPOKES)[None]
    back, up = rho * np.cos(turn), rho * np.sin(turn)
    lobe = np.clip(-np.sin(turn), 0, 1)
    # The rim (helix) fades towards the front; antihelix and tragus stand up, the concha is hollow.
    helix = np.exp(-(((rho - 0.88) / 0.11) ** 2)) * (0.35 + 0.65 * np.clip(0.45 + np.cos(turn) + np.sin(turn), 0, 1))
    height = 7.0 + 6.5 * helix * (1 - 0.6 * lobe)
    height += 4.0 * np.exp(-(((np.hypot(back - 0.05, up + 0.1) - 0.52) / 0.13) ** 2)) * np.clip(0.3 + back, 0, 1)
    height -= 6.0 * _bump(back, up, (-0.1, -0.15), (0.35, 0.32))
    height += 5.0 * _bump(back, up, (-0.62, -0.2), (0.16, 0.2))
    # Beyond the rim the surface turns under, back to the head.
    under = np.clip(rho - 1.0, 0.0, None)
    height = height - under * 60.0
    tuck = (1.0 - 1.9 * under) / np.maximum(rho, 1.0)
    width = _HALF_WIDTH_MM * (1 - 0.10 * lobe**2)
    return np.stack([height, back * tuck * width, up * tuck * _HALF_HEIGHT_MM], -1)


def ear_meshes(apex_left_mm: FloatArray) -> list[tuple[FloatArray, NDArray[np.int32]]]:
    """Left and right ear on a mean head, (vertices [V, 3] mm, faces [F, 3]) each.

    Args:
        apex_left_mm: [3] EX-HN6 of the left side, the top of the ear.
    """
    local = _ear_relief().reshape(-1, 3)
    cos, sin = np.cos(_FLARE_RAD), np.sin(_FLARE_RAD)
    out = local[:, 0] * cos + local[:, 1] * sin
    back = -local[:, 0] * sin + local[:, 1] * cos
    up = local[:, 2]
    cos, sin = np.cos(_LEAN_RAD), np.sin(_LEAN_RAD)
    back, up = back * cos - up * sin, back * sin + up * cos
    left = np.stack([out, back, up], -1)
    top = left[left[:, 2].argmax()]
    left = left + (apex_left_mm - top) + [0.5, 1.0, 0.0]
    faces = grid_faces(RINGS, SPOKES)
    return [(left, faces[:, ::-1].copy()), (left * [-1.0, 1.0, 1.0], faces)]
