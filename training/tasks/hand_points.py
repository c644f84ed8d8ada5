"""Which points a hand model knows: read from a mapping file, so that other labels or points need no code."""

from dataclasses import dataclass, fields
from functools import cache
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError, shown
from acusim.settings_file import read_settings
from acusim.tolerances import normalized_name

DEFAULT_FILE = Path(__file__).with_name("hand_points.toml")


@dataclass(frozen=True, slots=True)
class HandPoint:
    """One point of the mapping."""

    index: int
    """Its place in every array."""
    id: str
    """Code, unique, such as SI1."""
    labels: tuple[str, ...]
    """What labelme files may call it."""
    pinyin: str
    chinese: str
    english: str
    meridian: str
    """LI, SI, SJ, …; EX for points outside the meridians."""


@dataclass(frozen=True, slots=True)
class HandPoints:
    """The points of a mapping file, in its order."""

    points: tuple[HandPoint, ...]

    def __len__(self) -> int:
        return len(self.points)

    def as_json(self) -> list[dict[str, Any]]:
        """Rows that parse_points reads back, as ``{"point": rows}``."""
        names = [spec.name for spec in fields(HandPoint) if spec.name not in ("index", "labels")]
        return [
            {"labels": list(point.labels), **{name: getattr(point, name) for name in names}} for point in self.points
        ]

    @property
    def ids(self) -> tuple[str, ...]:
        """Codes in order."""
        return tuple(point.id for point in self.points)

    def index_of(self, label: str) -> int | None:
        """The place of the point that a labelme label names; None for a label that is not in the mapping."""
        return self._by_label().get(normalized_name(label))

    def _by_label(self) -> dict[str, int]:
        return _indices(self.points)


@cache
def _indices(points: tuple[HandPoint, ...]) -> dict[str, int]:
    return {normalized_name(label): point.index for point in points for label in point.labels}


@cache
def read_points(path: Path = DEFAULT_FILE) -> HandPoints:
    """Reads a mapping file: a list ``[[point]]`` with id, labels, pinyin, chinese, english and meridian.

    Raises:
        ConfigError: unreadable, a key is missing or unknown, or two points share an id or a label.
    """
    return read_settings(path, "mapping of hand points", parse_points)


def parse_points(settings: dict[str, Any]) -> HandPoints:
    """The points of a mapping file's content.

    Raises:
        ConfigError: as read_points.
    """
    rows = settings.get("point")
    if set(settings) != {"point"} or not isinstance(rows, list) or not rows:
        raise ConfigError("expected nothing but a list of [[point]] with at least one entry")
    names = {field.name for field in fields(HandPoint)} - {"index"}
    points: list[HandPoint] = []
    taken: dict[str, str] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict) or set(row) != names:
            found = sorted(row) if isinstance(row, dict) else row
            raise ConfigError(f"point {index} has {shown(found)}; expected exactly {', '.join(sorted(names))}")
        labels = row["labels"]
        texts = [row[name] for name in sorted(names - {"labels"})]
        if not isinstance(labels, list) or not labels or not all(isinstance(t, str) and t for t in (*labels, *texts)):
            raise ConfigError(f"point {index}: labels must be a list of texts, all else a text; none may be empty")
        if row["id"] in {point.id for point in points}:
            raise ConfigError(f"id {row['id']!r} is given to two points")
        for label in labels:
            if normalized_name(label) in taken:
                raise ConfigError(
                    f"label {label!r} names both {taken[normalized_name(label)]} and {row['id']}; let it name one"
                )
        taken |= {normalized_name(label): row["id"] for label in labels}
        points.append(HandPoint(index, **{**row, "labels": tuple(labels)}))
    return HandPoints(tuple(points))
