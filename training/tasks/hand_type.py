"""The type of the hand in a picture: left or right, back or palm.

A network with such a head has one logit for each trait, in the order of TRAITS; above 0 it predicts the second value.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.statistics import share_of

if TYPE_CHECKING:
    from torch import Tensor

    from training.data.hand_dataset import HandRecord

TRAITS: dict[str, tuple[str, str]] = {"side": ("right", "left"), "face": ("back", "palm")}
"""Of each trait the value at 0 and the value at 1."""
UNKNOWN = -1


def known_types(records: Sequence["HandRecord"]) -> NDArray[np.int64]:
    """[N, 2] the values of TRAITS, 0 or 1, from names or flags of pictures; UNKNOWN where neither has one."""
    rows = [[_index(values, getattr(record, name)) for name, values in TRAITS.items()] for record in records]
    return np.array(rows, np.int64).reshape(len(records), len(TRAITS))


def _index(values: tuple[str, str], value: str | None) -> int:
    return values.index(value) if value in values else UNKNOWN


def mirrored_types(types: "Tensor", mirrored: "Tensor") -> "Tensor":
    """The types of pictures of which some are mirrored: a left hand becomes a right one, a palm stays a palm.

    Args:
        types: [B, 2] as known_types has them; a side that is not known stays so.
        mirrored: [B] bool.
    """
    side = list(TRAITS).index("side")
    out = types.clone()
    swapped = mirrored & (types[:, side] != UNKNOWN)
    out[swapped, side] = 1 - types[swapped, side]
    return out


def type_json(probability: ArrayLike) -> dict[str, Any]:
    """The prediction for one picture, as JSON values.

    Args:
        probability: [2] of the second value of each trait, 0..1.

    Returns:
        By trait, its more probable value and that one's probability.
    """
    out: dict[str, Any] = {}
    for (name, values), one in zip(TRAITS.items(), np.asarray(probability, np.float64).tolist(), strict=True):
        out[name] = {"value": values[one > 0.5], "probability": round(max(one, 1 - one), 6)}
    return out


def majorities(known: NDArray[np.int64]) -> list[int]:
    """Of each trait the value that most pictures have, of [N, 2] as known_types gives it; the first of two equals."""
    return [int((known[:, trait] == 1).sum() > (known[:, trait] == 0).sum()) for trait in range(len(TRAITS))]


def report(
    probability: ArrayLike, known: NDArray[np.int64], subjects: Sequence[str], majority: Sequence[int] | None
) -> dict[str, Any]:
    """How often each trait is right, as JSON values, with 95 % intervals over subjects.

    Args:
        probability: [N, 2] of each trait's second value.
        known: [N, 2] as known_types has it.
        subjects: [N] whose hand each picture shows.
        majority: of each trait the value that most training pictures have: the baseline; None where no one knows.

    Returns:
        For each trait that any picture has: ``pictures``, ``subjects``, ``accuracy``, ``baselines`` by the value that
        is always predicted, and ``recall`` of each value that occurs. All but the counts are figures with value, low
        and high.
    """
    predicted, names = np.asarray(probability, np.float64) > 0.5, np.asarray(subjects)
    out: dict[str, Any] = {}
    for trait, (name, values) in enumerate(TRAITS.items()):
        there = known[:, trait] != UNKNOWN
        if not there.any():
            continue
        true, whose = known[there, trait], names[there]
        right = predicted[there, trait] == true
        baselines = {} if majority is None else {f"always {values[majority[trait]]}": true == majority[trait]}
        out[name] = {
            "pictures": len(true),
            "subjects": len(set(whose.tolist())),
            "accuracy": _share(right, whose),
            "baselines": {name: _share(constant, whose) for name, constant in baselines.items()},
            "recall": {
                value: _share(right[true == number], whose[true == number])
                for number, value in enumerate(values)
                if (true == number).any()
            },
        }
    return out


def _share(right: NDArray[np.bool_], subjects: NDArray[np.str_]) -> dict[str, float | None]:
    return share_of(right, subjects).as_json()
