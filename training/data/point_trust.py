"""Which labels of an augmented picture are certainly still true, by its point mask."""

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import LabelError
from acusim.files import safe_join, sha256
from acusim.pictures import read_file
from acusim.point_mask import PointMask, mask_path, read_point_mask

Trust = tuple[NDArray[np.bool_], str | None, str]
"""[P] False for listed points whose label may be false; why the picture as a whole was rejected; a digest of both."""


def read_mask(path: Path, listed: NDArray[np.bool_], image_sha256: str) -> Trust:
    """Which points of an augmented picture of AcuSim's are trusted.

    Args:
        path: the point mask.
        listed: [174] points that the picture's label lists.
        image_sha256: of the picture's file.

    Raises:
        LabelError: damaged, or of another picture.
    """
    mask = read_point_mask(path, acupoints.NAMES)
    return _trust(mask, mask.listed & mask.trusted, path, listed, image_sha256)


def trust_of_picture(
    root: Path, image: str, listed: NDArray[np.bool_], index_of: Callable[[str], int | None]
) -> tuple[NDArray[np.bool_], str | None]:
    """The same for a picture of another data set than AcuSim; all points are trusted where it has no mask.

    Args:
        root: of the data set.
        image: the picture, relative to the root.
        listed: [P] points that its label lists.
        index_of: the number of a point of a name, below P; None for points that are not used.

    Returns:
        [P] False for listed points whose label may be false, and why the picture as a whole was rejected.

    Raises:
        AcuSimError: the mask is damaged, or of another picture; or a file cannot be read.
    """
    path = safe_join(root, mask_path(image))
    if not os.path.lexists(path):  # an unreadable mask must not trust everything
        return np.ones(len(listed), bool), None
    mask, trusted = read_point_mask(path, None), np.zeros(len(listed), bool)
    for name, certain in zip(mask.names, mask.trusted, strict=True):
        index = index_of(name)
        if index is not None:
            trusted[index] |= certain
    found, reason, _ = _trust(mask, trusted, path, listed, sha256(read_file(safe_join(root, image))))
    return found, reason


def _trust(
    mask: PointMask, trusted: NDArray[np.bool_], path: Path, listed: NDArray[np.bool_], image_sha256: str
) -> Trust:
    if mask.image_sha256 != image_sha256:
        raise LabelError(
            f"point mask {path.name!r}: it is of another picture, SHA-256 {mask.image_sha256[:12]}…, not "
            f"{image_sha256[:12]}…; run `python -m evaluation certify` again"
        )
    certain = ~listed | trusted
    return certain, None if mask.accept else mask.reason or "no reason given", sha256(certain.tobytes())
