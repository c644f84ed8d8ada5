"""Difficult light: two or three lamps of different colour at once, hard shadows, glossy skin.

It is meant for tests: no part of it follows Lambert's cosine law alone, as studio and wild light do.
"""

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.rig import Camera
from synthetic.canvas import smooth_noise
from synthetic.gloss import Finish
from synthetic.identity import random_for
from synthetic.lights import Lamp, Light

Floats = NDArray[np.floating]

COLOURS = {
    "tungsten": (1.30, 0.80, 0.42),
    "daylight": (0.82, 0.98, 1.25),
    "white": (1.05, 1.0, 0.95),
    "magenta": (1.35, 0.30, 0.95),
    "cyan": (0.25, 1.05, 1.30),
    "green": (0.45, 1.25, 0.55),
    "red": (1.50, 0.28, 0.20),
    "violet": (0.62, 0.35, 1.45),
}
"""Linear RGB of the lamps."""
_MAIN = ("tungsten", "daylight", "white")
_NEON = ("magenta", "cyan", "green", "red", "violet")
BACKGROUNDS = ("plain", "gradient", "place")
_WALL = (320, 640)


def mixed_light(seed: int, index: int, view: int | Camera, place: NDArray[np.float32]) -> Light:
    """The light of one view.

    The main lamp is in front at one side, the second of another hue at the other side; a third, a neon tube, is in two
    of three views: from the side, behind or below.

    Args:
        seed: of the data set.
        index: of the identity.
        view: frame 1..144 of the rig, or a camera.
        place: the identity's surroundings, see lights.surroundings; one of the backgrounds.
    """
    camera = rig.as_camera(view)
    rng = random_for("mixed light", seed, index, camera.frame)
    side = 1.0 if rng.uniform() < 0.5 else -1.0
    first = str(rng.choice(_MAIN))
    second = str(rng.choice([name for name in (*_MAIN, *_NEON) if name != first]))
    lamps = [
        _lamp(rng, camera, first, side * rng.uniform(15, 75), rng.uniform(5, 60), rng.uniform(0.75, 1.3)),
        _lamp(rng, camera, second, -side * rng.uniform(35, 120), rng.uniform(-15, 40), rng.uniform(0.3, 0.8)),
    ]
    if rng.uniform() < 2 / 3:
        third = str(rng.choice([name for name in _NEON if name != second]))
        place_deg = rng.uniform(60, 165) * (1 if rng.uniform() < 0.5 else -1)
        lamps.append(_lamp(rng, camera, third, place_deg, rng.uniform(-35, 35), rng.uniform(0.35, 0.9)))
    background = BACKGROUNDS[int(rng.integers(len(BACKGROUNDS)))]
    mean = np.mean([lamp.colour for lamp in lamps], axis=0)
    ambient = rng.uniform(0.04, 0.13) * (0.5 + 0.5 * mean / mean.mean())
    nothing = np.zeros(3)
    return Light(
        ambient=ambient,
        sky=0.3 * ambient,
        camera=nothing,
        key=nothing,
        key_direction=np.array([0.0, 0.0, 1.0]),
        key_size=0.0,
        panorama=place * rng.uniform(0.5, 1.1) if background == "place" else _wall(rng, camera, lamps, background),
        lamps=tuple(lamps),
        finish=Finish(roughness=float(rng.uniform(0.30, 0.48)), relief=float(rng.uniform(0.02, 0.05))),
        background=background,
    )


def _lamp(
    rng: np.random.Generator, camera: Camera, name: str, azimuth_deg: float, elevation_deg: float, strength: float
) -> Lamp:
    """A lamp at an azimuth counted from the camera's."""
    azimuth, elevation = np.radians(camera.azimuth_deg + azimuth_deg), np.radians(elevation_deg)
    flat = np.array([np.sin(azimuth), -np.cos(azimuth)]) * np.cos(elevation)
    tint = np.array(COLOURS[name]) * (1 + 0.04 * rng.standard_normal(3))
    return Lamp(name, strength * tint, np.array([*flat, np.sin(elevation)]), float(rng.uniform(0.004, 0.03)))


def _wall(rng: np.random.Generator, camera: Camera, lamps: list[Lamp], background: str) -> NDArray[np.float32]:
    """[H, W, 3] a panorama of a wall: one colour, or pools of the lamps' light that run into each other."""
    height, width = _WALL
    colour = rng.uniform(0.04, 0.45) * (1 + 0.15 * rng.standard_normal(3)).clip(0.6, 1.4)
    if background == "plain":
        return np.broadcast_to(colour.astype(np.float32), (height, width, 3)).copy()
    # What the camera sees lies opposite to where it stands.
    behind = np.array([camera.azimuth_deg + 180, -camera.elevation_deg])
    azimuth = (np.arange(width) + 0.5) / width * 360 - 180
    elevation = 90 - (np.arange(height) + 0.5) / height * 180
    wall = np.full((height, width, 3), 0.15)
    for lamp in lamps:
        middle = behind + rng.uniform(-14, 14, 2)
        across = (azimuth - middle[0] + 180) % 360 - 180
        spot = np.exp(-0.5 * ((across[None] / 9) ** 2 + ((elevation[:, None] - middle[1]) / 9) ** 2))
        wall += spot[..., None] * lamp.colour
    wall *= np.exp(0.04 * smooth_noise(rng, _WALL, (60, 120)))[..., None]
    return np.clip(wall * colour, 0, 2).astype(np.float32)
