"""Makes pictures: reads a sample, asks the engine, checks the answer, writes picture, label and depth."""

import dataclasses
import errno
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

import acusim
from acusim.errors import AcuSimError, EngineError, LayoutError, OutputError, PictureError
from acusim.files import safe_join, sha256, write_atomic
from acusim.labels import Label, parse_label_file
from acusim.pictures import decode_rgb, encode, read_file
from acusim.point_mask import mask_path
from controller.gate import Gate
from controller.job import Job
from controller.ledger import Done
from engines.base import Engine, Request, Result

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENODEV}
"""Errors of writing that the next item would meet as well: the batch stops instead of setting items aside."""
BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
"""A file or a loop of links lies where a folder of OUT should be: the next item would meet it, too."""
REASON_LENGTH = 500
PROGRAM = "acusim-augment"
_INSIDE_ONLY = ("recipe_hash", "positive", "negative", "program", "version")
"""What the record inside a picture holds beside its line of the manifest."""


@dataclass(frozen=True, slots=True)
class Made:
    """What became of a job: exactly one of done, reason and fatal is told."""

    key: str
    attempt: int = 0
    sha256: str = ""
    size: int = 0
    record: dict[str, Any] = field(default_factory=dict)
    """The manifest's line."""
    seconds: float = 0.0
    reason: str | None = None
    """Why the item is set aside."""
    fatal: str | None = None
    """Why the whole batch must stop; the item stays planned."""
    engine_lost: bool = False
    """True if fatal speaks of the engine, not of the output."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """What the gate said of each, where it accepted none."""

    @classmethod
    def aside(cls, key: str, reason: object) -> "Made":
        """An item that cannot be made; a reason that quotes a hostile file is cut."""
        return cls(key, reason=str(reason)[:REASON_LENGTH])

    def done(self, stamp: str) -> Done:
        """The ledger's entry of a picture that was made."""
        return Done(self.key, self.attempt, self.sha256, self.size, self.record, self.seconds, stamp)


@dataclass(slots=True)
class _Started:
    """A job whose sample has been read."""

    job: Job
    request: Request
    notes: tuple[str, ...]
    label: Label
    label_data: bytes
    depth: bytes | None
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """What the gate said of each attempt so far."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What the gate knows of the sample."""


def render(
    engine: Engine, jobs: Sequence[Job], root: Path, attempts: Sequence[dict[str, Any]] = ()
) -> list[tuple[bytes, dict[str, Any]] | Made]:
    """Makes the pictures of some jobs in memory, without a gate: (encoded picture, manifest line), or why not.

    Args:
        engine: open.
        jobs: to be made.
        root: of the data set.
        attempts: what a gate said of them, which is part of their records.

    Raises:
        EngineError: the engine broke down as a whole.
    """
    answers: dict[str, tuple[bytes, dict[str, Any]] | Made] = {}
    started = _read(jobs, root, answers)
    for entry, result in zip(started, _made(engine.name, engine.augment, started), strict=True):
        key = entry.job.key
        entry.attempts += attempts
        answers[key] = Made.aside(key, result) if isinstance(result, AcuSimError) else _encode(entry, result, engine)
    return [answers[job.key] for job in jobs]


def make(engine: Engine, jobs: Sequence[Job], root: Path, output: Path, gate: Gate | None = None) -> list[Made]:
    """Makes and writes the pictures of some jobs; never raises."""
    begun = time.perf_counter()
    answers: dict[str, Made] = {}
    try:
        pending = _read(jobs, root, answers)
        for number in range(len(gate.attempts) if gate else 1):
            accepted, pending = _attempt(engine, pending, gate, number, answers)
            for entry, data, record in accepted:
                seconds = (time.perf_counter() - begun) / len(jobs)
                answers[entry.job.key] = _written(entry, data, record, seconds, output, gate)
            if not pending:
                break
        for entry in pending:
            count, reason = len(entry.attempts), entry.attempts[-1]["reason"]
            told = f"the gate accepted none of {count} attempts; the last: {reason}"
            answers[entry.job.key] = dataclasses.replace(Made.aside(entry.job.key, told), attempts=entry.attempts)
    except EngineError as error:
        lost = Made("", fatal=str(error), engine_lost=True)
        return [answers.get(job.key, dataclasses.replace(lost, key=job.key)) for job in jobs]
    except Exception as error:  # a fault in our own code must cost one item, not the batch
        if len(jobs) > 1:
            return [made for job in jobs for made in make(engine, [job], root, output, gate)]
        return [Made.aside(jobs[0].key, _unexpected(error))]
    return [answers[job.key] for job in jobs]


def _read(jobs: Sequence[Job], root: Path, answers: dict[str, Any]) -> list[_Started]:
    """The jobs whose samples can be read; the others get their answers."""
    started: list[_Started] = []
    for job in jobs:
        try:
            started.append(_start(job, root))
        except AcuSimError as error:
            answers[job.key] = Made.aside(job.key, error)
    return started


def _made(
    name: str, augment: Callable[[list[Request]], list[Result | AcuSimError]], started: Sequence[_Started]
) -> list[Result | AcuSimError]:
    """The engine's answers, checked: a picture of another size, or a flat one, is an error.

    Raises:
        EngineError: it gave another number of answers.
    """
    results = augment([entry.request for entry in started]) if started else []
    if len(results) != len(started):
        raise EngineError(f"engine {name} gave {len(results)} answers to {len(started)} requests")
    checked: list[Result | AcuSimError] = []
    for entry, result in zip(started, results, strict=True):
        fault = _named(entry, result) if isinstance(result, AcuSimError) else _fault(entry, result, name)
        checked.append(fault or result)
    return checked


def _attempt(
    engine: Engine, started: Sequence[_Started], gate: Gate | None, number: int, answers: dict[str, Made]
) -> tuple[list[tuple[_Started, bytes, dict[str, Any]]], list[_Started]]:
    """One attempt at some jobs; without a gate whatever is sound is accepted.

    Returns:
        What is accepted, encoded, with its manifest line; and what is to be tried again.
    """
    accepted: list[tuple[_Started, bytes, dict[str, Any]]] = []
    again: list[_Started] = []
    if gate:
        started = [entry if number == 0 else _otherwise(entry, gate, number) for entry in started]
    maker = gate.engine(engine, number) if gate else engine
    augment = partial(gate.augment, maker) if gate else engine.augment
    for entry, result in zip(started, _made(maker.name, augment, started), strict=True):
        if gate is None and isinstance(result, AcuSimError):
            answers[entry.job.key] = Made.aside(entry.job.key, result)
        elif gate is None or _passes(entry, result, gate, number, maker.exact):
            assert isinstance(result, Result)
            accepted.append((entry, *_encode(entry, result, engine)))
        else:
            again.append(entry)
    return accepted, again


def _otherwise(entry: _Started, gate: Gate, number: int) -> _Started:
    """The same job for another attempt."""
    job, recipe = entry.job, gate.attempts[number].recipe
    seed = gate.seed(job.sample.id, job.variant, number)
    changed = recipe if recipe != gate.attempts[0].recipe else None
    return dataclasses.replace(
        entry,
        job=dataclasses.replace(job, attempt=number, seed=seed),
        request=dataclasses.replace(entry.request, seed=seed, recipe=changed),
    )


def _passes(entry: _Started, result: Result | AcuSimError, gate: Gate, number: int, exact: bool) -> bool:
    """Whether the gate accepts a picture; its verdict is noted. An engine's error is a picture that failed."""
    attempt, job = gate.attempts[number], entry.job
    note: dict[str, Any] = {"attempt": number, "way": attempt.way, "seed": job.seed, "engine": attempt.recipe.engine}
    note |= entry.request.changes if attempt.way == "softened" else {}
    if isinstance(result, AcuSimError):
        verdict: dict[str, Any] = {"accept": False, "reason": str(result)[:REASON_LENGTH]}
    else:
        verdict = gate.verdict(entry.request, entry.label, result.pixels, entry.kept, exact)
    entry.attempts.append(note | verdict)
    return bool(verdict["accept"])


def _written(
    entry: _Started, data: bytes, record: dict[str, Any], seconds: float, output: Path, gate: Gate | None
) -> Made:
    """Writes a picture and what belongs to it."""
    job, digest = entry.job, sha256(data)
    image = job.sample.image
    mask = gate.mask(entry.kept, entry.label, image, digest) if gate else None
    if mask is not None:
        record = record | {"mask": job.folder + mask_path(image), "mask_sha256": sha256(mask)}
    try:
        _write(entry, data, mask, output)
    except OutputError as error:
        return Made(job.key, fatal=str(error))
    except LayoutError as error:
        return Made.aside(job.key, error)
    return Made(job.key, job.attempt, digest, len(data), record, seconds)


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def _start(job: Job, root: Path) -> _Started:
    label, label_data = parse_label_file(safe_join(root, job.sample.label))
    source = safe_join(root, job.sample.image)
    picture = decode_rgb(read_file(source), source.name)
    depth = safe_join(root, job.sample.depth) if job.sample.depth else None
    depth_data = read_file(depth, "depth") if depth else None
    request = Request(
        sample=job.sample.id,
        source=source,
        pixels=picture.pixels,
        source_data=picture.data,
        source_sha256=sha256(picture.data),
        depth=depth,
        depth_data=depth_data,
        scene=job.scene,
        bald=job.bald,
        prompt_set=job.prompt_set,
        positive=job.positive,
        negative=job.negative,
        seed=job.seed,
        alpha=picture.alpha,
    )
    return _Started(job, request, picture.notes, label, label_data, depth_data)


def _named(entry: _Started, error: AcuSimError) -> AcuSimError:
    """An engine's error; where it speaks of the depth map, with the map's path."""
    path = entry.job.sample.depth
    if path and isinstance(error, PictureError) and str(error).startswith("depth"):
        return PictureError(f"{path}: {error}")
    return error


def _fault(entry: _Started, result: Result, name: str) -> PictureError | None:
    """What is wrong with an engine's answer."""
    wanted = entry.request.pixels.shape
    if result.pixels.shape != wanted or result.pixels.dtype != np.uint8:
        return PictureError(
            f"engine {name} answered {result.pixels.shape} {result.pixels.dtype} for {wanted} uint8: "
            "its labels would be false"
        )
    if result.pixels.min() == result.pixels.max():
        return PictureError(f"engine {name} answered a flat picture: every value is {result.pixels.min()}")
    return None


def _encode(entry: _Started, result: Result, engine: Engine) -> tuple[bytes, dict[str, Any]]:
    """The picture with the record of what made it inside, and its line of the manifest."""
    job, recipe = entry.job, entry.request.recipe or engine.recipe
    line = {
        "image": job.key,
        "label": job.folder + job.sample.label,
        "sample": str(job.sample.id),
        "source": job.sample.image,
        "source_sha256": entry.request.source_sha256,
        "label_sha256": sha256(entry.label_data),
        "variant": job.variant,
        "attempt": job.attempt,
        "seed": job.seed,
        "scene": job.scene.name,
        "scene_sha256": job.scene.sha256,
        "bald": job.bald,
        "prompt_set": job.prompt_set,
        "engine": recipe.engine,
        "recipe": recipe.hash,
        "facts": result.facts,
    }
    if job.sample.depth and entry.depth is not None:
        line |= {"depth": job.folder + job.sample.depth, "depth_sha256": sha256(entry.depth)}
    if job.sample.unused_depth:
        line["unused_depth"] = job.sample.unused_depth
    if result.doubts:
        line["doubts"] = list(result.doubts)
    if entry.notes:
        line["source_notes"] = list(entry.notes)
    if entry.attempts:
        line |= {"way": entry.attempts[-1]["way"], "attempts": entry.attempts}
    inside = {
        **line,
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash,
        "positive": job.positive,
        "negative": job.negative,
        "program": PROGRAM,
        "version": acusim.__version__,
    }
    extension = Path(job.sample.image).suffix
    # Where it was made says nothing of the pixels: the same picture from another server has the same bytes.
    made_at = {"server": result.server} if result.server else {}
    return encode(np.ascontiguousarray(result.pixels), extension, inside), line | made_at


def line_of(inside: dict[str, Any]) -> dict[str, Any]:
    """The line of the manifest that belongs to the record inside a picture, without what is told of its point mask."""
    line = {name: value for name, value in inside.items() if name not in _INSIDE_ONLY}
    return line | {"recipe": inside.get("recipe_hash")}


def _write(entry: _Started, data: bytes, mask: bytes | None, output: Path) -> None:
    """Writes label, depth and point mask, then the picture: a picture on disk always has its label."""
    sample, folder = entry.job.sample, entry.job.folder
    files = [(folder + sample.label, entry.label_data)]
    if sample.depth and entry.depth is not None:
        files.append((folder + sample.depth, entry.depth))
    if mask is not None:
        files.append((folder + mask_path(sample.image), mask))
    for relative, content in [*files, (entry.job.key, data)]:
        put(output, relative, content)


def put(output: Path, relative: str, content: bytes | Iterable[bytes]) -> None:
    """Writes one file below OUT.

    Raises:
        LayoutError: this path leads out of OUT, or the file system does not take its name.
        OutputError: nothing can be written any more.
    """
    path = safe_join(output, relative)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(error, relative, output, FATAL | BLOCKED) from None
    try:
        write_atomic(path, content)
    except OSError as error:
        raise _unwritable(error, relative, output, FATAL) from None


def _unwritable(error: OSError, relative: str, output: Path, fatal: set[int]) -> AcuSimError:
    if error.errno in fatal:
        return OutputError(f"cannot write {relative!r} below {str(output)!r}: {error.strerror}")
    return LayoutError(f"cannot write {relative!r}: {error.strerror}")
