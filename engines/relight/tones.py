"""Colour: sRGB transfer, highlights and skin tone."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

_LEVELS = np.arange(256) / 255.0
TO_LINEAR = np.where(_LEVELS <= 0.04045, _LEVELS / 12.92, ((_LEVELS + 0.055) / 1.055) ** 2.4).astype(np.float32)
"""[256] sRGB level -> linear, IEC 61966-2-1."""
_STEPS = 1 << 16
_FINE = (np.arange(_STEPS) + 0.5) / _STEPS
_TO_SRGB = np.rint(255 * np.where(_FINE <= 0.0031308, 12.92 * _FINE, 1.055 * np.power(_FINE, 1 / 2.4) - 0.055)).astype(
    np.uint8
)

SHOULDER = 0.75
"""Linear values above this are compressed towards 1, so that bright skin does not clip."""


def to_linear(pixels: NDArray[np.uint8]) -> Floats:
    """sRGB levels to linear 0..1, same shape."""
    return np.asarray(cv2.LUT(pixels, TO_LINEAR), np.float32).reshape(pixels.shape)


def to_srgb(linear: Floats) -> NDArray[np.uint8]:
    """Linear to sRGB levels, rounded and clipped to 0..1. Inverse of to_linear for all 256 levels."""
    return _TO_SRGB.take((linear * np.float32(_STEPS - 1)).astype(np.int32), mode="clip")


def luminance(linear: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Mean of the three channels, [..., 3] -> [...]; five times as fast as ``mean(-1)``."""
    return (linear[..., 0] + linear[..., 1] + linear[..., 2]) / 3


def shoulder(linear: Floats) -> Floats:
    """Compresses highlights smoothly: identity up to SHOULDER, then towards 1."""
    out = linear.copy()
    bright = np.flatnonzero(linear > SHOULDER)
    room = np.float32(1 - SHOULDER)
    out.reshape(-1)[bright] = SHOULDER + room * np.tanh((linear.take(bright) - SHOULDER) / room)
    return out


def tone_gain(random: np.random.Generator, amount: float) -> Floats:
    """[3] factor on the head's colour: exposure within ±0.6 stops and a slight cast, at amount 1."""
    exposure = 2.0 ** (0.6 * amount * random.uniform(-1, 1))
    warmth, tint = 0.12 * amount * random.uniform(-1, 1), 0.04 * amount * random.uniform(-1, 1)
    return (exposure * np.exp(np.array([warmth, -tint, -warmth]))).astype(np.float32)
