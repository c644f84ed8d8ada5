"""Whether keypoints moved by more than the detector's own noise."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
    inside = drifts.chosen(lambda pair: is_trusted_view(pair.id.frame))
    nulls = {name: part.chosen(lambda pair: is_trusted_view(pair.id.frame)) for name, part in null.items()}
    columns = range(len(KEYPOINTS) + 1)
    tests = [_tests(inside, nulls, column) for column in columns]
    single = _below_level([test.chance for found in tests[:-1] for test in found.values()])
    whole = _below_level([test.chance for test in tests[-1].values()])
    rows: list[DriftVerdict] = []
    for column, keypoint in enumerate((*KEYPOINTS, ALL)):
        found = tests[column]
        beyond = {name: (whole if keypoint == ALL else single)(test.chance) for name, test in found.items()}
        lack = _lack(inside, nulls, column)
        median, tail = (found.get(name) or _Test("", _NOTHING, 1.0) for name in QUANTILES)
        mean = _mean_shift(inside, column)
        means = tuple(mean.figure(axis) if mean else _NOTHING for axis in (0, 1))
        text = f"undecided: {lack}" if lack else _text(found, beyond)
        rows.append(
            DriftVerdict(keypoint, median.edit, tail.edit, median.above, tail.above, (means[0], means[1]), text)
        )
    return rows


def _lack(inside: Drifts, nulls: Mapping[str, Drifts], column: int) -> str:
    """Why nothing can be said of a keypoint; empty if something can."""
    kept = int((~np.isnan(_column(inside, column))).sum())
    counts = [int((~np.isnan(_column(part, column))).sum()) for part in nulls.values()]
    if not any(counts):
        return "the null is missing"
    if kept < LEAST_FACES:
        return f"{kept} faces in trusted views, {LEAST_FACES} are needed"
    if max(counts) < LEAST_NULL:
        return f"too few to tell: {max(counts)} faces in the null, {LEAST_NULL} are needed (--null)"
    return ""


def _tests(inside: Drifts, nulls: Mapping[str, Drifts], column: int) -> dict[str, _Test]:
    """The test of each quantile, against the edit under which it is largest; none where nothing can be said."""
    if _lack(inside, nulls, column):
        return {}
    mine = _column(inside, column)
    others = {name: _column(part, column) for name, part in nulls.items()}
    others = {name: values for name, values in others.items() if (~np.isnan(values)).sum() >= LEAST_NULL}
    out: dict[str, _Test] = {}
    for name, quantile in QUANTILES.items():
        sizes = {edit: float(np.nanquantile(values, quantile)) for edit, values in others.items()}
        edit = max(sizes, key=lambda edit: (sizes[edit], edit))
        value, spread = spread_of_difference(mine, inside.persons, others[edit], nulls[edit].persons, quantile)
        low, high = ends(np.array(value), spread, ANY)
        out[name] = _Test(edit, Figure(value, float(low), float(high)), chance_above_zero(value, spread))
    own, means = _mean_shift(inside, column), {edit: _mean_shift(nulls[edit], column) for edit in others}
    for axis, name in enumerate(AXES):
        lengths = {edit: abs(float(mean.value[axis])) for edit, mean in means.items() if mean}
        edit = max(lengths, key=lambda edit: (lengths[edit], edit))
        other = means[edit]
        if own and other:
            out[name] = own.beyond(other, axis, edit)
    return out


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


def _below_level(chances: Sequence[float]):
    limit = holm(chances)
    return lambda chance: chance <= limit


def _text(found: Mapping[str, _Test], beyond: Mapping[str, bool]) -> str:
    words = {"median": "median", "p95": "95th percentile", "dx": "mean dx", "dy": "mean dy"}
    for name, test in found.items():
        if beyond[name]:
            return f"beyond the detector's noise by {test.above.value:.2f} px in the {words[name]}"
    return "indistinguishable from the detector's noise"


@dataclass(frozen=True, slots=True, eq=False)
class _Mean:
    """Mean (dx, dy) over persons."""

    value: NDArray[np.float64]
    spread: Spread

    def figure(self, axis: int) -> Figure:
        low, high = ends(self.value, self.spread, ANY)
        return Figure(float(self.value[axis]), float(low[axis]), float(high[axis]))

    def beyond(self, other: "_Mean", axis: int, edit: str) -> _Test:
        """Whether it is longer than another one."""
        value = abs(float(self.value[axis])) - abs(float(other.value[axis]))
        variance = self.spread.variance[axis] + other.spread.variance[axis]
        spread = Spread(np.array(variance), np.minimum(self.spread.freedom[axis], other.spread.freedom[axis]))
        low, high = ends(np.array(value), spread, ANY)
        return _Test(edit, Figure(value, float(low), float(high)), chance_above_zero(value, spread))


def _mean_shift(drifts: Drifts, column: int) -> _Mean | None:
    """A systematic displacement, which distances do not show; None without a keypoint."""
    shifts = np.array(drifts.shift_px).reshape(-1, len(KEYPOINTS), 2)
    chosen = shifts[:, [column]] if column < len(KEYPOINTS) else shifts
    known = ~np.isnan(chosen).all((1, 2))
    if not known.any():
        return None
    means = np.nanmean(chosen[known], axis=1)
    sums = cluster_sums(np.column_stack([means, np.ones(len(means))]), np.array(drifts.persons)[known])
    value, without, contributing = leave_one_out(sums, lambda sums: sums[..., :2] / sums[..., 2:])
    return _Mean(value, spread_of(value, without, contributing, ANY))


def _column(drifts: Drifts, column: int) -> NDArray[np.float64]:
    distances = drifts.distances_px
    return distances[:, column] if column < len(KEYPOINTS) else mean_of_pair(distances)
