"""Bad luck, each kind injected: kills, signals, a second controller, full disks; nothing made is lost."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import FOUR_SETS, ROOT, add_sample

Run = Callable[..., object]
IMAGES = "train/image/img_64"


def _start(root: Path, out: Path, *more: str) -> "subprocess.Popen[str]":
    line = [sys.executable, str(ROOT / "controller/controller.py"), "--batch", "--engine", "relight"]
    line += ["--dataset", str(root), "--output", str(out), *more]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True)


def _wait_for_pictures(out: Path, count: int, process: "subprocess.Popen[str]") -> None:
    deadline = time.monotonic() + 60
    while len(list(out.glob("train/image/*/*.png"))) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _children(process: int | str) -> list[str]:
    return Path(f"/proc/{process}/task/{process}/children").read_text().split()


@pytest.fixture(scope="module")
def long(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 48 pictures, which take a while."""
    root = tmp_path_factory.mktemp("long") / "data"
    for model in FOUR_SETS:
        for frame in range(1, 13):
            add_sample(root, f"{model}_{frame:04d}", size=128)
    return root


@pytest.fixture(scope="module")
def whole(long: Path, command: Run, tree: Run) -> dict[str, str]:
    """What an uninterrupted run makes of it."""
    out = long.with_name("whole")
    command("--batch", "--engine", "relight", "--dataset", long, "--output", out, check=0)
    return tree(out)


@pytest.fixture
def long_batch(long: Path, whole: dict[str, str], tmp_path: Path) -> tuple[Path, Path, dict[str, str]]:
    """The data set, an OUT not begun, and what is to lie there in the end."""
    return long, tmp_path / "out", whole


def test_kill_9_loses_nothing(long_batch: tuple[Path, Path, dict[str, str]], command: Run, tree: Run):
    root, out, expected = long_batch
    for count in (5, 30):
        process = _start(root, out)
        _wait_for_pictures(out, count, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        process.communicate()
    (out / IMAGES.replace("64", "128") / ".acusim-0123456789ab.part").write_bytes(b"half")
    report = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert report["running"] is None or "process" in report["running"]
    done = json.loads(
        command("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--json", check=0).stdout
    )
    assert done["already"] > 0 and done["created"] + done["already"] == 48
    assert tree(out) == expected


def test_what_a_crash_left_is_removed_from_every_folder(make_dataset: Run, command: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    line = ["--batch", "--engine", "relight", "--variants", 2, "--dataset", root, "--output", out]
    command(*line, check=0)
    folders = {path.parent for path in out.rglob("*") if path.is_file()} | {out / "v02/train/label/mask"}
    assert {out, out / ".acusim", out / "v01", out / "v02/train/depth/img_64", out / "v02/train/label/label"} <= folders
    for folder in folders:
        folder.mkdir(exist_ok=True)
        (folder / ".acusim-0123456789ab.part").touch()
    for image in out.glob("v*/train/image/*/*.png"):  # so that none is done
        image.unlink()
    command(*line, check=0)
    assert not list(out.rglob("*.part")) and list(out.glob("v*/train/image/*/*.png"))


def test_killed_workers_are_replaced(long_batch: tuple[Path, Path, dict[str, str]], tree: Run):
    root, out, expected = long_batch
    process = _start(root, out, "--workers", "2")
    _wait_for_pictures(out, 5, process)
    server = next(pid for pid in _children(process.pid) if b"forkserver" in Path(f"/proc/{pid}/cmdline").read_bytes())
    workers = _children(server)
    assert len(workers) == 2
    os.kill(int(workers[0]), signal.SIGKILL)
    out_text, error_text = process.communicate(timeout=120)
    assert process.returncode == 0, error_text
    assert tree(out) == expected


def test_one_interrupt_drains(long_batch: tuple[Path, Path, dict[str, str]], command: Run, tree: Run):
    root, out, expected = long_batch
    process = _start(root, out)
    _wait_for_pictures(out, 5, process)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to the workers, too
    out_text, error_text = process.communicate(timeout=60)
    assert process.returncode == 130, error_text
    report = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert report["counts"]["running"] == 0 and 5 <= report["counts"]["done"] < 48
    assert report["counts"]["done"] == len(list(out.glob("train/image/*/*.png")))
    command("--verify", "--output", out, check=0)
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    assert tree(out) == expected


def test_two_interrupts_stop_now(long_batch: tuple[Path, Path, dict[str, str]], command: Run, tree: Run):
    root, out, expected = long_batch
    process = _start(root, out)
    _wait_for_pictures(out, 5, process)
    process.send_signal(signal.SIGINT)
    # The second one has to be another: two at once may arrive as one, and a third meet a Python that is done.
    assert process.stderr is not None
    assert any("once more to stop now" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode == 130
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    assert tree(out) == expected


def test_a_second_controller_is_refused_and_a_stale_lock_is_not(
    long_batch: tuple[Path, Path, dict[str, str]], command: Run, tree: Run
):
    root, out, expected = long_batch
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out)
    process = _start(root, out)
    _wait_for_pictures(out, 3, process)
    os.kill(process.pid, signal.SIGSTOP)
    try:
        refused = command(*line, check=1)
        assert f"process {process.pid} on" in refused.stderr
        status = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
        assert f"process {process.pid}" in status["running"]
    finally:
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
    assert (out / ".acusim/lock").read_text().startswith(f"process {process.pid}")
    command(*line, check=0)
    assert tree(out) == expected


def test_disk_full_is_a_clean_stop(make_dataset: Run, command: Run, tree: Run, tmp_path: Path):
    """The disk fills up in the middle: the larger half of the pictures cannot be written."""
    root, out = make_dataset(frames=range(1, 5), size=128), tmp_path / "out"
    command("--batch", "--engine", "relight", "--dataset", root, "--output", tmp_path / "whole", check=0)
    sizes = sorted(path.stat().st_size for path in (tmp_path / "whole").glob("train/image/*/*.png"))
    middle = sizes[len(sizes) // 2]
    code = (
        f"import sys; sys.path.insert(0, {str(ROOT)!r})\n"
        "import errno, os\n"
        "import controller.output_files as output_files\n"
        "true = output_files.write_atomic\n"
        "def limited(path, data):\n"
        f"    if path.suffix == '.png' and len(data) > {middle}:\n"
        "        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))\n"
        "    true(path, data)\n"
        "output_files.write_atomic = limited\n"
        "from controller.cli import main\n"
        "if __name__ == '__main__':\n"
        "    line = ['--batch', '--engine', 'relight']\n"
        f"    sys.exit(main([*line, '--dataset', {str(root)!r}, '--output', {str(out)!r}]))\n"
    )
    script = tmp_path / "limited.py"  # the workers import it, and with it the limit
    script.write_text(code)
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    assert "No space left" in done.stderr and "run the same command again" in done.stderr
    report = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert report["counts"]["skipped"] == 0 and report["counts"]["running"] == 0 and report["counts"]["planned"] > 0
    assert not list(out.rglob("*.part"))
    command("--batch", "--engine", "relight", "--dataset", root, "--output", out, check=0)
    assert tree(out) == tree(tmp_path / "whole")


def test_output_that_is_read_only_from_the_start(make_dataset: Run, command: Run, tmp_path: Path):
    root = make_dataset(frames=(1,))
    blocker = tmp_path / "file"
    blocker.write_text("x")
    done = command("--batch", "--engine", "relight", "--dataset", root, "--output", blocker / "out", check=1)
    assert "cannot be written" in done.stderr
    proc = command("--batch", "--engine", "relight", "--dataset", root, "--output", "/proc/out", check=1)
    assert "cannot be written" in proc.stderr


@pytest.mark.parametrize("delay", [0.3, 0.8])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_at_any_time_of_the_start(long: Path, command: Run, tmp_path: Path, delay: float, number: int):
    """Before there is a handler Python's own decides; from then on the exit code is 130 and nothing is printed raw."""
    out = tmp_path / "out"
    process = _start(long, out, "--workers", "2")
    time.sleep(delay)
    started = (out / ".acusim").exists()
    os.killpg(process.pid, number)
    _, error_text = process.communicate(timeout=60)
    if started:
        assert process.returncode == 130, error_text
        assert "Traceback" not in error_text
    command("--batch", "--engine", "relight", "--dataset", long, "--output", out, "--limit", 4, check=0)


def test_out_without_its_ledger_is_not_taken_over(make_dataset: Run, command: Run, tree: Run, tmp_path: Path):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out)
    command(*line, check=0)
    before = tree(out)
    (out / ".acusim/ledger.sqlite").unlink()
    assert "no ledger" in command(*line, "--seed", 7, check=1).stderr
    assert tree(out) == before


@pytest.mark.parametrize("name", ["manifest.jsonl", "contact_sheet.jpg", "recipe.toml", "map.txt", "train"])
def test_a_result_that_cannot_be_written_is_reported(make_dataset: Run, command: Run, tmp_path: Path, name: str):
    root, out = make_dataset(frames=(1,)), tmp_path / "out"
    line = ("--batch", "--engine", "relight", "--dataset", root, "--output", out, "--json")
    command(*line, "--limit", 1, check=0)
    path = out / name
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    path.write_text("in the way") if name == "train" else path.mkdir()
    done = command(*line, check=1)
    assert "Traceback" not in done.stderr and "cannot write" in json.loads(done.stdout)["fatal"]
