"""Draws acupoints over a picture: dots coloured by meridian, names, true positions, a legend.

Dots and rings are computed from the distance of each pixel's centre to the point, so they sit where the point is, not
on the nearest pixel. Texts are the acupoints' codes alone, in the one font that comes with Pillow: the names' hanzi
would need a font that is not everywhere.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from acusim import acupoints
from training.inference.labels import INK, OUTLINE, Colour, PlacedText, font_of, placed, written

if TYPE_CHECKING:
    from training.tasks.hand_points import HandPoints

Pixels = NDArray[np.uint8]
Floats = NDArray[Any]

MERIDIAN_COLOURS: dict[str, Colour] = {
    "LI": (96, 127, 0),
    "ST": (253, 0, 207),
    "SI": (172, 186, 199),
    "BL": (163, 253, 7),
    "SJ": (193, 0, 255),
    "GB": (7, 176, 255),
    "EX": (243, 255, 244),
    "RN": (0, 244, 103),
    "DU": (1, 130, 129),
}
"""RGB. Found by a search for the largest smallest difference, in CIELAB, between any two of them and to light, medium
and dark skin and black, for normal sight and for each of the three kinds of colour blindness: at least 23. Contrast to
black is at least 4.5. Meridians that are neighbours on the head have the most different ones."""

OTHER_COLOUR: Colour = (150, 150, 150)
"""Of meridians that the head does not have."""
DOT = 0.0065
"""Radius of a dot as a share of the drawn picture's shorter side, at least MIN_DOT pixels."""
MIN_DOT = 2.5
TEXT = 0.014
"""Height of the letters as a share of the drawn picture's shorter side, at least MIN_TEXT pixels."""
MIN_TEXT = 10
SURE = 0.95
"""A confidence below this is printed after the name as a percentage."""

_SIDES = {"left": "L", "right": "R", "mid": ""}


@dataclass(frozen=True, slots=True)
class Palette:
    """Names and colours of K kinds of point."""

    names: tuple[str, ...]
    """[K] in full, as in label files."""
    codes: tuple[str, ...]
    """[K] short, for pictures: ASCII."""
    groups: tuple[str, ...]
    """[K] groups of the legend, such as the meridian."""
    colours: Mapping[str, Colour]
    """RGB of each group."""

    def __post_init__(self) -> None:
        counts = len(self.names), len(self.codes), len(self.groups)
        if len(set(counts)) != 1 or not set(self.groups) <= set(self.colours):
            raise ValueError(f"{counts} names, codes and groups; expected as many, of the groups {list(self.colours)}")


def short_code(point: acupoints.Acupoint) -> str:
    """An acupoint's code and the subject's side: ``LI17L``, ``DU20``, ``EX-HN1.2``; spelt as in the dataset."""
    code, *rest = point.name.split("_")
    number = next((f".{int(part)}" for part in rest if re.fullmatch("[0-9]{3}", part)), "")
    return code + number + _SIDES[point.side]


HEAD = Palette(
    acupoints.NAMES,
    tuple(short_code(point) for point in acupoints.ACUPOINTS),
    tuple(point.meridian for point in acupoints.ACUPOINTS),
    MERIDIAN_COLOURS,
)
"""The 174 acupoints of the head, in the order of acupoints.NAMES."""


def hand_palette(points: "HandPoints") -> Palette:
    """Names and colours of the points of a hand model."""
    meridians = tuple(point.meridian for point in points.points)
    others = dict.fromkeys((name for name in meridians if name not in MERIDIAN_COLOURS), OTHER_COLOUR)
    names = tuple(f"{point.id} {point.pinyin} {point.chinese}" for point in points.points)
    return Palette(names, points.ids, meridians, {**MERIDIAN_COLOURS, **others})


def draw_points(
    pixels: Pixels,
    xy_px: ArrayLike,
    indices: ArrayLike,
    *,
    true_xy_px: ArrayLike | None = None,
    names: bool = False,
    confidence: ArrayLike | None = None,
    hollow: ArrayLike | None = None,
    scale: int = 1,
    legend: bool = True,
    palette: Palette = HEAD,
) -> Pixels:
    """Draws points over a copy of a picture.

    Args:
        pixels: [H, W, 3] RGB; not modified.
        xy_px: [K, 2] pixels from the left and top edge: pixel i covers [i, i+1). Points outside are not seen.
        indices: [K] which point of the palette each is.
        true_xy_px: [K, 2] the true positions, drawn as rings with a line to the dot; NaN where there is none.
        names: write each point's code beside it, where possible without covering other names or dots.
        confidence: [K] 0..1: less sure points are smaller, and their names carry a percentage.
        hollow: [K] whether a point is hidden: it is drawn as a small ring below the others, without a percentage.
        scale: enlarges the picture by a whole number; a point p is then drawn at p * scale.
        legend: adds a strip below with the groups that occur and how many points each has.
        palette: names and colours; the head's by default.

    Returns:
        [H * scale + legend, at least W * scale, 3] RGB; the picture is its upper left part.

    Raises:
        ValueError: shapes that do not belong together, an index out of range, a position that is not finite.
    """
    marks = _checked(pixels, xy_px, indices, true_xy_px, confidence, scale, palette)
    hidden = np.broadcast_to(np.asarray(False if hollow is None else hollow, bool), len(marks.xy))
    canvas = _enlarged(pixels, scale)
    xy, true, sure = marks.xy * float(scale), marks.true * float(scale), marks.sure
    known = np.isfinite(true).all(1)
    side = min(canvas.shape[:2])
    radius = max(MIN_DOT, DOT * side)
    height = max(MIN_TEXT, round(TEXT * side))
    groups = [palette.groups[index] for index in marks.which]
    colours = [palette.colours[group] for group in groups]
    for row in np.flatnonzero(known):
        _line(canvas, true[row], xy[row], colours[row], radius)
        _disc(canvas, true[row], 2.1 * radius, OUTLINE, 1.1 * radius)
        _disc(canvas, true[row], 1.85 * radius, colours[row], 1.4 * radius)
    texts: list[PlacedText] = []
    if names and len(xy):
        codes = [
            palette.codes[index] + (f" {100 * value:.0f}%" if value < SURE and not hides else "")
            for index, value, hides in zip(marks.which, sure, hidden, strict=True)
        ]
        texts = placed(codes, xy, np.concatenate([xy, true[known]]), radius, height, canvas.shape)
    for text in texts:
        if text.far:
            _line(canvas, text.nearest(xy[text.row]), xy[text.row], colours[text.row], 0.5 * radius)
    _draw_dots(canvas, xy, sure, hidden, colours, radius)
    canvas = written(canvas, texts, height)
    return _with_legend(canvas, groups, palette, bool(known.any()), height) if legend else canvas


def _draw_dots(
    canvas: Pixels,
    xy: NDArray[np.float64],
    sure: NDArray[np.float64],
    hidden: NDArray[np.bool_],
    colours: Sequence[Colour],
    radius: float,
) -> None:
    """Draws points, the surest on top; hidden ones are rings below the others."""
    radii = radius * (0.6 + 0.4 * sure.clip(0, 1))
    for row in np.argsort(np.where(hidden, -1, sure), kind="stable"):
        if hidden[row]:
            _disc(canvas, xy[row], 1.1 * radius + 0.7, OUTLINE, 0.55 * radius)
            _disc(canvas, xy[row], 1.1 * radius, colours[row], 0.55 * radius)
            continue
        _disc(canvas, xy[row], radii[row] + max(1.0, 0.35 * radius), OUTLINE)
        _disc(canvas, xy[row], radii[row], colours[row])


class _Marks(NamedTuple):
    """What is drawn, checked."""

    xy: Floats
    """[K, 2]."""
    which: NDArray[np.intp]
    """[K] indices of the palette's points."""
    true: Floats
    """[K, 2] NaN where there is none."""
    sure: Floats
    """[K] confidence, 1 where none is given."""


def _checked(
    pixels: Pixels,
    xy_px: ArrayLike,
    indices: ArrayLike,
    true_xy_px: ArrayLike | None,
    confidence: ArrayLike | None,
    scale: int,
    palette: Palette,
) -> _Marks:
    """The arguments of draw_points as arrays; errors as there."""
    xy, which = np.asarray(xy_px, np.float64).reshape(-1, 2), np.asarray(indices, np.intp).reshape(-1)
    count = len(which)
    true = np.full((count, 2), np.nan) if true_xy_px is None else np.asarray(true_xy_px, np.float64).reshape(-1, 2)
    sure = np.ones(count) if confidence is None else np.asarray(confidence, np.float64).reshape(-1)
    if pixels.dtype != np.uint8 or pixels.ndim != 3 or pixels.shape[2] != 3 or not pixels.size:
        raise ValueError(f"pixels {pixels.shape} {pixels.dtype}; expected [H,W,3] uint8")
    if not len(xy) == len(true) == len(sure) == count or scale < 1:
        raise ValueError(f"{count} indices, {len(xy)} and {len(true)} positions, {len(sure)} confidences, x{scale}")
    if count and not (which.min() >= 0 and which.max() < len(palette.codes)):
        raise ValueError(f"indices {which.min()}..{which.max()}; allowed are 0..{len(palette.codes) - 1}")
    if not np.isfinite(xy).all() or not np.isfinite(sure).all():
        raise ValueError("a position or a confidence is not a finite number")
    return _Marks(xy, which, true, sure)


def _enlarged(pixels: Pixels, scale: int) -> Pixels:
    """A copy, enlarged about its upper left corner: the edge of pixel i comes to i * scale."""
    if scale == 1:
        return pixels.copy()
    import cv2

    size = (pixels.shape[1] * scale, pixels.shape[0] * scale)
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_CUBIC), np.uint8)


def _disc(canvas: Pixels, centre: Floats, outer: float, colour: Colour, inner: float = -1.0) -> None:
    """Blends a disc, or a ring between two radii, into the canvas; each pixel by how much of it is covered."""
    height, width = canvas.shape[:2]
    left, top = np.maximum(np.floor(centre - outer - 1), 0).astype(int)
    right, bottom = np.minimum(np.ceil(centre + outer + 1), (width, height)).astype(int)
    if left >= right or top >= bottom:
        return
    x, y = np.arange(left, right) + 0.5 - centre[0], np.arange(top, bottom) + 0.5 - centre[1]
    distance = np.hypot(x, y[:, None])
    covered = (outer + 0.5 - distance).clip(0, 1) * (distance + 0.5 - inner).clip(0, 1)
    patch = canvas[top:bottom, left:right]
    patch[:] = patch + covered[..., None] * (np.array(colour) - patch.astype(np.float64)) + 0.5


def _line(canvas: Pixels, start: Floats, end: Floats, colour: Colour, radius: float) -> None:
    """A thin line with a dark rim."""
    import cv2

    # OpenCV counts from the centre of the first pixel, in 1/16 pixel here; far ends must fit its integers.
    limit = 4.0 * max(canvas.shape)
    ends = [tuple(np.round((point.clip(-limit, limit) - 0.5) * 16).astype(int).tolist()) for point in (start, end)]
    width = max(1, round(0.4 * radius))
    for shade, thickness in ((OUTLINE, width + 2), (colour, width)):
        cv2.line(canvas, ends[0], ends[1], shade, thickness, cv2.LINE_AA, 4)


def _with_legend(canvas: Pixels, groups: Sequence[str], palette: Palette, rings: bool, height: int) -> Pixels:
    """Adds a black strip at the bottom: each group's colour, name and number of points."""
    font = font_of(height)
    entries = [(name, f"{name} {groups.count(name)}") for name in palette.colours if name in groups]
    entries += [("", "ring: true position")] if rings else []
    if not entries:
        return canvas
    swatch, line = 0.35 * height, round(1.7 * height)
    widths = [round(font.getlength(text) + 2.6 * height) for _, text in entries]
    width = max(canvas.shape[1], *widths)
    places, left, row = [], 0, 0
    for entry in widths:
        if left + entry > width:
            left, row = 0, row + 1
        places.append((left, row))
        left += entry
    out = np.zeros((canvas.shape[0] + (row + 1) * line, width, 3), np.uint8)
    out[: canvas.shape[0], : canvas.shape[1]] = canvas
    image = Image.fromarray(out)
    draw = ImageDraw.Draw(image)
    middles = [np.array([x + 1.1 * height, canvas.shape[0] + (y + 0.5) * line]) for x, y in places]
    for (_, text), (x, y) in zip(entries, middles, strict=True):
        draw.text((x + 0.7 * height, y), text, INK, font, "lm")
    out = np.array(image)
    for (name, _), middle in zip(entries, middles, strict=True):
        inner = -1.0 if name else 0.6 * swatch
        _disc(out, middle, swatch, palette.colours[name] if name else INK, inner)
    return out
