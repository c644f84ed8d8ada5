"""Colour: sRGB transfer, hair and skin tone; geometry is unchanged."""

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from engines.relight.grids import put

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
HAIRLINE_STEPS = 10
"""A degree."""
HAIRLINE = np.interp(
    np.arange(180 * HAIRLINE_STEPS + 1) / HAIRLINE_STEPS,
    (0, 30, 55, 68, 80, 95, 180),
    (26, 24, 14, -6, -18, -16, -38),
).astype(np.float32)
"""The lowest elevation at which hair may start, by azimuth: forehead, temple, ear, nape; long hair hangs lower."""
MEDIAN_OF = 4_000
"""Pixels of which a median is found."""


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
    inside = np.flatnonzero(mask)
    rows, columns = np.divmod(inside.astype(np.int32), np.int32(width))
    z = depth_mm.take(inside).astype(np.float32)
    focal = rig.FOCAL * width
    across, down = (((np.arange(n) + 0.5 - n / 2) / focal).astype(np.float32) for n in (width, height))
    x, y, away = camera.t_mm.astype(np.float32)
    local = across.take(columns) * z - x, down.take(rows) * z - y, z - away
    x, y, up = (
        row[0] * local[0] + row[1] * local[1] + (row[2] * local[2] - centre)
        for row, centre in zip(camera.R.T.astype(np.float32), HEAD_CENTRE_MM.astype(np.float32), strict=True)
    )
    # OpenCV's angles are within 0.3° of NumPy's, and ten times as fast.
    return _angle(-y, x), _angle(np.sqrt(x * x + y * y), up), up + np.float32(HEAD_CENTRE_MM[2])


def _angle(x: Floats, y: Floats) -> Floats:
    """[N] degrees from -180 to 180."""
    degrees = np.asarray(cv2.phase(x, y, angleInDegrees=True), np.float32).reshape(-1)
    return degrees - 360 * (degrees > 180)


def _median(colours: Floats, which: Mask | None = None) -> Floats:
    """[C] of colours [N, C], or of some of them; of more than MEDIAN_OF, of so many, evenly."""
    places = np.arange(len(colours)) if which is None else np.flatnonzero(which)
    return np.median(colours.take(places[:: max(1, len(places) // MEDIAN_OF)], 0), axis=0)


def hair_mask(colours: Floats, depth_mm: Floats, mask: Mask, frame: int) -> Floats:
    """[H, W] 0..1 how surely a pixel is hair: it is where hair grows and differs from the skin's colour.

    The skin's colour is the median of the face and of the nape, whichever is visible; if neither is, or the head is
    bald, the mask is empty.

    Args:
        colours: [N, 3] linear RGB of the masked pixels.
        depth_mm: [H, W] z in the camera frame.
        mask: [H, W] where there is a surface.
        frame: camera 1..144.
    """
    out = np.zeros(mask.shape, np.float32)
    azimuth, elevation, up = head_directions(depth_mm, mask, frame)
    away = np.abs(azimuth)
    face = (away < 50) & (elevation > -35) & (elevation < 8)
    nape = (away > 120) & (up < -75) & (up > -105)
    inside = np.flatnonzero(mask)
    reference = face if np.count_nonzero(face) > 200 else nape
    if np.count_nonzero(reference) < 50:
        return out
    skin = _median(colours, reference)
    hairline = HAIRLINE.take((away * HAIRLINE_STEPS + 0.5).astype(np.int32))
    zone = np.clip((elevation - hairline) / 8 + 0.5, 0, 1)
    hanging = np.clip((away - 60) / 15, 0, 1) * np.clip((up + 150) / 20, 0, 1) * 0.9
    roots, zone = zone > 0.9, np.maximum(zone, hanging)
    possible = np.flatnonzero(zone > 0)
    zone, scalp = zone.take(possible), roots.take(possible)
    logs = np.log(colours.take(possible, 0) + np.float32(0.004)) - np.log(skin + np.float32(0.004))
    brighter = luminance(logs)
    chroma = logs - brighter[:, None]
    distance = np.sqrt(np.maximum(np.abs(brighter) - 0.35, 0) ** 2 + 12 * luminance(chroma**2))
    values = zone * np.clip((distance - 0.35) / 0.5, 0, 1)
    if values[zone > 0.5].size and values[zone > 0.5].mean() < 0.25:
        return out  # a bald head with some shading, not hair
    sure = scalp & (values > 0.7)
    if sure.any():
        # Clothes are in the zone, too: hair hanging there has the chroma of the hair above.
        strange = luminance((chroma - _median(chroma, sure)) ** 2)
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


def recoloured(colours: Floats, hair: Floats, random: np.random.Generator, amount: float) -> Floats:
    """Shifts the hair's colour towards a random one; its strands keep their contrast.

    Args:
        colours: [N, 3] linear RGB.
        hair: [N] from hair_mask.
        random: draws the colour and the share.
        amount: the largest share.
    """
    share = amount * random.uniform(0.2, 1.0)
    mixed = random.dirichlet(np.full(len(HAIR_COLOURS), 0.35))
    target = (mixed[:, None] * HAIR_COLOURS).sum(0).astype(np.float32)
    sure = np.flatnonzero(hair > 0.7)
    if len(sure) < 50 or amount == 0:
        return colours
    some = np.flatnonzero(hair)
    old = colours.take(some, 0)
    some_sure = sure[:: max(1, len(sure) // MEDIAN_OF)]
    middle = max(float(np.median(luminance(colours.take(some_sure, 0)))), 2e-3)
    strands = np.power(np.clip(luminance(old) / np.float32(middle), 0.05, 8), np.float32(0.75))[:, None]
    weight = (hair.take(some) * np.float32(share))[:, None]
    out = colours.copy()
    put(out[:, None], some, old * (1 - weight) + weight * strands * target)
    return out
