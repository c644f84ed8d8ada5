"""Finds acupoints in image files: for each a JSON file with all points, and a picture with the visible ones.

    OUT/<stem>.points.json    every point: name, meridian, code, probability of being visible, position in the image
    OUT/<stem>.points.jpg     the image with the visible points, coloured by meridian, with names

Reading, finding and writing of different images overlap: decoding and drawing take longer than a small network.

An image that cannot be read or written is skipped with its reason; the others are still processed.
"""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from acusim.errors import AcuSimError, ConfigError, LayoutError, OutputError, PictureError
from acusim.files import portable_name, printable, sha256
from acusim.folders import list_folder
from acusim.layout import Problem
from acusim.pictures import EXTENSIONS, read_file
from training.data.photographs import read_photograph
from training.inference.model import Model, check_threshold
from training.inference.result_files import ReadImage, ResultFiles

OTHER_FORMATS = (".webp", ".tif", ".tiff", ".bmp", ".gif", ".heic", ".heif", ".avif", ".jp2", ".jxl")
"""Of photographs that cannot be read, which a folder of images may hold."""
OTHER_FORMAT = f"only {', '.join(EXTENSIONS)} are read; save it as one of these"
THREADS = 2
"""That read images ahead of the model, and as many that draw and write results behind it."""
HELD_BYTES = 256 << 20
"""Photographs that wait for their batch take about so much memory at most."""
STEM_BYTES = 160
"""A file name has at most 255 bytes; a stem that is longer than this is cut."""


@dataclass(slots=True)
class Outcome:
    """Which images have results, and which were skipped."""

    written: list[Path] = field(default_factory=list)
    """The JSON files."""
    problems: list[Problem] = field(default_factory=list)
    """Images that were skipped."""
    inspected: list[str] = field(default_factory=list)
    """Paths of all images, as problems name them."""

    @property
    def exit_code(self) -> int:
        """0, or 2 where an image was skipped."""
        return 2 if self.problems else 0


def predict_files(
    model: Model,
    paths: Iterable[Path],
    out: Path,
    *,
    threshold: float | None = None,
    pictures: bool = True,
    hidden: bool = False,
    batch: int = 8,
    outcome: Outcome | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Predicts the points of image files and writes two files for each.

    Args:
        model: finds the points.
        paths: image files, or folders whose images are taken; one that is named twice is taken once.
        out: folder for the results, created if missing. Files of an earlier prediction are replaced, others never.
        threshold: a point whose number is at least this counts as visible, 0..1; None for the model's default.
        pictures: whether to draw the points into a picture, which takes longer than finding them.
        hidden: whether pictures show hidden points, too, as rings, where a fit of the head locates them.
        batch: images at a time.
        outcome: is filled as the work proceeds, for callers that are interrupted.
        progress: called with how many images are done, and of how many.

    Raises:
        ConfigError: the threshold or the batch is not allowed, or there is no image at all.
        OutputError: the folder cannot be written.
    """
    threshold = model.threshold if threshold is None else threshold
    check_threshold(threshold)
    if batch < 1:
        raise ConfigError(f"batch {batch} is not at least 1")
    outcome = Outcome() if outcome is None else outcome
    chosen = _chosen(paths, outcome)
    outcome.inspected += [printable(str(path)) for path, _ in chosen]
    if not chosen and not outcome.problems:
        raise ConfigError(f"no pictures to predict; name files or folders with {', '.join(EXTENSIONS)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{str(out)!r} cannot be created: {error.strerror}; name another --out") from None
    progress(0, len(chosen))
    if model.cropper:
        model.cropper.open()
    writer = ResultFiles(model, out, threshold, pictures, hidden)

    def await_written(items: _Written) -> None:
        _collect(items, out, outcome)
        progress(len(outcome.written) + sum(problem.is_image for problem in outcome.problems), len(chosen))

    with ThreadPoolExecutor(THREADS, "read") as readers, ThreadPoolExecutor(THREADS, "write") as writers:
        behind: _Written = []
        with contextlib.closing(_read(chosen, model, outcome, readers)) as items:
            for group in _batches(items, batch):
                found = model.find([item.prepared for item in group])
                await_written(behind)  # of the batch before, which was written meanwhile
                behind = [
                    (item, writers.submit(writer.write, item, one)) for item, one in zip(group, found, strict=True)
                ]
        await_written(behind)
    return outcome


_Written = list[tuple[ReadImage, Future[None]]]
"""Images whose results are being written."""


def _collect(items: _Written, out: Path, outcome: Outcome) -> None:
    """Waits for results to be written, and records them or why they could not be."""
    for item, future in items:
        try:
            future.result()
            outcome.written.append(out / f"{item.stem}.points.json")
        except OutputError:
            raise
        except AcuSimError as error:
            outcome.problems.append(Problem(item.shown, str(error), True))


def _chosen(paths: Iterable[Path], outcome: Outcome) -> list[tuple[Path, str]]:
    """Each image once, with a stem for its results that no other has."""
    files: dict[str, Path] = {}
    for path in paths:
        for file in _images_in(path, outcome) if os.path.isdir(path) else [path]:
            files.setdefault(os.path.realpath(file), file)
    used: set[str] = set()
    out: list[tuple[Path, str]] = []
    for file in files.values():
        base = printable(file.stem).encode()[:STEM_BYTES].decode(errors="ignore")
        stem, count = base, 1
        while portable_name(stem) in used:
            count += 1
            stem = f"{base}_{count}"
        used.add(portable_name(stem))
        out.append((file, stem))
    return out


def _images_in(folder: Path, outcome: Outcome) -> list[Path]:
    """The images of a folder; a problem for each of another format, and where it has none."""
    reason = f"the folder holds no picture ({', '.join(EXTENSIONS)})"
    try:
        entries = list_folder(folder)
    except LayoutError as error:
        entries, reason = [], str(error)
    found = [folder / entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in EXTENSIONS]
    inner = [entry.name for entry in entries if entry.kind == "folder"]
    if inner:
        reason += f"; folders in it are not read, give each that is meant, such as {str(folder / inner[0])!r}"
    others = [entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in OTHER_FORMATS]
    outcome.problems += [Problem(printable(str(folder / name)), OTHER_FORMAT, True) for name in others]
    if not found and not others:
        outcome.problems.append(Problem(printable(str(folder)), reason, False))
    return found


def _read(
    chosen: Sequence[tuple[Path, str]], model: Model, outcome: Outcome, readers: ThreadPoolExecutor
) -> Generator[ReadImage]:
    """The readable images, in order; a few are read ahead."""

    def load(path: Path, stem: str) -> ReadImage:
        data = read_file(path)
        prepared = model.prepare(read_photograph(data, printable(path.name), model.enough_px))
        return ReadImage(stem, printable(str(path)), sha256(data), prepared)

    ahead: deque[tuple[Path, Future[ReadImage]]] = deque()
    waiting = iter(chosen)
    try:
        while True:
            for path, stem in itertools.islice(waiting, 2 * THREADS - len(ahead)):
                ahead.append((path, readers.submit(load, path, stem)))
            if not ahead:
                return
            path, future = ahead.popleft()
            try:
                item = future.result()
            except PictureError as error:
                outcome.problems.append(Problem(printable(str(path)), str(error), True))
                continue
            yield item
    finally:
        for _, future in ahead:
            future.cancel()


def _batches(items: Iterable[ReadImage], batch: int) -> Iterator[list[ReadImage]]:
    """At most ``batch`` items, fewer where they are large."""
    group: list[ReadImage] = []
    for item in items:
        group.append(item)
        if len(group) == batch or sum(held.prepared.photograph.pixels.nbytes for held in group) > HELD_BYTES:
            yield group
            group = []
    if group:
        yield group
