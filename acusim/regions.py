"""Morphology, connected components and local means of masks [H, W], with NumPy and Pillow alone: the nodes need it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Mask = NDArray[np.bool_]
Floats = NDArray[np.float32]

CELL = 4
"""Side of the cells on which local means are taken, pixels."""
_ENOUGH = 2.0
"""Pixels of the mask that a cell needs for its own mean; with fewer, the surroundings' mean is blended in."""


def closed(mask: Mask, reach: int) -> Mask:
    """Gaps narrower than a disc of radius ``reach`` filled (morphological closing)."""
    return eroded(dilated(mask, reach), reach)


def eroded(mask: Mask, reach: int) -> Mask:
    """A mask shrunk by a disc of radius ``reach``; the image's edge does not shrink it."""
    return ~dilated(~mask, reach)


def dilated(mask: Mask, reach: int) -> Mask:
    """A mask grown by a disc of radius ``reach``."""
    height, width = mask.shape
    padded = np.pad(mask, reach)
    out = np.zeros_like(mask)
    wide: dict[int, Mask] = {}
    for down in range(-reach, reach + 1):
        half = round(float(np.sqrt(reach**2 - down**2)))
        if half not in wide:
            wide[half] = _any_of(padded[:, reach - half : reach + half + width], 2 * half + 1)
        out |= wide[half][reach + down : reach + down + height]
    return out


def _any_of(values: NDArray[Any], count: int) -> NDArray[Any]:
    """[H, W - count + 1] the largest of ``count`` neighbours in each row, by doubling."""
    width = 1
    while width < count:
        step = min(width, count - width)
        values = np.maximum(values[:, :-step], values[:, step:])
        width += step
    return values


def largest(values: NDArray[Any], side: int) -> NDArray[Any]:
    """[H, W] the largest value in the square of odd ``side`` around each pixel; of a mask, the mask grown by it."""
    padded = np.pad(values, side // 2)
    return np.ascontiguousarray(_any_of(np.ascontiguousarray(_any_of(padded, side).T), side).T)


def summed(values: Floats, side: int) -> Floats:
    """[H, W] the sum over the square of odd ``side`` around each pixel; nothing beyond the edge."""
    height, width = values.shape
    padded = np.pad(values, side // 2)
    rows = np.add.reduce([padded[step : step + height] for step in range(side)])
    return np.add.reduce([rows[:, step : step + width] for step in range(side)])


class Components:
    """The 4-connected components of a mask, found from runs: stretches of one row."""

    def __init__(self, mask: Mask):
        height, width = mask.shape
        self._shape = mask.shape
        edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1).ravel()
        row_length = width + 1
        starts, ends = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
        rows = starts // row_length
        # A run and one in the row above touch if each starts before the other ends.
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
        """[count] the sum of [H, W] values over each component."""
        total = np.concatenate([[0], np.cumsum(values.ravel(), dtype=np.int64)])
        return np.bincount(self._label, total[self._ends] - total[self._starts], self.count)

    def painted(self, chosen: NDArray[np.bool_]) -> Mask:
        """[H, W] True on the chosen ones of the [count] components."""
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


def local_means(planes: Sequence[Floats], over: Mask) -> list[Floats]:
    """[h, w] on cells of CELL pixels: means of [H, W] planes over the mask around each cell.

    Where little of the mask is near, the mean is that of a wider neighbourhood, and at last that of the whole mask.
    """
    weight = over.astype(np.float32)
    levels = [[_cells(plane, CELL) for plane in (weight, *(plane * weight for plane in planes))]]
    while min(levels[-1][0].shape) > 1:
        levels.append([_cells(plane, 2) for plane in levels[-1]])
    total = [float(plane.sum()) for plane in levels[-1]]
    means = [np.full(levels[-1][0].shape, plane / max(total[0], 1e-6), np.float32) for plane in total[1:]]
    for level in reversed(levels):
        height, width = level[0].shape
        count, *sums = (_smoothed(plane) for plane in level)
        trust = np.minimum(count / np.float32(16 * _ENOUGH), 1)
        means = [
            trust * part / np.maximum(count, 1e-6) + (1 - trust) * _doubled(coarse)[:height, :width]
            for part, coarse in zip(sums, means, strict=True)
        ]
    return means


def enlarged(cells: Floats, height: int, width: int) -> Floats:
    """[height, width] from values on cells of CELL pixels, interpolated linearly."""
    size = cells.shape[1] * CELL, cells.shape[0] * CELL
    full = Image.fromarray(np.ascontiguousarray(cells, np.float32)).resize(size, Image.Resampling.BILINEAR)
    return np.asarray(full, np.float32)[:height, :width]


def _cells(plane: Floats, side: int) -> Floats:
    """[ceil(H / side), ceil(W / side)] sums over square cells."""
    height, width = (-length % side for length in plane.shape)
    padded = np.pad(plane, ((0, height), (0, width))) if height or width else plane
    rows = np.add.reduce([padded[step::side] for step in range(side)])
    return np.add.reduce([rows[:, step::side] for step in range(side)])


def _smoothed(plane: Floats) -> Floats:
    """Sums weighted 1, 2, 1 in both directions."""
    padded = np.pad(plane, 1)
    rows = padded[:-2] + 2 * padded[1:-1] + padded[2:]
    return rows[:, :-2] + 2 * rows[:, 1:-1] + rows[:, 2:]


def _doubled(plane: Floats) -> Floats:
    return plane.repeat(2, axis=0).repeat(2, axis=1)
