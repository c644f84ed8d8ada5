"""Hair: a shell grown over the skin above a hairline, with a curtain or a bun where the style has one.

The shell is opaque geometry: acupoints below it are hidden because rays meet it.
"""

from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from synthetic import grids
from synthetic.canvas import smooth_noise
from synthetic.grids import HEAD_CENTER_MM, grid_faces, smoothstep
from synthetic.identity import BALD, Identity, random_for
from synthetic.scene import Scene

FloatArray = NDArray[np.floating]

ROWS, COLUMNS = 120, 600
_MIN_LIFT_MM = 1.8
"""Even the edge of the shell stands clear of the points on the skin below it."""

# Elevation of the hairline over |azimuth|, degrees, seen from the head's centre. It runs above GB14, below
# ST8 and DU24, over the temple's EX-HN5, round the ear, and ends between DU15 and BL10 at the nape, as on
# AcuSim's haired model.
_AZIMUTH_DEG = (0, 15, 30, 45, 52, 57, 62, 67, 75, 84, 89, 93, 105, 113, 120, 127, 135, 148, 160, 180)
_HAIRLINE_DEG = (37, 38, 37, 30, 14, -2, -8, -13, -16, -17, -8, 3, 4, -8, -20, -33, -37, -43, -47, -48)
_FRINGE_DEG = {0: 22, 15: 23, 30: 24, 45: 18, 52: 8, 57: -3}
_CURTAIN_DEG = {75: -24, 84: -34, 89: -38, 93: -40, 105: -44, 113: -46, 120: -48, 127: -48, 135: -48, 148: -48}


@dataclass(frozen=True)
class HairStyle:
    """Measures of one style, in mm."""

    side_mm: float
    """Thickness of the shell at the sides and back."""
    top_mm: float
    """Thickness on top."""
    spikes_mm: float = 0.0
    """Height of single tufts on top."""
    ramp_deg: float = 9.0
    """How far above the hairline the shell reaches its thickness."""
    jitter_deg: float = 1.6
    """Raggedness of the hairline."""
    fringe: bool = False
    curtain_to_mm: float | None = None
    """Height z at which hanging hair ends, None for none."""
    bun: bool = False


STYLES = {
    "HA": HairStyle(side_mm=15, top_mm=17, curtain_to_mm=-205.0),
    "HC": HairStyle(side_mm=15, top_mm=18, curtain_to_mm=-92.0),
    "HD": HairStyle(side_mm=7.5, top_mm=24, spikes_mm=6.0, ramp_deg=7.0, jitter_deg=2.4),
    "HE": HairStyle(side_mm=6, top_mm=9, ramp_deg=6.0, jitter_deg=1.2, bun=True),
    "HF": HairStyle(side_mm=13, top_mm=18, fringe=True, jitter_deg=2.4),
    "HG": HairStyle(side_mm=3.6, top_mm=4.2, ramp_deg=3.0, jitter_deg=1.0),
}


def _hairline_deg(azimuth: FloatArray, style: HairStyle) -> FloatArray:
    """Elevation in degrees at which hair begins, for azimuths in radians."""
    heights = dict(zip(_AZIMUTH_DEG, _HAIRLINE_DEG, strict=True))
    if style.fringe:
        heights |= _FRINGE_DEG
    if style.curtain_to_mm is not None:
        heights |= _CURTAIN_DEG
    return np.interp(np.degrees(np.abs(azimuth)), list(heights), list(heights.values()))


def scalp_cover(azimuth: FloatArray, elevation: FloatArray, hair: str) -> FloatArray:
    """0..1 how much the skin at these angles (radians) is coloured by hair roots."""
    if hair == BALD:
        return np.zeros(np.broadcast(azimuth, elevation).shape, np.float32)
    style = STYLES[hair]
    above = np.degrees(elevation) - _hairline_deg(azimuth, style)
    return smoothstep(above, -1.5, 3.0).astype(np.float32)


def _shell(style: HairStyle, skin: Scene, rng: np.random.Generator) -> FloatArray:
    """[ROWS, COLUMNS + 1, 3] the shell, rows from the hairline to the crown."""
    azimuth = np.linspace(-np.pi, np.pi, COLUMNS + 1)
    ragged = 0.6 * smooth_noise(rng, (3, COLUMNS), (3, 75))[1] + 0.5 * smooth_noise(rng, (3, COLUMNS), (3, 200))[1]
    line = np.radians(_hairline_deg(azimuth, style) + style.jitter_deg * np.r_[ragged, ragged[:1]])
    share = np.linspace(0, 1, ROWS)[:, None] ** 1.35
    elevation = line + (np.pi / 2 - line) * share
    direction = grids.directions(np.broadcast_to(azimuth, elevation.shape), elevation)
    rays = -direction.reshape(-1, 3)
    distance = skin.distance(HEAD_CENTER_MM - 400.0 * rays, rays)
    # Rays that come in low would meet the shoulders before the nape.
    radius = np.minimum((400.0 - distance.astype(float)).reshape(elevation.shape), 112.0 - 14.0 * (elevation < 0))

    def closed(field: FloatArray) -> FloatArray:
        return np.c_[field, field[:, :1]]

    shape = (ROWS, COLUMNS)
    locks = 0.5 * closed(smooth_noise(rng, shape, (5, 22))) + 0.4 * closed(smooth_noise(rng, shape, (7, 110)))
    locks += 0.25 * closed(smooth_noise(rng, shape, (9, 290)))
    top = smoothstep(elevation, 0.45, 1.1)
    above_deg = np.degrees(elevation - line)
    thickness = style.side_mm + (style.top_mm - style.side_mm) * top
    thickness = thickness * (1 + 0.13 * locks)
    tufts = 0.6 * closed(smooth_noise(rng, shape, (9, 70))) + 0.6 * closed(smooth_noise(rng, shape, (12, 170)))
    tufts *= 1 - smoothstep(elevation, 1.35, 1.55)
    thickness = thickness + style.spikes_mm * top * np.clip(tufts, -0.6, 1.6)
    if style.fringe:
        # Combed forward: hair falls from the crown and stands off the forehead.
        thickness = thickness * (1 + 0.25 * smoothstep(np.cos(azimuth), 0.3, 0.9) * (1 - top))
    lift = np.maximum(thickness * smoothstep(above_deg, -0.6 * style.ramp_deg, style.ramp_deg), _MIN_LIFT_MM)
    lift[0] = 0.2  # the edge closes on the skin, or one could look in under the hair
    lift[-1] = lift[-1].mean()
    shell = HEAD_CENTER_MM + direction * (radius + lift)[..., None]
    shell[:, -1] = shell[:, 0]
    return shell


def _curtain(style: HairStyle, shell: FloatArray, rng: np.random.Generator) -> FloatArray:
    """[rows, columns, 3] hair that hangs from the shell over ears and nape."""
    assert style.curtain_to_mm is not None
    rows, columns = 70, 420
    turn = np.linspace(np.radians(66), np.radians(294), columns)
    center = np.array([0.0, 10.0])
    # Where the shell is at ear height decides how far out the curtain hangs.
    ring = shell.reshape(-1, 3)
    ring = ring[np.abs(ring[:, 2] - 12.0) < 9.0]
    angle = np.mod(np.arctan2(ring[:, 0], -(ring[:, 1] - center[1])), 2 * np.pi)
    order = angle.argsort()
    out = np.interp(turn, angle[order], np.hypot(ring[:, 0], ring[:, 1] - center[1])[order])
    out = np.convolve(np.pad(out, 20, mode="edge"), np.ones(41) / 41, mode="valid")
    side = np.abs(np.sin(turn))
    waves = 0.5 * smooth_noise(rng, (rows, columns), (3, 20)) + 0.5 * smooth_noise(rng, (rows, columns), (4, 90))
    waves += 0.3 * smooth_noise(rng, (rows, columns), (4, 200))
    end = style.curtain_to_mm + 7.0 * smooth_noise(rng, (3, columns), (3, 60))[1]
    # Strands next to the face are shorter, so the curtain's front edge slants.
    edge = smoothstep(np.minimum(turn - turn[0], turn[-1] - turn), 0.0, 0.25)
    end = end + (1 - edge) * 18.0
    fall = np.linspace(0, 1, rows)[:, None]
    height = 22.0 + (end - 22.0) * fall
    flare = 1 + (0.10 * side + 0.04) * smoothstep(fall, 0.1, 0.7) - 0.05 * smoothstep(fall, 0.75, 1.0)
    radius = np.maximum(out, 82.0 * side) * flare + 2.2 * waves * smoothstep(fall, 0.0, 0.3) + 1.5
    return np.stack([radius * np.sin(turn), center[1] - radius * np.cos(turn), height], -1)


def hair_mesh(who: Identity, seed: int, skin: Scene) -> tuple[FloatArray, NDArray[np.int32]] | None:
    """A person's hair as vertices [V, 3] mm and faces [F, 3]; None for a bald head.

    Args:
        who: the person.
        seed: of the data set.
        skin: head and body without ears, over which the hair grows.
    """
    if who.bald:
        return None
    style = STYLES[who.hair]
    rng = random_for("hair", seed, who.index)
    shell = _shell(style, skin, rng)
    grids_made = [shell]
    if style.curtain_to_mm is not None:
        grids_made.append(_curtain(style, shell, rng))
    vertices, faces, start = [], [], 0
    for position, grid in enumerate(grids_made):
        rows, columns = grid.shape[:2]
        part = grid_faces(rows, columns)
        vertices.append(grid.reshape(-1, 3))
        # The curtain's rows run downwards.
        faces.append((part if position == 0 else part[:, ::-1]) + start)
        start += rows * columns
    if style.bun:
        ball = trimesh.creation.icosphere(subdivisions=4, radius=30.0)
        crown = grids.directions(np.array(np.pi), np.array(np.radians(38)))
        bumps = 1 + 0.05 * np.sin(9 * np.arctan2(ball.vertices[:, 0], ball.vertices[:, 2]))
        place = HEAD_CENTER_MM + crown * 122.0
        vertices.append(np.asarray(ball.vertices) * bumps[:, None] * [1.0, 0.85, 1.0] + place)
        faces.append(np.asarray(ball.faces) + start)
    return np.vstack(vertices), np.vstack(faces).astype(np.int32)
