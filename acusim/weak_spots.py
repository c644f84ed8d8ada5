"""Where a model errs: a table over view, gender, bald, hair and light that evaluation writes and the controller reads.

    format = 1
    model = "…"                       # what was measured, on what
    mean_mm = 2.31                    # mean error of visible points over all pictures
    pictures = 600
    persons = 40

    [view."+90° 30°"]
    pictures = 40
    persons = 38
    mean_mm = 3.4                     # of these pictures, as measured
    effect_mm = 0.8                   # what this view adds, the other attributes equal, shrunk towards 0

An expected error is ``mean_mm`` plus the effects of a picture's values; a value that was not measured adds nothing.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from pydantic import Field

from acusim.errors import ConfigError, shown
from acusim.rig import camera
from acusim.sample_id import SampleId
from acusim.settings import Settings, toml_lines
from acusim.settings_file import read_settings

FORMAT = 1
OF_SAMPLES = ("view", "gender", "bald", "hair")
"""Attributes that a sample has before anything is made of it."""
LIGHT = "light"
ATTRIBUTES = (*OF_SAMPLES, LIGHT)
ORIGINAL = "original"
"""Light of pictures that were not augmented; that of others is named after their scene's content."""
FLOOR = 0.1
"""Least expected error, as a share of the mean: nothing is ever so good that no picture goes there."""
_SECTOR_DEG = 30
_HEADER = ("format", "model", "data", "pictures", "persons", "mean_mm")


class WeakSpot(Settings):
    """What was measured of the pictures with one value of one attribute."""

    WHAT = "figure of a value"

    pictures: int = Field(ge=1)
    """Pictures with at least one visible point."""
    persons: int = Field(ge=1)
    """Whom they show."""
    mean_mm: float = Field(ge=0, allow_inf_nan=False)
    """Their mean error."""
    effect_mm: float = Field(allow_inf_nan=False)
    """What the value adds to the error."""
    name: str | None = None
    """Of a light: the scene's file, for people."""


@dataclass(frozen=True)
class WeakSpots:
    """The whole table."""

    mean_mm: float
    pictures: int
    persons: int
    model: str
    data: str
    spots: Mapping[str, Mapping[str, WeakSpot]]
    """Attribute -> value -> figures."""

    def to_toml(self) -> str:
        """The table as a file that ``read`` reads."""
        header = {name: getattr(self, name) for name in _HEADER[1:]}
        tables = {
            attribute: {value: spot.as_dict() for value, spot in values.items()}
            for attribute, values in self.spots.items()
        }
        return toml_lines({"format": FORMAT, **header, **tables})

    @classmethod
    def read(cls, path: Path) -> Self:
        """The table in a file.

        Raises:
            ConfigError: it cannot be read, is not such a table, or a figure is out of its range; names the file.
        """
        return read_settings(path, "table of weak spots", cls._of)

    @classmethod
    def _of(cls, document: dict[str, Any]) -> Self:
        if document.get("format") != FORMAT or "mean_mm" not in document:
            raise ConfigError(
                f"format = {shown(document.get('format'))}, expected {FORMAT}; write one with "
                "training evaluate RUN --weak FILE"
            )
        unknown = sorted(document.keys() - {*_HEADER, *ATTRIBUTES})
        if unknown:
            raise ConfigError(f"{shown(unknown[0])} is not one of {', '.join((*_HEADER, *ATTRIBUTES))}")
        mean = document["mean_mm"]
        if not (isinstance(mean, int | float) and 0 < mean < float("inf")):
            raise ConfigError(f"mean_mm = {shown(mean)} is not a positive number of millimetres")
        return cls(
            float(mean),
            _count(document, "pictures"),
            _count(document, "persons"),
            str(document.get("model", "")),
            str(document.get("data", "")),
            {attribute: _spots(attribute, document[attribute]) for attribute in ATTRIBUTES if attribute in document},
        )

    def weight(self, values: Mapping[str, str]) -> float:
        """Expected error of pictures with some values (attribute -> value), as a multiple of the mean."""
        found = (self.spots.get(attribute, {}).get(value) for attribute, value in values.items())
        expected = self.mean_mm + sum(spot.effect_mm for spot in found if spot)
        return max(expected / self.mean_mm, FLOOR)

    def unmeasured(self, values: Iterable[Mapping[str, str]]) -> dict[str, list[str]]:
        """Of each attribute of OF_SAMPLES the values among some samples' that the table does not have."""
        samples = list(values)
        present = {name: {sample[name] for sample in samples} for name in OF_SAMPLES}
        missing = {name: sorted(present[name] - self.spots.get(name, {}).keys()) for name in OF_SAMPLES}
        return {name: unknown for name, unknown in missing.items() if unknown}


def values_of(sample: SampleId, bald: bool) -> dict[str, str]:
    """The value of each attribute of OF_SAMPLES: sector of the azimuth with its ring, gender, bald, hair code."""
    values = (view_of(sample.frame), sample.gender, "yes" if bald else "no", sample.hair)
    return dict(zip(OF_SAMPLES, values, strict=True))


def view_of(frame: int) -> str:
    """Azimuth, to the nearest 30°, and elevation of a camera, such as ``+90° 30°``; 0° faces the subject."""
    place = camera(frame)
    azimuth = (_SECTOR_DEG * round(place.azimuth_deg / _SECTOR_DEG) + 180) % 360 - 180
    return f"{azimuth:+d}° {place.elevation_deg:.0f}°" if azimuth else f"0° {place.elevation_deg:.0f}°"


def _count(document: Mapping[str, Any], name: str) -> int:
    value = document.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ConfigError(f"{name} = {shown(value)} is not a positive number")
    return value


def _spots(attribute: str, table: Any) -> dict[str, WeakSpot]:
    if not isinstance(table, dict):
        raise ConfigError(f"{attribute} = {shown(table)} is not a table of values")
    found: dict[str, WeakSpot] = {}
    for value, figures in table.items():
        if not isinstance(figures, dict):
            raise ConfigError(f"{attribute}.{shown(value)} = {shown(figures)} is not a table of figures")
        try:
            found[value] = WeakSpot(**figures)
        except ConfigError as error:
            raise ConfigError(f"{attribute}.{shown(value)}: {error}") from None
    return found
