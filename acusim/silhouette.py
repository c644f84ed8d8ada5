"""The head in front of a uniform background, by colour: a mask, a soft matte, and measures of doubt.

JPEG rings: up to eight pixels around an edge its levels deviate by some percent of the edge's contrast, and with
subsampled chroma (4:2:0) its colours bleed. So the threshold depends on the surroundings: beside bright skin a pixel
must differ more than beside dark hair. Brightness counts fully, colour half. Dark hair or cloth that this threshold
loses beside something bright is recovered by its local mean, over which ringing cancels out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import PictureError
from acusim.regions import Components, closed, dilated, enlarged, eroded, largest, local_means, summed

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

_MIN_SHARE = 0.01
"""A foreground below this share of the image counts as missing."""
MAX_SHARE = 0.98
"""A foreground above this share of the image means that there is no background."""
_UNIFORM = 12.0
"""A background is uniform if most of the border is within so many levels of its median."""
_STEADY = 6.0
"""Border pixels taken for background may deviate from the median by so many levels: else the edge is a guess."""
_TRUE_HOLE, _TRUE_HOLE_PX = 0.0005, 16
"""A hole above this share of the image and so many pixels is real if it has exactly the background's colour."""
_LEAST = 3.0
"""Levels by which the head differs from the background at least."""
_RINGING = 0.25
"""Share of the largest difference within _NEAR pixels: smaller differences may be its ringing."""
_NEAR = 4
_MEAN_RINGING = 0.05
"""Share of the largest difference within a JPEG block: ringing changes a local mean by less."""
_BLOCK = 8
"""Side of a JPEG block: ringing reaches no farther."""
_COMPRESSED_LEVELS = 1.0
"""An image whose background deviates by so many levels more beside the head than at the border was compressed."""
_BAND = 3
"""Pixels inside the outline that may still be background; farther inside everything is head."""
_HAZE, _FULL = 0.2, 0.95
"""Between the background's colour (0) and the head's (1): below the first ringing, above the second all head."""
_DIM = 16.0
"""Hair that differs by fewer levels has shadows of the background's colour."""
_SHADOWY = 40.0
"""Hair that differs by fewer levels has shadows as dark as the background: holes in it are not background."""
_SPECK = 8
"""Components of fewer pixels are not of the head."""
_HOLE_LEVELS = {False: (1.0, 0.9), True: (2.0, 0.6)}
"""Without and with compression: a hole is real if at least this share of it differs by at most so many levels."""


@dataclass(frozen=True, slots=True, eq=False)
class Silhouette:
    """A head cut out by colour."""

    mask: Mask
    """[H, W] True on the head."""
    alpha: Floats
    """[H, W] 0..1 how much of each pixel is head; about half where the mask begins."""
    background: Floats
    """[3] RGB levels."""
    contrast: Floats
    """[H, W] by how many levels the head near each pixel differs from the background."""
    stray: float
    """Levels by which the border deviates from the background's colour (99th percentile)."""
    lost: float
    """Area that differs from the background but is not connected with the head, over the head's area."""


def upper_border(values: NDArray[Any]) -> NDArray[Any]:
    """The border pixels [N, ...] of the upper half; shoulders cross the lower one."""
    half = len(values) // 2
    return np.concatenate([values[0], values[:half, 0], values[:half, -1]])


def check_share(mask: Mask, what: str) -> None:
    """Refuses a mask that is almost empty or almost full.

    Raises:
        PictureError: names ``what``.
    """
    if mask.mean() < _MIN_SHARE:
        raise PictureError(f"{what}: no foreground found, only {100 * mask.mean():.2f} % of the picture")
    if mask.mean() > MAX_SHARE:
        raise PictureError(f"{what}: no background found, the foreground is {100 * mask.mean():.1f} % of the picture")


def cut_out(pixels: NDArray[np.uint8]) -> Silhouette:
    """The head in front of a uniform background of any colour.

    Args:
        pixels: [H, W, 3] RGB.

    Raises:
        PictureError: the border is not of one colour, or nothing stands out from it.
    """
    border = upper_border(pixels).astype(np.float32)
    background = np.median(border, axis=0)
    noise = np.abs(border - background).max(1)
    if (noise > _UNIFORM).mean() > 0.2:
        raise PictureError(
            "no foreground found: the background is not of one colour and there is no depth map to separate the head; "
            "put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    planes = _differences(pixels, background)
    distance = _length(planes)
    least = max(_LEAST, 1.5 * float(np.percentile(upper_border(distance), 80)))
    head, standing_out, bridged, compressed = _rough(distance, planes[0], least)
    check_share(head, "picture")
    reached = largest(head, 2 * _BLOCK + 1)
    lost = float((standing_out & ~reached).sum()) / head.sum()
    beside = ~upper_border(reached)
    stray = float(np.percentile(noise[beside], 99)) if beside.any() else 0.0
    if stray > _STEADY:
        raise PictureError(
            "no foreground found: the background changes its colour too gradually to separate the head, and there "
            "is no depth map; put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    share, contrast = _shares(planes, eroded(head, 2) & standing_out, head, least)
    # Narrow gaps far inside hair nearly as dark as the background are its shadows; so are holes in dark hair.
    head |= bridged & (contrast < _DIM)
    holes = Components(~head)
    shadows = ~holes.touches_edge & (holes.sums(contrast < _SHADOWY) > 0.5 * holes.area)
    head |= holes.painted(shadows)
    found = _without_specks(head & ((share >= 0.5) | eroded(head, _BAND)))
    mask = _without_false_holes(found, distance, least, compressed)
    alpha = _soft(share, mask, eroded(mask, _BAND) | (mask & ~found), standing_out)
    return Silhouette(mask, alpha, background, contrast, stray, lost)


def _differences(pixels: NDArray[np.uint8], background: Floats) -> list[Floats]:
    """Differences from the background, three planes [H, W]: luma, and blue and red chroma at half weight."""
    red, green, blue = (pixels[..., channel] - background[channel] for channel in range(3))
    luma = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    return [luma, np.float32(0.5 * 0.564) * (blue - luma), np.float32(0.5 * 0.713) * (red - luma)]


def _length(planes: list[Floats]) -> Floats:
    return np.sqrt(planes[0] ** 2 + planes[1] ** 2 + planes[2] ** 2)


def _rough(distance: Floats, luma: Floats, least: float) -> tuple[Mask, Mask, Mask, bool]:
    """A first estimate of the head.

    Returns:
        [H, W] the head with its dark areas, exact to some pixels at its edge; what certainly stands out; that and
        narrow gaps, without the rim; and whether the image was compressed.
    """
    levels = np.ceil(np.minimum(distance, 255)).astype(np.uint8)
    standing_out = distance > np.maximum(least, np.float32(_RINGING) * largest(levels, 2 * _NEAR + 1))
    bridged, whole = _bridged(standing_out)
    compressed = _was_compressed(distance, whole)
    if not compressed:
        standing_out = distance > least
        bridged, whole = _bridged(standing_out)
        return (
            _without_false_holes(standing_out & whole, distance, least, compressed),
            standing_out,
            bridged,
            compressed,
        )
    # Dark areas beside bright ones: ringing cancels out in their mean brightness, dark hair and cloth do not.
    dim = (~standing_out).astype(np.float32)
    mean = np.abs(summed(luma * dim, 5)) / np.maximum(summed(dim, 5), 1)
    dark = mean > np.maximum(least, np.float32(_MEAN_RINGING) * largest(levels, 2 * _BLOCK + 1))
    bridged, whole = _bridged(standing_out | dark)
    found = _without_specks((standing_out | dark) & whole)
    return _without_false_holes(found, distance, least, compressed), standing_out, bridged, compressed


def _bridged(mask: Mask) -> tuple[Mask, Mask]:
    """The largest component after closing narrow gaps, without its rim; and all of it with its holes filled."""
    reach = max(_NEAR, round(mask.shape[1] / 128))
    bridged = _main(closed(mask, reach))
    holes = Components(~bridged)
    whole = bridged | holes.painted(~holes.touches_edge)
    return bridged & eroded(whole, reach), whole


def _main(mask: Mask) -> Mask:
    """The largest component of a mask."""
    parts = Components(mask)
    if not parts.count:
        raise PictureError("no foreground found: the whole picture is of one colour")
    return parts.painted(np.arange(parts.count) == np.argmax(parts.area))


def _without_specks(mask: Mask) -> Mask:
    """Without components of a few pixels: ringing above the threshold."""
    parts = Components(mask)
    return parts.painted(parts.area >= _SPECK)


def _was_compressed(distance: Floats, head: Mask) -> bool:
    """Whether the image was compressed: its background deviates beside the head, and less at the border."""
    beside = largest(head, 2 * _BLOCK + 1) & ~largest(head, 3)
    far = upper_border(distance)[~upper_border(largest(head, 2 * _BLOCK + 1))]
    noise = float(np.percentile(far, 99)) if far.size else 0.0
    return bool(beside.any()) and float(np.percentile(distance[beside], 99)) > noise + _COMPRESSED_LEVELS


def _shares(planes: list[Floats], core: Mask, head: Mask, least: float) -> tuple[Floats, Floats]:
    """Where each pixel [H, W] is between the background's colour (0) and the nearby head's (1), unclipped.

    Also by how many levels these differ. Where the head's colours vary, as in hair, the darker ones count as all head.
    """
    height, width = head.shape
    square = planes[0] ** 2 + planes[1] ** 2 + planes[2] ** 2
    *mean, square = local_means([*planes, square], core if core.any() else head)
    length = _length(mean)
    spread = np.sqrt(np.maximum(square - length**2, 0))
    whole = np.maximum(length - spread, np.maximum(2 * least, 0.25 * length))
    ways = [enlarged(part / np.maximum(length * whole, 1e-3), height, width) for part in mean]
    share = planes[0] * ways[0] + planes[1] * ways[1] + planes[2] * ways[2]
    return share, enlarged(length, height, width)


def _soft(share: Floats, mask: Mask, solid: Mask, standing_out: Mask) -> Floats:
    """[H, W] the matte: 1 where solid, by colour at the outline and on strands, 0 farther out."""
    ramp = np.clip((share - _HAZE) / (_FULL - _HAZE), 0, 1)
    near = dilated(mask, 1) | (dilated(mask, _BAND) & standing_out)
    return np.where(solid, 1, np.where(near, ramp, 0)).astype(np.float32)


def _without_false_holes(mask: Mask, distance: Floats, least: float, compressed: bool) -> Mask:
    """Fills holes, such as pupils and dark strands, but not those that show only the background's colour."""
    levels, share = _HOLE_LEVELS[compressed]
    holes = Components(~mask)
    background = distance <= (max(levels, 0.67 * least) if compressed else levels)
    see_through = (holes.area > max(_TRUE_HOLE * mask.size, _TRUE_HOLE_PX)) & (
        holes.sums(background) > share * holes.area
    )
    return mask | holes.painted(~holes.touches_edge & ~see_through)
