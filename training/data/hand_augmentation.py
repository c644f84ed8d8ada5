"""Three variants of each training picture, as in Xu et al. 2025: rotated, lighter or darker, and noisy.

The paper augments before it splits (784 pictures become 3,136), so that variants of one picture are in several parts;
here only training pictures have variants. Its ranges are not printed; those in Augmentation are ours.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from acusim.seeds import generator_of
from acusim.settings import Settings

Variant = Literal["original", "turned", "light", "noise"]
VARIANTS: tuple[Variant, ...] = get_args(Variant)
Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]
_TRIES = 30


class Augmentation(Settings):
    """The three variants of a training picture, and how far they go."""

    WHAT = "setting of [augment]"

    siblings: bool = True
    """Whether training pictures have variants."""
    turn_deg: float = Field(default=45.0, ge=0.0, le=180.0)
    """Angles are drawn from -turn_deg to turn_deg."""
    contrast: float = Field(default=0.3, ge=0.0, le=1.0)
    """Contrast is multiplied by 1 - contrast to 1 + contrast, about mid-grey."""
    brightness: float = Field(default=40.0, ge=0.0, le=255.0)
    """Added to all levels: from -brightness to brightness, of 255."""
    noise: float = Field(default=15.0, ge=0.0, le=255.0)
    """Standard deviation of the noise in levels: from a third of it to all of it."""
    seed: int = Field(default=0, ge=0, le=2**31)
    """Seed of angles, levels and noise."""


def turned(
    pixels: Pixels, xy: Floats, visible: NDArray[np.bool_], degrees: float
) -> tuple[Pixels, Floats, NDArray[np.bool_]]:
    """Rotates a picture about its centre at its own size; what comes in from outside is white.

    Args:
        pixels: [H, W, 3].
        xy: [P, 2] pixels from the upper left corner.
        visible: [P] points that count.
        degrees: counter-clockwise, as one sees it.

    Returns:
        The picture, the points moved with it, and [P] which of the points that count are still in it.
    """
    import cv2

    height, width = pixels.shape[:2]
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    matrix = np.array([[c, s], [-s, c]])  # y points down
    middle = np.array([width, height]) / 2
    moved = (xy - middle) @ matrix.T + middle
    # OpenCV counts from the centre of the first pixel, points from its corner.
    shift = (middle - 0.5) - matrix @ (middle - 0.5)
    out = cv2.warpAffine(
        pixels, np.c_[matrix, shift], (width, height), flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )
    inside = visible & ((moved >= 0) & (moved <= (width, height))).all(1)
    return np.asarray(out, np.uint8), moved, inside


def augmented(
    pixels: Pixels, xy: Floats, visible: NDArray[np.bool_], variant: Variant, settings: Augmentation, name: str
) -> tuple[Pixels, Floats]:
    """One variant of a picture; the same settings and name give the same bytes.

    Args:
        pixels: [H, W, 3].
        xy: [P, 2] pixels.
        visible: [P] points that count: a turn that moves one out of the picture is drawn again.
        variant: which.
        settings: how far it goes.
        name: of the picture, for its own chance.
    """
    if variant == "original":
        return pixels, xy
    rng = generator_of(f"{settings.seed}\n{name}\n{variant}")
    if variant == "turned":
        reach = settings.turn_deg
        for attempt in range(_TRIES):
            out, moved, inside = turned(pixels, xy, visible, float(rng.uniform(-reach, reach)))
            if inside[visible].all():
                return out, moved
            # Points in the corners of a long picture allow small turns only.
            reach = settings.turn_deg * (1 - (attempt + 1) / _TRIES)
        return pixels, xy
    if variant == "light":
        gain, shift = (
            rng.uniform(1 - settings.contrast, 1 + settings.contrast),
            rng.uniform(-1, 1) * settings.brightness,
        )
        levels = (np.arange(256) - 127.5) * gain + 127.5 + shift
        return np.clip(np.rint(levels), 0, 255).astype(np.uint8)[pixels], xy
    grain = rng.standard_normal(pixels.shape, np.float32) * np.float32(settings.noise * rng.uniform(1 / 3, 1))
    return np.clip(np.rint(pixels + grain), 0, 255).astype(np.uint8), xy
