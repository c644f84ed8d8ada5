"""Which of many persons are one: triangulated heads that are equal within the noise of labels.

No head is moved before it is compared: all cameras are known in the frame of the head, so one person's pictures give
one head, whichever views they are. A point's difference counts by what the views of both say about it: two narrow
views compare little of its depth, two labels of one view nothing. With W_a, W_b the information of its positions and d
their difference, that is d (W_a^-1 + W_b^-1)^-1 d, which for equal points and noise 1 has a mean of at most 3.
"""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 1e-3
"""Standard deviation of a label's coordinate, in shares of the picture; 0.5 px at 512."""
FLOOR_MM = 0.25
"""Standard deviation of a position however many views it has: errors that are common to views."""
SAME_POINTS = 0.9
"""Share of the common points that must be equal."""
EQUAL = 1.3
"""Largest difference of equal points. Measured on 160 synthetic persons, nine tenths of the points: equal heads at most
0.9 if labels move by a normal 0.3 px at 512; different ones at least 1.7, of any views."""
EQUAL_FLAT = 0.35
"""The same where one of both is known from a single view. Different heads: at least 0.45 from the back, 0.97 from the
front; equal ones at most 0.25 if labels move evenly by up to 0.3 px at 512."""
MIN_POINTS = 12
"""Points that both must show."""
MIN_POINTS_FLAT = 30
"""The same where one of both is known from a single view."""
_FLAT = 1e-3
"""Smallest eigenvalue of a point's information, in shares of its trace, from which its depth is known."""
_QUICK = 24
"""Points that are compared first."""
_QUICK_SAME = 0.7
_AXES = ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2))
_RIDGE = 1e-6


class Heads:
    """Many heads, ready to be compared."""

    def __init__(self, points_mm: NDArray[np.floating], information: NDArray[np.floating]) -> None:
        """Heads with points_mm [P, N, 3], NaN where unknown, and information [P, N, 3, 3] as Head3D has them."""
        self.known = np.isfinite(points_mm).all(-1) & (np.trace(information, axis1=2, axis2=3) > 0)
        self._places = np.where(self.known[..., None], points_mm, 0).transpose(2, 0, 1)
        smallest = np.linalg.eigvalsh(information)[..., 0]
        deep = self.known & (smallest > _FLAT * np.trace(information, axis1=2, axis2=3))
        self.flat = 2 * deep.sum(1) < self.known.sum(1)
        """[P] heads of which most points have no depth of their own."""
        weight = np.stack([information[..., i, j] for i, j in _AXES]) / NOISE**2
        trace = weight[:3].sum(0)
        self._weight = weight / (1 + trace * FLOOR_MM**2 / 3)

    def differences(self, one: int, others: NDArray[np.int64], points: NDArray[np.int64]) -> Floats:
        """[others, points] of a head from other heads, NaN where not both have the point."""
        d = self._places[:, one, points][:, None] - self._places[:, others[:, None], points]
        a, b = self._weight[:, one, points][:, None], self._weight[:, others[:, None], points]
        both = a + b
        both[:3] += _RIDGE * (both[0] + both[1] + both[2])
        value = (_product(a, d) * _solved(both, _product(b, d))).sum(0)
        return np.where(self.known[one, points] & self.known[others[:, None], points], value, np.nan)


def same_heads(
    points_mm: NDArray[np.floating], information: NDArray[np.floating], apart: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """Pairs of persons that have one head.

    Args:
        points_mm: [P, N, 3] in the world frame, NaN where unknown.
        information: [P, N, 3, 3] as Head3D has it.
        apart: [P, P] pairs to compare; only its upper triangle is used.

    Returns:
        [M, 2] numbers of persons, the smaller first, in ascending order.
    """
    heads = Heads(points_mm, information)
    found: list[tuple[int, int]] = []
    for one in range(len(points_mm)):
        others = np.flatnonzero(apart[one, one + 1 :]) + one + 1
        points = np.flatnonzero(heads.known[one])
        if len(points) < MIN_POINTS or not len(others):
            continue
        some = points[:: max(1, len(points) // _QUICK)]
        common, equal = _equal(heads.differences(one, others, some), EQUAL)
        others = others[equal >= _QUICK_SAME * np.maximum(common, 1)]
        flat = heads.flat[one] | heads.flat[others]
        limit, least = np.where(flat, EQUAL_FLAT, EQUAL), np.where(flat, MIN_POINTS_FLAT, MIN_POINTS)
        common, equal = _equal(heads.differences(one, others, points), limit[:, None])
        found += [(one, int(other)) for other in others[(common >= least) & (equal >= SAME_POINTS * common)]]
    return np.array(found, np.int64).reshape(-1, 2)


def similar_labels(xy: NDArray[np.floating], visible: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """How alike the labels of pictures are, but for turn, place and scale: those of one view, which need not be known.

    Args:
        xy: [R, N, 2] positions in 0..1 of each picture.
        visible: [R, N] which of them are labels.

    Returns:
        [R, R] root mean square distance of the points that both have, after the similarity that brings those of one
        nearest to those of the other, in shares of the picture; the smaller of both ways. [R, R] how many there are.
    """
    points = np.where(visible, xy[..., 0] + 1j * xy[..., 1] - (0.5 + 0.5j), 0)
    seen, squares = visible.astype(np.float64), np.abs(points) ** 2
    count = seen @ seen.T
    some = np.maximum(count, 1)
    sums = points @ seen.T  # of the first picture's points that the second has, too
    spread = squares @ seen.T - np.abs(sums) ** 2 / some
    product = points.conj() @ points.T - sums.conj() * sums.T / some
    left = spread.T - np.abs(product) ** 2 / np.maximum(spread, 1e-12)
    distance = np.sqrt(np.maximum(left, 0) / some)
    return np.minimum(distance, distance.T), count


def _equal(difference: Floats, limit: float | Floats) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """[others] the number of common points, and of those that are equal."""
    with np.errstate(invalid="ignore"):
        return np.isfinite(difference).sum(1), (difference <= limit).sum(1)


def _product(matrix: Floats, vector: Floats) -> Floats:
    """[3, ...] symmetric matrices [6, ...] times vectors [3, ...]."""
    xx, yy, zz, xy, xz, yz = matrix
    x, y, z = vector
    return np.stack([xx * x + xy * y + xz * z, xy * x + yy * y + yz * z, xz * x + yz * y + zz * z])


def _solved(matrix: Floats, vector: Floats) -> Floats:
    """[3, ...] solutions of symmetric equations, by cofactors."""
    xx, yy, zz, xy, xz, yz = matrix
    cofactors = np.stack(
        [yy * zz - yz**2, xx * zz - xz**2, xx * yy - xy**2, xz * yz - xy * zz, xy * yz - xz * yy, xy * xz - xx * yz]
    )
    determinant = xx * cofactors[0] + xy * cofactors[3] + xz * cofactors[4]
    return _product(cofactors, vector) / np.where(determinant > 0, determinant, np.inf)
