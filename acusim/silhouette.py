"""The head before a uniform background, by colour: a mask, a soft matte, and what is doubtful about them.

A JPEG rings: up to eight pixels around an edge its levels stray by some percent of the edge's contrast, and at half
size (4:2:0) its colours run out. So what counts as background depends on what is near: beside bright skin a pixel must
stand out more than beside dark hair. Brightness counts fully, colour half. What such a threshold takes for background
although it is dark hair or cloth beside something bright is given back by its mean, over which ringing cancels out.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import PictureError
from acusim.regions import Parts, closed, dilated, enlarged, eroded, largest, local_means, summed

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

MIN_SHARE = 0.01
"""A foreground smaller than this share of the picture is none."""
MAX_SHARE = 0.98
"""A depth map whose foreground is more of the picture than this has no background."""
UNIFORM = 12.0
"""A background counts as uniform if most of the border is within so many levels of its median."""
STEADY = 6.0
"""Border pixels taken for background may stray no farther from its median: else the head's edge is a guess."""
TRUE_HOLE, TRUE_HOLE_PX = 0.0005, 16
"""A hole of more than this share of the picture and so many pixels that has the background's very colour is one."""
LEAST = 3.0
"""Levels by which the head differs from the background at least."""
RINGING = 0.25
"""Of the largest difference within NEAR pixels: what differs by less may be its ringing."""
NEAR = 4
MEAN_RINGING = 0.05
"""Of the largest difference within a JPEG block: the mean of a pixel's surroundings differs by less from ringing."""
BLOCK = 8
"""Side of a JPEG block: ringing reaches no farther."""
RANG = 1.0
"""A picture whose background strays by so many levels more beside the head than at the border was compressed."""
BAND = 3
"""Pixels inside the outline that may still be background: deeper down there is head."""
HAZE, FULL = 0.2, 0.95
"""On the way from the background's colour to the head's: up to here it is ringing, from there on all head."""
DIM = 16.0
"""Hair that differs from the background by fewer levels is as good as the background's colour in its shadows."""
SHADOWY = 40.0
"""Hair that differs by fewer levels has shadows as dark as the background: holes in it are not seen through."""
SPECK = 8
"""Parts of fewer pixels are not of the head."""
_HOLE_LEVELS = {False: (1.0, 0.9), True: (2.0, 0.6)}
"""For pictures that were not and that were compressed: a hole is one if this share of it differs by no more levels."""


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
    """Levels by which the border strays from the background's colour (99th percentile)."""
    lost: float
    """Area that stood out but hangs together with nothing, over the head's."""


def upper_border(values: NDArray[Any]) -> NDArray[Any]:
    """The border pixels [N, ...] of the upper half; shoulders cross the lower one."""
    half = len(values) // 2
    return np.concatenate([values[0], values[:half, 0], values[:half, -1]])


def check_share(mask: Mask, what: str) -> None:
    """Refuses a mask that is next to nothing or next to all.

    Raises:
        PictureError: names ``what``.
    """
    if mask.mean() < MIN_SHARE:
        raise PictureError(f"{what}: no foreground found, only {100 * mask.mean():.2f} % of the picture")
    if mask.mean() > MAX_SHARE:
        raise PictureError(f"{what}: no background found, the foreground is {100 * mask.mean():.1f} % of the picture")


def cut_out(pixels: NDArray[np.uint8]) -> Silhouette:
    """The head before a uniform background of any colour.

    Args:
        pixels: [H, W, 3] RGB.

    Raises:
        PictureError: the border is not of one colour, or nothing stands out from it.
    """
    border = upper_border(pixels).astype(np.float32)
    background = np.median(border, axis=0)
    noise = np.abs(border - background).max(1)
    if (noise > UNIFORM).mean() > 0.2:
        raise PictureError(
            "no foreground found: the background is not of one colour and there is no depth map to tell the head from "
            "it; put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    planes = _differences(pixels, background)
    distance = _length(planes)
    least = max(LEAST, 1.5 * float(np.percentile(upper_border(distance), 80)))
    head, standing_out, bridged, rang = _rough(distance, planes[0], least)
    check_share(head, "picture")
    reached = largest(head, 2 * BLOCK + 1)
    lost = float((standing_out & ~reached).sum()) / head.sum()
    beside = ~upper_border(reached)
    stray = float(np.percentile(noise[beside], 99)) if beside.any() else 0.0
    if stray > STEADY:
        raise PictureError(
            "no foreground found: the background changes its colour too gradually to tell the head from it, and there "
            "is no depth map; put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    share, contrast = _shares(planes, eroded(head, 2) & standing_out, head, least)
    # Narrow gaps that reach far into hair nearly as dark as the background are its shadows; so are holes in dark hair.
    head |= bridged & (contrast < DIM)
    holes = Parts(~head)
    shadows = ~holes.touches_edge & (holes.sums(contrast < SHADOWY) > 0.5 * holes.area)
    head |= holes.painted(shadows)
    found = _without_specks(head & ((share >= 0.5) | eroded(head, BAND)))
    mask = _without_false_holes(found, distance, least, rang)
    alpha = _soft(share, mask, eroded(mask, BAND) | (mask & ~found), standing_out)
    return Silhouette(mask, alpha, background, contrast, stray, lost)


def _differences(pixels: NDArray[np.uint8], background: Floats) -> list[Floats]:
    """Differences from the background, three planes [H, W]: brightness, and blue and red against it at half weight."""
    red, green, blue = (pixels[..., channel] - background[channel] for channel in range(3))
    luma = np.float32(0.299) * red + np.float32(0.587) * green + np.float32(0.114) * blue
    return [luma, np.float32(0.5 * 0.564) * (blue - luma), np.float32(0.5 * 0.713) * (red - luma)]


def _length(planes: list[Floats]) -> Floats:
    return np.sqrt(planes[0] ** 2 + planes[1] ** 2 + planes[2] ** 2)


def _rough(distance: Floats, luma: Floats, least: float) -> tuple[Mask, Mask, Mask, bool]:
    """The head before its outline is looked at closely.

    Returns:
        [H, W] the head with its dark parts, right but for some pixels at its edge; what surely stands out; that and
        narrow gaps, without the rim; and whether the picture was compressed.

    Raises:
        PictureError: nothing does.
    """
    levels = np.ceil(np.minimum(distance, 255)).astype(np.uint8)
    standing_out = distance > np.maximum(least, np.float32(RINGING) * largest(levels, 2 * NEAR + 1))
    bridged, whole = _bridged(standing_out)
    rang = _rang(distance, whole)
    if not rang:
        standing_out = distance > least
        bridged, whole = _bridged(standing_out)
        return _without_false_holes(standing_out & whole, distance, least, rang), standing_out, bridged, rang
    # What is dark beside something bright: ringing cancels out in its mean brightness, dark hair and cloth do not.
    dim = (~standing_out).astype(np.float32)
    mean = np.abs(summed(luma * dim, 5)) / np.maximum(summed(dim, 5), 1)
    dark = mean > np.maximum(least, np.float32(MEAN_RINGING) * largest(levels, 2 * BLOCK + 1))
    bridged, whole = _bridged(standing_out | dark)
    found = _without_specks((standing_out | dark) & whole)
    return _without_false_holes(found, distance, least, rang), standing_out, bridged, rang


def _bridged(mask: Mask) -> tuple[Mask, Mask]:
    """The largest part once narrow gaps are closed, without its rim; and all of it, its holes filled.

    Raises:
        PictureError: there is none.
    """
    reach = max(NEAR, round(mask.shape[1] / 128))
    bridged = _main(closed(mask, reach))
    holes = Parts(~bridged)
    whole = bridged | holes.painted(~holes.touches_edge)
    return bridged & eroded(whole, reach), whole


def _main(mask: Mask) -> Mask:
    """The largest part of a mask.

    Raises:
        PictureError: it is empty.
    """
    parts = Parts(mask)
    if not parts.count:
        raise PictureError("no foreground found: the whole picture is of one colour")
    return parts.painted(np.arange(parts.count) == np.argmax(parts.area))


def _without_specks(mask: Mask) -> Mask:
    """Without parts of a few pixels: ringing that stands out after all."""
    parts = Parts(mask)
    return parts.painted(parts.area >= SPECK)


def _rang(distance: Floats, head: Mask) -> bool:
    """Whether the picture was compressed: its background strays beside the head, and less at the border."""
    beside = largest(head, 2 * BLOCK + 1) & ~largest(head, 3)
    far = upper_border(distance)[~upper_border(largest(head, 2 * BLOCK + 1))]
    noise = float(np.percentile(far, 99)) if far.size else 0.0
    return bool(beside.any()) and float(np.percentile(distance[beside], 99)) > noise + RANG


def _shares(planes: list[Floats], core: Mask, head: Mask, least: float) -> tuple[Floats, Floats]:
    """How far each pixel [H, W] lies on the way from the background's colour to the head's near it, unclipped.

    And by how many levels that differs from the background. Where the head's colours vary, as in hair, its darker ones
    count as all head.
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
    """[H, W] the matte: 1 on what is solid, by colour at the outline and on strands, nothing farther out."""
    ramp = np.clip((share - HAZE) / (FULL - HAZE), 0, 1)
    near = dilated(mask, 1) | (dilated(mask, BAND) & standing_out)
    return np.where(solid, 1, np.where(near, ramp, 0)).astype(np.float32)


def _without_false_holes(mask: Mask, distance: Floats, least: float, rang: bool) -> Mask:
    """Fills holes, such as pupils and dark strands, but not those that show nothing but the background's colour."""
    levels, share = _HOLE_LEVELS[rang]
    holes = Parts(~mask)
    background = distance <= (max(levels, 0.67 * least) if rang else levels)
    see_through = (holes.area > max(TRUE_HOLE * mask.size, TRUE_HOLE_PX)) & (
        holes.sums(background) > share * holes.area
    )
    return mask | holes.painted(~holes.touches_edge & ~see_through)
