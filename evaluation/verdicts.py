"""Whether keypoints moved by more than the detector's own noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from acusim.intervals import ANY, Spread, ends, spread_of
from acusim.statistics import Figure, cluster_sums, leave_one_out, spread_of_difference
from evaluation.analysis import ALL, Drifts, mean_of_pair
from evaluation.drift import KEYPOINTS, is_trusted_view

LEAST_FACES, LEAST_NULL = 5, 60
"""With fewer faces, or fewer in the null, there is no verdict."""
LEVEL = 0.025
"""One-sided: that one keypoint, or more, is wrongly found beyond the noise."""
QUANTILES = {"median": 0.5, "p95": 0.95}
AXES = ("dx", "dy")
_NOTHING = Figure(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True, slots=True)
class DriftVerdict:
    """Whether a keypoint's drift is more than the detector's own noise."""

    keypoint: str
    edit: str
    """The edit under which the median of the detector's noise is largest at this keypoint."""
    edit_p95: str
    """The same for the 95th percentile."""
    above_median: Figure
    """Median of the drift less that of the null, pixels."""
    above_p95: Figure
    mean_px: tuple[Figure, Figure]
    """Mean (dx, dy): a systematic displacement, which distances do not show."""
    text: str


@dataclass(frozen=True, slots=True)
class _Test:
    edit: str
    above: Figure
    chance: float
    """That a null would be so far above it."""


def verdicts(drifts: Drifts, null: Mapping[str, Drifts]) -> list[DriftVerdict]:
    """Compares each keypoint's drift with the noisiest edit that moves nothing, and all keypoints together.

    In the views in which the detector can be trusted. Drift is beyond the noise where the median or the 95th percentile
    of the distances, or the mean of dx or dy, is larger than under the edit under which that is largest, at LEVEL after
    Holm's correction over all keypoints and these four; for all keypoints together over the four.
    """
    inside = _Faces.of(drifts)
    nulls = {name: _Faces.of(part) for name, part in null.items()}
    names = (*KEYPOINTS, ALL)
    lacks = [_lack(inside, nulls, column) for column in range(len(names))]
    tests = [{} if lack else _tests(inside, nulls, column) for column, lack in enumerate(lacks)]
    single = holm([test.chance for found in tests[:-1] for test in found.values()])
    whole = holm([test.chance for test in tests[-1].values()])
    rows: list[DriftVerdict] = []
    for column, (keypoint, found, lack) in enumerate(zip(names, tests, lacks, strict=True)):
        limit = whole if keypoint == ALL else single
        beyond = {name: test for name, test in found.items() if test.chance <= limit}
        median, tail = (found.get(name) or _Test("", _NOTHING, 1.0) for name in QUANTILES)
        text = f"undecided: {lack}" if lack else _text(beyond)
        rows.append(
            DriftVerdict(keypoint, median.edit, tail.edit, median.above, tail.above, inside.mean_px(column), text)
        )
    return rows


@dataclass(frozen=True, slots=True, eq=False)
class _Faces:
    """Drifts in trusted views, as arrays; the last column is of all keypoints together."""

    persons: list[str]
    distances: NDArray[np.float64]
    """[P, 9] NaN where there is none."""
    shifts: NDArray[np.float64]
    """[P, 9, 2]"""

    @classmethod
    def of(cls, drifts: Drifts) -> Self:
        chosen = drifts.chosen(lambda pair: is_trusted_view(pair.id.frame))
        distances = chosen.distances_px
        shifts = np.array(chosen.shift_px).reshape(-1, len(KEYPOINTS), 2)
        means = np.stack([mean_of_pair(shifts[..., axis]) for axis in (0, 1)], axis=-1)
        return cls(
            chosen.persons,
            np.column_stack([distances, mean_of_pair(distances)]),
            np.concatenate([shifts, means[:, None]], axis=1),
        )

    def count(self, column: int) -> int:
        """Faces with a keypoint."""
        return int((~np.isnan(self.distances[:, column])).sum())

    def mean(self, column: int) -> tuple[NDArray[np.float64], Spread]:
        """Mean (dx, dy) of a keypoint that is there, and how far it would be off with other persons."""
        known = ~np.isnan(self.shifts[:, column]).any(1)
        values = np.column_stack([self.shifts[known, column], np.ones(known.sum())])
        sums = cluster_sums(values, np.array(self.persons)[known])
        value, without, contributing = leave_one_out(sums, lambda sums: sums[..., :2] / sums[..., 2:])
        return value, spread_of(value, without, contributing, ANY)

    def mean_px(self, column: int) -> tuple[Figure, Figure]:
        """The mean with its intervals."""
        if not self.count(column):
            return _NOTHING, _NOTHING
        value, spread = self.mean(column)
        low, high = ends(value, spread, ANY)
        dx, dy = (Figure(float(value[axis]), float(low[axis]), float(high[axis])) for axis in (0, 1))
        return dx, dy


def _lack(inside: _Faces, nulls: Mapping[str, _Faces], column: int) -> str:
    """Why nothing can be said of a keypoint; empty if something can."""
    kept, most = inside.count(column), max((part.count(column) for part in nulls.values()), default=0)
    if not most:
        return "the null is missing"
    if kept < LEAST_FACES:
        return f"{kept} faces in trusted views, {LEAST_FACES} are needed"
    if most < LEAST_NULL:
        return f"too few to tell: {most} faces in the null, {LEAST_NULL} are needed (--null)"
    return ""


def _tests(inside: _Faces, nulls: Mapping[str, _Faces], column: int) -> dict[str, _Test]:
    """The test of each figure, against the edit under which it is largest."""
    mine, others = (
        inside.distances[:, column],
        {n: part for n, part in nulls.items() if part.count(column) >= LEAST_NULL},
    )
    out: dict[str, _Test] = {}
    for name, quantile in QUANTILES.items():
        edit = _largest({n: float(np.nanquantile(part.distances[:, column], quantile)) for n, part in others.items()})
        other = others[edit]
        out[name] = _test(
            edit, *spread_of_difference(mine, inside.persons, other.distances[:, column], other.persons, quantile)
        )
    own, means = inside.mean(column), {n: part.mean(column) for n, part in others.items()}
    for axis, name in enumerate(AXES):
        edit = _largest({n: abs(float(value[axis])) for n, (value, _) in means.items()})
        (value, spread), (null, null_spread) = own, means[edit]
        both = Spread(
            spread.variance[axis] + null_spread.variance[axis], np.minimum(spread.freedom, null_spread.freedom)[axis]
        )
        out[name] = _test(edit, abs(float(value[axis])) - abs(float(null[axis])), both)
    return out


def _largest(sizes: Mapping[str, float]) -> str:
    """The edit of the largest figure."""
    return max(sizes, key=lambda edit: (sizes[edit], edit))


def _test(edit: str, value: float, spread: Spread) -> _Test:
    low, high = ends(np.array(value), spread, ANY)
    return _Test(edit, Figure(value, float(low), float(high)), chance_above_zero(value, spread))


def chance_above_zero(value: float, spread: Spread) -> float:
    """One-sided probability of so large a figure where the true one is 0; 1 where it is unknown."""
    variance, freedom = float(spread.variance), float(spread.freedom)
    if np.isnan(variance) or np.isnan(value):
        return 1.0
    if not variance:
        return 0.0 if value > 0 else 1.0
    return float(student.sf(value / np.sqrt(variance), freedom))


def holm(chances: Sequence[float], level: float = LEVEL) -> float:
    """The largest chance that is significant among others, by Holm 1979; below all of them if none is."""
    limit = -1.0
    for number, chance in enumerate(sorted(chances)):
        if chance > level / (len(chances) - number):
            break
        limit = chance
    return limit


def _text(beyond: Mapping[str, _Test]) -> str:
    words = {"median": "median", "p95": "95th percentile", "dx": "mean dx", "dy": "mean dy"}
    for name, test in beyond.items():
        return f"beyond the detector's noise by {test.above.value:.2f} px in the {words[name]}"
    return "indistinguishable from the detector's noise"
