"""Results as JSON and CSV files."""

import dataclasses
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from acusim import acupoints
from acusim.results import csv_line, json_values, write_result
from evaluation import analysis
from evaluation.analysis import Certified, Drifts, azimuth, elevation
from evaluation.drift import DISCARDS, KEYPOINTS, is_trusted_view
from evaluation.landmarks import VERSION as DETECTOR
from evaluation.run import Outcome
from evaluation.settings import ReportSettings
from evaluation.verdicts import verdicts

FORMAT = 1
PROBLEMS_LISTED = 10_000
SUMMARY = (
    ("accept", "reason", "structure", "texture", "outline_iou", "outline_px", "outline_seen", "depth_agreement")
    + ("copy", "contrast", "found_px", "found_strength", "visible", "trusted", "excluded_px", "excluded_mm")
)  # fmt: skip

_KINDS = {
    "not the same head": "not the same head",
    "the whole picture": "the whole picture was shifted",
    "a second": "a second copy of the head shows through",
    "structure of": "coarser structure moved",
    "black": "black",
    "flat": "flat",
    "only": "too few acupoints trusted",
}
"""Kind of a reason by its first words."""


def results_of(settings: ReportSettings, outcome: Outcome) -> dict[str, Any]:
    """All results of a report as JSON values. No times and no absolute paths."""
    out: dict[str, Any] = {
        "format": FORMAT,
        "pairs": outcome.pairs,
        "persons": len({pair.id.person for pair in _pairs(outcome)}),
        "problems": {
            "count": len(outcome.problems),
            "items": [dataclasses.asdict(problem) for problem in outcome.problems[:PROBLEMS_LISTED]],
        },
        "notes": outcome.notes,
    }
    if settings.faces:
        out["drift"] = _drift_results(outcome)
    if settings.certificate:
        out["certificate"] = {
            "thresholds": settings.thresholds.as_dict(),
            "verdict": verdict(outcome.certified, settings.thresholds.tolerance_mm),
            **analysis.certified_figures(outcome.certified),
            "reasons": dict(Counter(kind_of(entry.summary["reason"]) for entry in outcome.certified).most_common()),
            "by_group": {
                title: analysis.certified_by_group(outcome.certified, group) for title, group in analysis.GROUPS.items()
            },
            "by_view": [
                {"frame": int(row.pop("value")), **row}
                for row in analysis.certified_by_group(outcome.certified, lambda pair: f"{pair.id.frame:04d}")
            ],
            "by_point": analysis.trust_by_point(outcome.certified),
        }
    if outcome.baselines:
        out["baselines"] = _baseline_results(settings, outcome)
    return json_values(out)


def verdict(certified: Sequence[Certified], tolerance_mm: float) -> str:
    """What became of the labels, in one sentence."""
    kept = [entry for entry in certified if entry.summary["accept"]]
    if not kept:
        return f"No label is certain: none of {len(certified)} pictures is accepted."
    visible, trusted = (sum(int(entry.summary[name]) for entry in kept) for name in ("visible", "trusted"))
    share = f"{100 * trusted / visible:.0f} % of" if visible else "none of"
    text = (
        f"Labels hold in {len(kept)} of {len(certified)} pictures: {share} their {visible} visible acupoints are "
        f"certain within {tolerance_mm:g} mm."
    )
    refused = len(certified) - len(kept)
    return text + (f" Drop {refused} picture{'s' * (refused > 1)}, and mask the other points." if refused else "")


def _drop_lines(certified: Sequence[Certified]) -> Iterator[bytes]:
    """One line for each picture that is rejected, and for each acupoint of the others that is not trusted."""
    yield csv_line(["augmented", "acupoint", "reason"])
    for entry in sorted(certified, key=lambda entry: entry.pair.augmented):
        if not entry.summary["accept"]:
            yield csv_line([entry.pair.augmented, "", entry.summary["reason"]])
            continue
        visible, trusted = Certified.unpacked(entry.visible), Certified.unpacked(entry.trusted)
        for row in np.flatnonzero(visible & ~trusted):
            yield csv_line([entry.pair.augmented, acupoints.NAMES[row], "not certain"])


def _pairs(outcome: Outcome) -> Iterator[Any]:
    yield from outcome.drifts.pairs
    yield from (entry.pair for entry in outcome.certified)


def kind_of(reason: str) -> str:
    """Kind of a reason: without names and numbers."""
    if not reason:
        return "accepted"
    if " moved by " in reason:
        return "a point moved"
    return next((kind for start, kind in _KINDS.items() if reason.startswith(start)), "not usable")


def _drift_results(outcome: Outcome) -> dict[str, Any]:
    """Tables of the protocol and of the null, and the verdicts."""
    drifts = outcome.drifts
    trusted = drifts.chosen(lambda pair: is_trusted_view(pair.id.frame))
    return {
        "detector": DETECTOR,
        "keypoints": list(KEYPOINTS),
        "detection_failure_rate": drifts.failure_rate,
        "detection_failure_rate_trusted_views": trusted.failure_rate,
        "discards": {"reasons": list(DISCARDS), **analysis.discards_by_view(drifts)},
        "px": analysis.drift_table(drifts),
        "mm": analysis.drift_table(drifts, millimetres=True),
        "px_trusted_views": analysis.drift_table(trusted),
        "groups": analysis.grouped(drifts),
        "null": {
            name: {"detection_failure_rate": part.failure_rate, "px": analysis.drift_table(_in_trusted_views(part))}
            for name, part in outcome.null.items()
        },
        "verdicts": verdicts(drifts, outcome.null),
    }


def _in_trusted_views(drifts: Drifts) -> Drifts:
    return drifts.chosen(lambda pair: is_trusted_view(pair.id.frame))


def _baseline_results(settings: ReportSettings, outcome: Outcome) -> list[dict[str, Any]]:
    """One row for each baseline, and one for the augmented images of all pairs."""
    rows = [(name, *outcome.baselines[name]) for name in outcome.baselines]
    rows.append(("the augmented pictures", outcome.drifts, outcome.certified))
    out: list[dict[str, Any]] = []
    for name, drifts, certified in rows:
        trusted = _in_trusted_views(drifts)
        found = verdicts(drifts, outcome.null)
        out.append(
            {
                "baseline": name,
                "pictures": len(certified),
                "detection_failure_rate": trusted.failure_rate,
                "px": analysis.drift_table(trusted)[analysis.ALL],
                "verdict": found[-1],
                "beyond_noise": [row.keypoint for row in found if "beyond" in row.text],
                **analysis.certified_figures(certified),
            }
        )
    return out


def _csv_lines(settings: ReportSettings, outcome: Outcome) -> Iterator[bytes]:
    """One line for each pair: identity and view, drift of each keypoint, and the figures of the certificate."""
    header = ["augmented", "original", "sample", "identity", "frame", "elevation", "azimuth"]
    header += ["gender", "bald", "hair", "prompt_set"]
    if settings.faces:
        header += ["discard", *(f"{name}_{axis}" for name in KEYPOINTS for axis in ("dx", "dy", "d"))]
    if settings.certificate:
        header += SUMMARY
    yield csv_line(header)
    drift_rows = {pair.augmented: row for row, pair in enumerate(outcome.drifts.pairs)}
    certified = {entry.pair.augmented: entry for entry in outcome.certified}
    distances = outcome.drifts.distances_px
    for pair in sorted({pair.augmented: pair for pair in _pairs(outcome)}.values(), key=lambda pair: pair.augmented):
        line: list[Any] = [pair.augmented, pair.original, str(pair.id), pair.id.identity, pair.id.frame]
        line += [elevation(pair), azimuth(pair), pair.id.gender, int(pair.bald), pair.id.hair, pair.prompt_set]
        if settings.faces:
            row = drift_rows.get(pair.augmented)
            line.append("" if row is None else outcome.drifts.discards[row] or "")
            for point in range(len(KEYPOINTS)):
                shift = outcome.drifts.shift_px[row][point] if row is not None else (np.nan, np.nan)
                distance = distances[row, point] if row is not None else np.nan
                line += ["" if np.isnan(value) else f"{value:.3f}" for value in (*shift, distance)]
        if settings.certificate:
            entry = certified.get(pair.augmented)
            values = [entry.summary[name] if entry else None for name in SUMMARY]
            line += ["" if value is None else int(value) if isinstance(value, bool) else value for value in values]
        yield csv_line(line)


def write_results(settings: ReportSettings, outcome: Outcome, name: str) -> dict[str, Any]:
    """Writes NAME.json, NAME.csv and drop.csv below --out and returns the JSON's content.

    Raises:
        OutputError: they cannot be written.
    """
    results = results_of(settings, outcome)
    text = json.dumps(results, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    write_result(settings.out / f"{name}.json", text.encode())
    write_result(settings.out / f"{name}.csv", _csv_lines(settings, outcome))
    if settings.certificate:
        write_result(settings.out / "drop.csv", _drop_lines(outcome.certified))
    return results
