"""What a hand rests on: an invented table top and the light over it."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from synthetic import canvas
from synthetic.identity import random_for
from synthetic.lights import Light
from synthetic.settings import HandLight

Floats = NDArray[np.floating]

TABLE_PX, TABLE_MM_PER_PX = 1024, 0.8
KINDS = ("plain", "gradient", "wood", "cloth", "checks", "desk")


def draw_table(seed: int, picture: int) -> tuple[str, NDArray[np.float32]]:
    """The table top: its name and [1024, 1024, 3] linear RGB, 0.8 mm a texel."""
    rng = random_for("table", seed, picture)
    kind = KINDS[int(rng.integers(len(KINDS)))]
    size = (TABLE_PX, TABLE_PX)
    base = _colour(rng, 0.03, 0.6)
    table = np.ones((*size, 3), np.float32) * base
    y, x = np.mgrid[0:TABLE_PX, 0:TABLE_PX].astype(np.float32) / TABLE_PX
    if kind == "gradient":
        way = rng.uniform(0, 2 * np.pi)
        share = np.clip(0.5 + 1.6 * ((x - 0.5) * np.cos(way) + (y - 0.5) * np.sin(way)), 0, 1)[..., None]
        table = table * (1 - share) + _colour(rng, 0.03, 0.6) * share
    elif kind == "wood":
        rings = canvas.smooth_noise(rng, size, (int(rng.integers(30, 90)), 3)) + 0.5 * canvas.smooth_noise(
            rng, size, (300, 8)
        )
        table = _colour(rng, 0.12, 0.45) * np.array([1.25, 0.85, 0.55], np.float32) * np.exp(0.22 * rings)[..., None]
    elif kind in ("cloth", "checks"):
        pitch = rng.uniform(2.2, 4.0)
        weave = np.sin(x * TABLE_PX * 2 * np.pi / pitch) * np.sin(y * TABLE_PX * 2 * np.pi / pitch)
        folds = canvas.smooth_noise(rng, size, (5, 4)) + 0.5 * canvas.smooth_noise(rng, size, (12, 9))
        if kind == "checks":
            square = rng.uniform(14, 60)
            on = ((x * TABLE_PX // square).astype(int) + (y * TABLE_PX // square).astype(int)) % 2
            table = np.where(on[..., None] == 1, table, _colour(rng, 0.08, 0.6))
        table = table * np.exp(0.10 * weave + 0.14 * folds)[..., None]
    elif kind == "desk":
        for _ in range(int(rng.integers(8, 26))):
            _thing(table, rng)
    table = table * np.exp(0.04 * canvas.smooth_noise(rng, size, (24, 24)))[..., None]
    table = table * np.exp(rng.uniform(0, 0.05) * canvas.smooth_noise(rng, size, (400, 400)))[..., None]
    return kind, np.clip(table, 0.004, 0.95).astype(np.float32)


def _colour(rng: np.random.Generator, low: float, high: float) -> NDArray[np.float32]:
    return (rng.uniform(low, high) * (1 + 0.16 * rng.standard_normal(3)).clip(0.5, 1.5)).clip(0, 0.9).astype(np.float32)


def _thing(table: NDArray[np.float32], rng: np.random.Generator) -> None:
    """A sheet of paper, a book, a pen or a cup's rim, seen from above."""
    center = rng.uniform(0, TABLE_PX, 2)
    way = rng.uniform(0, np.pi)
    axes = np.array([[np.cos(way), np.sin(way)], [-np.sin(way), np.cos(way)]])
    kind = int(rng.integers(4))
    half = ((130, 185), (90, 120), (4, 85), (45, 45))[kind]
    colour: Any = [_colour(rng, 0.45, 0.65), *(_colour(rng, 0.03, 0.6) for _ in range(3))][kind]
    corners = center + (np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half) @ axes
    if kind == 3:
        cv2.circle(table, tuple(int(v) for v in center), half[0], colour.tolist(), -1, cv2.LINE_AA)
        cv2.circle(table, tuple(int(v) for v in center), half[0] - 5, (colour * 0.3).tolist(), -1, cv2.LINE_AA)
        return
    cv2.fillPoly(table, [np.round(corners + 3).astype(np.int32)], (colour * 0.35).tolist(), cv2.LINE_AA)
    cv2.fillPoly(table, [np.round(corners).astype(np.int32)], colour.tolist(), cv2.LINE_AA)
    if kind == 0:
        for share in np.linspace(-0.85, 0.85, 24):
            ends = center + (np.array([(-0.8, share), (rng.uniform(0.2, 0.8), share)]) * half) @ axes
            cv2.polylines(table, [np.round(ends).astype(np.int32)], False, (0.12, 0.12, 0.13), 2, cv2.LINE_AA)


def table_at(table: NDArray[np.float32], places: Floats) -> NDArray[np.float32]:
    """[N, 3] colour of the table at [N, 2] mm from its middle; beyond its edge it is mirrored."""
    span = TABLE_PX - 1
    texel = np.abs((places / TABLE_MM_PER_PX + span / 2 + span) % (2 * span) - span).astype(np.float32)
    return canvas.sample_image(table, texel[:, 0], texel[:, 1])


def studio_table() -> NDArray[np.float32]:
    """A plain grey table top, as draw_table gives it."""
    return np.full((TABLE_PX, TABLE_PX, 3), 0.18, np.float32)


def light_over_table(kind: HandLight, seed: int, picture: int) -> Light:
    """The light of a picture of a data set with this kind of light."""
    if kind == "studio":
        return studio_light()
    return table_light(seed, picture) if kind == "daylight" else wild_light(seed, picture)


def studio_light() -> Light:
    """One large white lamp above the camera; the same for all pictures."""
    return Light(
        ambient=np.full(3, 0.5),
        sky=np.full(3, 0.12),
        camera=np.full(3, 0.1),
        key=np.full(3, 0.5),
        key_direction=np.array([0.2, 0.25, 0.947]),
        key_size=0.35,
        panorama=None,
    )


def wild_light(seed: int, picture: int) -> Light:
    """A low, coloured lamp with a hard shadow, and dim light of another colour from all around."""
    rng = random_for("wild table light", seed, picture)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(12, 60))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    ambient = rng.uniform(0.12, 0.35) * _tint(rng)
    return Light(
        ambient=ambient,
        sky=0.2 * ambient,
        camera=np.full(3, rng.uniform(0.0, 0.08)),
        key=rng.uniform(0.6, 1.5) * _tint(rng),
        key_direction=direction,
        key_size=float(rng.uniform(0.02, 0.12)),
        panorama=None,
    )


def _tint(rng: np.random.Generator) -> NDArray[np.float64]:
    """A strong colour of mean 1: warm, cool, or of a coloured lamp."""
    colour = rng.uniform(0.35, 1.0, 3)
    return colour / colour.mean()


def table_light(seed: int, picture: int) -> Light:
    """A lamp or window above the table, daylight to warm, and light from all around."""
    rng = random_for("table light", seed, picture)
    azimuth, elevation = rng.uniform(0, 2 * np.pi), np.radians(rng.uniform(28, 80))
    direction = np.array([np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)])
    warmth = rng.uniform(-1, 1)
    tint = np.array([1 + 0.16 * warmth, 1.0, 1 - 0.22 * warmth]) * (1 + 0.03 * rng.standard_normal(3))
    soft = rng.uniform(0, 1)
    exposure = rng.uniform(0.8, 1.1)
    ambient = exposure * (0.34 + 0.28 * soft) * (1 - 0.08 * warmth * np.array([1.0, 0.0, -1.0]))
    return Light(
        ambient=ambient,
        sky=0.25 * ambient,
        camera=np.full(3, rng.uniform(0.02, 0.12)),
        key=exposure * (1.05 - 0.6 * soft) * tint,
        key_direction=direction,
        key_size=float(rng.uniform(0.03, 0.1) + 0.25 * soft),
        panorama=None,
    )
