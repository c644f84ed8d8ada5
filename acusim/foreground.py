"""The head in front of its background: which pixels are head, how much of each, and composition over another one.

Found by the image's own alpha channel or depth map where there is one, else by a uniform background's colour. Nothing
is guessed: without any of them the image is refused, and a doubtful result carries the reasons.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from acusim.errors import PictureError
from acusim.pictures import DepthKind, decode_depth
from acusim.regions import eroded, largest
from acusim.silhouette import MAX_SHARE, Silhouette, check_share, cut_out, upper_border

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

_LENGTHS_MM = (100.0, 10_000.0)
"""16-bit depth outside this range is not in millimetres, or its background is not 0."""
_RIM = 1.0
"""Standard deviation of the soft edge, pixels of an image 512 wide."""
_REACH = 8
"""Pixels from solid head within which the rim takes its colour."""
_GREY_ZONE_PX = 2.5
"""A matte whose grey zone is wider than this, on average along the outline, is doubtful."""
_TOUCHED = 0.05
"""A side of the image counts as touched if the head covers a larger share of it; of left and right the upper half, as
shoulders cross the lower one."""
_COLOURED = 24.0
"""Levels between the channels of a background that is not grey."""
_FAINT, _FAINT_SHARE = 12.0, 0.1
"""Head and background that differ by fewer levels are hard to separate; the share of the outline that may be faint."""
UNEVEN = 4.0
"""Levels by which a background may deviate from its colour."""
_LOST = 0.02
"""Share of the head's area: larger disconnected areas should be inspected."""


@dataclass(frozen=True, slots=True, eq=False)
class Foreground:
    """Which pixels are head, and how deep."""

    mask: Mask
    """[H, W] True on the head."""
    source: str
    """depth-mm16, depth-rel8, alpha or silhouette."""
    depth: Floats | None = None
    """[H, W] the depth map's own values, None where there is none."""
    matte: Floats | None = None
    """[H, W] 0..1 how much of each pixel is head, as the image shows it; None where the mask comes from depth alone."""
    doubts: tuple[str, ...] = ()
    """Reasons to inspect the mask before it is used, with the measured values."""
    depth_kind: DepthKind | None = None
    """What the depth's values are; those fitted to labels say nothing of the mask."""

    @property
    def alpha(self) -> Floats:
        """[H, W] 0..1 how much of each pixel is head, for ``composed``."""
        return soft_edge(self.mask) if self.matte is None else self.matte


def find_foreground(
    pixels: NDArray[np.uint8], depth: bytes | None, alpha: NDArray[np.uint8] | None = None
) -> Foreground:
    """The head in an image, with its matte; every engine and node finds it here.

    Args:
        pixels: [H, W, 3] RGB; transparent pixels are black.
        depth: the file of a depth map of the same size, None if there is none.
        alpha: [H, W] 0..255 the image's alpha channel; it is the matte if it shows a background.

    Raises:
        PictureError: the depth map is unreadable, of another size, or without a foreground; or there is no depth map
            and the background is not uniform enough to find the silhouette.
    """
    # An alpha channel that is opaque everywhere contains no information.
    opaque = alpha is None or (alpha >= 128).mean() > MAX_SHARE
    matte = None if alpha is None or opaque else alpha.astype(np.float32) / 255
    values, kind = (None, None) if depth is None else _decoded(depth)
    if values is not None and values.shape != pixels.shape[:2]:
        size = f"{values.shape[1]} x {values.shape[0]}"
        raise PictureError(
            f"depth map is {size}, its picture {pixels.shape[1]} x {pixels.shape[0]}; they must be equal"
        )
    if matte is None and (values is None or kind == "labels"):
        found = cut_out(pixels)
        return Foreground(found.mask, "silhouette", values, found.alpha, _doubts_of_silhouette(found), kind)
    doubts: tuple[str, ...] = ()
    if matte is not None:
        mask = matte >= 0.5
        check_share(mask, "alpha channel")
        doubts = _doubts_of_matte(mask, matte)
        if values is None or kind == "labels":
            return Foreground(mask, "alpha", values, matte, doubts, kind)
    assert values is not None and kind is not None
    mask = _of_depth(values, kind)
    check_share(mask, "depth map")
    return Foreground(mask, f"depth-{kind}", values, matte, doubts, kind)


@lru_cache(1)
def _decoded(depth: bytes) -> tuple[Floats, DepthKind]:
    """A depth map, decoded once for the engine and for the gate behind it; not to be written to."""
    values, kind = decode_depth(depth, "map")
    values.setflags(write=False)
    return values, kind


def silhouette(pixels: NDArray[np.uint8]) -> Mask:
    """[H, W] the head in front of a uniform background, holes filled.

    Raises:
        PictureError: the border is not of one colour, or nothing stands out from it.
    """
    return cut_out(pixels).mask


def soft_edge(mask: Mask) -> Floats:
    """[H, W] how much of each pixel is head: 0 outside the mask, 1 well inside, rising over the rim within it.

    For a mask that was not derived from colours. It never extends beyond it, so that no old background is included.
    """
    sigma = max(0.5, _RIM * mask.shape[1] / 512)
    grey = Image.fromarray(mask.astype(np.uint8) * 255)
    blurred = np.asarray(grey.filter(ImageFilter.GaussianBlur(sigma)), np.float32) / 255
    return np.where(mask, np.clip(2 * blurred - 1, 0, 1), 0).astype(np.float32)


def composed(picture: Floats, background: Floats, alpha: Floats) -> Floats:
    """Lays a head over a background: ``alpha * head + (1 - alpha) * background``.

    The head's colour is the picture's, at its rim that of ``rim_from_inside``.

    Args:
        picture: [H, W, 3], 0..1.
        background: [H, W, 3], 0..1.
        alpha: [H, W], 0..1.
    """
    share = alpha[..., None]
    return (share * rim_from_inside(picture, alpha) + (1 - share) * background).astype(np.float32)


def rim_from_inside(picture: Floats, alpha: Floats) -> Floats:
    """[H, W, 3] an image whose rim has the colours of the head beside it.

    Where a pixel is partly head its colour is mixed with the background that was behind it, and compression smears that
    one pixel farther. So pixels that are partly head get the mean colour of their neighbours farther inside, and the
    outermost ones that are all head are not used. What is farther than _REACH pixels from solid head keeps its
    colour.

    Args:
        picture: [H, W, C].
        alpha: [H, W], 0..1.
    """
    height, width = alpha.shape
    solid = alpha >= 1
    wanted = np.pad((alpha > 0) & ~solid, 1)
    known = np.pad(eroded(solid, 1), 1)
    if not wanted.any() or not known.any():
        return picture
    # In a padded image the eight neighbours of a pixel are at fixed offsets.
    row = width + 2
    steps = np.array([-row - 1, -row, -row + 1, -1, 1, row - 1, row, row + 1])
    weights = np.array([1, 2, 1, 2, 2, 1, 2, 1], np.float32)
    band = np.pad(alpha > 0, 1) & ~known & largest(wanted, 2 * _REACH + 1)
    colours = np.pad(picture, ((1, 1), (1, 1), (0, 0))).reshape(-1, picture.shape[2])
    known, left = known.ravel(), np.flatnonzero(band)
    for _ in range(_REACH):
        weight = known[left[:, None] + steps] * weights
        total = weight.sum(1)
        reached = total > 0
        if not reached.any():
            break
        at, weight = left[reached], weight[reached] / total[reached, None]
        colours[at] = np.einsum("nk,nkc->nc", weight, colours[at[:, None] + steps])
        known[at] = True
        left = left[~reached]
    filled = (known & wanted.ravel()).reshape(height + 2, row)[1:-1, 1:-1]
    spread = colours.reshape(height + 2, row, -1)[1:-1, 1:-1]
    return np.where(filled[..., None], spread, picture)


def fitted(scene: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """[height, width, 3] a scene scaled to cover, centred and cropped; never stretched."""
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
    background = float(np.median(upper_border(values)))
    if background not in (0.0, 255.0):
        raise PictureError(f"depth map: its background is {background:.0f}; it must be 0 or 255")
    return values != background


def _check_millimetres(values: Floats) -> None:
    low, high = _LENGTHS_MM
    if values.size and not (low <= values.min() and values.max() <= high):
        raise PictureError(
            f"depth map: {values.min():.0f}..{values.max():.0f} mm; allowed are {low:.0f}..{high:.0f}, "
            "and 0 for the background; save 16-bit millimetres or 8-bit relative depth"
        )


def _doubts_of_matte(mask: Mask, matte: Floats) -> tuple[str, ...]:
    """Doubts about any matte, whatever its source."""
    doubts: list[str] = []
    outline = mask & ~eroded(mask, 1)
    grey = float(((matte > 0.1) & (matte < 0.9)).sum()) / max(1.0, float(outline.sum()))
    if grey > _GREY_ZONE_PX:
        doubts.append(f"the grey zone is {grey:.1f} px wide on average, at most {_GREY_ZONE_PX:g} is usual")
    half = max(1, len(mask) // 2)
    sides = {"top": mask[0], "bottom": mask[-1], "left": mask[:half, 0], "right": mask[:half, -1]}
    touched = [name for name, side in sides.items() if side.mean() > _TOUCHED]
    if len(touched) > 2:
        doubts.append(f"the head touches {len(touched)} borders of the picture: {', '.join(touched)}")
    return tuple(doubts)


def _doubts_of_silhouette(found: Silhouette) -> tuple[str, ...]:
    """Doubts about a head that was cut out by colour."""
    doubts = [*_doubts_of_matte(found.mask, found.alpha)]
    colour = found.background
    if colour.max() - colour.min() > _COLOURED:
        doubts.append(f"the background is coloured, RGB {', '.join(f'{level:.0f}' for level in colour)}")
    if found.stray > UNEVEN:
        doubts.append(f"the background is uneven: it strays by {found.stray:.1f} levels, {UNEVEN:g} are usual")
    rim = found.mask & ~eroded(found.mask, 1)
    faint = float((found.contrast[rim] < _FAINT).mean()) if rim.any() else 0.0
    if faint > _FAINT_SHARE:
        doubts.append(
            f"{100 * faint:.0f} % of the outline is faint: head and background differ by fewer than {_FAINT:g} levels"
        )
    if found.lost > _LOST:
        doubts.append(f"parts beside the head were left out, {100 * found.lost:.1f} % of its area")
    return tuple(doubts)
