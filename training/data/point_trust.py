"""Which labels of an augmented picture are certainly still true, by its point mask."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints
from acusim.errors import LabelError, shown
from acusim.files import safe_join, sha256
from acusim.pictures import read_file
from acusim.point_mask import PointMask, mask_path, read_point_mask


@dataclass(frozen=True, slots=True, eq=False)
class Trust:
    """What a point mask says of a picture."""

    trusted: NDArray[np.bool_]
    """[P] False for listed points whose label may be false."""
    rejected: str | None = None
    """Why the picture as a whole was rejected; None if it was not."""
    masked: bool = True
    """Whether there is a mask; without one all points are trusted."""

    @property
    def digest(self) -> str:
        """Of the trusted points."""
        return sha256(self.trusted.tobytes())


def is_there(path: Path) -> bool:
    """Whether a point mask exists: one that cannot be read must not trust everything.

    Raises:
        LabelError: one of its folders is none, or may not be looked into.
    """
    for place in (*reversed(path.parents), path):
        try:
            os.lstat(place)
            folder = place is path or place.is_dir()
        except FileNotFoundError:
            return False
        except OSError as error:
            raise LabelError(f"point mask {path.name!r}: {place.name!r} cannot be read: {error.strerror}") from None
        if not folder:
            raise LabelError(
                f"point mask {path.name!r}: {place.name!r} is not a folder; run `python -m evaluation certify` again"
            )
    return True


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


def trust_of_picture(root: Path, image: str, listed: NDArray[np.bool_], index_of: Callable[[str], int | None]) -> Trust:
    """The same for a picture of another data set than AcuSim, by the mask in the nearest folder above it that has one.

    Args:
        root: of the data set.
        image: the picture, relative to the root.
        listed: [P] points that its label lists.
        index_of: the number of a point of a name, below P; None for points that are not used.

    Raises:
        AcuSimError: the mask is damaged, of another picture, or of other points; or a file cannot be read.
    """
    path = _nearest(root, image)
    if path is None:
        return Trust(np.ones(len(listed), bool), masked=False)
    mask, certain = read_point_mask(path, None), dict[int, bool]()
    for name, sure in zip(mask.names, mask.trusted, strict=True):
        index = index_of(name)
        if index is not None:
            certain[index] = certain.get(index, True) and bool(sure)
    if listed.any() and mask.names and not certain:
        raise LabelError(
            f"point mask {path.name!r}: it is about other points, such as {shown(mask.names[0])}; run `python -m "
            "evaluation certify` with these labels"
        )
    trusted = np.array([certain.get(index, False) for index in range(len(listed))])
    return _trust(mask, trusted, path, listed, sha256(read_file(safe_join(root, image))))


def _nearest(root: Path, image: str) -> Path | None:
    """The mask of a picture: a variant's is in the variant's own folder."""
    parts = PurePosixPath(image).parts
    for count in reversed(range(len(parts))):
        path = safe_join(root, "/".join((*parts[:count], mask_path("/".join(parts[count:])))))
        if is_there(path):
            return path
    return None


def _trust(
    mask: PointMask, trusted: NDArray[np.bool_], path: Path, listed: NDArray[np.bool_], image_sha256: str
) -> Trust:
    if mask.image_sha256 != image_sha256:
        raise LabelError(
            f"point mask {path.name!r}: it is of another picture, SHA-256 {mask.image_sha256[:12]}…, not "
            f"{image_sha256[:12]}…; run `python -m evaluation certify` again"
        )
    return Trust(~listed | trusted, None if mask.accept else mask.reason or "no reason given")
