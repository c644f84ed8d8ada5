"""Settings of the commands, from which their options derive."""

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from acusim.errors import ConfigError
from acusim.parallel.settings import ClusterSettings
from acusim.settings import Settings
from evaluation.thresholds import Thresholds

MAX_WORKERS = 256


class PairSettings(Settings):
    """Which pairs of images are evaluated, and by which thresholds.

    Raises:
        ConfigError: a value is out of its range, a root is not a folder, or the output folder cannot be used.
    """

    WHAT: ClassVar[str] = "evaluation setting"

    original: Path = Field(json_schema_extra={"metavar": "ROOT"})
    """Dataset root of the originals."""
    augmented: Path = Field(json_schema_extra={"metavar": "ROOT"})
    """Root of the augmented images (or of v01, v02 …)."""
    out: Path = Field(json_schema_extra={"metavar": "DIR"})
    """Folder for the results; an interrupted run is resumed."""
    workers: int = Field(
        default=1, ge=1, le=MAX_WORKERS, json_schema_extra={"metavar": "N", "default": "one for each core"}
    )
    """Worker processes; on a cluster at most so many on each node."""
    size: int | None = Field(default=None, json_schema_extra={"metavar": "PX", "default": "512, else the largest"})
    """Which img_PX to read."""
    select: str | None = Field(default=None, json_schema_extra={"metavar": "CONDITIONS", "default": "all"})
    """Condition on samples, such as 'gender=F,hair=HA,HC,frame=1-36'."""
    limit: int | None = Field(default=None, ge=1, le=10**9, json_schema_extra={"metavar": "N", "default": "all"})
    """At most N pairs, in the order of their names."""
    bald_codes: str = Field(default="auto", json_schema_extra={"metavar": "A,B"})
    """Hair codes that mean bald; auto derives them from the labels."""
    thresholds: Thresholds = Field(default_factory=Thresholds)

    def model_post_init(self, context: Any) -> None:
        """Checks the folders."""
        for option, path in (("--original", self.original), ("--augmented", self.augmented)):
            if not path.is_dir():
                raise ConfigError(f"{option} {str(path)!r} is not a folder")
        if self.out.resolve() in (self.original.resolve(), self.augmented.resolve()):
            raise ConfigError(f"--out {str(self.out)!r} is one of the data sets; name another folder")
        if self.out.exists() and not self.out.is_dir():
            raise ConfigError(f"--out {str(self.out)!r} is not a folder")


class ReportSettings(PairSettings, ClusterSettings):
    """Settings of the commands drift, certify and report."""

    faces: bool = True
    """Detect facial keypoints and measure their drift."""
    certificate: bool = True
    """Certify each pair."""
    null: int = Field(default=150, ge=0, le=10**6, json_schema_extra={"metavar": "N"})
    """Originals that measure the detector's noise."""
    still: Path | None = Field(default=None, json_schema_extra={"metavar": "ROOT", "default": "edits alone"})
    """Data set of the same originals, changed without moving anything, such as relit with another seed: part of the
    null."""
    baselines: int = Field(default=45, ge=0, le=10**6, json_schema_extra={"metavar": "N"})
    """Pairs from which the baselines are created."""
    masks: Path | None = Field(default=None, json_schema_extra={"metavar": "ROOT", "default": "none are written"})
    """Write point masks below ROOT, such as the augmented root."""

    def model_post_init(self, context: Any) -> None:
        """Checks the folders."""
        super().model_post_init(context)
        if self.still is not None and not self.still.is_dir():
            raise ConfigError(f"--still {str(self.still)!r} is not a folder")
        if self.still is not None and self.still.resolve() in (self.original.resolve(), self.augmented.resolve()):
            raise ConfigError(f"--still {str(self.still)!r} is one of the data sets compared; name a third one")
        if self.masks is not None and self.masks.resolve() == self.original.resolve():
            raise ConfigError("--masks is the data set of the originals; masks belong to the augmented images")


class CalibrationSettings(PairSettings):
    """Settings of the command calibrate."""

    fit: int | None = Field(default=None, json_schema_extra={"metavar": "K", "default": "the first half"})
    """Persons that thresholds are fitted on."""
    seed: int = Field(default=0, json_schema_extra={"metavar": "S", "default": 0})
    """Random seed of warps, shifts and edits."""
