"""Hair: where it is, and another colour for it; geometry is unchanged."""

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import rig
from engines.relight.grids import pick, put
from engines.relight.tones import luminance

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

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
ROOTS = 0.9
"""Hair surely grows where it is more sure than this."""
MEDIAN_OF = 4_000
"""Pixels of which a median is found."""
HAIR_SIDE = 256
"""Hair is found on an image of about this width: every second pixel of 512."""


def head_directions(depth_mm: Floats, across: Floats, down: Floats, frame: int) -> tuple[Floats, Floats, Floats]:
    """Where visible points are on the head.

    Args:
        depth_mm: [N] z in the camera frame.
        across: [N] x / z in the camera frame.
        down: [N] y / z.
        frame: camera 1..144.

    Returns:
        For the N points: azimuth in degrees (0 in front, ±180 behind), elevation in degrees about the head's centre,
        and height z in mm in the rig's frame.
    """
    camera = rig.camera(frame)
    x, y, away = camera.t_mm.astype(np.float32)
    local = across * depth_mm - x, down * depth_mm - y, depth_mm - away
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


def hair_mask(image: Floats, depth_mm: Floats, mask: Mask, frame: int) -> Floats:
    """[H, W] 0..1 how surely a pixel is hair; without finer detail than HAIR_SIDE pixels.

    Args:
        image: [H, W, 3] linear RGB.
        depth_mm: [H, W] z in the camera frame.
        mask: [H, W] where there is a surface.
        frame: camera 1..144.
    """
    height, width = mask.shape
    step = max(1, round(width / HAIR_SIDE))
    within = mask[::step, ::step]
    inside = np.flatnonzero(within)
    if not len(inside):
        return np.zeros(mask.shape, np.float32)
    rows, columns = np.divmod(inside.astype(np.int32), np.int32(within.shape[1]))
    focal = rig.FOCAL * width
    across, down = (
        ((np.arange(0, size, step) + 0.5 - size / 2) / focal).astype(np.float32).take(places)
        for size, places in ((width, columns), (height, rows))
    )
    where = head_directions(depth_mm[::step, ::step].take(inside), across, down, frame)
    growing = _growing(*where[:2])
    hair = np.zeros(within.shape, np.float32)
    hair.reshape(-1)[inside] = _hair(pick(np.ascontiguousarray(image[::step, ::step]), inside), growing, *where)
    hair *= _connected_to_scalp(hair, inside, growing > ROOTS)
    hair = cv2.GaussianBlur(hair, (0, 0), max(0.6, within.shape[1] / 400))
    if step > 1:
        # Not a resize: every step-th pixel was kept, and keeps its place.
        back = np.diag([1 / step] * 2 + [0])[:2].astype(np.float32)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        hair = cv2.warpAffine(hair, back, (width, height), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return (np.asarray(hair) * mask).astype(np.float32)


def _growing(azimuth: Floats, elevation: Floats) -> Floats:
    """[N] 0..1 how surely hair grows at points of the head."""
    hairline = HAIRLINE.take((np.abs(azimuth) * HAIRLINE_STEPS + 0.5).astype(np.int32))
    return np.clip((elevation - hairline) / 8 + 0.5, 0, 1)


def _hair(colours: Floats, growing: Floats, azimuth: Floats, elevation: Floats, up: Floats) -> Floats:
    """[N] 0..1 how surely each point is hair: it is where hair grows or hangs, and differs from the skin's colour.

    The skin's colour is the median of the face and of the nape, whichever is visible; if neither is, or the head is
    bald, nothing is hair.

    Args:
        colours: [N, 3] linear RGB.
        growing: [N] how surely hair grows there.
        azimuth: [N] degrees.
        elevation: [N] degrees.
        up: [N] mm.
    """
    out = np.zeros(len(colours), np.float32)
    away = np.abs(azimuth)
    face = (away < 50) & (elevation > -35) & (elevation < 8)
    nape = (away > 120) & (up < -75) & (up > -105)
    reference = face if np.count_nonzero(face) > 200 else nape
    if np.count_nonzero(reference) < 50:
        return out
    skin = _median(colours, reference)
    hanging = np.clip((away - 60) / 15, 0, 1) * np.clip((up + 150) / 20, 0, 1) * 0.9
    scalp, zone = growing > ROOTS, np.maximum(growing, hanging)
    possible = np.flatnonzero(zone > 0)
    zone, scalp = zone.take(possible), scalp.take(possible)
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
    out[possible] = values
    return out


def _connected_to_scalp(hair: Floats, inside: Places, scalp: Mask) -> Mask:
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
    new = strands * target
    new -= old
    new *= (hair.take(some) * np.float32(share))[:, None]
    new += old
    out = colours.copy()
    put(out[:, None], some, new)
    return out
