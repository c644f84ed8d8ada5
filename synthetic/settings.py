"""Settings of the commands heads, hands and fit; light to import."""

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field

from acusim.errors import ConfigError
from acusim.parallel.settings import ClusterSettings
from acusim.settings import Settings

Quality = Literal["draft", "fine"]
CameraMode = Literal["rig", "around"]
LightMode = Literal["studio", "wild", "mixed"]
Split = Literal["train", "test"]
HeadSize = Literal[64, 128, 256, 512, 1024]
Side = Literal["left", "right", "both"]
Face = Literal["back", "palm", "both"]
HandLight = Literal["daylight", "studio", "wild"]

MAX_IDENTITIES = 100_000
MAX_WORKERS = 256


class HeadSettings(ClusterSettings):
    """Settings of a data set of heads.

    Raises:
        ConfigError: a value is not allowed.
    """

    WHAT: ClassVar[str] = "setting of heads"

    out: Path = Field(json_schema_extra={"metavar": "DIR"})
    """Dataset root to create or to continue."""
    identities: int = Field(default=4, ge=1, le=MAX_IDENTITIES, json_schema_extra={"metavar": "N"})
    """Number of persons; may grow later."""
    views: str = "kept"
    """Cameras: kept (the 45 of training), all, or numbers such as 1,2,5-9."""
    size: HeadSize = 512
    """Side of the images in pixels."""
    quality: Quality = "draft"
    """Rendering; fine: 2x2 samples, soft shadows."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1, json_schema_extra={"metavar": "S"})
    """Random seed of the persons."""
    workers: int = Field(
        default=1, ge=1, le=MAX_WORKERS, json_schema_extra={"metavar": "N", "default": "one for each CPU"}
    )
    """Processes; 1 works in this one. On a cluster at most so many on each node."""
    light: LightMode = "studio"
    """Light; studio is flat, on black; mixed: coloured lamps, hard shadows, glossy skin."""
    cameras: CameraMode = "rig"
    """Cameras; around: drawn about each place of the rig, written to the label."""
    split: Split = "train"
    """Split of the data set."""
    jpeg: str = Field(default="", json_schema_extra={"metavar": "PERSONS", "default": "none"})
    """Persons, counted from 1, whose images are JPEG without depth maps, as AcuSim ships them: 6 or 1,3-5."""
    jpeg_quality: int = Field(default=90, ge=1, le=100, json_schema_extra={"metavar": "Q"})
    """Quality of these images."""

    def model_post_init(self, context: Any) -> None:
        """Checks the choices of views and persons."""
        try:
            frames = self.frames
        except ConfigError as error:
            raise ConfigError(f"--views: {error}") from None
        if not frames:
            raise ConfigError("--views chooses no view; give kept, all, or numbers and ranges such as 1,2,5-9")
        parse_persons(self.jpeg)

    @property
    def frames(self) -> tuple[int, ...]:
        """Cameras 1..144, ascending."""
        from acusim.rig import parse_frames  # needs numpy, which --help should not load

        return parse_frames(self.views)

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that decide pixels: a folder holds one set of them."""
        persons = parse_persons(self.jpeg)
        return {
            **{name: getattr(self, name) for name in ("size", "quality", "seed", "light", "cameras", "split")},
            "jpeg": list(persons) or None,
            "jpeg-quality": self.jpeg_quality if persons else None,
        }

    def is_jpeg(self, index: int) -> bool:
        """Whether the person with this index, from 0, gets JPEG images without depth maps."""
        return index + 1 in parse_persons(self.jpeg)


FIRST_SUBJECT = "first-subject"
"""Entry of a record; without it the first person has number 0."""


class HandSettings(ClusterSettings):
    """Settings of a data set of hands.

    Raises:
        ConfigError: a value is not allowed.
    """

    WHAT: ClassVar[str] = "setting of hands"

    out: Path = Field(json_schema_extra={"metavar": "DIR"})
    """Folder to create or to continue."""
    count: int = Field(ge=1, le=1_000_000, json_schema_extra={"metavar": "N"})
    """Number of images; may grow later."""
    seed: int = Field(default=0, ge=0, le=2**63 - 1, json_schema_extra={"metavar": "S"})
    """Random seed of everything that is drawn."""
    size: int = Field(default=512, ge=128, le=2048, json_schema_extra={"metavar": "PX"})
    """Longer side in pixels."""
    quality: Quality = "draft"
    """Rendering; fine: 2x2 samples."""
    side: Side = "both"
    """Which hands."""
    face: Face = "back"
    """Side of the hand that is shown."""
    subjects: int = Field(default=40, ge=1, le=10_000, json_schema_extra={"metavar": "N"})
    """Number of persons; image k shows person k modulo this."""
    first_subject: int = Field(default=0, ge=0, le=1_000_000, json_schema_extra={"metavar": "N"})
    """Number of the first person; other numbers are other persons with other names, such as those of a test."""
    light: HandLight = "daylight"
    """Light: daylight, cool to warm; studio: one large white lamp over a grey table; wild: low coloured lamps."""
    masks: bool = False
    """Write masks/NAME.png beside each image: 255 on the hand, 0 elsewhere."""
    workers: int = Field(
        default=1, ge=1, le=MAX_WORKERS, json_schema_extra={"metavar": "N", "default": "one for each CPU"}
    )
    """Processes; 1 works in this one. On a cluster at most so many on each node."""

    @property
    def fixed(self) -> dict[str, Any]:
        """The settings that decide the files: a folder holds one set of them."""
        names = ("seed", "size", "quality", "side", "face", "subjects", "light", "masks")
        return {**{name: getattr(self, name) for name in names}, FIRST_SUBJECT: self.first_subject}


class FitSettings(Settings):
    """Settings of depth maps fitted to labels.

    Raises:
        ConfigError: a value is not allowed.
    """

    WHAT: ClassVar[str] = "setting of the fit"

    dataset: Path = Field(json_schema_extra={"metavar": "ROOT"})
    """Root of a data set in AcuSim's layout."""
    output: Path | None = Field(default=None, json_schema_extra={"metavar": "ROOT2", "default": "ROOT itself"})
    """Folder that becomes a copy of the data set with depth maps; ROOT is then not written to."""
    size: int | None = Field(
        default=None, ge=1, le=16384, json_schema_extra={"metavar": "PX", "default": "512, else largest"}
    )
    """Folder of images to take: img_<PX>."""
    workers: int = Field(
        default=1, ge=1, le=MAX_WORKERS, json_schema_extra={"metavar": "N", "default": "one for each CPU"}
    )
    """Processes; 1 works in this one. Each fits one person at a time."""

    @property
    def root(self) -> Path:
        """Where depth maps are written."""
        return self.output or self.dataset


def parse_persons(text: str) -> tuple[int, ...]:
    """Reads a choice of persons, counted from 1: numbers and ranges such as ``6`` or ``1,3-5``; empty for none.

    Raises:
        ConfigError: names the entry that is not a person or a range.
    """
    chosen: set[int] = set()
    for entry in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = entry.partition("-")
        bounds = (first.strip(), last.strip() if dash else first.strip())
        if not all(bound.isascii() and bound.isdigit() and len(bound) < 7 for bound in bounds):
            raise ConfigError(f"--jpeg {text!r}: {entry!r} is not a person such as 6, nor a range such as 3-5")
        low, high = (int(bound) for bound in bounds)
        if not 1 <= low <= high <= MAX_IDENTITIES:
            raise ConfigError(f"--jpeg {text!r}: {entry!r} is not within 1..{MAX_IDENTITIES}, lower one first")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))
