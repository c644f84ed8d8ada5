"""What a listing leaves out, and that no entry ends it."""

import os
import socket
from pathlib import Path

import pytest

from acusim.errors import LayoutError
from acusim.folders import Entry, folder_error, is_junk, junk_note, list_folder

JUNK = (
    *("._F_Ann_N_HA_O_0001.png", "._map.txt", ".DS_Store", "__MACOSX", ".Spotlight-V100", ".Trashes", ".fseventsd"),
    *("Icon\r", ".localized", ".AppleDouble"),
    *(
        "Thumbs.db",
        "thumbs.DB",
        "ehthumbs.db",
        "desktop.ini",
        "Desktop.ini",
        "$RECYCLE.BIN",
        "System Volume Information",
    ),
    *("F_Ann_N_HA_O_0001.png:Zone.Identifier", "~$labels.json"),
    *(".directory", ".Trash-1000", ".~lock.map.txt#", ".nfs000000000012", "lost+found", ".git", ".gitignore"),
    *("@eaDir", "#recycle", "@Recycle", "F_Ann_N_HA_O_0001.png@SynoEAStream", ".acusim-0123456789ab.part"),
)
OURS = (
    *("F_Ann_N_HA_O_0001.png", "F_._N_HA_O_0001.png", "M_Thumbs.db_N_HA_O_0001.json", "map.txt", "train", "v01"),
    *("img_512", "MACOSX", "thumbs", "desktop", "_", "~", "$", "F_a$RECYCLE.BIN_N_HA_O_0001.png", "git", "lost"),
)


@pytest.mark.parametrize("name", JUNK)
def test_junk_is_known_by_its_name(name: str):
    assert is_junk(name)


@pytest.mark.parametrize("name", OURS)
def test_other_names_are_not_junk(name: str):
    assert not is_junk(name)


def _strange(folder: Path) -> None:
    """One of every kind of entry."""
    (folder / "file").write_bytes(b"x")
    (folder / "folder").mkdir()
    (folder / "to_file").symlink_to("file")
    (folder / "to_folder").symlink_to("folder")
    (folder / "up").symlink_to("..")
    (folder / "loop").symlink_to("loop")
    (folder / "ping").symlink_to("pong")
    (folder / "pong").symlink_to("ping")
    (folder / "nowhere").symlink_to("missing")
    (folder / "far").symlink_to("x" * 250 + "/" + "y" * 250)
    (folder / "below_a_file").symlink_to("file/under")
    os.mkfifo(folder / "pipe")
    (folder / "device").symlink_to("/dev/null")


def test_every_kind_of_entry_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    _strange(tmp_path)
    monkeypatch.chdir(tmp_path)  # an address of a socket has at most 100 characters
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        found = {entry.name: entry for entry in list_folder(tmp_path)}
    back = "a link that leads back to itself"
    assert {name: (entry.kind, entry.is_link, entry.fault) for name, entry in found.items()} == {
        "file": ("file", False, ""),
        "folder": ("folder", False, ""),
        "to_file": ("file", True, ""),
        "to_folder": ("folder", True, ""),
        "up": ("folder", True, ""),
        "loop": ("other", True, back),
        "ping": ("other", True, back),
        "pong": ("other", True, back),
        "nowhere": ("other", True, "a link that leads nowhere"),
        "far": ("other", True, "a link that leads nowhere"),
        "below_a_file": ("other", True, "Not a directory"),
        "pipe": ("other", False, "a pipe"),
        "device": ("other", True, "a device"),
        "socket": ("other", False, "a socket"),
    }
    assert list(found) == sorted(found)


def test_junk_is_ignored_and_counted(tmp_path: Path):
    for name in ("b.png", "a.png", "._a.png", "Thumbs.db", ".acusim-00.part"):
        (tmp_path / name).write_bytes(b"")
    (tmp_path / ".acusim").mkdir()
    (tmp_path / ".DS_Store").symlink_to(".DS_Store")
    junk: list[str] = []
    assert [entry.name for entry in list_folder(tmp_path, junk)] == ["a.png", "b.png"]
    assert sorted(junk) == [".DS_Store", "._a.png", "Thumbs.db"], "what this project writes is not junk"
    assert junk_note(junk) == (
        "hidden files and files of operating systems are ignored: 3 (.DS_Store, ._a.png, Thumbs.db)"
    )


@pytest.mark.parametrize("name", [".git", "__MACOSX", "@eaDir", "._x"])
def test_a_root_below_or_with_such_a_name_is_listed(tmp_path: Path, name: str):
    root = tmp_path / name / "root"
    root.mkdir(parents=True)
    (root / "a").write_bytes(b"")
    assert list_folder(root) == [Entry("a", str(root / "a"), "file", False)]
    assert [entry.name for entry in list_folder(tmp_path / name)] == ["root"]


def test_a_folder_that_cannot_be_listed_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "gone").symlink_to("missing")
    (tmp_path / "file").write_bytes(b"")
    for name, reason in (("loop", "leads back to itself"), ("file", "Not a directory"), ("missing", "No such file")):
        with pytest.raises(LayoutError, match=rf"{name}.* cannot be read: .*{reason}"):
            list_folder(tmp_path / name)
    assert folder_error(tmp_path) == folder_error(tmp_path / "missing") == ""
    assert folder_error(tmp_path / "gone") == "a link that leads nowhere"
    assert folder_error(tmp_path / ("x" * 300)) == "File name too long"

    def denied(*_: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", denied)
    assert folder_error(tmp_path) == "Permission denied"
    with pytest.raises(LayoutError, match="cannot be read: Permission denied"):
        list_folder(tmp_path)
