"""Lists folders: one rule for which entries are ignored, and no entry that ends a walk.

Every walk of the project lists its folders here. Hidden names and the junk files of operating systems, file managers
and network drives are ignored; links are followed once; an entry that cannot be inspected carries the reason.
"""

import errno
import os
import stat
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from acusim.errors import LayoutError, few
from acusim.files import PART_PREFIX, printable

Kind = Literal["file", "folder", "other"]

_JUNK = frozenset(
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
"""In lower case: the systems that write these names ignore case."""
_PREFIXES = (".", "~$")
"""Hidden files of Unix, among them ``._*`` and ``.DS_Store`` of macOS, ``.directory``, ``.git``, ``.~lock.*``; and the
lock files of Microsoft Office."""
_SUFFIXES = (":zone.identifier", ":encryptable", "@synoeastream", "@synoresource")
"""Alternate streams of a file that became files on the way from Windows or a network drive."""
_STATE = ".acusim"
"""The project's own folder in an output; like a file that is being written, it is not reported as junk."""
_FEW = 3


def is_junk(name: str) -> bool:
    """Whether walks ignore an entry of this name; meant for names below a root, never for the root itself."""
    name = unicodedata.normalize("NFC", name).casefold()
    return name in _JUNK or name.startswith(_PREFIXES) or name.endswith(_SUFFIXES)


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry of a folder."""

    name: str
    path: str
    """The folder as given, and the name."""
    kind: Kind
    """What it is, or what it links to."""
    is_link: bool
    fault: str = ""
    """Of ``other``: what it is, or why that cannot be determined."""


def list_folder(folder: str | Path, junk: list[str] | None = None) -> list[Entry]:
    """The entries of a folder by name, without junk files.

    Args:
        folder: to list.
        junk: receives the ignored names, except those of this project's own files.

    Raises:
        LayoutError: the folder cannot be listed, with the reason. No single entry raises.
    """
    found: list[Entry] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if not is_junk(entry.name):
                    found.append(_inspected(entry))
                elif junk is not None and not entry.name.startswith((PART_PREFIX, _STATE)):
                    junk.append(entry.name)
    except OSError as error:
        raise LayoutError(f"folder {printable(str(folder))!r} cannot be read: {os_error_reason(error)}") from None
    return sorted(found, key=lambda entry: entry.name)


def _inspected(entry: "os.DirEntry[str]") -> Entry:
    is_link = False
    try:
        is_link = entry.is_symlink()
        if entry.is_file():
            return Entry(entry.name, entry.path, "file", is_link)
        if entry.is_dir():
            return Entry(entry.name, entry.path, "folder", is_link)
        fault = _special(entry.stat().st_mode)
    except FileNotFoundError:
        fault = "a link that leads nowhere" if is_link else "removed in the meantime"
    except OSError as error:
        fault = os_error_reason(error)
    return Entry(entry.name, entry.path, "other", is_link, fault)


def _special(mode: int) -> str:
    if stat.S_ISFIFO(mode):
        return "a pipe"
    if stat.S_ISSOCK(mode):
        return "a socket"
    return "a device" if stat.S_ISCHR(mode) or stat.S_ISBLK(mode) else "neither a file nor a folder"


def os_error_reason(error: OSError) -> str:
    """The cause of a file system error, for a message."""
    if error.errno == errno.ELOOP:
        return "a link that leads back to itself"
    return error.strerror or str(error)


def folder_error(folder: str | Path) -> str:
    """Why something that should be a folder cannot be listed, "" if it can or does not exist."""
    try:
        with os.scandir(folder):
            return ""
    except FileNotFoundError:
        return "a link that leads nowhere" if os.path.islink(folder) else ""
    except OSError as error:
        return os_error_reason(error)


def junk_note(junk: Sequence[str]) -> str:
    """One line on the files that list_folder ignored."""
    names = [printable(name) for name in sorted(set(junk))]
    return f"hidden files and files of operating systems are ignored: {len(junk)} ({few(names, _FEW)})"
