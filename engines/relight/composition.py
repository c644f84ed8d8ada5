"""The head in its new light, laid over a background without traces of the old one."""

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim.foreground import rim_from_inside
from engines.relight import tones
from engines.relight.grids import pick, put

Floats = NDArray[np.float32]
Mask = NDArray[np.bool_]
Places = NDArray[np.intp]

NEARBY = (7, 7)
"""Pixels within which the colours beside an edge are found."""
SPREAD = 2
"""Pixels beside the mask that share the gain of the head."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A head and its new light. Colours are linear."""

    pixels: NDArray[np.uint8]
    """[H, W, 3] the sample."""
    linear: Floats
    """[H, W, 3] the same."""
    mask: Mask
    """[H, W] True on the head."""
    matte: Floats | None
    """[H, W] 0..1 how much of each pixel is head, None where the mask comes from depth alone."""
    inside: Places
    """[N] the mask's places on the flat grid."""
    own: Floats
    """[N, 3] the sample's colours there."""
    colours: Floats
    """[N, 3] the same, with the hair's new colour."""
    gain: Floats
    """[N, 3] new over old light."""

    def on_grid(self, values: Floats, around: Floats) -> Floats:
        """[H, W, 3] an image with values [N, 3] inside."""
        out = around.copy()
        put(out, self.inside, values)
        return out


@dataclass(frozen=True, slots=True, eq=False)
class _Edge:
    """Pixels that are partly head, partly background."""

    places: Places
    """[E] on the flat grid."""
    share: Floats
    """[E, 1] how much of each is head."""
    lit: Floats
    """[E, 3] the head's own colour in its new light."""
    rest: Floats | None
    """[E, 3] what the old background adds; None if it is replaced."""


def over(head: Head, backdrop: NDArray[np.uint8] | None) -> NDArray[np.uint8]:
    """[H, W, 3] the head in its new light.

    With a matte, the rim takes the colours beside it; where depth alone gives the mask, edge pixels are unmixed.

    Args:
        head: the head.
        backdrop: [H, W, 3] what is behind it; None: what was there before.
    """
    lit = tones.shoulder(head.colours * head.gain)
    keep = backdrop is None
    edge = _unmixed(head, keep) if head.matte is None else _matted(head, head.matte, lit, keep)
    out = (head.pixels if backdrop is None else backdrop).copy()
    rest = (1 - edge.share) * tones.to_linear(pick(out, edge.places)) if edge.rest is None else edge.rest
    put(out, head.inside, tones.to_srgb(lit))
    put(out, edge.places, tones.to_srgb(edge.share * edge.lit + rest))
    if keep:
        same = head.inside[((head.gain == 1) & (head.colours == head.own)).all(1)]
        beside = (edge.share[:, 0] == 0) | ((head.gain == 1).all() & ~head.mask.take(edge.places))
        untouched = np.concatenate([same, edge.places[beside]])
        put(out, untouched, pick(head.pixels, untouched))
    return out


def _matted(head: Head, matte: Floats, lit: Floats, keep: bool) -> _Edge:
    """The edge by its matte."""
    original = head.linear
    places = np.flatnonzero(np.where(head.mask, matte < 1, matte > 0))
    image = head.on_grid(lit, original)
    beside = places[~head.mask.take(places)]
    put(image, beside, tones.shoulder(pick(original, beside) * _spread(head, beside)))
    share = matte.take(places)[:, None]
    rest = pick(original, places) - share * pick(rim_from_inside(original, matte), places) if keep else None
    return _Edge(places, share, pick(rim_from_inside(image, matte), places), rest)


def _unmixed(head: Head, keep: bool) -> _Edge:
    """The edge separated from the old background.

    ``share * colour + (1 - share) * behind`` is the original.
    """
    solid = head.mask.astype(np.uint8)
    kernel = np.ones((3, 3), np.uint8)
    inner = np.asarray(cv2.erode(solid, kernel, borderType=cv2.BORDER_REPLICATE), np.uint8)
    outer = np.asarray(cv2.dilate(solid, kernel), np.uint8)
    places = np.flatnonzero(outer != inner)
    original = head.linear
    image = original if head.colours is head.own else head.on_grid(head.colours, original)
    colour, near = _mean_nearby(image, inner, places)
    old, beyond = _mean_nearby(original, np.uint8(1) - outer, places)
    # Where the pixel is between background and head, by colour; where the two are alike, by the mask.
    way = colour - old
    length = 3 * tones.luminance(way**2)
    by_colour = 3 * tones.luminance((pick(original, places) - old) * way) / np.maximum(length, 1e-8)
    by_mask = np.asarray(cv2.GaussianBlur(head.mask.astype(np.float32), (0, 0), 0.6)).take(places)
    sure = np.clip(length / 0.01, 0, 1) * (near > 0.02) * (beyond > 0.02)
    mixed = np.clip(sure * by_colour + (1 - sure) * by_mask, 0, 1)
    # The mask is exact to a pixel: its pixels are at least half head.
    within = head.mask.take(places)
    share = np.where(within, np.maximum(mixed, 0.5), np.minimum(mixed, 0.5))[:, None]
    colours = np.clip((pick(image, places) - (1 - share) * old) / np.maximum(share, 0.05), 0, 1)
    gain = np.empty_like(colours)
    gain[within] = head.gain.take(np.searchsorted(head.inside, places[within]), 0)
    gain[~within] = _spread(head, places[~within])
    return _Edge(places, share, tones.shoulder(colours * gain), (1 - share) * old if keep else None)


def _mean_nearby(image: Floats, among: NDArray[np.uint8], places: Places) -> tuple[Floats, Floats]:
    """[N, 3] the mean colour, around some places of the flat grid, of the pixels ``among``, and [N] their share."""
    share = np.asarray(cv2.GaussianBlur(among.astype(np.float32), NEARBY, 1.5), np.float32).take(places)
    total = pick(np.asarray(cv2.GaussianBlur(cv2.copyTo(image, among), NEARBY, 1.5)), places)
    return (total / np.maximum(share, 1e-4)[:, None]).astype(np.float32), share


def _spread(head: Head, places: Places) -> Floats:
    """[E, 3] the gain beside the mask: the mean of the head's nearby, 1 farther out."""
    if (head.gain == 1).all():
        return np.ones((len(places), 3), np.float32)
    height, width = head.mask.shape
    # The number of each of the head's pixels, in an image with a margin: neighbours are at fixed offsets.
    numbers = np.full((height + 2 * SPREAD, width + 2 * SPREAD), len(head.inside), np.int32)
    numbers[SPREAD:-SPREAD, SPREAD:-SPREAD][head.mask] = np.arange(len(head.inside), dtype=np.int32)
    rows, columns = np.divmod(places, width)
    steps = np.arange(2 * SPREAD + 1)
    around = (steps[:, None] * numbers.shape[1] + steps).ravel()
    found = numbers.ravel()[(rows * numbers.shape[1] + columns)[:, None] + around]
    near = np.count_nonzero(found < len(head.inside), axis=1)[:, None]
    total = np.concatenate([head.gain, np.zeros((1, 3), np.float32)]).take(found, 0).sum(1)
    return np.where(near > 0, total / np.maximum(near, 1), 1).astype(np.float32)
