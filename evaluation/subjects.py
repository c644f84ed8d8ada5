"""Pairs of images with what trials and attacks are made from, read and brought to work size."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim.acupoints import COUNT
from acusim.errors import PictureError
from acusim.files import safe_join, sha256
from acusim.foreground import find_foreground
from acusim.labels import read_label
from acusim.pictures import read_file, read_rgb
from acusim.rig import Camera
from evaluation.certificate import Judge
from evaluation.pairs import Pair
from evaluation.reference import Reference, make_reference, nearest, scaled, work_scale
from evaluation.settings import PairSettings

Pixels = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Task:
    """A pair, and another person's in the same view, where there is one."""

    pair: Pair
    stranger: Pair | None


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """What attacks are made from, all at one size."""

    pair: Pair
    camera: int | Camera
    """Frame of the rig, or the label's own camera."""
    original: Pixels
    """[H, W, 3]"""
    augmented: Pixels
    """[H, W, 3] nothing moved in it."""
    mask: NDArray[np.bool_]
    """[H, W] the head."""
    depth_mm: NDArray[np.float32] | None
    """[H, W] 0 in the background; None: it is turned in the plane alone."""
    points: NDArray[np.float64]
    """[V, 2] the visible acupoints, pixels."""
    rows: NDArray[np.intp]
    """[V] their rows in the table."""
    stranger: tuple[Pixels, NDArray[np.float64]] | None
    """Another person's augmented image in the same view, and its acupoints [174, 2], NaN where hidden."""

    @property
    def sha256(self) -> str:
        """Of everything here but names."""
        arrays = [
            self.original,
            self.augmented,
            self.mask,
            self.depth_mm,
            self.points,
            self.rows,
            *(self.stranger or ()),
        ]
        parts = [repr(self.camera).encode()]
        for array in arrays:
            parts += [b"none"] if array is None else [f"{array.dtype} {array.shape}".encode(), array.tobytes()]
        return sha256(b"\n".join(parts))

    def reference(self, original: Pixels | None = None) -> Reference:
        """Of the original, or of another image in its place."""
        return make_reference(
            self.original if original is None else original,
            self.depth_mm,
            self.points,
            mask=self.mask,
            frame=self.camera,
        )


@contextmanager
def prepare(settings: PairSettings) -> Iterator[tuple[PairSettings, Judge]]:
    """What a process works with that makes images from pairs and judges them."""
    import cv2

    cv2.setNumThreads(1)
    yield settings, Judge(settings.thresholds)


def tasks_of(pairs: Sequence[Pair]) -> list[Task]:
    """A task for each pair, with strangers evenly over the persons of its view."""
    by_frame: dict[int, list[Pair]] = {}
    for pair in pairs:
        by_frame.setdefault(pair.id.frame, []).append(pair)
    tasks = []
    for number, pair in enumerate(pairs):
        others = [other for other in by_frame[pair.id.frame] if other.id.person != pair.id.person]
        tasks.append(Task(pair, others[number % len(others)] if others else None))
    return tasks


def load(settings: PairSettings, task: Task) -> Subject:
    """Reads the images of a task.

    Raises:
        AcuSimError: a file is missing or damaged, sizes differ, or there is no label.
    """
    pair = task.pair
    if pair.label is None:
        raise PictureError("no label: there are no acupoints to move")
    picture = read_rgb(safe_join(settings.original, pair.original))
    original = picture.pixels
    augmented = read_rgb(safe_join(settings.augmented, pair.augmented)).pixels
    label = read_label(safe_join(settings.original, pair.label))
    depth = read_file(safe_join(settings.original, pair.depth), "depth") if pair.depth else None
    head = find_foreground(original, depth, picture.alpha)
    if original.shape != augmented.shape:
        raise PictureError(f"sizes {augmented.shape[:2]} and {original.shape[:2]} differ")
    # Everything at work size, in which displacements are counted.
    scale = work_scale(original.shape)
    original, augmented = scaled(original, scale), scaled(augmented, scale)
    size = original.shape[1::-1]
    rows = np.flatnonzero(label.listed & ((label.xy >= 0) & (label.xy < 1)).all(1))
    known = head.depth is not None and head.source == "depth-mm16"
    return Subject(
        pair=pair,
        camera=label.camera or pair.id.frame,
        original=original,
        augmented=augmented,
        mask=nearest(head.mask.astype(np.uint8), original.shape) > 0,
        depth_mm=nearest(head.depth, original.shape) if known and head.depth is not None else None,
        points=label.xy[rows] * size,
        rows=rows,
        stranger=_stranger(settings, task, original.shape),
    )


def _stranger(settings: PairSettings, task: Task, shape: tuple[int, ...]) -> tuple[Pixels, NDArray[np.float64]] | None:
    if task.stranger is None:
        return None
    pixels = read_rgb(safe_join(settings.augmented, task.stranger.augmented)).pixels
    pixels = scaled(pixels, work_scale(pixels.shape))
    if pixels.shape != shape:
        return None
    places = np.full((COUNT, 2), np.nan)
    if task.stranger.label is not None:
        label = read_label(safe_join(settings.original, task.stranger.label))
        places[label.listed] = label.xy[label.listed] * shape[1::-1]
    return pixels, places
