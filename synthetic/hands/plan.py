"""Which hands are to be made, what their files are called, and whether a folder fits the arguments.

A name says whose hand it is and what is shown: ``S0003_L_back_0012`` is subject 3, left hand, back, picture 12 of the
data set. Grammar: ``S<subject>_<L|R>_<back|palm>_<picture>``, numbers with four digits or more.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from acusim.errors import ConfigError
from synthetic.modes import QUALITIES, Quality
from synthetic.record import MAX_WORKERS, in_range, one_of, prepare_root

Side = Literal["left", "right", "both"]
SIDES: tuple[Side, ...] = ("left", "right", "both")
Face = Literal["back", "palm", "both"]
FACES: tuple[Face, ...] = ("back", "palm", "both")
SIZES = (128, 2048)
MAX_COUNT, MAX_SUBJECTS = 1_000_000, 10_000


@dataclass(frozen=True)
class HandSettings:
    """The arguments of a run; checked."""

    out: Path
    """Folder of the pictures."""
    count: int
    """How many pictures."""
    seed: int = 0
    size: int = 512
    """Longer side of a picture in pixels."""
    quality: Quality = "draft"
    side: Side = "both"
    face: Face = "back"
    subjects: int = 40
    """How many persons; picture k shows person k modulo this."""
    workers: int = 1
    """Processes; 1 works in this one."""

    def __post_init__(self) -> None:
        in_range("--count", self.count, 1, MAX_COUNT)
        in_range("--subjects", self.subjects, 1, MAX_SUBJECTS)
        in_range("--workers", self.workers, 1, MAX_WORKERS)
        in_range("--seed", self.seed, 0, 2**63 - 1)
        in_range("--size", self.size, *SIZES)
        one_of("--quality", self.quality, QUALITIES)
        one_of("--side", self.side, SIDES)
        one_of("--face", self.face, FACES)

    @property
    def fixed(self) -> dict[str, Any]:
        """The arguments that decide pixels: a folder holds one set of them."""
        names = ("seed", "size", "quality", "side", "face", "subjects")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class HandPicture:
    """One picture of the plan."""

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
        """The labelme file; written before the picture."""
        return f"{self.stem}.json"

    @property
    def image(self) -> str:
        return f"{self.stem}.png"

    def finished(self, root: Path) -> bool:
        """Whether both files are there."""
        return (root / self.image).is_file() and (root / self.label).is_file()


def picture(settings: HandSettings, number: int) -> HandPicture:
    """The number-th picture; does not depend on how many there are."""
    turn, subject = divmod(number, settings.subjects)
    side = {"left": "L", "right": "R", "both": "LR"[(turn + subject) % 2]}[settings.side]
    face = ("back", "palm")[(turn // 2 + subject // 2) % 2] if settings.face == "both" else settings.face
    return HandPicture(number, subject, side, face)


def prepare(settings: HandSettings) -> None:
    """Makes the folder and its record, or refuses a folder made with other arguments.

    Raises:
        ConfigError: the folder was made with other arguments, or holds something else.
        OutputError: it cannot be written.
    """
    prepare_root(
        settings.out,
        made_by="synthetic hands",
        fixed=settings.fixed,
        grown=lambda before: {"count": max(settings.count, int(before.get("count", 0)))},
        may_change="--count and --workers",
    )


def open_tasks(settings: HandSettings) -> tuple[list[tuple[HandPicture, ...]], int]:
    """The pictures still to be made, in pieces of one subject each, and how many were there already."""
    missing: dict[int, list[HandPicture]] = {}
    for number in range(settings.count):
        item = picture(settings, number)
        if not item.finished(settings.out):
            missing.setdefault(item.subject, []).append(item)
    step = max(1, -(-settings.count // (settings.subjects * settings.workers)))
    tasks = [tuple(items[k : k + step]) for items in missing.values() for k in range(0, len(items), step)]
    return tasks, settings.count - sum(map(len, tasks))


def check_name(stem: str) -> HandPicture:
    """What a file's stem says.

    Raises:
        ConfigError: it does not follow the grammar.
    """
    parts = stem.split("_")
    if len(parts) == 4 and parts[1] in ("L", "R") and parts[2] in ("back", "palm"):
        subject, number = parts[0].removeprefix("S"), parts[3]
        if subject.isascii() and subject.isdigit() and number.isascii() and number.isdigit():
            out = HandPicture(int(number), int(subject), parts[1], parts[2])
            if out.stem == stem:
                return out
    raise ConfigError(f"{stem!r} is not a name such as S0003_L_back_0012")
