"""What is to be made, where it goes, and whether a folder fits the arguments."""

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim import acupoints, layout
from acusim.errors import ConfigError, OutputError
from acusim.files import write_atomic
from acusim.sample_id import SampleId
from synthetic import __version__
from synthetic.identity import identities
from synthetic.modes import LIGHT_MODES, QUALITIES, LightMode, Quality

RECORD_FILE = "synthetic.json"
SPLITS = ("train", "test")
SIZES = (64, 128, 256, 512, 1024)
MAX_IDENTITIES, MAX_WORKERS = 100_000, 256


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

    def __post_init__(self) -> None:
        _in_range("--identities", self.identities, 1, MAX_IDENTITIES)
        _in_range("--workers", self.workers, 1, MAX_WORKERS)
        _in_range("--seed", self.seed, 0, 2**63 - 1)
        _one_of("--size", self.size, SIZES)
        _one_of("--quality", self.quality, QUALITIES)
        _one_of("--light", self.light, LIGHT_MODES)
        _one_of("--split", self.split, SPLITS)
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
        }


def _in_range(option: str, value: int, low: int, high: int) -> None:
    if not low <= value <= high:
        raise ConfigError(f"{option} {value} is outside {low}..{high}; choose a number in that range")


def _one_of(option: str, value: object, allowed: tuple[object, ...]) -> None:
    if value not in allowed:
        raise ConfigError(f"{option} {value!r} is not one of {', '.join(map(str, allowed))}; choose one of these")


@dataclass(frozen=True)
class Task:
    """Some views of one person: what a worker is handed at a time."""

    index: int
    """Number of the identity."""
    frames: tuple[int, ...]


@dataclass(frozen=True)
class SamplePaths:
    """The three files of a sample, relative to the root; the image is written last."""

    label: str
    depth: str
    image: str

    def finished(self, root: Path) -> bool:
        """Whether all three are there."""
        return all((root / path).is_file() for path in (self.image, self.depth, self.label))


def sample_paths(settings: Settings, sample: SampleId) -> SamplePaths:
    """Where a sample's files belong."""
    return SamplePaths(
        label=f"{layout.label_folder(settings.split)}/{sample}.json",
        depth=f"{layout.depth_folder(settings.split, settings.size)}/{sample}.png",
        image=f"{layout.image_folder(settings.split, settings.size)}/{sample}.png",
    )


def prepare(settings: Settings) -> None:
    """Makes the root's folders, map.txt and synthetic.json, or refuses a root made with other arguments.

    Raises:
        ConfigError: the root was made with other arguments, or holds something else.
        OutputError: it cannot be written.
    """
    root = settings.out
    if root.exists() and not root.is_dir():
        raise ConfigError(f"--out {str(root)!r} is a file; give a folder")
    record_path = root / RECORD_FILE
    record = {"made_by": "synthetic", "version": __version__, "arguments": settings.fixed}
    record |= {"identities": settings.identities, "frames": list(settings.frames)}
    if record_path.exists():
        before = _read_record(record_path)
        _refuse_mismatch(before, record, root)
        record["identities"] = max(settings.identities, int(before["identities"]))
        record["frames"] = sorted({*settings.frames, *before["frames"]})
    elif root.is_dir() and any(root.iterdir()):
        raise ConfigError(
            f"--out {str(root)!r} is not empty and has no {RECORD_FILE}: it was not made by this program; "
            "give a new or empty folder"
        )
    folders = (
        layout.image_folder(settings.split, settings.size),
        layout.depth_folder(settings.split, settings.size),
        layout.label_folder(settings.split),
    )
    try:
        for folder in folders:
            os.makedirs(root / folder, exist_ok=True)
        if not (root / layout.MAP_FILE).is_file():
            write_atomic(root / layout.MAP_FILE, acupoints.MAP_TXT)
        write_atomic(record_path, (json.dumps(record, indent=2) + "\n").encode())
    except OSError as error:
        raise OutputError(f"--out {str(root)!r} cannot be written: {error.strerror or error}") from None


def _read_record(path: Path) -> dict[str, Any]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        assert isinstance(record["arguments"], dict)
        assert isinstance(record["identities"], int) and isinstance(record["frames"], list)
    except (OSError, ValueError, KeyError, TypeError, AssertionError):
        raise ConfigError(f"{str(path)!r} is damaged; restore it, or give another --out") from None
    return record


def _refuse_mismatch(before: dict[str, Any], now: dict[str, Any], root: Path) -> None:
    pairs = {"version": (before.get("version"), now["version"])}
    pairs |= {f"--{key}": (before["arguments"].get(key), value) for key, value in now["arguments"].items()}
    different = [f"{key} was {old}, now {new}" for key, (old, new) in pairs.items() if old != new]
    if different:
        raise ConfigError(
            f"--out {str(root)!r} was made with other arguments: {'; '.join(different)}. "
            "Give the same arguments (only --identities, --views and --workers may change) or another --out"
        )


def open_tasks(settings: Settings) -> tuple[list[Task], int]:
    """The views still to be made, in pieces for the workers, and how many were there already."""
    pieces_each = max(1, -(-settings.workers // settings.identities))
    tasks: list[Task] = []
    finished = 0
    for who in identities(settings.seed, settings.identities):
        missing = [f for f in settings.frames if not sample_paths(settings, who.sample_id(f)).finished(settings.out)]
        finished += len(settings.frames) - len(missing)
        step = max(1, -(-len(missing) // pieces_each))
        tasks += [Task(who.index, tuple(missing[k : k + step])) for k in range(0, len(missing), step)]
    return tasks, finished
