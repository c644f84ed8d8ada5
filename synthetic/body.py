"""Neck, shoulders and clothes: rings from throat to chest, pulled through the acupoints they carry."""

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter1d

from synthetic.grids import grid_faces, smoothstep, vertex_normals

FloatArray = NDArray[np.floating]

RINGS, SPOKES = 130, 181
SHIRT_RINGS = 70
# Ring by ring: height z, half width, front y, back y, y of the widest place, in mm. From the silhouette of
# AcuSim's frame 1 (neck 42 mm at z -77, 61 at -117, 75 at -128, 148 at -145) and its acupoints' depth.
_PROFILE = np.array(
    [
        (-22, 48, 0, 76, 25),
        (-44, 47, -4, 71.5, 25),
        (-60, 44, -10, 68, 25),
        (-80, 43, -20, 65, 22),
        (-97, 43, -30, 66, 20),
        (-110, 49, -29, 69, 26),
        (-122, 62, -27, 73, 36),
        (-131, 84, -27, 76, 42),
        (-140, 124, -30, 79, 46),
        (-150, 152, -34, 82, 46),
        (-165, 176, -44, 87, 42),
        (-185, 190, -60, 95, 36),
        (-215, 197, -78, 104, 28),
        (-290, 200, -95, 110, 20),
    ],
    float,
)
_REFERENCE_SHOULDER_MM = 136.96
"""x of LI16 on the head from which the profile was read; other heads scale their shoulders by theirs."""
NECKLINE_CENTER_Y_MM, NECKLINE_HALF_X_MM, NECKLINE_HALF_Y_MM = 38.0, 78.0, 77.0
"""The collar is an ellipse seen from above: it bares the upper back's acupoints and covers LI16 and GB21."""
COLLAR_LOWEST_MM = -176.0
"""Height below which the shirt closes, in the middle of the back."""
SHIRT_LIFT_MM = 4.5
_TRUNK_RINGS = np.array([(0, 1.0), (60, 0.97), (150, 0.90), (300, 0.84), (600, 0.86)])
"""Below the shoulders' end: how far down in mm, and the trunk's width as a share of what it is there."""


def body_template(shoulder_x_mm: float, drop_mm: float) -> tuple[FloatArray, NDArray[np.int32]]:
    """Neck and shoulders before the fit: vertices [RINGS * SPOKES, 3] mm and faces.

    Args:
        shoulder_x_mm: |x| of LI16, scales the width of the shoulders.
        drop_mm: how much higher (+) this head's shoulders are than the reference's.
    """
    knots = np.linspace(0, 1, len(_PROFILE))
    at = np.linspace(0, 1, RINGS)
    rings = np.stack([gaussian_filter1d(np.interp(at, knots, column), 2.5, mode="nearest") for column in _PROFILE.T], 1)
    z, half_x, front, back, middle = rings.T
    wide = smoothstep(-z, 90.0, 150.0)
    half_x = half_x * (1 + wide * (shoulder_x_mm / _REFERENCE_SHOULDER_MM - 1))
    z = z + drop_mm * smoothstep(-z, 60.0, 125.0)
    turn = np.linspace(-np.pi, np.pi, SPOKES)[None]
    forward = np.cos(turn)
    y = middle[:, None] + np.where(forward > 0, (front - middle)[:, None], (middle - back)[:, None]) * forward
    x = half_x[:, None] * np.sin(turn)
    vertices = np.stack([x, y, np.broadcast_to(z[:, None], x.shape)], -1)
    # Rings run downwards: faces turn the other way round than on the head.
    return vertices.reshape(-1, 3), grid_faces(RINGS, SPOKES)[:, ::-1].copy()


def shirt_mesh(body: FloatArray, faces: NDArray[np.int32], scale: float) -> tuple[FloatArray, NDArray[np.int32]]:
    """A T-shirt over a person's body: a shell that starts at the collar.

    Args:
        body: [RINGS * SPOKES, 3] mm.
        faces: the body's faces.
        scale: of the collar; 1 on the reference.
    """
    normals = vertex_normals(body, faces).reshape(RINGS, SPOKES, 3)
    grid = body.reshape(RINGS, SPOKES, 3)
    plan = (grid[..., :2] - [0.0, NECKLINE_CENTER_Y_MM]) / [NECKLINE_HALF_X_MM * scale, NECKLINE_HALF_Y_MM * scale]
    outside = np.hypot(plan[..., 0], plan[..., 1]) - 1.0
    # The back rises so steeply that the ellipse alone would leave it bare all the way down.
    outside = np.maximum(outside, (COLLAR_LOWEST_MM - grid[..., 2]) / 60.0)
    # In each column the collar is the last crossing from inside to outside, found between two rings.
    first = np.clip(RINGS - 1 - (outside < 0)[::-1].argmax(0), 1, RINGS - 2)
    columns = np.arange(SPOKES)
    low, high = outside[first, columns], outside[first + 1, columns]
    start = first + np.clip(-low / np.maximum(high - low, 1e-6), 0, 1)
    row = start[None] + np.linspace(0, 1, SHIRT_RINGS)[:, None] ** 1.3 * (RINGS - 1.001 - start)[None]
    below = np.floor(row).astype(int)
    part = (row - below)[..., None]
    place = grid[below, columns] * (1 - part) + grid[below + 1, columns] * part
    normal = normals[below, columns] * (1 - part) + normals[below + 1, columns] * part
    lift = SHIRT_LIFT_MM * smoothstep(np.arange(SHIRT_RINGS)[:, None] / 3.0, -0.4, 1.0)[..., None]
    vertices = (place + normal * lift).reshape(-1, 3)
    return vertices, grid_faces(SHIRT_RINGS, SPOKES)[:, ::-1].copy()


def trunk_mesh(shirt: FloatArray) -> tuple[FloatArray, NDArray[np.int32]]:
    """The shirt below the shoulders' end, which cameras of the rig do not see.

    Args:
        shirt: [SHIRT_RINGS * SPOKES, 3] mm.
    """
    edge = shirt.reshape(SHIRT_RINGS, SPOKES, 3)[-1]
    down, width = _TRUNK_RINGS.T[..., None, None]
    middle = edge.mean(0)
    vertices = middle + (edge - middle) * np.concatenate([width, width, np.ones_like(width)], 2)
    vertices[..., 2] -= down[..., 0]
    return vertices.reshape(-1, 3), grid_faces(len(_TRUNK_RINGS), SPOKES)[:, ::-1].copy()
