"""An original with all that does not depend on the augmented image: maps, points, outlines, millimetres."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim import acupoints, rig
from acusim.errors import PictureError
from acusim.foreground import find_foreground, silhouette
from acusim.keypoints import Keypoints
from acusim.labels import Label
from acusim.rig import Camera
from evaluation.copies import Witnessed
from evaluation.outline import Outline, inner_outlines, offsets, silhouette_of
from evaluation.structure import Bytes, Floats, Inside, Maps, Mask, maps_of

WORK_SIDE, LARGEST_SIDE = 512, 640
"""Images with a longer side than LARGEST_SIDE are judged at WORK_SIDE, for which all lengths were calibrated."""
LEAST_SIDE = 384
"""Smaller images are judged as they are, by lengths that are too long for them; users are warned."""
FEW_POINTS = 12
"""With fewer visible acupoints, points all over the head are examined as well."""
FIELD_STEP = 40
"""Their distance, pixels."""
NOSE_DEPTH_MM = 768.7
"""Distance of the nose tip from camera 1: 0.5405 mm a pixel at 512; used where no depth is known."""


def size_note(side_px: int) -> str | None:
    """What a user should know of images whose smallest has this longer side; None where there is nothing."""
    if side_px >= LEAST_SIDE:
        return None
    return (
        f"the images are {side_px} px wide: the certificate was calibrated at {WORK_SIDE}, of which one pixel spans "
        f"{WORK_SIDE / side_px:.1f}; do not rely on its rates"
    )


def mm_per_px(width_px: float) -> float:
    """Millimetres that a pixel spans at the nose tip: 0.5405 at a width of 512."""
    return float(rig.mm_per_px(NOSE_DEPTH_MM, width_px))


@dataclass(frozen=True, eq=False)
class Reference:
    """An original with all that does not depend on the augmented image; outlines are computed on first use."""

    shape: tuple[int, int]
    """(H, W) of the original."""
    scale: float
    """Work size over true size."""
    mask: Mask
    """[h, w] the head, at work size, as everything below."""
    mask_source: str
    """given, depth, silhouette, or "whole picture" where none of them finds the head."""
    pixels: Bytes
    """[h, w, 3]"""
    depth: Floats | None
    """[h, w] millimetres."""
    inside: Inside
    maps: Maps
    points: NDArray[np.float64]
    """[P, 2] the visible acupoints, then points all over the head if there are few."""
    rows: NDArray[np.intp]
    """[V] to which of the caller's N points the first V belong."""
    count: int
    """N."""
    mm_per_px: Floats
    """[V] millimetres a true pixel spans at each."""

    @cached_property
    def outline(self) -> Outline:
        """The silhouette."""
        return silhouette_of(self.mask) if self.mask_source != "whole picture" else Outline.empty()

    @cached_property
    def outline_offsets(self) -> tuple[Floats, Mask]:
        """Where the original itself shows it."""
        return offsets(self.pixels, self.outline)

    @cached_property
    def witnessed(self) -> Witnessed:
        """For the second witness."""
        return Witnessed.of(self.maps, self.inside)

    @cached_property
    def inner(self) -> Outline:
        """Outlines inside the head, by depth."""
        return inner_outlines(self.depth, self.mask) if self.depth is not None else Outline.empty()

    @cached_property
    def inner_offsets(self) -> tuple[Floats, Mask]:
        """Where the original itself shows them."""
        return offsets(self.pixels, self.inner)


def make_reference(
    original: Bytes,
    depth_mm: NDArray[np.floating] | None = None,
    coords_px: ArrayLike | None = None,
    visible: ArrayLike | None = None,
    *,
    mask: Mask | None = None,
    frame: int | Camera | None = None,
) -> Reference:
    """Everything about an original that does not depend on the augmented image.

    Args:
        original: [H, W, 3] RGB.
        depth_mm: [H, W] millimetres along the camera's axis, 0 in the background; None if there is none.
        coords_px: [N, 2] the labels, in pixels from the left and top edge; None for an image without labels.
        visible: [N] which of them are; None takes all whose coordinates are finite.
        mask: [H, W] the head; None takes it from the depth, else from a uniform background.
        frame: camera 1..144 of the rig, or a camera off it, for millimetres; only the latter's focal length matters
            where there is depth.

    Raises:
        ValueError: shapes or types do not match; names them.
    """
    if original.ndim != 3 or original.shape[2] != 3 or original.dtype != np.uint8:
        raise ValueError(f"original is {original.shape} {original.dtype}; expected [H, W, 3] uint8")
    height, width = original.shape[:2]
    for name, plane in (("depth_mm", depth_mm), ("mask", mask)):
        if plane is not None and plane.shape != (height, width):
            raise ValueError(f"{name} is {plane.shape}; expected {(height, width)} as the original")
    points, rows, count = _visible_points(coords_px, visible, width, height)
    scale = work_scale(original.shape)
    pixels = scaled(original, scale)
    depth = None if depth_mm is None else nearest(np.asarray(depth_mm, np.float32), pixels.shape)
    head, source = _head(pixels, depth, None if mask is None else nearest(mask.astype(np.uint8), pixels.shape) > 0)
    inside = Inside.of(head)
    field_points = _field(inside, points * scale) if len(points) < FEW_POINTS else np.zeros((0, 2))
    return Reference(
        shape=(height, width),
        scale=scale,
        mask=head,
        mask_source=source,
        pixels=pixels,
        depth=depth,
        inside=inside,
        maps=maps_of(pixels, inside),
        points=np.concatenate([points * scale, field_points]),
        rows=rows,
        count=count,
        mm_per_px=_millimetres(points, rows, depth, scale, frame, width, count),
    )


def _visible_points(
    coords_px: ArrayLike | None, visible: ArrayLike | None, width: int, height: int
) -> tuple[NDArray[np.float64], NDArray[np.intp], int]:
    if coords_px is None:
        return np.zeros((0, 2)), np.zeros(0, np.intp), 0
    coords = np.asarray(coords_px, np.float64)
    if coords.ndim != 2 or coords.shape[1] != 2:
        raise ValueError(f"coords_px is {coords.shape}; expected [N, 2]")
    chosen = np.isfinite(coords).all(1) if visible is None else np.asarray(visible)
    if chosen.shape != coords.shape[:1] or chosen.dtype != np.bool_:
        raise ValueError(f"visible is {chosen.shape} {chosen.dtype}; expected [{len(coords)}] bool")
    with np.errstate(invalid="ignore"):
        chosen = chosen & ((coords >= 0) & (coords < (width, height))).all(1)
    rows = np.flatnonzero(chosen)
    return coords[rows], rows, len(coords)


def work_scale(shape: tuple[int, ...]) -> float:
    """Work size over true size of an image (H, W, ...)."""
    return WORK_SIDE / max(shape[:2]) if max(shape[:2]) > LARGEST_SIDE else 1.0


def scaled(pixels: Bytes, scale: float) -> Bytes:
    """An image [H, W, 3] at work size."""
    if scale == 1:
        return pixels
    size = (max(1, round(pixels.shape[1] * scale)), max(1, round(pixels.shape[0] * scale)))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def nearest(plane: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    """A plane [H, W] at another size (h, w), by the nearest pixel."""
    if plane.shape[:2] == shape[:2]:
        return plane
    return np.asarray(cv2.resize(plane, (shape[1], shape[0]), interpolation=cv2.INTER_NEAREST))


def _head(pixels: Bytes, depth: Floats | None, mask: Mask | None) -> tuple[Mask, str]:
    if mask is not None:
        return mask, "given"
    if depth is not None and (depth > 0).any():
        return depth > 0, "depth"
    try:
        return silhouette(pixels), "silhouette"
    except PictureError:
        return np.ones(pixels.shape[:2], bool), "whole picture"


def _field(inside: Inside, points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Points on a lattice all over the head, not beside the given ones."""
    height, width = inside.full.shape
    rows, columns = np.mgrid[FIELD_STEP // 2 : height : FIELD_STEP, FIELD_STEP // 2 : width : FIELD_STEP]
    lattice = np.stack([columns.ravel(), rows.ravel()], axis=1)
    lattice = lattice[inside.full[lattice[:, 1], lattice[:, 0]] > 0] + 0.5
    if len(points) and len(lattice):
        apart = np.linalg.norm(lattice[:, None] - points[None], axis=2).min(1)
        lattice = lattice[apart > FIELD_STEP / 2]
    return lattice


def _millimetres(
    points: NDArray[np.float64],
    rows: NDArray[np.intp],
    depth: Floats | None,
    scale: float,
    frame: int | Camera | None,
    width: int,
    count: int,
) -> Floats:
    """[V] millimetres a true pixel spans at each visible point."""
    if depth is not None and len(points):
        at = np.clip(np.floor(points * scale).astype(np.intp), 0, np.array(depth.shape[::-1]) - 1)
        z = depth[at[:, 1], at[:, 0]]
        # A label beside the head, by rounding or because depth and label disagree, is as far as the others.
        z = np.where(z > 0, z, np.median(z[z > 0]) if (z > 0).any() else NOSE_DEPTH_MM)
    elif frame is not None and count == acupoints.COUNT:
        z = rig.project(acupoints.positions_mm(), frame, 1.0)[1][rows]
    else:
        z = np.full(len(points), NOSE_DEPTH_MM)
    focal = frame.focal if isinstance(frame, Camera) else rig.FOCAL
    return rig.mm_per_px(z, width, focal).astype(np.float32)


def keypoint_reference(pixels: Bytes, alpha: Bytes, points: Keypoints) -> Reference:
    """The reference of a picture of another data set than AcuSim.

    Nothing is known of its scale: its millimetres are those of a picture as wide as AcuSim's, 277 mm at the subject.

    Args:
        pixels: [H, W, 3] RGB.
        alpha: [H, W] 0..255 what it shows in front of its background.
        points: its labels.
    """
    return make_reference(pixels, coords_px=points.xy, visible=points.visible, mask=alpha >= 128)


def sample_reference(
    pixels: Bytes, depth_data: bytes | None, label: Label | None, frame: int
) -> tuple[Reference, list[str]]:
    """The reference of a sample, from its image, depth map and label.

    Args:
        pixels: [H, W, 3] RGB.
        depth_data: the file of its depth map, None if there is none.
        label: its label, None if there is none.
        frame: camera 1..144, of a label that does not state its own.

    Returns:
        The reference, and a note where the depth map could not be used.
    """
    notes: list[str] = []
    known: dict[str, Any] = {"frame": frame}
    if depth_data is not None:
        try:
            found = find_foreground(pixels, depth_data)
            known |= {"mask": found.mask, "depth_mm": found.depth if found.source == "depth-mm16" else None}
        except PictureError as error:
            notes.append(f"depth map is not used: {str(error)[:200]}")
    if label is not None:
        known["frame"] = label.camera or frame
        known |= {"coords_px": label.xy * pixels.shape[1::-1], "visible": label.listed}
    return make_reference(pixels, **known), notes
