"""Names of acupoints for people: the data set's, with their known misspellings corrected."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Literal

from acusim import acupoints
from acusim.text_files import toml_of
from training.inference.drawing import short_code

if TYPE_CHECKING:
    from training.tasks.hand_points import HandPoint

Side = Literal["left", "right", "mid", ""]


@dataclass(frozen=True, slots=True)
class Point:
    """One point of a model, for people."""

    name: str
    """As label files spell it."""
    code: str
    """Short and ASCII, as in drawn pictures."""
    standard_code: str
    """The code with misspellings corrected, without a side."""
    meridian: str
    """Such as LI; EX for points outside the meridians."""
    zh: str
    """The Chinese name, misspellings corrected; empty where it is not known."""
    pinyin: str
    """The same in Latin letters; empty where it is not known."""
    side: Side
    """The subject's side; empty where it is unknown."""
    location: str = ""
    """Where it lies, in words; empty where it is not known."""
    use: str = ""
    """What a classical book used it for; empty where that has no such point or use."""


@cache
def _standard() -> dict[str, dict[str, str]]:
    """Pinyin, location and use by standard code, as far as they are known."""
    return toml_of(resources.files("training").joinpath("inference/acupoints.toml").read_bytes())


def _head_point(point: acupoints.Acupoint) -> Point:
    # The table's notes hold the right spelling.
    corrected = {kind: right for kind, right in re.findall(r"(code|hanzi) typo: WHO (\S+)", point.note)}
    code, *rest = point.name.split("_")
    name = "_".join([corrected.get("code", code), *rest])
    zh = corrected.get("hanzi") or _hanzi(point.name)
    if not zh:  # of the four points of EX-HN1 only the first has its name
        zh = next(_hanzi(other) for other in acupoints.NAMES if other.startswith(f"{code}_") and _hanzi(other))
    standard = short_code(replace(point, name=name, side="mid"))
    # The four points of EX-HN1 share one entry.
    return Point(
        name=point.name,
        code=short_code(point),
        standard_code=standard,
        meridian=point.meridian,
        zh=zh,
        side=point.side,
        **_standard()[standard.partition(".")[0]],
    )


def _hanzi(name: str) -> str:
    return next((part for part in name.split("_") if not part.isascii()), "")


HEAD_POINTS: tuple[Point, ...] = tuple(map(_head_point, acupoints.ACUPOINTS))
"""The head's 174 in the order of acupoints.NAMES."""


def hand_points(points: Iterable["HandPoint"]) -> tuple[Point, ...]:
    """The points of a hand model."""
    return tuple(
        Point(
            *(point.id, point.id, point.id, point.meridian, point.chinese, point.pinyin, ""),
            **{key: text for key, text in _standard().get(point.id, {}).items() if key != "pinyin"},
        )
        for point in points
    )
