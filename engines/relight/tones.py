"""Colour: sRGB transfer, hair and skin tone; geometry is unchanged."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from engines.relight.grids import pick

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]

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
HAIR_COLOURS = np.array(
    [
        (0.012, 0.010, 0.009),
        (0.050, 0.028, 0.016),
        (0.130, 0.070, 0.035),
        (0.360, 0.230, 0.110),
        (0.160, 0.045, 0.020),
        (0.300, 0.290, 0.280),
    ]
)
"""Linear RGB: black, dark brown, brown, blond, red, grey."""
HAIR_CHROMA = 0.25
"""Log chroma by which hanging hair may differ from the hair on the scalp."""
HEAD_CENTRE_MM = np.array([0.0, 5.0, 10.0])


def to_linear(pixels: NDArray[np.uint8]) -> Floats:
    """sRGB levels to linear 0..1, same shape."""
    return np.asarray(cv2.LUT(pixels, TO_LINEAR), np.float32).reshape(pixels.shape)


def to_srgb(linear: Floats) -> NDArray[np.uint8]:
    """Linear to sRGB levels, rounded and clipped to 0..1. Inverse of to_linear for all 256 levels."""
    return _TO_SRGB[(np.clip(linear, 0, 1) * (_STEPS - 1)).astype(np.int32)]


def luminance(linear: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    """Mean of the three channels, [..., 3] -> [...]; five times as fast as ``mean(-1)``."""
    return (linear[..., 0] + linear[..., 1] + linear[..., 2]) / 3


def shoulder(linear: Floats) -> Floats:
    """Compresses highlights smoothly: identity up to SHOULDER, then towards 1."""
    out = linear.copy()
    bright = linear > SHOULDER
    room = np.float32(1 - SHOULDER)
    out[bright] = SHOULDER + room * np.tanh((linear[bright] - SHOULDER) / room)
    return out


def tone_gain(random: np.random.Generator, amount: float) -> Floats:
    """[3] factor on the head's colour: exposure within ±0.6 stops and a slight cast, at amount 1."""
    exposure = 2.0 ** (0.6 * amount * random.uniform(-1, 1))
    warmth, tint = 0.12 * amount * random.uniform(-1, 1), 0.04 * amount * random.uniform(-1, 1)
    return (exposure * np.exp(np.array([warmth, -tint, -warmth]))).astype(np.float32)


def head_directions(depth_mm: Floats, mask: Mask, frame: int) -> tuple[Floats, Floats, Floats]:
    """Where each visible point is on the head.

    Args:
        depth_mm: [H, W] z in the camera frame.
        mask: [H, W] where there is a surface.
        frame: camera 1..144.

    Returns:
        For the N masked pixels: azimuth in degrees (0 in front, ±180 behind), elevation in degrees about the head's
        centre, and height z in mm in the rig's frame.
    """
    height, width = depth_mm.shape
    camera = rig.camera(frame)
    rows, columns = np.nonzero(mask)
    z = depth_mm[rows, columns].astype(np.float32)
    focal = rig.FOCAL * width
    local = (
        ((columns + 0.5 - width / 2) / focal * z).astype(np.float32) - np.float32(camera.t_mm[0]),
        ((rows + 0.5 - height / 2) / focal * z).astype(np.float32) - np.float32(camera.t_mm[1]),
        z - np.float32(camera.t_mm[2]),
    )
    turned = camera.R.T.astype(np.float32)
    world: list[Any] = [
        sum(turned[i, k] * local[k] for k in range(3)) - np.float32(HEAD_CENTRE_MM[i]) for i in range(3)
    ]
    x, y, up = world
    flat = np.hypot(x, y)
    return np.degrees(np.arctan2(x, -y)), np.degrees(np.arctan2(up, flat)), up + np.float32(HEAD_CENTRE_MM[2])


def hair_mask(linear: Floats, depth_mm: Floats, mask: Mask, frame: int) -> Floats:
    """[H, W] 0..1 how surely a pixel is hair: it is where hair grows and differs from the skin's colour.

    The skin's colour is the median of the face and of the nape, whichever is visible; if neither is, or the head is
    bald, the mask is empty.
    """
    out = np.zeros(mask.shape, np.float32)
    azimuth, elevation, up = head_directions(depth_mm, mask, frame)
    away = np.abs(azimuth)
    face = (away < 50) & (elevation > -35) & (elevation < 8)
    nape = (away > 120) & (up < -75) & (up > -105)
    inside = np.flatnonzero(mask)
    colours = pick(linear, inside)
    reference = colours[face] if face.sum() > 200 else colours[nape]
    if len(reference) < 50:
        return out
    skin = np.median(reference, axis=0)
    # The lowest elevation at which hair may start, by azimuth: forehead, temple, ear, nape; long hair hangs lower.
    hairline = np.interp(away, (0, 30, 55, 68, 80, 95, 180), (26, 24, 14, -6, -18, -16, -38)).astype(np.float32)
    zone = np.clip((elevation - hairline) / 8 + 0.5, 0, 1)
    hanging = np.clip((away - 60) / 15, 0, 1) * np.clip((up + 150) / 20, 0, 1) * 0.9
    roots, zone = zone > 0.9, np.maximum(zone, hanging)
    possible = np.flatnonzero(zone > 0)
    zone, scalp = zone.take(possible), roots.take(possible)
    logs = np.log((colours.take(possible, 0) + 0.004) / (skin + 0.004))
    brighter = luminance(logs)
    chroma = logs - brighter[:, None]
    distance = np.sqrt(np.maximum(np.abs(brighter) - 0.35, 0) ** 2 + 12 * luminance(chroma**2))
    values = zone * np.clip((distance - 0.35) / 0.5, 0, 1)
    if values[zone > 0.5].size and values[zone > 0.5].mean() < 0.25:
        return out  # a bald head with some shading, not hair
    sure = scalp & (values > 0.7)
    if sure.any():
        # Clothes are in the zone, too: hair hanging there has the chroma of the hair above.
        strange = luminance((chroma - np.median(chroma[sure], axis=0)) ** 2)
        values *= np.maximum(np.exp(-strange / HAIR_CHROMA**2), scalp)
    out.reshape(-1)[inside.take(possible)] = values
    out *= _connected_to_scalp(out, inside, roots)
    sigma = max(0.6, mask.shape[1] / 400)
    return (np.asarray(cv2.GaussianBlur(out, (0, 0), sigma)) * mask).astype(np.float32)


def _connected_to_scalp(hair: Floats, inside: NDArray[np.intp], scalp: Mask) -> Mask:
    """[H, W] the components of the hair that reach the scalp; a dark collar below short hair does not.

    Args:
        hair: [H, W] how surely a pixel is hair.
        inside: [N] the head's pixels on the flat grid.
        scalp: [N] which of them are scalp.
    """
    count, labels = cv2.connectedComponents((hair > 0.25).astype(np.uint8), connectivity=8)
    components = np.asarray(labels, np.int32)
    roots = inside[scalp & (hair.take(inside) > 0.25)]
    grown = np.zeros(count, bool)
    grown[components.take(roots)] = True
    return grown[components]


def recolour_hair(linear: Floats, hair: Floats, random: np.random.Generator, amount: float) -> Floats:
    """Shifts the hair's colour towards a random one; its strands keep their contrast.

    Args:
        linear: [H, W, 3] linear RGB.
        hair: [H, W] from hair_mask.
        random: draws the colour and the share.
        amount: the largest share.
    """
    share = amount * random.uniform(0.2, 1.0)
    mixed = random.dirichlet(np.full(len(HAIR_COLOURS), 0.35))
    target = (mixed[:, None] * HAIR_COLOURS).sum(0).astype(np.float32)
    sure = hair > 0.7
    if sure.sum() < 50 or amount == 0:
        return linear
    some = np.flatnonzero(hair > 0)
    colours = pick(linear, some)
    brightness = luminance(colours)
    middle = max(float(np.median(luminance(linear[sure]))), 2e-3)
    strands = np.power(np.clip(brightness / middle, 0.05, 8), np.float32(0.75))[:, None]
    weight = (hair.take(some) * np.float32(share))[:, None]
    out = linear.copy()
    out.reshape(-1, 3)[some] = colours * (1 - weight) + weight * strands * target
    return out
