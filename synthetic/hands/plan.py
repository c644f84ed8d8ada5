"""Which hands are to be created, how their files are named, and whether a folder fits the settings.

A name states whose hand it is and what is shown: ``S0003_L_back_0012`` is subject 3, left hand, back, image 12 of the
data set. Grammar: ``S<subject>_<L|R>_<back|palm>_<picture>``, numbers with four digits or more.
"""

from dataclasses import dataclass
from pathlib import Path

from acusim.labelled_files import FOREGROUND_FOLDER
from synthetic.hands import __version__
from synthetic.record import prepare_root
from synthetic.settings import FIRST_SUBJECT, HandSettings


@dataclass(frozen=True)
class HandPicture:
    """One image of the plan."""

    number: int
    """In the data set, from 0."""
    subject: int
    side: str
    """L or R."""
    face: str
    """back or palm."""

    @property
    def stem(self) -> str:
        """File name without extension."""
        return f"S{self.subject:04d}_{self.side}_{self.face}_{self.number:04d}"

    @property
    def label(self) -> str:
        """The labelme file; written before the image."""
        return f"{self.stem}.json"

    @property
    def image(self) -> str:
        return f"{self.stem}.png"

    @property
    def mask(self) -> str:
        """The hand's mask, for data sets that have masks."""
        return f"{FOREGROUND_FOLDER}/{self.image}"

    def finished(self, root: Path, masks: bool) -> bool:
        """Whether all its files exist."""
        files = (self.image, self.label, *([self.mask] if masks else []))
        return all((root / file).is_file() for file in files)


def picture(settings: HandSettings, number: int) -> HandPicture:
    """The image of a number; it does not depend on how many there are."""
    turn, rank = divmod(number, settings.subjects)
    subject = settings.first_subject + rank
    side = {"left": "L", "right": "R", "both": "LR"[(turn + subject) % 2]}[settings.side]
    face = ("back", "palm")[(turn // 2 + subject // 2) % 2] if settings.face == "both" else settings.face
    return HandPicture(number, subject, side, face)


def prepare(settings: HandSettings) -> None:
    """Creates the folder and its record, or refuses a folder created with other arguments.

    Raises:
        ConfigError: the folder was created with other arguments, or holds something else.
        OutputError: it cannot be written.
    """
    prepare_root(
        settings.out,
        made_by="synthetic hands",
        version=__version__,
        fixed=settings.fixed,
        grown=lambda before: {"count": max(settings.count, int(before.get("count", 0)))},
        may_change="--count and --workers",
        unwritten={FIRST_SUBJECT: 0, "light": "daylight", "masks": False},
        folders=[FOREGROUND_FOLDER] if settings.masks else [],
    )


def open_tasks(settings: HandSettings) -> tuple[list[tuple[HandPicture, ...]], int]:
    """The images still to be created, in pieces of one subject each, and how many exist already."""
    missing: dict[int, list[HandPicture]] = {}
    for number in range(settings.count):
        item = picture(settings, number)
        if not item.finished(settings.out, settings.masks):
            missing.setdefault(item.subject, []).append(item)
    step = max(1, -(-settings.count // (settings.subjects * settings.workers)))
    tasks = [tuple(items[k : k + step]) for items in missing.values() for k in range(0, len(items), step)]
    return tasks, settings.count - sum(map(len, tasks))
