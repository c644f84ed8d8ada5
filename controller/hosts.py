"""Where a batch is worked on: in this process, in processes of this machine, or on a cluster."""

import itertools
import os
from collections.abc import Mapping
from functools import partial

from acusim.errors import EngineError
from acusim.parallel import Host, LocalPlace, LocalProcesses
from controller.concurrent_batches import ConcurrentBatches, batches
from controller.gate import Gate
from controller.job_files import Disk
from controller.planning import PlannedBatch
from controller.workers import Workers, WorkerSettings, in_order
from engines.base import Engine, Setup
from engines.options import ClusterOptions, EmbeddedOptions, RelightOptions
from engines.scenes import read_scene

CLUSTER_GROUP = 8
"""Samples of a message, for engines that take them one by one."""


def workers_of(batch: PlannedBatch, engine: Engine, count: int) -> Workers | ConcurrentBatches:
    """What runs the jobs of a batch.

    Args:
        batch: that is planned.
        engine: its own, not open.
        count: how many jobs there are.

    Raises:
        EngineError: fewer GPUs are visible than asked for.
    """
    settings, options = batch.settings, batch.settings.engine_options
    cluster = options if isinstance(options, ClusterOptions) and options.cluster is not None else None
    host: Host
    if cluster is not None:
        host = cluster_of(cluster)
    elif isinstance(options, EmbeddedOptions) and options.gpus > 1:
        host = LocalProcesses(gpu_places(options))
    elif engine.processes:
        host = LocalProcesses(min(settings.workers, count))
    else:
        gate = Gate(settings.gate, settings.recipe, settings.seed) if settings.gate else None
        return ConcurrentBatches(engine, Disk(batch.plan.root, batch.output), gate)
    scenes = None
    if cluster is not None and not cluster.shared_files:
        scenes = tuple((scene, read_scene(scene)) for scene in batch.scenes)
    known = WorkerSettings(
        settings.recipe, worker_setup(batch), batch.engine_identity, settings.gate, settings.seed, scenes
    )
    if engine.processes:
        grouped = partial(in_order, size=CLUSTER_GROUP if cluster is not None else 1)
    else:
        grouped = partial(batches, size=engine.batch_size)
    return Workers(host, known, grouped, engine.notes, far=cluster is not None)


def cluster_of(options: ClusterOptions) -> Host:
    """The cluster that is asked for."""
    from acusim.parallel.cluster import RayCluster, Share

    if isinstance(options, EmbeddedOptions):
        share = Share({"cuda": True, "cpu": False, "auto": None}[options.device], per_node=1)
    else:
        share = Share(per_node=options.workers if isinstance(options, RelightOptions) else None)
    return RayCluster(options.cluster or "", share)


def worker_setup(batch: PlannedBatch) -> Setup:
    """The setup of a worker's engine: what auto means is settled once, not by each GPU."""
    settings, options = batch.settings, batch.settings.engine_options
    if isinstance(options, EmbeddedOptions):
        # With auto, a process without a GPU would run on the CPU; a worker of a cluster has been given one, or none.
        device = "cuda" if options.device == "auto" and options.cluster is None else options.device
        precision = batch.engine_identity.get("precision", options.precision)
        options = EmbeddedOptions(
            **dict(options)
            | {"gpus": 1, "cluster": None, "shared_files": False, "device": device, "precision": precision}
        )
    return Setup(batch.plan.root, settings.output, options)


def gpu_places(options: EmbeddedOptions) -> list[LocalPlace]:
    """Name and environment of the process for each GPU, or for each share of the cores.

    Raises:
        EngineError: fewer GPUs are visible than requested.
    """
    count = options.gpus
    if options.device == "cpu":
        share = str(max(1, len(os.sched_getaffinity(0)) // count))
        threads = {"OMP_NUM_THREADS": share, "MKL_NUM_THREADS": share}
        return [LocalPlace(f"process {number}", environment=threads) for number in range(count)]
    return [
        LocalPlace(
            entry if entry.startswith(("GPU-", "MIG-")) else f"GPU {entry}",
            environment={"CUDA_VISIBLE_DEVICES": entry},
        )
        for entry in visible_gpus(os.environ, count)
    ]


def visible_gpus(environment: Mapping[str, str], count: int) -> list[str]:
    """The value of CUDA_VISIBLE_DEVICES for each of ``count`` processes.

    Raises:
        EngineError: the variable is set and names fewer.
    """
    variable = environment.get("CUDA_VISIBLE_DEVICES")
    if variable is None:
        return [str(number) for number in range(count)]
    entries = (entry.strip() for entry in variable.split(","))
    # CUDA ignores everything from the first invalid entry on.
    seen = list(itertools.takewhile(lambda entry: entry not in ("", "-1"), entries))
    if len(seen) < count:
        raise EngineError(
            f"--gpus {count}, but CUDA_VISIBLE_DEVICES={variable!r} names {len(seen)}; name more there, or give a "
            "smaller number, or --device cpu"
        )
    return seen[:count]
