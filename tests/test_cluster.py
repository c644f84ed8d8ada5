"""The pool on a cluster: what is lost, refused and raised. Batches there: the files of one process, whatever is lost.

One file for both, because a cluster takes a while to start.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acusim.parallel.actor import program
from controller.cli import main
from tests.cluster import Cluster, possible, until
from tests.support import ROOT

pytestmark = pytest.mark.slow
NOT_HERE = possible()
CONTROLLER = ROOT / "controller" / "controller.py"
VARIANTS = 3
IMAGES = 24 * VARIANTS


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set; with its variants, a batch is long enough that something may happen meanwhile."""
    root = tmp_path_factory.mktemp("cluster") / "data"
    line = ["-m", "synthetic", "--out", str(root), "--identities", "1", "--size", "128", "--quality", "draft"]
    views = ",".join(map(str, range(1, 25)))
    subprocess.run([sys.executable, *line, "--views", views], cwd=ROOT, check=True, timeout=300, capture_output=True)
    return root


@pytest.fixture(scope="module")
def reference(data: Path, tree: Callable[[Path], dict[str, str]]) -> dict[str, str]:
    """The files of an undisturbed batch on this machine."""
    out = data.parent / "reference"
    how = ["--workers", "1", "--variants", str(VARIANTS)]
    assert main(["--batch", "--engine", "relight", *how, "--dataset", str(data), "--output", str(out)]) == 0
    return tree(out)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A cluster of two nodes beside its head."""
    if NOT_HERE:
        pytest.skip(NOT_HERE)
    with Cluster() as made:
        made.add("red")
        made.add("green")
        yield made


@pytest.fixture(scope="module")
def found(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of runs of the pool."""
    folder = tmp_path_factory.mktemp("runs")
    process = cluster.start("-m", "tests.cluster_runs", cluster.address, folder)
    until(lambda: (folder / "joining").exists() or process.poll() is not None)
    cluster.add("late")
    printed, _ = process.communicate(timeout=300)
    cluster.kill("late")
    assert process.returncode == 0, printed
    return json.loads((folder / "found.json").read_text())


def test_a_task_that_kills_every_worker_it_meets_costs_itself(found: dict[str, Any]):
    squares = dict(map(tuple, found["squares"]["results"]))
    assert str(squares.pop(13)).startswith("2 worker processes died on it (the process died")
    # A result that its worker had not handed over before it died is computed again.
    assert squares == {1: 1, 2: 4, 3: 9, 4: 16} and found["squares"]["reported"] >= 4
    assert len(found["squares"]["results"]) == 6 and len(found["squares"]["said"]) >= 4
    assert all("; another takes its place" in line for line in found["squares"]["said"])


def test_errors_of_the_function_keep_their_kind(found: dict[str, Any]):
    assert found["fails"]["error"] == "OutputError: no room for 7"


def test_a_node_that_cannot_be_prepared_is_left_out(found: dict[str, Any]):
    one = found["one bad node"]
    assert sorted(task for task, _ in one["results"]) == list(range(len(one["results"])))
    assert len({node for _, node in one["results"]}) == 1
    [said] = one["said"]
    assert said.startswith("node ") and said.endswith(": the engine cannot be opened here")
    assert found["all bad"]["error"].startswith("ConfigError: node ")


def test_a_node_that_joins_is_used(found: dict[str, Any]):
    assert found["joined"]["nodes"] == 3
    [said] = found["joined"]["said"]
    assert said.startswith("node late-") and said.endswith(": a new worker")


def test_a_cluster_without_gpus_says_so(found: dict[str, Any]):
    assert "no node has a GPU to work with" in found["no GPU"]["error"]
    assert found["GPU if any"]["results"] == [[6, 36]]


def test_the_program_is_known_by_its_code(tmp_path: Path):
    assert program() == program() and len(program()["code"]) == 12


def _line(cluster: Cluster, data: Path, out: Path, *more: object) -> list[object]:
    where = ["--dataset", data, "--output", out, "--cluster", cluster.address]
    return [CONTROLLER, "--batch", "--engine", "relight", "--variants", VARIANTS, *where, *more]


def _images(out: Path) -> int:
    return len(list(out.glob("v*/*/image/img_*/*.png")))


def _disturbed(
    cluster: Cluster, data: Path, out: Path, disturb: Callable[["subprocess.Popen[str]"], None]
) -> "subprocess.CompletedProcess[str]":
    """A batch during which something happens, after its first images."""
    process = cluster.start(*_line(cluster, data, out))
    until(lambda: _images(out) >= 2 or process.poll() is not None)
    disturb(process)
    printed, _ = process.communicate(timeout=300)
    return subprocess.CompletedProcess([], process.returncode, printed)


@pytest.mark.parametrize("more", [(), ("--shared-files",)], ids=["messages", "shared files"])
def test_a_cluster_of_two_nodes_creates_the_files_of_one_process(
    cluster: Cluster,
    data: Path,
    tmp_path: Path,
    reference: dict[str, str],
    tree: Callable[..., object],
    more: tuple[str],
):
    done = cluster.run(*_line(cluster, data, tmp_path / "out", *more))
    assert done.returncode == 0, done.stdout
    assert tree(tmp_path / "out") == reference and f"{IMAGES} of {IMAGES} images are in" in done.stdout
    if not more:
        again = cluster.run(*_line(cluster, data, tmp_path / "out"))
        assert again.returncode == 0 and f"({IMAGES} from before)" in again.stdout


def test_a_controller_that_was_killed_is_run_again(
    cluster: Cluster, data: Path, tmp_path: Path, reference: dict[str, str], tree: Callable[..., object]
):
    def kill(process: "subprocess.Popen[str]") -> None:
        [controller] = cluster.processes("controller.py", str(tmp_path))
        os.kill(controller, signal.SIGKILL)

    assert _disturbed(cluster, data, tmp_path / "out", kill).returncode != 0
    assert 2 <= _images(tmp_path / "out") < IMAGES
    done = cluster.run(*_line(cluster, data, tmp_path / "out"))
    assert done.returncode == 0, done.stdout
    assert tree(tmp_path / "out") == reference


def test_workers_and_nodes_are_lost_and_one_has_another_program(
    cluster: Cluster, data: Path, tmp_path: Path, reference: dict[str, str], tree: Callable[..., object]
):
    """All in one batch, because each takes a while to start."""
    for package in ("acusim", "controller", "engines", "evaluation", "synthetic", "training"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package, ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "other/engines/relight/light.py").open("a") as file:
        file.write("# changed\n")
    out = tmp_path / "out"

    def disturb(process: "subprocess.Popen[str]") -> None:
        os.kill(cluster.actors()[0], signal.SIGKILL)
        seen = _images(out)
        until(lambda: _images(out) >= seen + 6 or process.poll() is not None)
        cluster.kill("green")

    cluster.add("old", PYTHONPATH=str(tmp_path / "other"))
    done = _disturbed(cluster, data, out, disturb)
    assert done.returncode == 0, done.stdout
    assert tree(out) == reference
    assert "a worker process died (" in done.stdout and "another takes its place" in done.stdout
    assert "node green" in done.stdout
    assert "node old" in done.stdout and "of this program, not version" in done.stdout


def test_an_address_where_nothing_listens_is_said_at_once(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    pytest.importorskip("ray")
    line = ["--batch", "--engine", "relight", "--dataset", str(data), "--output", str(tmp_path / "out"), "--cluster"]
    assert main([*line, "127.0.0.1:9"]) == 3
    assert "no Ray listens there" in capfd.readouterr().err
    assert main([*line, "somewhere"]) == 1
    assert "neither local nor an address such as" in capfd.readouterr().err


def test_without_ray_the_line_that_installs_it_is_said(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "ray", None)
    line = ["--batch", "--engine", "relight", "--dataset", str(data), "--output", str(tmp_path / "out")]
    assert main([*line, "--cluster", "local"]) == 1
    assert "pip install -r requirements-cluster.txt" in capfd.readouterr().err
