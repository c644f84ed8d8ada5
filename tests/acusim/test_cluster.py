"""The pool on a cluster: what is lost, refused and raised. Batches: tests/controller/test_cluster.py."""

import json
from pathlib import Path
from typing import Any

import pytest

from acusim.parallel.actor import program
from tests.cluster import Cluster, possible, until

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What came of all runs, on one cluster of two nodes."""
    if reason := possible():
        pytest.skip(reason)
    folder = tmp_path_factory.mktemp("runs")
    with Cluster() as cluster:
        cluster.add("red")
        cluster.add("green")
        process = cluster.start("-m", "tests.acusim.cluster_runs", cluster.address, folder)
        until(lambda: (folder / "joining").exists() or process.poll() is not None)
        cluster.add("late")
        printed, _ = process.communicate(timeout=300)
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
    assert [task for task, _ in one["results"]] == [1, 2, 3] and len({node for _, node in one["results"]}) == 1
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
