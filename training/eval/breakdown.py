"""The same figures by meridian, ring, azimuth, gender, hair, variant and acupoint, each beside its baselines."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.sample_id import SampleId
from acusim.statistics import cluster_sums, figures_of_sums
from training.eval.metrics import RATES, TERMS, bounds_of, by_meridian, measure, rates, trials
from training.eval.predictions import Predictions, Targets
from training.eval.summary import figures_of

ROW_FIGURES = ("micro", "fpr", "fnr", "mean_px", "mean_mm", "within_5_mm")
"""Figures of each row; their names are those of metrics.RATES."""
_CHOSEN = [list(RATES).index(name) for name in ROW_FIGURES]
_POINTS = [TERMS.index(term) for term in ("tp", "fp", "fn", "tn")]
_VISIBLE = [TERMS.index(term) for term in ("tp", "fn")]

Floats = NDArray[np.float64]


class Record(Protocol):
    """Facts about one picture: training.data's Record, or anything with these."""

    @property
    def id(self) -> SampleId:
        """Whose head, from which camera."""
        ...

    @property
    def person(self) -> str:
        """Intervals are over persons."""
        ...

    @property
    def variant(self) -> str:
        """Empty for an original, else which augmented variant."""
        ...

    @property
    def bald(self) -> bool:
        """Whether the head has no hair."""
        ...


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """The terms of metrics.measure, added up as far as any table needs them."""

    by_picture: Floats
    """[N, T] over the acupoints."""
    by_person: Floats
    """[P, 174, T] over the pictures of each person, persons in ascending order."""
    by_azimuth: Floats
    """[36, 174, T] over the pictures of each azimuth, 0°, 10°, …; zeros where there is none."""


def add_up(predictions: Predictions, targets: Targets, persons: Sequence[str], size: int, threshold: float) -> Sums:
    """Sums of some predictions; arguments and errors as in metrics.measure."""
    terms = measure(predictions, targets, size, threshold)
    step = (np.asarray(targets.frame, int) - 1) % 36
    by_azimuth = np.zeros((36, *terms.shape[1:]))
    by_azimuth[np.unique(step)] = cluster_sums(terms, step)
    return Sums(terms.sum(1, dtype=np.float64), cluster_sums(terms, persons), by_azimuth)


def signed_azimuth(frame: int) -> int:
    """Azimuth of a camera as -180..170; 0 faces the subject."""
    return (round(rig.camera(frame).azimuth_deg) + 180) % 360 - 180


def angle(degrees: int) -> str:
    """An angle for people, such as "+30°"."""
    return f"{degrees:+d}°" if degrees else "0°"


def groups_of(records: Sequence[Record]) -> dict[str, list[str]]:
    """For each title the group that each picture belongs to."""
    frames = [record.id.frame for record in records]
    return {
        "ring": [angle(round(rig.camera(frame).elevation_deg)) for frame in frames],
        "azimuth": [angle(signed_azimuth(frame)) for frame in frames],
        "gender": [{"F": "female", "M": "male"}[record.id.gender] for record in records],
        "hair": ["bald" if record.bald else "haired" for record in records],
        "variant": [record.variant or "original" for record in records],
    }


def rows_by_picture(
    labels: Sequence[str], persons: Sequence[str], model: Sums, baselines: Mapping[str, Sums]
) -> list[dict[str, Any]]:
    """One row for each group of pictures.

    Args:
        labels: [N] the group of each picture.
        persons: [N] whom each shows.
        model: the model's sums.
        baselines: the baselines' sums, by name.

    Returns:
        Rows with ``value``, counts, ``figures`` (name -> Figure) and ``baselines`` (name -> name -> number), in
        numerical order of angles, else in alphabetical order.
    """
    names, group = np.unique(np.asarray(labels), return_inverse=True)
    kinds, person = np.unique(np.asarray(persons), return_inverse=True)
    cell, pictures = np.unique(person * len(names) + group, return_counts=True)

    def sums(side: Sums) -> Floats:
        out = np.zeros((len(kinds) * len(names), len(TERMS)))
        out[cell] = cluster_sums(side.by_picture, person * len(names) + group)
        return out.reshape(len(kinds), len(names), -1)

    count = np.bincount(cell % len(names), pictures, len(names)).astype(int)
    rows = _rows(names.tolist(), count.tolist(), sums(model), {name: sums(side) for name, side in baselines.items()})
    return sorted(rows, key=lambda row: _order(row["value"]))


def rows_by_point(pictures: int, model: Sums, baselines: Mapping[str, Sums]) -> list[dict[str, Any]]:
    """One row for each acupoint, in the table's order; as rows_by_picture."""
    sides = {name: side.by_person for name, side in baselines.items()}
    return _rows(list(acupoints.NAMES), [pictures] * acupoints.COUNT, model.by_person, sides)


def rows_by_meridian(pictures: int, model: Sums, baselines: Mapping[str, Sums]) -> list[dict[str, Any]]:
    """One row for each meridian, in the network's order; as rows_by_picture."""
    names = list(acupoints.MERIDIANS)
    sides = {name: by_meridian(side.by_person) for name, side in baselines.items()}
    return _rows(names, [pictures] * len(names), by_meridian(model.by_person), sides)


def row_rates(sums: Floats) -> dict[str, Floats]:
    """ROW_FIGURES of each row of sums [..., T]."""
    values = rates(sums)
    return {name: values[..., column] for name, column in zip(ROW_FIGURES, _CHOSEN, strict=True)}


def _rows(
    names: Sequence[str], pictures: Sequence[int], model: Floats, baselines: Mapping[str, Floats]
) -> list[dict[str, Any]]:
    """Rows from sums [P, G, T] of each person."""
    figures = figures_of_sums(
        model,
        lambda sums: rates(sums)[..., _CHOSEN],
        bounds_of(ROW_FIGURES),
        lambda sums: trials(sums)[..., _CHOSEN],
    )
    of_baselines = {name: rates(sums.sum(0))[:, _CHOSEN] for name, sums in baselines.items()}
    points = model[..., _POINTS].sum(-1)
    total, visible, people = points.sum(0), model[..., _VISIBLE].sum((0, 2)), (points > 0).sum(0)
    return [
        {
            "value": value,
            "pictures": pictures[row],
            "persons": int(people[row]),
            "points": int(total[row]),
            "visible_points": int(visible[row]),
            "figures": {figure: figures[row, k] for k, figure in enumerate(ROW_FIGURES)},
            "baselines": {
                name: figures_of(name, {figure: float(values[row, k]) for k, figure in enumerate(ROW_FIGURES)})
                for name, values in of_baselines.items()
            },
        }
        for row, value in enumerate(names)
    ]


def _order(name: str) -> tuple[int, str]:
    """Sort key: angles by their number, everything else alphabetically."""
    number = re.fullmatch(r"([+-]?\d+)°", name)
    return int(number[1]) if number else 0, name
