"""Measurements on the generator: the acupoints' residuals and visible shares, for tests and the report."""

import csv
from collections.abc import Iterable, Sequence
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from synthetic.anatomy import carrier_of, mean_head, residuals_mm
from synthetic.face import ANCHOR_ACUPOINTS
from synthetic.head import Head
from synthetic.labelling import visible_points

PULLED = ("head", "body")
"""Parts whose surface is pulled to the acupoints."""
SCOPES = ("all", "kept", "ring0", "ring1", "ring2", "ring3")


def residual_table(gender: str) -> list[tuple[str, int, float, float, float]]:
    """Rows (meridian or "all", points, median, 95th percentile, maximum) in mm, without the inner points.

    Args:
        gender: M against the acupoints of Asher, F against the female set.
    """
    residual = residuals_mm(gender)
    groups = [("all", slice(None)), *((name, acupoints.meridian_slice(name)) for name in acupoints.MERIDIANS)]
    rows = []
    for name, where in groups:
        values = residual[where][~np.isnan(residual[where])]
        rows.append((name, len(values), *(float(np.percentile(values, q)) for q in (50, 95, 100))))
    return rows


def held_out_residuals_mm(gender: str, folds: int = 5) -> NDArray[np.float64]:
    """[174] residual of each acupoint on a head that was not pulled to it or its mirror image.

    NaN for inner points, for EX-HN6, by which the ear hangs, and for the points behind the face's landmarks,
    which hold the face whether or not it is pulled to them.
    """
    left = [point.index for point in acupoints.ACUPOINTS if point.side != "right" and not point.inner]
    names = acupoints.NAMES
    kept = [k for k in left if names[k] not in ANCHOR_ACUPOINTS and carrier_of(names[k]) in PULLED]
    out = np.full(acupoints.COUNT, np.nan)
    for fold in range(folds):
        asked = kept[fold::folds]
        asked += [acupoints.index_of(names[k].replace("_left", "_right")) for k in asked]
        asked = sorted(set(asked))
        out[asked] = mean_head(gender, tuple(asked)).residual_mm[asked]
    return out


def visibility(head: Head, frames: Iterable[int]) -> NDArray[np.bool_]:
    """[F, 174] which acupoints are visible in the given frames."""
    return np.array([visible_points(head, frame) for frame in frames])


def visible_shares(seen: NDArray[np.bool_]) -> dict[str, dict[str, float]]:
    """Scope -> meridian or "all" -> visible share, from visibility [144, 174] in all frames."""
    assert seen.shape == (144, acupoints.COUNT), seen.shape
    frames: dict[str, Sequence[int]] = {"all": range(144), "kept": [frame - 1 for frame in rig.KEPT_FRAMES]}
    frames |= {f"ring{ring}": range(36 * ring, 36 * ring + 36) for ring in range(4)}
    return {
        scope: {"all": float(seen[list(rows)].mean())}
        | {name: float(seen[list(rows), acupoints.meridian_slice(name)].mean()) for name in acupoints.MERIDIANS}
        for scope, rows in frames.items()
    }


def real_visible_shares() -> dict[str, dict[str, float]]:
    """The same shares of AcuSim's own labels for M_Asher_N_HD; the file names its source."""
    text = resources.files("synthetic").joinpath("data/real_visibility.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(line for line in text.splitlines() if not line.startswith("#"))
    return {row["scope"]: {key: float(row[key]) for key in ("all", *acupoints.MERIDIANS)} for row in rows}
