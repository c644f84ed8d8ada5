"""One owner at a time, whose name others can read; a dead owner holds nothing."""

import errno
import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from acusim.errors import ConfigError, OutputError
from acusim.lock import LOCK_FILE, Lock, lock_owner
from tests.support import ROOT


def test_a_second_owner_is_refused_with_the_first_ones_name(tmp_path: Path):
    path = tmp_path / LOCK_FILE
    assert lock_owner(path) is None and not path.exists()
    with Lock(path, "controller", tmp_path):
        owner = lock_owner(path)
        assert owner is not None and owner.startswith(f"process {os.getpid()} on ")
        expected = (
            rf"another controller is working on '{tmp_path}': process {os.getpid()} on .*; wait for it, or stop it"
        )
        with pytest.raises(ConfigError, match=expected), Lock(path, "controller", tmp_path):
            pass
    assert lock_owner(path) is None and path.read_text() == ""
    with Lock(path, "controller", tmp_path):
        pass


def test_who_waits_is_reported_of_the_owner_once_and_then_holds_the_lock(tmp_path: Path):
    path, owners, order = tmp_path / LOCK_FILE, list[str](), list[str]()

    def second() -> None:
        with Lock(path, "trainer", tmp_path, owners.append):
            order.append("second")

    with Lock(path, "trainer", tmp_path, owners.append):
        thread = threading.Thread(target=second)
        thread.start()
        while not owners:
            time.sleep(0.01)
        order.append("first")
    thread.join(10)
    assert order == ["first", "second"]
    assert len(owners) == 1 and owners[0].startswith(f"process {os.getpid()} on ")


def test_a_killed_owner_holds_nothing(tmp_path: Path):
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from acusim.lock import Lock\n"
        "with Lock(Path(sys.argv[1]), 'trainer', Path(sys.argv[1])):\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    path = tmp_path / LOCK_FILE
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == -9 and path.read_text().startswith("process ")
    assert lock_owner(path) is None


def test_an_owner_is_read_where_only_reading_is_allowed(tmp_path: Path):
    path = tmp_path / LOCK_FILE
    with Lock(path, "trainer", tmp_path):
        path.chmod(0o444)
        assert str(lock_owner(path)).startswith("process ")


def test_a_link_and_a_missing_folder_are_refused(tmp_path: Path):
    (tmp_path / "elsewhere").write_text("not a lock")
    (tmp_path / LOCK_FILE).symlink_to(tmp_path / "elsewhere")
    for path in (tmp_path / LOCK_FILE, tmp_path / "missing" / LOCK_FILE):
        with pytest.raises(OutputError, match=rf"lock '{path}' cannot be created: "), Lock(path, "trainer", tmp_path):
            pass
        assert lock_owner(path) is None
    assert (tmp_path / "elsewhere").read_text() == "not a lock"


def test_a_file_system_without_locks_is_reported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def without(*_: object, **__: object) -> bool:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("acusim.lock.lock_descriptor", without)
    with pytest.raises(OutputError, match="No locks available; put it on a local disk"):
        Lock(tmp_path / LOCK_FILE, "trainer", tmp_path).__enter__()
    assert lock_owner(tmp_path / LOCK_FILE) is None


def test_a_lock_without_a_name_is_held_by_somebody_unknown(tmp_path: Path):
    """An owner that has not written its name yet, or another program that checks for longer than usual."""
    path = tmp_path / LOCK_FILE
    with Lock(path, "trainer", tmp_path):
        path.write_text("")
        assert lock_owner(path) == "unknown"
