"""Depth of a picture's whole head from a fitted bare head: hair and clothes are joined to it.

The picture's matte says where hair and clothes are, not how deep. They go on from the skin beside them as a membrane
that hangs between what is known, and round off towards the outline as thick hair does.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, sparse
from scipy.sparse.linalg import spsolve

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

RIM_PX = 3.0
"""Skin this near to where hair goes on beyond it is covered by that hair, in an image 512 wide."""
ROUND_MM = 30.0
"""Radius by which hair and clothes round off towards the outline."""
SIDE = 128
"""The membrane is solved on a grid of at most this side."""


def joined_depth(bare_mm: Floats, mask: Mask, px_mm: float) -> NDArray[np.uint16]:
    """[H, W] whole millimetres along the camera's axis, 0 outside the mask.

    Args:
        bare_mm: [H, W] depth of the bare head, 0 where it is not.
        mask: [H, W] the head in the picture, with hair and clothes.
        px_mm: millimetres that a pixel spans.
    """
    skin = bare_mm > 0
    beyond = mask & ~skin
    # Where hair goes on beyond the skin's own outline it lies over it; elsewhere the outline is the skin's.
    known = mask & skin & (_distance(~beyond) > RIM_PX * mask.shape[1] / 512)
    if not known.any():
        known = mask & skin
    inside = _distance(np.pad(mask, ((1, 0), (1, 1))))[1:, 1:-1] * px_mm
    drop = ROUND_MM - np.sqrt(np.maximum(ROUND_MM**2 - np.maximum(ROUND_MM - inside, 0) ** 2, 0))
    # The membrane carries depth without the rounding, which is added again to the whole of it.
    level = _membrane(np.where(known, bare_mm - drop, 0), known, mask) + drop
    return np.where(mask, np.rint(np.where(known, bare_mm, level)), 0).astype(np.uint16)


def _distance(mask: Mask) -> Floats:
    """[H, W] pixels to the nearest place outside the mask."""
    return np.asarray(ndimage.distance_transform_edt(mask), np.float64)


def _membrane(values: Floats, known: Mask, mask: Mask) -> Floats:
    """[H, W] the values where they are known, and the harmonic surface between them elsewhere in the mask."""
    height, width = mask.shape
    step = max(1, -(-max(height, width) // SIDE))
    rows, columns = -(-height // step), -(-width // step)
    pad = ((0, rows * step - height), (0, columns * step - width))

    def total(image: NDArray) -> Floats:
        return np.pad(image.astype(np.float64), pad).reshape(rows, step, columns, step).sum((1, 3))

    count = total(known)
    coarse = np.where(count > 0, total(np.where(known, values, 0)) / np.maximum(count, 1), 0)
    solved = _solved(coarse, count > 0, total(mask) > 0)
    grid = np.meshgrid((np.arange(height) + 0.5) / step - 0.5, (np.arange(width) + 0.5) / step - 0.5, indexing="ij")
    return ndimage.map_coordinates(solved, grid, order=1, mode="nearest")


def _solved(values: Floats, known: Mask, wanted: Mask) -> Floats:
    """The discrete harmonic function on the wanted cells; others take the nearest one's value."""
    rows, columns = values.shape
    parts: Any = ndimage.label(wanted | known)
    label: NDArray[np.int32] = parts[0]
    reached = np.isin(label, np.unique(label[known])) & (label > 0)
    free = reached & ~known
    number = np.full((rows + 2, columns + 2), -1)
    number[1:-1, 1:-1][free] = np.arange(free.sum())
    inside, padded = np.pad(reached, 1), np.pad(np.where(known, values, 0), 1)
    at = np.argwhere(free) + 1
    here = number[at[:, 0], at[:, 1]]
    degree, right = np.zeros(len(at)), np.zeros(len(at))
    entries: list[tuple[NDArray, NDArray]] = []
    for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1)):
        r, c = at[:, 0] + down, at[:, 1] + across
        there, linked = number[r, c], inside[r, c]
        degree += linked
        right += np.where(linked & (there < 0), padded[r, c], 0)
        entries.append((here[linked & (there >= 0)], there[linked & (there >= 0)]))
    out = np.where(known, values, 0.0)
    if len(at):
        i, j = (np.concatenate([pair[side] for pair in entries]) for side in (0, 1))
        matrix = sparse.csc_matrix((-np.ones(len(i)), (i, j)), shape=(len(at), len(at))) + sparse.diags(degree)
        out[free] = spsolve(matrix.tocsc(), right)
    nearest: Any = ndimage.distance_transform_edt(~reached, return_distances=False, return_indices=True)
    row, column = nearest
    return out[row, column]
