"""The head in front of its background: which pixels are head, and how another background is laid behind it.

Foreground by depth where there is a depth map, else by a uniform background's colour. Nothing is guessed: where neither
tells, the picture is refused.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from acusim.errors import PictureError
from acusim.pictures import DepthKind, decode_depth

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
TRUE_HOLE = 0.0005
"""A hole of more than this share of the picture that has the background's very colour is one."""
LENGTHS_MM = (100.0, 10_000.0)
"""16-bit depth outside this is not millimetres, or marks its background by something other than 0."""
RIM = 1.0
"""Standard deviation of the soft edge in pixels of a picture 512 wide."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """Which pixels are head."""

    mask: Mask
    """[H, W] True on the head."""
    source: str
    """depth-mm16, depth-rel8 or silhouette."""
    depth: Floats | None = None
    """[H, W] the depth map's own values, None where there is none."""


def find_foreground(pixels: NDArray[np.uint8], depth: bytes | None) -> Foreground:
    """The head in a picture.

    Args:
        pixels: [H, W, 3] RGB.
        depth: the file of a depth map of the same size, None if there is none.

    Raises:
        PictureError: the depth map is unreadable, of another size, or without a foreground; or there is no depth map
            and the background is not uniform enough to find the silhouette.
    """
    if depth is None:
        return Foreground(silhouette(pixels), "silhouette")
    values, kind = decode_depth(depth, "map")
    if values.shape != pixels.shape[:2]:
        size = f"{values.shape[1]} x {values.shape[0]}"
        raise PictureError(
            f"depth map is {size}, its picture {pixels.shape[1]} x {pixels.shape[0]}; they must be equal"
        )
    mask = _of_depth(values, kind)
    _check_share(mask, "depth map")
    return Foreground(mask, f"depth-{kind}", values)


def soft_edge(mask: Mask) -> Floats:
    """[H, W] how much of each pixel is head: 0 outside the mask, 1 well inside, rising over the rim within it.

    It never reaches beyond the mask, so that nothing of the old background comes along.
    """
    sigma = max(0.5, RIM * mask.shape[1] / 512)
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    blurred = np.asarray(grey.filter(ImageFilter.GaussianBlur(sigma)), np.float32) / 255
    return np.where(mask, np.clip(2 * blurred - 1, 0, 1), 0).astype(np.float32)


def composed(picture: Floats, background: Floats, alpha: Floats) -> Floats:
    """Lays a picture over a background: ``alpha * picture + (1 - alpha) * background``.

    Args:
        picture: [H, W, 3], 0..1.
        background: [H, W, 3], 0..1.
        alpha: [H, W], 0..1.
    """
    share = alpha[..., None]
    return (share * picture + (1 - share) * background).astype(np.float32)


def fitted(scene: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """[height, width, 3] a scene picture scaled to cover, centred, and cut; never stretched."""
    scale = max(height / scene.shape[0], width / scene.shape[1])
    size = (max(width, round(scene.shape[1] * scale)), max(height, round(scene.shape[0] * scale)))
    large = np.asarray(Image.fromarray(scene).resize(size, Image.Resampling.LANCZOS))
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return np.ascontiguousarray(large[top : top + height, left : left + width])


def _of_depth(values: Floats, kind: DepthKind) -> Mask:
    if kind == "mm16":
        mask = values > 0
        _check_millimetres(values[mask])
        return mask
    background = float(np.median(_upper_border(values)))
    if background not in (0.0, 255.0):
        raise PictureError(f"depth map: its background is {background:.0f}; it must be 0 or 255")
    return values != background


def _upper_border(values: NDArray[Any]) -> NDArray[Any]:
    """The border pixels [N, ...] of the upper half; shoulders cross the lower one."""
    half = len(values) // 2
    return np.concatenate([values[0], values[:half, 0], values[:half, -1]])


def _check_share(mask: Mask, what: str) -> None:
    if mask.mean() < MIN_SHARE:
        raise PictureError(f"{what}: no foreground found, only {100 * mask.mean():.2f} % of the picture")
    if mask.mean() > MAX_SHARE:
        raise PictureError(f"{what}: no background found, the foreground is {100 * mask.mean():.1f} % of the picture")


def _check_millimetres(values: Floats) -> None:
    low, high = LENGTHS_MM
    if values.size and not (low <= values.min() and values.max() <= high):
        raise PictureError(
            f"depth map: {values.min():.0f}..{values.max():.0f} mm; allowed are {low:.0f}..{high:.0f}, "
            "and 0 for the background; save 16-bit millimetres or 8-bit relative depth"
        )


def silhouette(pixels: NDArray[np.uint8]) -> Mask:
    """[H, W] the head before a uniform background, holes filled.

    Raises:
        PictureError: the border is not of one colour, or nothing stands out from it.
    """
    border = _upper_border(pixels).astype(np.float32)
    background = np.median(border, axis=0)
    noise = np.abs(border - background).max(1)
    if (noise > UNIFORM).mean() > 0.2:
        raise PictureError(
            "no foreground found: the background is not of one colour and there is no depth map to tell the head from "
            "it; put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    distance = np.abs(pixels.astype(np.float32) - background).max(2)
    mask = distance > max(3.0, float(np.percentile(noise, 80)) * 1.5)
    closed = _closed(mask, max(1, round(pixels.shape[1] / 128)))
    parts = _Parts(closed)
    if not parts.count:
        raise PictureError("no foreground found: the whole picture is of one colour")
    out = parts.painted(np.arange(parts.count) == np.argmax(parts.area))
    _check_share(out, "picture")
    beside = ~_upper_border(out)
    if beside.any() and np.percentile(noise[beside], 99) > STEADY:
        raise PictureError(
            "no foreground found: the background changes its colour too gradually to tell the head from it, and there "
            "is no depth map; put one at <split>/depth/img_<size>/<sample ID>.png"
        )
    return _without_false_holes(out, distance)


def _closed(mask: Mask, reach: int) -> Mask:
    """Gaps and nicks narrower than a disc of radius ``reach`` filled in (morphological closing)."""
    return ~_dilated(~_dilated(mask, reach), reach)


def _dilated(mask: Mask, reach: int) -> Mask:
    height, width = mask.shape
    padded = np.pad(mask, reach)
    out = np.zeros_like(mask)
    wide: dict[int, Mask] = {}
    for down in range(-reach, reach + 1):
        half = round(float(np.sqrt(reach**2 - down**2)))
        if half not in wide:
            shifts = range(reach - half, reach + half + 1)
            wide[half] = np.logical_or.reduce([padded[:, shift : shift + width] for shift in shifts])
        out |= wide[half][reach + down : reach + down + height]
    return out


class _Parts:
    """The 4-connected parts of a mask, told by runs: stretches of one row."""

    def __init__(self, mask: Mask):
        height, width = mask.shape
        self._shape = mask.shape
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1).ravel()
        row_length = width + 1
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        rows = starts // row_length
        # A run and one in the row above touch if each begins before the other ends.
        first = np.searchsorted(ends, starts - row_length, side="right")
        beyond = np.searchsorted(starts, ends - row_length, side="left")
        touching = np.maximum(beyond - first, 0)
        below = np.repeat(np.arange(len(starts)), touching)
        step = np.arange(len(below)) - np.repeat(np.cumsum(touching) - touching, touching)
        above = np.repeat(first, touching) + step
        self._label = _united(len(starts), below, above)
        self.count = int(self._label.max()) + 1 if len(starts) else 0
        self._starts, self._ends = starts - rows, ends - rows
        left, right = starts - rows * row_length, ends - rows * row_length
        at_edge = (rows == 0) | (rows == height - 1) | (left == 0) | (right == width)
        self.touches_edge: Mask = np.bincount(self._label, at_edge, self.count) > 0
        self.area = np.bincount(self._label, right - left, self.count)

    def sums(self, values: NDArray[Any]) -> NDArray[Any]:
        """[count] the sum over each part of [H, W] values."""
        total = np.concatenate([[0], np.cumsum(values.ravel(), dtype=np.int64)])
        return np.bincount(self._label, total[self._ends] - total[self._starts], self.count)

    def painted(self, chosen: NDArray[np.bool_]) -> Mask:
        """[H, W] True on the chosen ones of the [count] parts."""
        runs = chosen[self._label]
        steps = np.zeros(self._shape[0] * self._shape[1] + 1, np.int8)
        np.add.at(steps, self._starts[runs], 1)
        np.add.at(steps, self._ends[runs], -1)
        return np.cumsum(steps[:-1], dtype=np.int8).reshape(self._shape) > 0


def _united(count: int, one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """[count] labels 0, 1, … of the connected components of a graph given by its edges, by their first members."""
    label = np.arange(count)
    while len(one):
        low = np.minimum(label[one], label[other])
        before = label.copy()
        np.minimum.at(label, label[one], low)
        np.minimum.at(label, label[other], low)
        label = label[label]
        if (label == before).all():
            break
    return np.unique(label, return_inverse=True)[1].reshape(-1) if count else label


def _without_false_holes(mask: Mask, distance: Floats) -> Mask:
    """Fills holes, such as pupils and dark strands, but not those that show nothing but the background's colour."""
    holes = _Parts(~mask)
    see_through = (holes.area > TRUE_HOLE * mask.size) & (holes.sums(distance <= 1) > 0.9 * holes.area)
    return mask | holes.painted(~holes.touches_edge & ~see_through)
