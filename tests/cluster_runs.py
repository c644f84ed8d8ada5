"""Runs on a cluster: ``python -m tests.cluster_runs ADDRESS FOLDER`` writes what came of each to found.json."""

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import ray

from acusim.errors import AcuSimError, ConfigError, OutputError
from acusim.parallel import Died, Work, run
from acusim.parallel.cluster import RayCluster, Share


def square(number: int, work: Work) -> int:
    """Squares; 13 kills its worker."""
    if number == 13:
        os._exit(5)
    work.report(1)
    return number**2


def fails(number: int, work: Work) -> int:
    """Raises."""
    raise OutputError(f"no room for {number}")


@contextmanager
def only_on_one_node(folder: Path, healthy: bool) -> Iterator[str]:
    """Cannot be prepared on the first node that tries, or on any."""
    node = ray.get_runtime_context().get_node_id()
    with suppress(FileExistsError), (folder / "bad").open("x") as file:
        file.write(node)
    if (folder / "bad").read_text() == node or not healthy:
        raise ConfigError("the engine cannot be opened here")
    yield node


def waits(number: int, work: Work) -> str:
    """The node of a worker, after a while."""
    time.sleep(0.2)
    return ray.get_runtime_context().get_node_id()


def tasks_until(done: Callable[[], bool]) -> Iterator[int]:
    """Tasks from 0 until something is the case, for two minutes at most."""
    deadline = time.monotonic() + 120
    number = 0
    while not done() and time.monotonic() < deadline:
        yield number
        number += 1


def where(number: int, work: Work) -> str:
    """The node of a worker."""
    return work.state


def outcome(cluster: RayCluster, *arguments: Any, **options: Any) -> dict[str, Any]:
    """What a run gave, or raised, and what it said."""
    said: list[str] = []
    reported: list[int] = []
    try:
        results = list(run(*arguments, cluster, said=said.append, reported=reported.append, **options))
    except AcuSimError as error:
        return {"error": f"{type(error).__name__}: {error}", "said": said}
    found = [[task, str(result) if isinstance(result, Died) else result] for task, result in results]
    return {"results": sorted(found, key=str), "said": said, "reported": sum(reported)}


def main(address: str, folder: Path) -> None:
    """All runs."""
    ray.init(address=address, log_to_driver=False, configure_logging=False)

    def cluster(share: Share | None = None) -> RayCluster:
        """A new one; all share a connection."""
        return RayCluster(address, share or Share())

    found = {
        "squares": outcome(cluster(), square, [1, 2, 13, 3, 4, 13]),
        "fails": outcome(cluster(), fails, [7]),
        "all bad": outcome(cluster(), where, [1, 2], prepare=only_on_one_node, arguments=(folder, False)),
        "no GPU": outcome(cluster(Share(gpu=True)), square, [1]),
        "GPU if any": outcome(cluster(Share(gpu=None, per_node=1)), square, [6]),
    }
    said: list[str] = []
    results: list[Any] = []
    # A healthy node is not done before the other fails.
    tasks = tasks_until(lambda: bool(said and results))
    for result in run(where, tasks, cluster(), prepare=only_on_one_node, arguments=(folder, True), said=said.append):
        results.append(result)
    found["one bad node"] = {"results": results, "said": said}
    (folder / "joining").touch()
    seen: set[str] = set()
    said = []
    for _, node in run(waits, tasks_until(lambda: len(seen) == 3), cluster(), said=said.append):
        seen.add(str(node))
    found["joined"] = {"nodes": len(seen), "said": said}
    (folder / "found.json").write_text(json.dumps(found))


if __name__ == "__main__":
    # Workers import functions by their module, which __main__ is not.
    from tests import cluster_runs

    cluster_runs.main(sys.argv[1], Path(sys.argv[2]))
