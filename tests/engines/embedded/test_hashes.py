"""Hashes of large files, and what is remembered of them."""

import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from acusim.errors import EngineError
from engines.embedded import hashes
from engines.embedded.hashes import file_sha256

ABC = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def settled(path: Path, data: bytes, age: float = 60) -> Path:
    """A file that was last written so many seconds ago."""
    path.write_bytes(data)
    then = path.stat().st_mtime_ns - int(age * 1e9)
    os.utime(path, ns=(then, then))
    return path


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read whole."""
    seen: list[str] = []
    digest = hashes._digest

    def count(stream: object, name: str, size: int) -> str:
        seen.append(name)
        return digest(stream, name, size)

    monkeypatch.setattr(hashes, "_digest", count)
    return seen


def test_known_answers_in_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert file_sha256(settled(tmp_path / "abc", b"abc")) == ABC
    assert file_sha256(settled(tmp_path / "none", b"")) == hashlib.sha256().hexdigest()
    monkeypatch.setattr(hashes, "CHUNK", 7)
    data = bytes(range(256)) * 3
    assert file_sha256(settled(tmp_path / "long", data)) == hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, reads: list[str], home: Path):
    path = settled(tmp_path / "a", b"abc")
    (tmp_path / "link").symlink_to(path)
    assert [file_sha256(path), file_sha256(path), file_sha256(tmp_path / "link")] == [ABC] * 3
    assert reads == ["a"]
    assert [file.name for file in (home / "acusim-augment").iterdir()] == ["weights.json"]
    settled(path, b"abd", age=30)
    assert file_sha256(path) == hashlib.sha256(b"abd").hexdigest() and len(reads) == 2
    other = settled(tmp_path / "b", b"abc", age=30)
    os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
    os.replace(other, path)  # same size and time, another inode
    assert file_sha256(path) == ABC and len(reads) == 3


def test_a_file_written_just_now_is_not_remembered(tmp_path: Path, reads: list[str]):
    path = tmp_path / "a"
    for data in (b"abc", b"abd"):
        path.write_bytes(data)
        assert file_sha256(path) == hashlib.sha256(data).hexdigest()
    assert len(reads) == 2


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"{",
        b"[]",
        b"[1]",
        b'{"files": 3}',
        b'{"files": {"%s": 3}}',
        b"[" * 90_000,
        b"\xff",
        b'{"files"' + b" " * (2 << 20),
    ],
)
def test_a_damaged_memory_is_ignored_and_made_anew(tmp_path: Path, home: Path, reads: list[str], damage: bytes):
    path = settled(tmp_path / "a", b"abc")
    memory = home / "acusim-augment/weights.json"
    memory.parent.mkdir(parents=True)
    memory.write_bytes(damage.replace(b"%s", str(path).encode()))
    assert [file_sha256(path), file_sha256(path)] == [ABC] * 2
    assert reads == ["a"] and json.loads(memory.read_text())["files"][str(path)]["sha256"] == ABC


@pytest.mark.parametrize("lie", ["", "x" * 64, 5, None, ABC.upper()])
def test_what_is_no_hash_is_not_believed(tmp_path: Path, home: Path, lie: object):
    path = settled(tmp_path / "a", b"abc")
    file_sha256(path)
    memory = home / "acusim-augment/weights.json"
    message = json.loads(memory.read_text())
    message["files"][str(path)]["sha256"] = lie
    memory.write_text(json.dumps(message))
    assert file_sha256(path) == ABC


def test_without_a_place_to_remember_nothing_breaks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = settled(tmp_path / "a", b"abc")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert file_sha256(path) == ABC
    monkeypatch.setenv("XDG_CACHE_HOME", "not/absolute")
    monkeypatch.setenv("HOME", str(tmp_path / "file"))
    monkeypatch.chdir(tmp_path)
    assert file_sha256(path) == ABC and not (tmp_path / "not").exists()

    def homeless(*_: object, **__: object) -> Path:
        raise RuntimeError("no home")

    monkeypatch.setattr("acusim.caches.user_cache_path", homeless)
    assert file_sha256(path) == ABC


def test_only_so_many_files_are_remembered(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(hashes, "KEPT", 3)
    for number in range(5):
        file_sha256(settled(tmp_path / str(number), b"abc"))
    message = json.loads((home / "acusim-augment/weights.json").read_text())
    assert [Path(name).name for name in message["files"]] == ["2", "3", "4"]


def test_files_that_cannot_be_read_or_change_are_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for place, words in ((tmp_path / "gone", "No such file"), (tmp_path, "Is a directory")):
        with pytest.raises(EngineError, match=f"{place.name}.* cannot be read: {words}"):
            file_sha256(place)
    path = settled(tmp_path / "a", b"abc")

    def grow(stream: object, name: str, size: int) -> str:
        path.write_bytes(b"abcd")
        return ABC

    monkeypatch.setattr(hashes, "_digest", grow)
    with pytest.raises(EngineError, match="changed while it was read"):
        file_sha256(path)


def test_progress_is_shown_for_large_files_on_a_terminal_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    path = settled(tmp_path / "large", b"abc")
    monkeypatch.setattr(hashes, "SHOWN_FROM", 2)
    path.touch()
    file_sha256(path)
    assert capsys.readouterr() == ("", "")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    file_sha256(path)
    shown = capsys.readouterr()
    assert "hash of large" in shown.err and shown.out == ""
