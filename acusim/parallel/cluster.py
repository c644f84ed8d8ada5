"""Workers on a Ray cluster: an actor for each GPU, or for each share of the cores, of every node.

Tasks and results travel as messages; nodes need this program, not a file system that they share. They may come and go:
what a lost one was working on is done elsewhere.
"""

import os
import pickle
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import acusim
from acusim.errors import ConfigError, EngineError
from acusim.parallel.actor import FINISHED, Actor, program
from acusim.parallel.host import Handle, Host, Place
from acusim.parallel.messages import CLOSE, STOP, Ended, Job

LOCAL = "local"
INSTALL = "python -m pip install -r requirements-cluster.txt"
PROGRAM = Path(acusim.__file__).parents[1]
POLL_SECONDS = 1.0
"""How long an actor waits for something to say before it says nothing."""
CONNECT_SECONDS = 5.0
_DEFAULTS = {"RAY_AUTH_MODE": "token", "RAY_USAGE_STATS_ENABLED": "0", "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0"}
"""Ray's variables, where they are not set."""
_LOOPBACK = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
"""Makes Ray use 127.0.0.1 alone, as it does by default on other systems than Linux."""


@dataclass(frozen=True)
class Share:
    """What of a node each worker gets."""

    gpu: bool | None = False
    """A GPU, or else a core, or all of them where ``per_node`` is 1; None: a GPU if any node has one."""
    per_node: int | None = None
    """The most workers of a node that get cores."""

    def workers(self, resources: Mapping[str, float]) -> int:
        """How many workers a node with these resources gets."""
        if self.gpu:
            return int(resources.get("GPU", 0))
        cores = int(resources.get("CPU", 0))
        return cores if self.per_node is None else min(cores, self.per_node)


@dataclass(slots=True, eq=False)
class ClusterPlace(Place):
    """A share of a node."""

    node: str = ""
    """Its ID."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])


class _Remote(Handle):
    """An actor."""

    def __init__(self, place: ClusterPlace, actor: Any, ray: Any):
        super().__init__(place)
        self.actor, self._ray = actor, ray

    def send(self, message: Any) -> None:
        self.actor.take.remote(pickle.dumps(message))

    def kill(self) -> None:
        self._ray.kill(self.actor)


class RayCluster(Host):
    """Actors on the nodes of a cluster; a node that cannot do the work is left out, and the others go on."""

    shared_memory = False

    def __init__(self, address: str, share: Share, here: int | None = None):
        """Connects to nothing yet.

        Args:
            address: of a running cluster, of which this machine is a node; LOCAL starts one on this machine alone.
            share: of a node for each worker.
            here: cores of a local cluster; None for all.
        """
        self._address, self._share, self._here = address, share, here
        self._ray: Any = None
        self._started = False
        """Whether the connection is this object's own."""
        self._job: Any = None
        self._limit = sys.maxsize
        self._known: set[str] = set()
        """Nodes that were looked at."""
        self._waiting: dict[Any, _Remote] = {}
        """By the reference to the messages that it will send."""

    def open(self, job: Job, tasks: int | None) -> None:
        """Connects.

        Raises:
            ConfigError: Ray is not installed, or the address is none.
            EngineError: no cluster answers there.
        """
        self._ray = ray = _imported()
        if not ray.is_initialized():
            self._connect()
            self._started = True
        self._job = ray.put(pickle.dumps(job))
        self._program = program()
        self._limit = sys.maxsize if tasks is None else tasks
        if self._share.gpu is None:
            found = any(node["Alive"] and node["Resources"].get("GPU") for node in ray.nodes())
            self._share = replace(self._share, gpu=found)
        self.empty = f"--cluster {self._address}: no node has a {'GPU' if self._share.gpu else 'core'} to work with"

    def _connect(self) -> None:
        how: dict[str, Any] = {}
        if self._address == LOCAL:
            _loopback()
            how = {"num_cpus": self._here, "include_dashboard": False}
        else:
            _ensure_reachable(self._address)
        with redirect_stdout(sys.stderr):
            try:
                self._ray.init(address=self._address, log_to_driver=False, configure_logging=False, **how)
            except Exception as error:  # of many kinds, some of which Ray does not document
                text = str(error).strip().split("\n")[0][:300]
                raise EngineError(
                    f"--cluster {self._address}: {text}; this machine has to be a node of that cluster (ray start "
                    f"--address={self._address}), with the same RAY_AUTH_TOKEN"
                ) from None

    def more(self) -> list[Handle]:
        found: list[Handle] = []
        for node in self._ray.nodes():
            if not node["Alive"] or node["NodeID"] in self._known:
                continue
            self._known.add(node["NodeID"])
            count = self._share.workers(node["Resources"])
            cores = max(1, int(node["Resources"].get("CPU", 1)))
            threads = str(max(1, cores // max(count, 1)))
            environment: dict[str, str] = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads}
            for number in range(min(count, self._limit)):
                name = f"node {node['NodeName']}-{node['NodeID'][:6]}{f' #{number + 1}' if count > 1 else ''}"
                found.append(self._start(ClusterPlace(name, node=node["NodeID"], environment=environment)))
                self._limit -= 1
        return found

    def replace(self, lost: Handle) -> Handle | None:
        assert isinstance(lost.place, ClusterPlace)
        alive = {node["NodeID"] for node in self._ray.nodes() if node["Alive"]}
        return self._start(lost.place) if lost.place.node in alive else None

    def _start(self, place: ClusterPlace) -> _Remote:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        kind = self._ray.remote(
            num_cpus=0 if self._share.gpu else 1,
            num_gpus=1 if self._share.gpu else 0,
            max_restarts=0,
            concurrency_groups={"out": 1},
            scheduling_strategy=NodeAffinitySchedulingStrategy(place.node, soft=False),
        )(Actor)
        handle = _Remote(place, kind.remote(self._program, place.environment), self._ray)
        handle.actor.start.remote(self._job, place.name)
        self._listen(handle)
        return handle

    def _listen(self, handle: _Remote) -> None:
        reference = handle.actor.messages.options(concurrency_group="out").remote(POLL_SECONDS)
        self._waiting[reference] = handle

    def refuse(self, handle: Handle, error: Exception) -> None:
        """Leaves it out."""
        self._waiting = {reference: other for reference, other in self._waiting.items() if other is not handle}
        handle.kill()

    def receive(self, seconds: float) -> Iterator[tuple[Handle, Any]]:
        if not self._waiting:
            time.sleep(seconds)
            return
        self._ray.wait(list(self._waiting), timeout=seconds, num_returns=1)
        ready, _ = self._ray.wait(list(self._waiting), timeout=0, num_returns=len(self._waiting))
        for reference in ready:
            handle = self._waiting.pop(reference, None)
            if handle is None:
                continue
            try:
                messages = self._ray.get(reference)
            except self._ray.exceptions.RayError as error:
                yield handle, Ended(_reason(error))
                continue
            if FINISHED not in messages:
                self._listen(handle)
            for message in messages:
                if message != FINISHED:
                    yield handle, pickle.loads(message)

    def close(self, patience: float) -> None:
        if self._ray is None or not self._ray.is_initialized():
            return
        handles = list(dict.fromkeys(self._waiting.values()))
        for handle in handles:
            handle.send(STOP)
            handle.send(CLOSE)
        deadline = time.monotonic() + patience
        while self._waiting and (left := deadline - time.monotonic()) > 0:
            for _ in self.receive(min(left, POLL_SECONDS)):
                pass
        for handle in handles:
            handle.kill()
        self._waiting.clear()
        if self._started:
            self._ray.shutdown()


def _imported() -> Any:
    for name, value in _DEFAULTS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.exceptions
    except ImportError:
        raise ConfigError(f"--cluster needs the package ray: {INSTALL}") from None
    return ray


def _loopback() -> None:
    """Keeps a local cluster on 127.0.0.1; Ray has read its variables when it was imported."""
    from ray._private import ray_constants

    os.environ.update(_LOOPBACK)
    # Its workers find this program wherever this command was started.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(PROGRAM), os.environ.get("PYTHONPATH")]))
    ray_constants.ENABLE_RAY_CLUSTER = False


def _ensure_reachable(address: str) -> None:
    """Raises an error where nothing listens: Ray itself would try for a minute."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 65536:
        raise ConfigError(f"--cluster {address}: neither {LOCAL} nor an address such as 10.0.0.1:6379")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT_SECONDS).close()
    except OSError as error:
        raise EngineError(
            f"--cluster {address}: no Ray listens there ({error.strerror or error}); start it with: ray start --head"
        ) from None


def _reason(error: Exception) -> str:
    text = str(error)
    missing = next((line.strip() for line in text.splitlines() if "ModuleNotFoundError" in line), None)
    if missing:
        return f"{missing}; start Ray there with PYTHONPATH set to the folder of this program"
    node_died = any(words in text for words in ("node has died", "its node", "The node"))
    return "its node is gone" if node_died else "the process died"
