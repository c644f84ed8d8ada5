"""Makes pictures: reads a sample, asks the engine, checks the answer, writes picture, label and depth."""

import errno
import time
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import acusim
from acusim.errors import AcuSimError, EngineError, LayoutError, OutputError, PictureError
from acusim.files import safe_join, sha256, write_atomic
from acusim.labels import parse_label_file
from acusim.layout import Sample
from acusim.pictures import decode_rgb, encode, read_file
from controller.ledger import Done
from engines.engine import Engine, Request, Result
from engines.recipe import Recipe
from engines.scenes import Scene

FATAL = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EACCES, errno.EPERM, errno.EFBIG, errno.ENODEV}
"""Errors of writing that the next item would meet as well: the batch stops instead of setting items aside."""
BLOCKED = {errno.ENOTDIR, errno.EEXIST, errno.ELOOP}
"""A file or a loop of links lies where a folder of OUT should be: the next item would meet it, too."""
REASON_LENGTH = 500


@dataclass(frozen=True, slots=True)
class Job:
    """An item with everything that decides its pixels; travels to a worker process."""

    key: str
    """Output picture relative to OUT; its data set starts at ``folder``."""
    folder: str
    sample: Sample
    variant: int
    attempt: int
    seed: int
    scene: Scene
    bald: bool
    prompt_set: str
    positive: str
    negative: str


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
    label: bytes
    depth: bytes | None


def render(engine: Engine, jobs: Sequence[Job], root: Path) -> list[tuple[_Started, bytes, dict[str, Any]] | Made]:
    """Makes the pictures of some jobs in memory: (what was read, encoded picture, manifest line), or why not.

    Raises:
        EngineError: the engine broke down as a whole.
    """
    answers: list[tuple[_Started, bytes, dict[str, Any]] | Made | None] = [None] * len(jobs)
    started: list[tuple[int, _Started]] = []
    for position, job in enumerate(jobs):
        try:
            started.append((position, _start(job, root)))
        except AcuSimError as error:
            answers[position] = Made.aside(job.key, error)
    results = engine.augment([entry.request for _, entry in started]) if started else []
    if len(results) != len(started):
        raise EngineError(f"engine {engine.name} gave {len(results)} answers to {len(started)} requests")
    for (position, entry), result in zip(started, results, strict=True):
        try:
            if isinstance(result, AcuSimError):
                raise result
            answers[position] = _encode(entry, result, engine.recipe)
        except AcuSimError as error:
            answers[position] = Made.aside(entry.job.key, error)
    return [answer for answer in answers if answer is not None]


def make(engine: Engine, jobs: Sequence[Job], root: Path, output: Path) -> list[Made]:
    """Makes and writes the pictures of some jobs; never raises."""
    begun = time.perf_counter()
    try:
        rendered = render(engine, jobs, root)
    except EngineError as error:
        return [Made(job.key, fatal=str(error), engine_lost=True) for job in jobs]
    except Exception as error:  # a fault in our own code must cost one item, not the batch
        if len(jobs) > 1:
            return [made for job in jobs for made in make(engine, [job], root, output)]
        return [Made.aside(jobs[0].key, _unexpected(error))]
    answers: list[Made] = []
    for answer in rendered:
        if isinstance(answer, Made):
            answers.append(answer)
            continue
        entry, data, record = answer
        key, attempt = entry.job.key, entry.job.attempt
        try:
            _write(entry, data, output)
            seconds = (time.perf_counter() - begun) / len(jobs)
            answers.append(Made(key, attempt, sha256(data), len(data), record, seconds))
        except OutputError as error:
            answers.append(Made(key, fatal=str(error)))
        except LayoutError as error:
            answers.append(Made.aside(key, error))
    return answers


def _unexpected(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"unexpected {type(error).__name__}: {error} ({Path(where.filename).name}:{where.lineno})"


def _start(job: Job, root: Path) -> _Started:
    _, label = parse_label_file(safe_join(root, job.sample.label))
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
    )
    return _Started(job, request, picture.notes, label, depth_data)


def _encode(entry: _Started, result: Result, recipe: Recipe) -> tuple[_Started, bytes, dict[str, Any]]:
    """Checks the engine's answer and encodes it with the record of what made it."""
    job, wanted = entry.job, entry.request.pixels.shape
    if result.pixels.shape != wanted or result.pixels.dtype != np.uint8:
        raise PictureError(
            f"engine {recipe.engine} answered {result.pixels.shape} {result.pixels.dtype} for {wanted} uint8: "
            "its labels would be false"
        )
    if result.pixels.min() == result.pixels.max():
        raise PictureError(f"engine {recipe.engine} answered a flat picture: every value is {result.pixels.min()}")
    line = {
        "image": job.key,
        "label": job.folder + job.sample.label,
        "sample": str(job.sample.id),
        "source": job.sample.image,
        "source_sha256": entry.request.source_sha256,
        "label_sha256": sha256(entry.label),
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
    if entry.notes:
        line["source_notes"] = list(entry.notes)
    inside = {
        **line,
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash,
        "positive": job.positive,
        "negative": job.negative,
        "program": "acusim-augment",
        "version": acusim.__version__,
    }
    extension = Path(job.sample.image).suffix
    return entry, encode(np.ascontiguousarray(result.pixels), extension, inside), line


def _write(entry: _Started, data: bytes, output: Path) -> None:
    """Writes label and depth, then the picture: a picture on disk always has its label."""
    sample, folder = entry.job.sample, entry.job.folder
    files = [(folder + sample.label, entry.label), (entry.job.key, data)]
    if sample.depth and entry.depth is not None:
        files.insert(0, (folder + sample.depth, entry.depth))
    for relative, content in files:
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
