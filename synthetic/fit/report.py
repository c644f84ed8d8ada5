"""What people look at: what was set aside, and a sheet of pictures beside the relief fitted to their labels."""

import sys
from collections import Counter
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from acusim import layout
from acusim.errors import AcuSimError
from acusim.files import safe_join
from acusim.pictures import decode_depth, encode, read_file, read_rgb
from acusim.results import write_result
from acusim.rig import FOCAL
from synthetic.fit.persons import persons_of
from synthetic.workers import Summary

SHEET = "depth_from_labels.png"
_ROWS, _COLUMNS, _SIDE = 2, 3, 256
_FEW = 12


def print_problems(summary: Summary) -> None:
    """Prints notes and what was set aside, the same reasons counted."""
    for note in summary.notes[:_FEW]:
        print(f"note: {note}", file=sys.stderr)
    counted = Counter(reason for _, reason in summary.problems)
    first = {reason: name for name, reason in reversed(summary.problems)}
    for reason, count in counted.most_common(_FEW):
        more = f" (and {count - 1} more)" if count > 1 else ""
        print(f"set aside: {first[reason]}{more}: {reason}", file=sys.stderr)
    if len(counted) > _FEW:
        print(f"set aside for {len(counted) - _FEW} other reasons: {sum(counted.values())} in all", file=sys.stderr)


def write_sheet(root: Path, size: int | None) -> Path | None:
    """A sheet of some persons' pictures, each beside the relief of its depth map; None where no depth map is fitted.

    Raises:
        LayoutError: the root is not a data set.
        OutputError: the sheet cannot be written.
    """
    pairs: list[NDArray[np.uint8]] = []
    for person in persons_of(layout.scan(root, size)):
        # The view from the front's left shows most of the relief.
        for sample in sorted(person.samples, key=lambda sample: abs(sample.id.frame - 4)):
            if sample.depth is not None and (pair := _pair(root, sample.image, sample.depth)) is not None:
                pairs.append(pair)
                break
        if len(pairs) == _ROWS * _COLUMNS:
            break
    if not pairs:
        return None
    rows = [np.hstack(pairs[start : start + _COLUMNS]) for start in range(0, len(pairs), _COLUMNS)]
    width = max(row.shape[1] for row in rows)
    sheet = np.vstack([np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0))) for row in rows])
    write_result(root / SHEET, encode(sheet, ".png"))
    return root / SHEET


def _pair(root: Path, image: str, depth: str) -> NDArray[np.uint8] | None:
    """[_SIDE, 2 * _SIDE, 3] a picture and its relief; None where the depth map is not fitted, or damaged."""
    try:
        values, kind = decode_depth(read_file(safe_join(root, depth), "depth"), depth)
        pixels = read_rgb(safe_join(root, image)).pixels
    except AcuSimError:
        return None
    if kind != "labels":
        return None
    both = (
        Image.fromarray(picture).resize((_SIDE, _SIDE), Image.Resampling.BOX) for picture in (pixels, relief(values))
    )
    return np.hstack([np.asarray(picture) for picture in both])


def relief(depth_mm: NDArray[np.floating]) -> NDArray[np.uint8]:
    """[H, W, 3] a depth map as if it were of plaster, lit from the upper left; black where there is no depth."""
    head = depth_mm > 0
    pixel = float(np.median(depth_mm[head])) / (FOCAL * depth_mm.shape[1])
    smooth = np.asarray(
        ndimage.gaussian_filter(np.where(head, depth_mm, depth_mm[head].max()), depth_mm.shape[1] / 170)
    )
    down, across = np.gradient(smooth, pixel)
    length = np.sqrt(1 + down**2 + across**2)
    shade = (0.8 - 0.35 * across - 0.45 * down) / length
    return np.repeat((255 * np.where(head, np.clip(shade, 0.05, 1), 0)).astype(np.uint8)[..., None], 3, axis=2)
