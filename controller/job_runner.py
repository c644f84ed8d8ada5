"""Runs jobs on an engine: reads samples, asks the engine, lets the gate judge, writes image, label, depth and mask."""

import dataclasses
import time
import traceback
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, EngineError
from acusim.files import sha256
from acusim.point_mask import mask_path
from controller.gate import Gate
from controller.job import REASON_LENGTH, Job, JobResult
from controller.job_files import Files
from controller.records import encode_result
from controller.samples import LoadedJob, augmented, load_jobs, read_sample
from engines.base import Engine, Result

_Encoded = tuple[LoadedJob, bytes, dict[str, Any]]
"""A job, its image file, and its line of the manifest."""


def run_jobs(engine: Engine, jobs: Sequence[Job], files: Files, gate: Gate | None = None) -> list[JobResult]:
    """Creates the images of some jobs and writes them; never raises.

    Args:
        engine: open.
        jobs: that may be in one batch of the engine; each has a result, in order.
        files: of samples and of OUT.
        gate: judges every image before it is written; None accepts whatever is valid.
    """
    started = time.perf_counter()
    results: dict[str, JobResult] = {}
    try:
        pending = load_jobs(jobs, files.root, files.read, results)
        for number in range(len(gate.attempts) if gate else 1):
            accepted, pending = _attempt(engine, pending, gate, number, results)
            for encoded in accepted:
                seconds = (time.perf_counter() - started) / len(jobs)
                results[encoded[0].job.key] = files.write(_result(encoded, seconds, gate))
            if not pending:
                break
        for entry in pending:
            count, reason = len(entry.attempts), entry.attempts[-1]["reason"]
            text = f"the gate accepted none of {count} attempts; the last: {reason}"
            results[entry.job.key] = JobResult.skip(entry.job.key, text, entry.attempts)
    except EngineError as error:
        lost = JobResult("", fatal=str(error), engine_lost=True)
        return [results.get(job.key, dataclasses.replace(lost, key=job.key)) for job in jobs]
    except Exception as error:  # a fault in our own code must cost one item, not the batch
        if len(jobs) > 1:
            return [result for job in jobs for result in run_jobs(engine, [job], files, gate)]
        return [JobResult.skip(jobs[0].key, _unexpected(error))]
    return [results[job.key] for job in jobs]


def render(
    engine: Engine, job: Job, root: Path, attempts: Sequence[dict[str, Any]] = ()
) -> tuple[bytes, dict[str, Any]] | JobResult:
    """Creates the image of one job in memory, without a gate: (image file, manifest line), or why not.

    Args:
        engine: open.
        job: to be run.
        root: of the data set.
        attempts: a gate's verdicts, which are in the image's record.

    Raises:
        EngineError: the engine as a whole cannot continue.
    """
    results: dict[str, JobResult] = {}
    for entry in load_jobs([job], root, partial(read_sample, root=root), results):
        [answer] = augmented(engine.name, engine.augment, [entry])
        entry.attempts += attempts
        if not isinstance(answer, AcuSimError):
            return encode_result(entry, answer, engine)
        results[job.key] = JobResult.skip(job.key, answer)
    return results[job.key]


def _attempt(
    engine: Engine, loaded: Sequence[LoadedJob], gate: Gate | None, number: int, results: dict[str, JobResult]
) -> tuple[list[_Encoded], list[LoadedJob]]:
    """One attempt at some jobs; without a gate whatever is valid is accepted.

    Returns:
        What is accepted; and what is to be tried again.
    """
    accepted: list[_Encoded] = []
    again: list[LoadedJob] = []
    if gate:
        loaded = [entry if number == 0 else _otherwise(entry, gate, number) for entry in loaded]
    worker = gate.engine(engine, number) if gate else engine
    augment = partial(gate.augment, worker) if gate else engine.augment
    for entry, answer in zip(loaded, augmented(worker.name, augment, loaded), strict=True):
        if gate is None and isinstance(answer, AcuSimError):
            results[entry.job.key] = JobResult.skip(entry.job.key, answer)
        elif gate is None or _passes(entry, answer, gate, number, worker.exact):
            assert isinstance(answer, Result)
            accepted.append((entry, *encode_result(entry, answer, engine)))
        else:
            again.append(entry)
    return accepted, again


def _otherwise(entry: LoadedJob, gate: Gate, number: int) -> LoadedJob:
    """The same job for another attempt."""
    job, recipe = entry.job, gate.attempts[number].recipe
    seed = gate.seed(job.sample.id, job.variant, number)
    changed = recipe if recipe != gate.attempts[0].recipe else None
    return dataclasses.replace(
        entry,
        job=dataclasses.replace(job, attempt=number, seed=seed),
        request=dataclasses.replace(entry.request, seed=seed, recipe=changed),
    )


def _passes(entry: LoadedJob, answer: Result | AcuSimError, gate: Gate, number: int, exact: bool) -> bool:
    """Whether the gate accepts an image; its verdict is noted. An engine's error is an image that failed."""
    attempt, job = gate.attempts[number], entry.job
    note: dict[str, Any] = {"attempt": number, "way": attempt.way, "seed": job.seed, "engine": attempt.recipe.engine}
    planned = gate.attempts[0].recipe
    note |= {name: value for name, value in entry.request.changes.items() if value != getattr(planned, name)}
    if isinstance(answer, AcuSimError):
        verdict: dict[str, Any] = {"accept": False, "reason": str(answer)[:REASON_LENGTH]}
    else:
        verdict = gate.verdict(entry.request, entry.label, answer.pixels, entry.kept, exact)
    entry.attempts.append(note | verdict)
    return bool(verdict["accept"])


def _result(encoded: _Encoded, seconds: float, gate: Gate | None) -> JobResult:
    """A job's result with the files that belong to it: label, depth, point mask and image."""
    entry, data, record = encoded
    job, digest = entry.job, sha256(data)
    sample, folder = job.sample, job.folder
    files = [(folder + path, entry.copied[name]) for name, path in sample.copied.items()]
    mask = gate.mask(entry.kept, entry.label, sample.image, digest) if gate else None
    if mask is not None:
        files.append((folder + mask_path(sample.image), mask))
        record = record | {"mask": folder + mask_path(sample.image), "mask_sha256": sha256(mask)}
    files.append((job.key, data))
    return JobResult(job.key, job.attempt, digest, len(data), record, seconds, files=tuple(files))


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"
