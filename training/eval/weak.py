"""Where a model errs: the effect of each value of view, gender, bald, hair and light on the error, shrunk by evidence.

The error of a picture is the mean over its visible points, in mm. Effects are those of an additive model with random
effects, fitted by backfitting: of each attribute in turn the mean residual of its values, over persons, each shrunk by
tau^2 / (tau^2 + sigma^2 / n) for n persons, where tau^2 is the variance between the values and sigma^2 that between
persons of one value. So a value that few persons have, or that differs no more than persons do, adds little, and
attributes that go together (a hair code and bald) share one effect instead of counting it twice.
Source: Searle, Casella & McCulloch, Variance Components, 1992, chapter 7 (best linear unbiased prediction).
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.weak_spots import ATTRIBUTES, WeakSpot, WeakSpots
from training.eval.metrics import TERMS, THRESHOLD, measure
from training.eval.predictions import Predictions, Targets

Floats = NDArray[np.float64]
_ROUNDS = 50
"""Of backfitting; it converges geometrically, attributes that go together entirely the slowest."""
_DIGITS = 4


def weak_spots(
    predictions: Predictions,
    targets: Targets,
    persons: Sequence[str],
    values: Sequence[Mapping[str, str]],
    *,
    size: int,
    model: str,
    data: str,
    light_names: Mapping[str, str] | None = None,
) -> WeakSpots:
    """The table of a model's errors.

    Args:
        predictions: of N pictures.
        targets: of the same pictures.
        persons: [N] whom each shows.
        values: [N] attribute -> value of each, all of acusim.weak_spots.ATTRIBUTES.
        size: side of the pictures in pixels.
        model: what was measured, for people.
        data: on what, for people.
        light_names: value of light -> its name for people.

    Raises:
        ConfigError: the numbers of pictures differ, or no picture has a visible point.
    """
    if not len(predictions) == len(persons) == len(values):
        raise ConfigError(f"{len(predictions)} predictions, {len(persons)} persons, {len(values)} values: not as many")
    sums = measure(predictions, targets, size, THRESHOLD).sum(1, dtype=np.float64)
    located, millimetres = (sums[:, TERMS.index(term)] for term in ("located", "mm"))
    used = np.flatnonzero(located)
    if not len(used):
        raise ConfigError("no picture has a visible point: there is no error to compare")
    owner = np.unique(np.asarray(persons)[used], return_inverse=True)[1]
    groups = {name: np.unique([values[n][name] for n in used], return_inverse=True) for name in ATTRIBUTES}
    weight = located[used]
    error = millimetres[used] / weight
    members = {name: member for name, (_, member) in groups.items()}
    effects = fitted_effects(error, weight, owner, members)
    spots: dict[str, dict[str, WeakSpot]] = {}
    for name, (kinds, member) in groups.items():
        for number, kind in enumerate(kinds.tolist()):
            of_kind = member == number
            spots.setdefault(name, {})[kind] = WeakSpot(
                pictures=int(of_kind.sum()),
                persons=len(np.unique(owner[of_kind])),
                mean_mm=round(float(np.average(error[of_kind], weights=weight[of_kind])), _DIGITS),
                effect_mm=round(float(effects[name][number]), _DIGITS),
                name=(light_names or {}).get(kind) if name == "light" else None,
            )
    mean = round(float(np.average(error, weights=weight)), _DIGITS)
    return WeakSpots(mean, len(used), len(np.unique(owner)), model, data, spots)


def fitted_effects(
    error: Floats, weight: Floats, owner: NDArray[np.intp], groups: Mapping[str, NDArray[np.intp]]
) -> dict[str, Floats]:
    """The effect of each value of each attribute, in the error's unit; zero on the mean of all pictures.

    Args:
        error: [N] of the pictures.
        weight: [N] points that each is the mean of.
        owner: [N] 0..P-1, the person of each picture.
        groups: attribute -> [N] 0..G-1, its value in each picture.
    """
    centred = error - np.average(error, weights=weight)
    effects = {name: np.zeros(member.max() + 1) for name, member in groups.items()}
    for _ in range(_ROUNDS):
        for name, member in groups.items():
            others = sum(effects[other][groups[other]] for other in groups if other != name)
            found = _shrunk_means(centred - others, weight, owner, member)
            effects[name] = found - np.average(found[member], weights=weight)
    return effects


def _shrunk_means(residual: Floats, weight: Floats, owner: NDArray[np.intp], member: NDArray[np.intp]) -> Floats:
    """[G] the mean residual of each value, over persons, shrunk towards 0."""
    count = member.max() + 1
    # The mean of each person in each value that the person has.
    cell, place = np.unique(owner * count + member, return_inverse=True)
    by_person = np.bincount(place, residual * weight) / np.bincount(place, weight)
    value = cell % count
    people = np.bincount(value, minlength=count)
    mean = np.bincount(value, by_person, count) / people
    spare = len(cell) - count
    if count < 2 or not spare:  # nothing to compare with, or nothing that says how far persons differ
        return np.zeros(count)
    noise = ((by_person - mean[value]) ** 2).sum() / spare / people
    between = max(0.0, float(np.var(mean, ddof=1) - noise.mean()))
    return mean * between / (between + noise) if between else np.zeros(count)
