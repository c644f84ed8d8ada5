"""The numbers by which a picture is judged: checked, readable from TOML, light to import."""

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acusim.errors import ConfigError
from acusim.settings_file import read_settings


def _number(default: float, low: float, high: float) -> Any:
    return field(default=default, metadata={"low": low, "high": high})


@dataclass(frozen=True, kw_only=True)
class Thresholds:
    """Thresholds of the certificate; the defaults come from the calibration in docs/evaluation.md.

    Lengths are pixels of a picture 512 wide.
    """

    tolerance_mm: float = _number(5.0, 0.1, 100.0)
    """A label is trusted if no larger displacement of its acupoint is possible."""
    allowed_px: float = _number(1.0, 0.0, 6.0)
    """Displacements up to this are no reason to reject a picture."""
    found: float = _number(5.539, 0.0, 1e4)
    """Log-likelihood ratio from which a point counts as moved, where the picture kept its fine texture."""
    found_remade: float = _number(6.678, 0.0, 1e4)
    """The same where the texture was made anew, which gives more chances to be wrong."""
    faithful_texture: float = _number(0.7, -1.0, 1.0)
    """Agreement of fine texture from which a picture counts as having kept it."""
    excluded: float = _number(8.0, 0.0, 1e4)
    """Displacements whose log-likelihood is so much below the best one cannot have happened."""
    least_structure: float = _number(0.095, -1.0, 1.0)
    """A picture whose medium structure agrees less does not show the same head."""
    most_outline_px: float = _number(3.882, 0.0, 24.0)
    """90th percentile of the silhouette's distance, at most; 24 switches this off."""
    least_outline_seen: float = _number(0.3, 0.0, 1.0)
    """The silhouette judges only if so much of it is seen."""
    global_gain: float = _number(0.1, 0.0, 2.0)
    """The whole picture was shifted if its coarse structure correlates by so much better elsewhere."""
    least_trusted: float = _number(0.0, 0.0, 1.0)
    """Least share of the visible acupoints that must be trusted; 0 leaves it to the point mask."""
    black_level: float = _number(12.0, 0.0, 255.0)
    """A head without any level above this is black."""
    flat_levels: float = _number(2.0, 0.0, 255.0)
    """A head whose levels spread less (standard deviation) is flat."""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise ConfigError(f"threshold {spec.name} = {value!r} is not a number")
            low, high = spec.metadata["low"], spec.metadata["high"]
            if not low <= value <= high:  # also true of NaN
                raise ConfigError(f"threshold {spec.name} = {value!r} is outside {low:g}..{high:g}")
            object.__setattr__(self, spec.name, float(value))

    def as_dict(self) -> dict[str, float]:
        """All thresholds by name."""
        return dataclasses.asdict(self)

    def to_toml(self) -> str:
        """The thresholds as TOML, which from_toml reads back to equal ones."""
        return "".join(f"{name} = {value!r}\n" for name, value in self.as_dict().items())

    @classmethod
    def from_dict(cls, settings: dict[str, Any]) -> "Thresholds":
        """Thresholds from the ones that differ from the defaults.

        Raises:
            ConfigError: an unknown name or a value out of its range.
        """
        names = [spec.name for spec in dataclasses.fields(cls)]
        for name in settings:
            if name not in names:
                raise ConfigError(f"{name!r} is not a threshold; there are {', '.join(names)}")
        return cls(**settings)

    @classmethod
    def from_toml(cls, path: Path | None) -> "Thresholds":
        """Thresholds from a TOML file of differences; None gives the defaults.

        Raises:
            ConfigError: unreadable, not TOML, an unknown name or a value out of its range.
        """
        return cls() if path is None else read_settings(path, "thresholds", cls.from_dict)
