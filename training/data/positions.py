"""Positions of all points in training pictures: the labels' own, and those of points that a picture does not show."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.data.records import HeadData
from training.data.sources import head_key
from training.geometry.projection import project
from training.geometry.template import Template, build_template, fill
from training.geometry.triangulation import Head3D, heads_of

if TYPE_CHECKING:
    from training.tasks.head_config import Occluded


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Where the points of N pictures are."""

    xy: NDArray[np.float32]
    """[N, 174, 2] 0..1 of the picture; (0, 0) where not known."""
    known: NDArray[np.bool_]
    """[N, 174]"""
    template: Template | None = None
    """Of the persons whose heads were triangulated."""


def person_keys(data: HeadData, index: NDArray[np.int64]) -> NDArray[np.str_]:
    """[K] for some pictures the key of the head that they show: a person of one body size."""
    records = (data.records[row] for row in index.tolist())
    return np.array([head_key(record.person, record.id) for record in records])


def positions_of(data: HeadData, index: NDArray[np.int64], occluded: "Occluded") -> Positions:
    """The positions of points.

    Args:
        data: all N pictures.
        index: [K] those to complete, the training part: nothing is learnt from others.
        occluded: "zero" keeps the labels; "triangulated" adds points that are occluded in a picture from the person's
            head in 3D, and points that it never shows from the template of all these persons.
    """
    targets = data.targets
    if occluded == "zero":
        return Positions(targets.xy, targets.visible)
    part, keys = targets.take(index), person_keys(data, index)
    heads = _heads(data, index)
    template = build_template([head.points_mm for head in heads.values()])
    full = {key: fill(head.points_mm, template) for key, head in heads.items()}
    xy, _ = project(np.stack([full[key] for key in keys]), part.rotation, part.translation_mm, part.focal)
    out, known = targets.xy.copy(), targets.visible.copy()
    out[index] = np.where(part.visible[..., None], part.xy, xy)
    known[index] = True
    return Positions(out, known, template)


def template_of(data: HeadData, index: NDArray[np.int64]) -> Template:
    """The template of the persons in some pictures."""
    return build_template([head.points_mm for head in _heads(data, index).values()])


def _heads(data: HeadData, index: NDArray[np.int64]) -> dict[str, Head3D]:
    part = data.targets.take(index)
    cameras = part.rotation, part.translation_mm, part.focal
    return heads_of(person_keys(data, index), part.xy, part.visible & part.trusted, *cameras, part.depth_mm)
