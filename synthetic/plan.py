"""Which views are to be created, where they go, and whether a folder fits the settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from acusim import acupoints, layout
from acusim.sample_id import SampleId
from synthetic import __version__
from synthetic.identity import identities
from synthetic.record import prepare_root
from synthetic.settings import HeadSettings


@dataclass(frozen=True)
class Task:
    """Some views of one person: the work of one worker at a time."""

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
        """Whether all of them exist."""
        return all((root / path).is_file() for path in (self.image, self.depth, self.label) if path)


def sample_paths(settings: HeadSettings, sample: SampleId, jpeg: bool = False) -> SamplePaths:
    """Paths of a sample's files."""
    return SamplePaths(
        label=f"{layout.label_folder(settings.split)}/{sample}.json",
        depth=None if jpeg else f"{layout.depth_folder(settings.split, settings.size)}/{sample}.png",
        image=f"{layout.image_folder(settings.split, settings.size)}/{sample}{'.jpg' if jpeg else '.png'}",
    )


def prepare(settings: HeadSettings) -> None:
    """Creates the root's folders, map.txt and synthetic.json, or refuses a root created with other arguments.

    Raises:
        ConfigError: the root was created with other arguments, or holds something else.
        OutputError: it cannot be written.
    """

    def grown(before: dict[str, Any]) -> dict[str, Any]:
        identities, frames = before.get("identities", 0), before.get("frames", [])
        return {"identities": max(settings.identities, int(identities)), "frames": sorted({*settings.frames, *frames})}

    folders = (
        layout.image_folder(settings.split, settings.size),
        layout.depth_folder(settings.split, settings.size),
        layout.label_folder(settings.split),
    )
    prepare_root(
        settings.out,
        made_by="synthetic",
        version=__version__,
        fixed=settings.fixed,
        grown=grown,
        may_change="--identities, --views and --workers",
        folders=folders,
        files={layout.MAP_FILE: acupoints.MAP_TXT},
        unwritten={"cameras": "rig"},
    )


def open_tasks(settings: HeadSettings) -> tuple[list[Task], int]:
    """The views still to be created, in pieces for the workers, and how many exist already."""
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
