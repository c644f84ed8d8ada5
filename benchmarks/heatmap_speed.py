"""Decoding of heatmaps, all points at once, against a plain Python loop over points.

    python -m benchmarks.heatmap_speed [--pictures 32] [--points 7] [--size 56] [--rounds 7]

Peer, in the same run: the same arithmetic by NumPy, one point after the other. Both must agree to 1e-4 pixels. One
thread, the CPU; the best of the rounds, in turn, with five calls a round. The default size is that of the networks' own
maps for a picture of 224; at ``--size 224`` looking for the highest of 50,176 pixels takes most of the time in both.
"""

import argparse
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.timing import best_of
from training.models.heatmaps import LEAST_SHARE, RIDGE, decode, gaussian_heatmaps
from training.models.names import DECODINGS, Decoding

RADIUS = 6
Array = NDArray[Any]


def loop(maps: Array, method: Decoding) -> Array:
    """Coordinates [B, N, 2], 0..1, point by point."""
    out = np.empty((*maps.shape[:2], 2), np.float32)
    for b in range(maps.shape[0]):
        for n in range(maps.shape[1]):
            one = maps[b, n]
            row, column = np.unravel_index(np.argmax(one), one.shape)
            offset = {"argmax": _nothing, "quarter": _quarter, "gaussian": _gaussian}[method](
                one, int(column), int(row)
            )
            out[b, n] = (np.array([column, row]) + offset + 0.5) / one.shape[::-1]
    return out


def _nothing(one: Array, column: int, row: int) -> Array:
    return np.zeros(2)


def _quarter(one: Array, column: int, row: int) -> Array:
    height, width = one.shape
    if not (1 < column < width - 1 and 1 < row < height - 1):
        return np.zeros(2)
    right, below = one[row, column + 1] - one[row, column - 1], one[row + 1, column] - one[row - 1, column]
    return 0.25 * np.sign([right, below])


def _gaussian(one: Array, column: int, row: int) -> Array:
    height, width = one.shape
    rows = np.arange(max(row - RADIUS, 0), min(row + RADIUS + 1, height))
    columns = np.arange(max(column - RADIUS, 0), min(column + RADIUS + 1, width))
    share = np.maximum(
        one[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] / one[row, column], LEAST_SHARE
    ).astype(float)
    y, x = np.meshgrid((rows - row) / RADIUS, (columns - column) / RADIUS, indexing="ij")
    terms = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), -1).reshape(-1, 6)
    weight = np.square(share).reshape(-1, 1)
    normal = terms.T @ (weight * terms) + RIDGE * np.eye(6)
    _, dx, dy, xx, xy, yy = np.linalg.solve(normal, terms.T @ (weight * np.log(share).reshape(-1, 1)))[:, 0]
    determinant = 4 * xx * yy - xy * xy
    if xx >= 0 or determinant <= 0:
        return np.zeros(2)
    step = np.array([xy * dy - 2 * yy * dx, xy * dx - 2 * xx * dy]) / determinant
    return step * RADIUS if np.abs(step).max() <= 0.5 else np.zeros(2)


def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pictures", type=int, default=32)
    parser.add_argument("--points", type=int, default=7)
    parser.add_argument("--size", type=int, default=56)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    shape = (options.pictures, options.points)
    maps = gaussian_heatmaps(torch.rand(*shape, 2), torch.ones(shape, dtype=torch.bool), (options.size,) * 2, 2.0)
    maps += 0.02 * torch.randn_like(maps)
    count = options.pictures * options.points
    print(f"decoding of {options.pictures} x {options.points} heatmaps of {options.size}², one thread")
    for method in DECODINGS:
        off = np.abs(decode(maps, method, RADIUS)[0].numpy() - loop(maps.numpy(), method)).max() * options.size
        assert off < 1e-4, f"{method}: {off} pixels apart"
        ours = looped = float("inf")
        for _ in range(options.rounds):
            ours = min(ours, best_of(5, lambda method=method: decode(maps, method, RADIUS)))
            looped = min(looped, best_of(5, lambda method=method: loop(maps.numpy(), method)))
        each = f"{1e6 * ours / count:7.2f} µs a point, loop {1e6 * looped / count:7.2f}"
        print(f"  {method:9} {each}: {looped / ours:5.1f} x")


if __name__ == "__main__":
    main()
