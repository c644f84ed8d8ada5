"""What is to be made, where it goes, and whether a folder fits the arguments."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim import acupoints, layout
from acusim.errors import ConfigError
from acusim.sample_id import SampleId
from synthetic.identity import identities
from synthetic.modes import LIGHT_MODES, QUALITIES, LightMode, Quality
from synthetic.record import MAX_WORKERS, in_range, one_of, prepare_root

SPLITS = ("train", "test")
SIZES = (64, 128, 256, 512, 1024)
MAX_IDENTITIES = 100_000


@dataclass(frozen=True)
class Settings:
    """The arguments of a run; checked."""

    out: Path
    """Dataset root."""
    identities: int = 4
    """How many persons."""
    frames: tuple[int, ...] = ()
    """Cameras 1..144, ascending."""
    size: int = 512
    """Side of the pictures in pixels, one of SIZES."""
    quality: Quality = "draft"
    seed: int = 0
    workers: int = 1
    """Processes; 1 works in this one."""
    light: LightMode = "studio"
    split: str = "train"
    jpeg: tuple[int, ...] = ()
    """Persons, counted from 1, whose pictures are JPEG without depth maps, as AcuSim ships them."""
    jpeg_quality: int = 90

    def __post_init__(self) -> None:
        in_range("--identities", self.identities, 1, MAX_IDENTITIES)
        in_range("--workers", self.workers, 1, MAX_WORKERS)
        in_range("--seed", self.seed, 0, 2**63 - 1)
        one_of("--size", self.size, SIZES)
        one_of("--quality", self.quality, QUALITIES)
        one_of("--light", self.light, LIGHT_MODES)
        one_of("--split", self.split, SPLITS)
        in_range("--jpeg-quality", self.jpeg_quality, 1, 100)
        if not self.frames:
            raise ConfigError("--views chooses no view; give kept, all, or numbers and ranges such as 1,2,5-9")

    @property
    def fixed(self) -> dict[str, Any]:
        """The arguments that decide pixels: a folder holds one set of them."""
        return {
            "size": self.size,
            "quality": self.quality,
            "seed": self.seed,
            "light": self.light,
            "split": self.split,
            "jpeg": list(self.jpeg) or None,
            "jpeg-quality": self.jpeg_quality if self.jpeg else None,
        }

    def is_jpeg(self, index: int) -> bool:
        """Whether the person with this index, from 0, gets JPEG pictures without depth maps."""
        return index + 1 in self.jpeg


@dataclass(frozen=True)
class Task:
    """Some views of one person: what a worker is handed at a time."""

    index: int
    """Number of the identity."""
    frames: tuple[int, ...]


@dataclass(frozen=True)
class SamplePaths:
    """The files of a sample, relative to the root; the image is written last."""

    label: str
    depth: str | None
    """None for a person without depth maps."""
    image: str

    def finished(self, root: Path) -> bool:
        """Whether all of them are there."""
        return all((root / path).is_file() for path in (self.image, self.depth, self.label) if path)


def sample_paths(settings: Settings, sample: SampleId, jpeg: bool = False) -> SamplePaths:
    """Where a sample's files belong."""
    return SamplePaths(
        label=f"{layout.label_folder(settings.split)}/{sample}.json",
        depth=None if jpeg else f"{layout.depth_folder(settings.split, settings.size)}/{sample}.png",
        image=f"{layout.image_folder(settings.split, settings.size)}/{sample}{'.jpg' if jpeg else '.png'}",
    )


def parse_persons(text: str) -> tuple[int, ...]:
    """Reads a choice of persons, counted from 1: numbers and ranges such as ``6`` or ``1,3-5``; empty for none.

    Raises:
        ConfigError: names the part that is not a person or a range.
    """
    chosen: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        first, dash, last = part.partition("-")
        bounds = (first.strip(), last.strip() if dash else first.strip())
        if not all(bound.isascii() and bound.isdigit() and len(bound) < 7 for bound in bounds):
            raise ConfigError(f"{text!r}: {part!r} is not a person such as 6, nor a range such as 3-5")
        low, high = (int(bound) for bound in bounds)
        if not 1 <= low <= high <= MAX_IDENTITIES:
            raise ConfigError(f"{text!r}: {part!r} is not within 1..{MAX_IDENTITIES}, lower one first")
        chosen.update(range(low, high + 1))
    return tuple(sorted(chosen))


def prepare(settings: Settings) -> None:
    """Makes the root's folders, map.txt and synthetic.json, or refuses a root made with other arguments.

    Raises:
        ConfigError: the root was made with other arguments, or holds something else.
        OutputError: it cannot be written.
    """

    def grown(before: dict[str, Any]) -> dict[str, Any]:
        identities, frames = before.get("identities", 0), before.get("frames", [])
        return {
            "identities": max(settings.identities, int(identities)),
            "frames": sorted({*settings.frames, *frames}),
        }

    folders = (
        layout.image_folder(settings.split, settings.size),
        layout.depth_folder(settings.split, settings.size),
        layout.label_folder(settings.split),
    )
    prepare_root(
        settings.out,
        made_by="synthetic",
        fixed=settings.fixed,
        grown=grown,
        may_change="--identities, --views and --workers",
        folders=folders,
        files={layout.MAP_FILE: acupoints.MAP_TXT},
    )


def open_tasks(settings: Settings) -> tuple[list[Task], int]:
    """The views still to be made, in pieces for the workers, and how many were there already."""
    pieces_each = max(1, -(-settings.workers // settings.identities))
    tasks: list[Task] = []
    finished = 0
    for who in identities(settings.seed, settings.identities):
        jpeg = settings.is_jpeg(who.index)
        missing = [
            frame
            for frame in settings.frames
            if not sample_paths(settings, who.sample_id(frame), jpeg).finished(settings.out)
        ]
        finished += len(settings.frames) - len(missing)
        step = max(1, -(-len(missing) // pieces_each))
        tasks += [Task(who.index, tuple(missing[k : k + step])) for k in range(0, len(missing), step)]
    return tasks, finished
