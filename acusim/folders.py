"""What lies in a folder, whatever it is: one rule for what takes no part, and no entry that ends a walk.

Every walk of the project lists its folders here. Hidden names and the litter of operating systems, file managers and
network drives are left out; links are followed once, by kind; what cannot be looked at is an entry with its fault.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acusim.errors import LayoutError
from acusim.files import PART_PREFIX, printable

Kind = Literal["file", "folder", "other"]

_LITTER = frozenset(
    {
        # macOS, also as old file servers write it
        "__macosx",
        "icon\r",
        "desktop db",
        "desktop df",
        "temporary items",
        "network trash folder",
        "thevolumesettingsfolder",
        # Windows
        "thumbs.db",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "desktop.ini",
        "$recycle.bin",
        "recycler",
        "recycled",
        "system volume information",
        # network drives, file systems, photograph managers
        "@eadir",
        "@recycle",
        "@__thumb",
        "#recycle",
        "#snapshot",
        "lost+found",
        "picasa.ini",
        "zbthumbnail.info",
    }
)
"""Names as they compare, without regard to case: the systems that write them do not regard it."""
_PREFIXES = (".", "~$")
"""Hidden files of Unix, among them ``._*`` and ``.DS_Store`` of macOS, ``.directory``, ``.git``, ``.~lock.*``; and the
lock files of Microsoft Office."""
_SUFFIXES = (":zone.identifier", ":encryptable", "@synoeastream", "@synoresource")
"""Streams beside a file that became files of their own on the way from Windows or a network drive."""
_STATE = ".acusim"
"""The project's own folder in an output; like a file that is being written, it is nobody's litter."""
_FEW = 3


def is_litter(name: str) -> bool:
    """Whether an entry of this name takes no part in any walk; ask it of names below a root, never of the root."""
    name = unicodedata.normalize("NFC", name).casefold()
    return name in _LITTER or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder."""

    name: str
    path: str
    """The folder as it was given, and the name."""
    kind: Kind
    """What it is, or what it links to."""
    is_link: bool
    fault: str = ""
    """Of ``other``: what it is, or why that cannot be known."""


def list_folder(folder: str | Path, litter: list[str] | None = None) -> list[Entry]:
    """The entries of a folder by name, without litter.

    Args:
        folder: to list.
        litter: gets the names that are left out, but for files of this project.

    Raises:
        LayoutError: the folder cannot be listed; says why. No single entry raises.
    """
    found: list[Entry] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_litter(entry.name):
                    found.append(_looked_at(entry))
                elif litter is not None and not entry.name.startswith((PART_PREFIX, _STATE)):
                    litter.append(entry.name)
    except OSError as error:
        raise LayoutError(f"folder {printable(str(folder))!r} cannot be read: {why(error)}") from None
    return sorted(found, key=lambda entry: entry.name)


def _looked_at(entry: "os.DirEntry[str]") -> Entry:
    is_link = False
    try:
        is_link = entry.is_symlink()
        if entry.is_file():
            return Entry(entry.name, entry.path, "file", is_link)
        if entry.is_dir():
            return Entry(entry.name, entry.path, "folder", is_link)
        fault = _special(entry.stat().st_mode)
    except FileNotFoundError:
        fault = "a link that leads nowhere" if is_link else "gone meanwhile"
    except OSError as error:
        fault = why(error)
    return Entry(entry.name, entry.path, "other", is_link, fault)


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "neither a file nor a folder"


def why(error: OSError) -> str:
    """What an error of the file system means, for a message."""
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    return error.strerror or str(error)


def fault_of_folder(folder: str | Path) -> str:
    """Why something that should be a folder cannot be listed, "" if it can or is not there at all."""
    try:
        with os.scandir(folder):
            return ""
    except FileNotFoundError:
        return "a link that leads nowhere" if os.path.islink(folder) else ""
    except OSError as error:
        return why(error)


def leaves_out(litter: Sequence[str]) -> str:
    """One line on what list_folder left out."""
    names = sorted(set(litter))
    few = ", ".join(printable(name) for name in names[:_FEW])
    more = f" and {len(names) - _FEW} more" if len(names) > _FEW else ""
    return f"hidden files and files of operating systems are left out: {len(litter)} ({few}{more})"
