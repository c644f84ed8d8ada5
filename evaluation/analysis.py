"""From measurements to tables: pure functions, no files."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.statistics import Summary, summarise
from evaluation.drift import KEYPOINTS, Face, azimuth_deg, pair_drift
from evaluation.pairs import Pair
from evaluation.reference import mm_per_px

ALL = "all keypoints"
Group = Callable[[Pair], str]
MEDIANS = ("excluded_mm", "excluded_px", "structure", "texture", "outline_iou", "outline_px", "depth_agreement")
"""Figures of a certificate that tables give medians of."""


def elevation(pair: Pair) -> str:
    """Ring of a view, such as "+30°"."""
    return f"{rig.camera(pair.id.frame).elevation_deg:+.0f}°"


def azimuth(pair: Pair) -> str:
    """Azimuth of a view in steps of 30°, such as "-60..-30°"."""
    low = int(np.floor(azimuth_deg(pair.id.frame) / 30) * 30)
    return f"{low:+d}..{low + 30:+d}°"


GROUPS: dict[str, Group] = {
    "elevation": elevation,
    "azimuth": azimuth,
    "gender": lambda pair: {"F": "female", "M": "male"}[pair.id.gender],
    "bald": lambda pair: "bald" if pair.bald else "haired",
    "hair": lambda pair: pair.id.hair,
    "prompt set": lambda pair: pair.prompt_set,
}


def _order(name: str) -> tuple[int, str]:
    """Angles by their number, everything else by its letters."""
    number = re.match(r"[+-]\d+", name)
    return int(number[0]) if number else 0, name


@dataclass(slots=True)
class Drifts:
    """The drift of many pairs."""

    pairs: list[Pair] = field(default_factory=list)
    shift_px: list[NDArray[np.float64]] = field(default_factory=list)
    """[8, 2] of each."""
    discards: list[str | None] = field(default_factory=list)
    mm_per_px: list[float] = field(default_factory=list)

    def add(self, pair: Pair, original: Face, augmented: Face, width_px: int) -> None:
        """Adds one pair."""
        drift = pair_drift(original, augmented)
        self.pairs.append(pair)
        self.shift_px.append(drift.shift_px)
        self.discards.append(drift.discard)
        self.mm_per_px.append(mm_per_px(width_px))

    def chosen(self, keep: Callable[[Pair], bool]) -> "Drifts":
        """The drifts of the pairs that satisfy a condition."""
        rows = [row for row, pair in enumerate(self.pairs) if keep(pair)]
        columns = (self.pairs, self.shift_px, self.discards, self.mm_per_px)
        return Drifts(*([column[row] for row in rows] for column in columns))  # type: ignore[arg-type]

    @property
    def distances_px(self) -> NDArray[np.float64]:
        """[P, 8] d_k, NaN where there is none."""
        stacked = np.array(self.shift_px).reshape(-1, len(KEYPOINTS), 2)
        return np.hypot(stacked[..., 0], stacked[..., 1])

    @property
    def persons(self) -> list[str]:
        """Person of each pair."""
        return [pair.id.person for pair in self.pairs]

    @property
    def failure_rate(self) -> float:
        """Share of the pairs without a detection in one of the two images; NaN for no pairs."""
        failed = sum((discard or "").startswith("no face") for discard in self.discards)
        return failed / len(self.discards) if self.discards else float("nan")


def drift_table(drifts: Drifts, millimetres: bool = False) -> dict[str, Summary]:
    """Summary of d_k for each keypoint and over all of them (the mean of a pair's keypoints counts once)."""
    distances, persons = drifts.distances_px, drifts.persons
    if millimetres:
        distances = distances * np.array(drifts.mm_per_px).reshape(-1, 1)
    out = {name: summarise(distances[:, column], persons) for column, name in enumerate(KEYPOINTS)}
    out[ALL] = summarise(mean_of_pair(distances), persons)
    return out


def mean_of_pair(distances: NDArray[np.float64]) -> NDArray[np.float64]:
    """[P] mean of each pair's keypoints, NaN where there is none."""
    known = ~np.isnan(distances)
    total, count = np.where(known, distances, 0).sum(1), known.sum(1)
    return np.divide(total, count, out=np.full(len(distances), np.nan), where=count > 0)


def grouped(drifts: Drifts) -> list[dict[str, Any]]:
    """Count, failures and drift over all keypoints for each value of each of GROUPS."""
    rows: list[dict[str, Any]] = []
    for title, group in GROUPS.items():
        for name in sorted({group(pair) for pair in drifts.pairs}, key=_order):
            part = drifts.chosen(lambda pair, group=group, name=name: group(pair) == name)
            rows.append(
                {
                    "group": title,
                    "value": name,
                    "pairs": len(part.pairs),
                    "kept": sum(discard is None for discard in part.discards),
                    "failure_rate": part.failure_rate,
                    "drift_px": summarise(mean_of_pair(part.distances_px), part.persons),
                }
            )
    return rows


def discards_by_view(drifts: Drifts) -> dict[str, Any]:
    """How many pairs were kept and discarded, by reason and by camera."""
    views: dict[int, Counter[str]] = {}
    for pair, discard in zip(drifts.pairs, drifts.discards, strict=True):
        views.setdefault(pair.id.frame, Counter())[discard or "kept"] += 1
    total: Counter[str] = sum(views.values(), Counter())
    return {"total": dict(total), "by_frame": {str(frame): dict(views[frame]) for frame in sorted(views)}}


def faded_note(summaries: Iterable[Mapping[str, Any]], least_contrast: float) -> str:
    """A note on accepted images without any trusted point as they lost contrast; empty where there are none."""
    accepted = [summary["contrast"] for summary in summaries if summary["accept"]]
    faded = [contrast for contrast in accepted if contrast is not None and contrast < least_contrast]
    if not faded:
        return ""
    middle = float(np.median(faded))
    return (
        f"{len(faded)} of {len(accepted)} accepted images keep less than {least_contrast:g} of the contrast of lids "
        f"and creases ({middle:.2f} in the median), as a blend of two would, or an image that became brighter, far "
        "darker or blurred: no acupoint is trusted there; if the engine is known to do so, lower least_contrast"
    )


@dataclass(frozen=True, slots=True, eq=False)
class Certified:
    """The certificate of one pair, packed to save memory."""

    pair: Pair
    summary: dict[str, Any]
    visible: NDArray[np.uint8]
    """np.packbits of [174]."""
    trusted: NDArray[np.uint8]
    worst_mm: float
    """Largest bound over the trusted points, NaN if there is none."""

    @classmethod
    def of(cls, pair: Pair, record: dict[str, Any]) -> "Certified":
        """From the record of a certificate."""
        visible, trusted = np.zeros(acupoints.COUNT, bool), np.zeros(acupoints.COUNT, bool)
        summary = {name: value for name, value in record.items() if name not in ("points", "notes")}
        for row, *_, ok in record["points"]:
            visible[row], trusted[row] = True, bool(ok)
        bound = summary["excluded_mm"]
        return cls(
            pair, summary, np.packbits(visible), np.packbits(trusted), float("nan") if bound is None else float(bound)
        )

    @staticmethod
    def unpacked(bits: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """[174] from packed bits."""
        return np.unpackbits(bits)[: acupoints.COUNT].astype(bool)


def certified_by_group(certified: Sequence[Certified], group: Group) -> list[dict[str, Any]]:
    """Acceptance and trust for each value of a group."""
    by_name: dict[str, list[Certified]] = {}
    for entry in certified:
        by_name.setdefault(group(entry.pair), []).append(entry)
    return [{"value": name, **certified_figures(by_name[name])} for name in sorted(by_name, key=_order)]


def certified_figures(certified: Sequence[Certified]) -> dict[str, Any]:
    """Number of images, share accepted, share of visible points trusted, medians of the figures; None if unknown."""
    visible = sum(int(Certified.unpacked(entry.visible).sum()) for entry in certified)
    trusted = sum(int(Certified.unpacked(entry.trusted).sum()) for entry in certified)
    return {
        "pictures": len(certified),
        "accepted": sum(bool(entry.summary["accept"]) for entry in certified) / len(certified) if certified else None,
        "visible": visible,
        "trusted": trusted / visible if visible else None,
        **{name: _median(entry.summary[name] for entry in certified) for name in MEDIANS},
    }


def _median(values: Iterable[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None


def trust_by_point(certified: Sequence[Certified]) -> list[dict[str, Any]]:
    """For each acupoint that is ever visible: in how many images, and in what share of them it is trusted."""
    visible, trusted = np.zeros(acupoints.COUNT, int), np.zeros(acupoints.COUNT, int)
    for entry in certified:
        visible += Certified.unpacked(entry.visible)
        trusted += Certified.unpacked(entry.trusted)
    return [
        {"acupoint": acupoints.NAMES[row], "visible": int(visible[row]), "trusted": trusted[row] / visible[row]}
        for row in np.flatnonzero(visible)
    ]
