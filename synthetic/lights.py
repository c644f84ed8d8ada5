"""Light and backgrounds: the data set's flat studio, and the wild: coloured suns and invented rooms.

Mixed lamps are in mixed_light.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.rig import Camera
from synthetic.canvas import sample_image, smooth_noise
from synthetic.gloss import Finish
from synthetic.identity import random_for

FloatArray = NDArray[np.floating]
_PANORAMA = (640, 1280)


@dataclass(frozen=True)
class Lamp:
    """A small, far lamp: it casts hard shadows."""

    name: str
    """Of its colour."""
    colour: FloatArray
    """[3] linear RGB of a white surface that faces it."""
    direction: FloatArray
    """[3] unit vector towards it, world."""
    size: float
    """Angular size in radians."""

    def describe(self) -> dict[str, Any]:
        """Plain values for provenance."""
        return {
            "name": self.name,
            "colour": [round(float(v), 4) for v in self.colour],
            "direction": [round(float(v), 4) for v in self.direction],
            "size": round(self.size, 4),
        }


@dataclass(frozen=True)
class Light:
    """Light on the scene, in linear RGB."""

    ambient: FloatArray
    """[3] from all around."""
    sky: FloatArray
    """[3] more of it from above than from below."""
    camera: FloatArray
    """[3] of a soft light that travels with the camera."""
    key: FloatArray
    """[3] of the directional light; zero for none."""
    key_direction: FloatArray
    """[3] unit vector towards it, world."""
    key_size: float
    """Angular size of the key in radians, for soft shadows."""
    panorama: NDArray[np.float32] | None
    """[H, W, 3] surroundings over azimuth and elevation, linear; None for black."""
    lamps: tuple[Lamp, ...] = ()
    """Further lamps, which shine on glossy skin."""
    finish: Finish | None = None
    """Of the skin; where there are lamps."""
    background: str = ""
    """Kind of the surroundings, for provenance."""

    def describe(self) -> dict[str, Any]:
        """Plain values for provenance."""
        if self.finish is not None:
            return {
                "lamps": [lamp.describe() for lamp in self.lamps],
                "roughness": round(self.finish.roughness, 4),
                "relief": round(self.finish.relief, 4),
                "background": self.background,
                "ambient": [round(float(v), 4) for v in self.ambient],
            }
        return {
            "key": [round(float(v), 4) for v in self.key],
            "key_direction": [round(float(v), 4) for v in self.key_direction],
            "ambient": [round(float(v), 4) for v in self.ambient],
        }


def studio_light() -> Light:
    """AcuSim's light: even from all sides, without shadows, on black."""
    none = np.zeros(3)
    return Light(
        ambient=np.array([0.66, 0.66, 0.65]),
        sky=np.array([0.10, 0.10, 0.10]),
        camera=np.array([0.42, 0.42, 0.41]),
        key=none,
        key_direction=np.array([0.0, 0.0, 1.0]),
        key_size=0.0,
        panorama=None,
    )


def wild_light(seed: int, index: int, view: int | Camera, panorama: NDArray[np.float32]) -> Light:
    """A coloured directional light with shadows, drawn for one view; it comes from the camera's side.

    Args:
        seed: of the data set.
        index: of the identity.
        view: frame 1..144 of the rig, or a camera.
        panorama: the identity's surroundings, see surroundings().
    """
    camera = rig.as_camera(view)
    rng = random_for("light", seed, index, camera.frame)
    azimuth = np.radians(camera.azimuth_deg + rng.uniform(-75, 75))
    elevation = np.radians(rng.uniform(5, 60))
    direction = np.array([np.sin(azimuth) * np.cos(elevation), -np.cos(azimuth) * np.cos(elevation), np.sin(elevation)])
    warmth = rng.uniform(-1, 1)
    tint = np.array([1 + 0.22 * warmth, 1.0, 1 - 0.28 * warmth]) * (1 + 0.05 * rng.standard_normal(3))
    surround = panorama.reshape(-1, 3).mean(0)
    ambient = rng.uniform(0.22, 0.4) * (0.4 + 0.6 * surround / max(float(surround.mean()), 1e-3))
    return Light(
        ambient=ambient,
        sky=0.1 * ambient,
        camera=np.full(3, rng.uniform(0.02, 0.12)),
        key=rng.uniform(0.7, 1.1) * tint,
        key_direction=direction,
        key_size=float(rng.uniform(0.04, 0.14)),
        panorama=panorama,
    )


def surroundings(seed: int, index: int) -> NDArray[np.float32]:
    """[640, 1280, 3] an invented place around one identity, linear RGB, out of focus: a room or the open air.

    A picture sees some 20 degrees of it, 72 of its pixels.
    """
    rng = random_for("surroundings", seed, index)
    height, width = _PANORAMA
    kind = ("room", "shelves", "street", "garden")[int(rng.integers(4))]
    elevation = np.linspace(90, -90, height)[:, None, None]
    base = rng.uniform(0.2, 0.7) * (1 + 0.12 * rng.standard_normal(3)).clip(0.7, 1.3)
    if kind in ("room", "shelves"):
        floor = rng.uniform(0.06, 0.3) * np.array([1.0, 0.72, 0.5])
        canvas = np.where(elevation > -24, base, floor) * np.ones((height, width, 1))
        canvas = np.where(elevation > 45, 0.85, canvas)
        canvas = np.where(np.abs(elevation + 23) < 0.8, 0.7, canvas)
        for _ in range(34 if kind == "room" else 60):
            _furniture(canvas, rng, kind)
    else:
        sky = np.array([0.45, 0.62, 0.9]) * rng.uniform(0.5, 1.0)
        ground = np.array([0.2, 0.2, 0.2]) if kind == "street" else np.array([0.10, 0.16, 0.05])
        blend = np.clip((elevation + 6) / 12, 0, 1)
        canvas = (sky * blend + ground * (1 - blend)) * np.ones((height, width, 1))
        for _ in range(90):
            _outdoors(canvas, rng, kind)
    canvas *= np.exp(0.10 * smooth_noise(rng, _PANORAMA, (18, 36)))[..., None]
    for _ in range(int(rng.integers(0, 60))):
        center = (int(rng.integers(width)), int(rng.integers(height // 4, height * 5 // 8)))
        glow = rng.uniform(0.6, 1.6) * np.array([1.0, rng.uniform(0.7, 1.0), rng.uniform(0.4, 1.0)])
        cv2.circle(canvas, center, int(rng.integers(2, 6)), glow.tolist(), -1, cv2.LINE_AA)
    wrapped = np.concatenate([canvas[:, -32:], canvas, canvas[:, :32]], 1)
    soft = cv2.GaussianBlur(wrapped, (0, 0), float(rng.uniform(0.8, 2.6)))
    return np.clip(soft[:, 32:-32], 0.0, 2.0).astype(np.float32)


def _muted(rng: np.random.Generator, low: float, high: float) -> FloatArray:
    """[3] a colour of the given brightness that is not too strong."""
    return rng.uniform(low, high) * (1 + 0.17 * rng.standard_normal(3)).clip(0.5, 1.5)


def _furniture(canvas: FloatArray, rng: np.random.Generator, kind: str) -> None:
    """A window, picture or cupboard on the wall, or a shelf with books."""
    height, width = _PANORAMA
    x, w = int(rng.integers(0, width)), int(rng.integers(10, 60))
    y, h = int(rng.integers(height // 4, height * 9 // 16)), int(rng.integers(12, 60))
    colour = np.array([0.9, 0.98, 1.1]) if rng.uniform() < 0.15 else _muted(rng, 0.03, 0.7)
    cv2.rectangle(canvas, (x - 2, y - 2), (x + w + 2, y + h + 2), (colour * 0.5).tolist(), -1)
    cv2.rectangle(canvas, (x, y), (x + w, y + h), colour.tolist(), -1)
    if kind == "shelves":
        for offset in range(1, w, 4):
            top = y + int(rng.integers(1, max(2, h // 3)))
            cv2.rectangle(canvas, (x + offset, top), (x + offset + 3, y + h - 2), _muted(rng, 0.03, 0.5).tolist(), -1)


def _outdoors(canvas: FloatArray, rng: np.random.Generator, kind: str) -> None:
    """A building along a street, or a bush or tree in a garden."""
    height, width = _PANORAMA
    x, top = int(rng.integers(0, width)), int(rng.integers(height // 4, height * 15 // 32))
    horizon = height * 17 // 32
    if kind == "street":
        w = int(rng.integers(20, 70))
        cv2.rectangle(canvas, (x, top), (x + w, horizon), _muted(rng, 0.06, 0.5).tolist(), -1)
        pane = _muted(rng, 0.05, 0.9).tolist()
        for row in range(top + 6, horizon - 6, 12):
            for column in range(x + 4, x + w - 5, 9):
                cv2.rectangle(canvas, (column, row), (column + 4, row + 6), pane, -1)
    else:
        colour = rng.uniform(0.3, 1.2) * np.array([0.09, 0.15, 0.05]) * rng.uniform(0.7, 1.4, 3)
        size = (int(rng.integers(8, 50)), int(rng.integers(10, 60)))
        cv2.ellipse(canvas, (x, horizon - size[1] // 2), size, 0, 0, 360, colour.tolist(), -1)


def panorama_at(panorama: NDArray[np.float32], rays: FloatArray) -> NDArray[np.float32]:
    """[N, 3] linear RGB of the surroundings along rays [N, 3]."""
    height, width = panorama.shape[:2]
    azimuth = np.arctan2(rays[:, 0], -rays[:, 1])
    elevation = np.arctan2(rays[:, 2], np.hypot(rays[:, 0], rays[:, 1]))
    x = ((azimuth / (2 * np.pi) + 0.5) * width - 0.5).astype(np.float32)
    y = ((0.5 - elevation / np.pi) * height - 0.5).astype(np.float32)
    return sample_image(panorama, x, y, wrap=True)
