"""Finds acupoints in image files: for each a JSON file with all points, and a picture with the visible ones.

    OUT/<stem>.points.json    every point: name, meridian, code, probability of being visible, position in the image
    OUT/<stem>.points.jpg     the image with the visible points, coloured by meridian, with names

An image that cannot be read or written is skipped with its reason; the others are still processed.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from acusim.errors import AcuSimError, ConfigError, LayoutError, OutputError, PictureError
from acusim.files import portable_name, printable, sha256, write_atomic
from acusim.folders import list_folder
from acusim.layout import Problem
from acusim.pictures import EXTENSIONS, encode, read_file, read_provenance
from training.data.photographs import read_photograph
from training.inference.drawing import draw_points
from training.inference.model import Evidence, Found, Model, Prepared, check_threshold
from training.tasks.hand_type import type_json

FORMAT = 1
MAKER = "training predict"
"""Distinguishes our files from a user's own: in the JSON and in the picture's metadata."""
DRAWN = 1024
"""A smaller image is enlarged by a whole number to about this many pixels, so that names have room."""
MOST_ENLARGED = 4
HELD_BYTES = 256 << 20
"""Photographs that wait for their batch take about so much memory at most."""
STEM_BYTES = 160
"""A file name has at most 255 bytes; a stem that is longer than this is cut."""
_KEYS: dict[Evidence, str] = {"visibility": "probability", "peak": "confidence", "none": "confidence"}
"""Name of a point's number in JSON."""
_MEANINGS: dict[Evidence, str] = {
    "peak": "height of the heatmap's peak, cut to 0..1; not a probability",
    "none": "none: the network gives coordinates alone",
}


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
    for group in _batches(_read(chosen, model, outcome), batch):
        for item, found in zip(group, model.find([item.prepared for item in group]), strict=True):
            try:
                _write(item, found, out, model, threshold)
                outcome.written.append(out / f"{item.stem}.points.json")
            except OutputError:
                raise
            except AcuSimError as error:
                outcome.problems.append(Problem(item.shown, str(error), True))
        progress(len(outcome.written) + sum(problem.is_image for problem in outcome.problems), len(chosen))
    return outcome


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A photograph and where its results go."""

    stem: str
    shown: str
    hash: str
    prepared: Prepared


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
    """The images of a folder; a problem where it has none."""
    reason = f"the folder holds no picture ({', '.join(EXTENSIONS)})"
    try:
        entries = list_folder(folder)
    except LayoutError as error:
        entries, reason = [], str(error)
    found = [folder / entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in EXTENSIONS]
    inner = [entry.name for entry in entries if entry.kind == "folder"]
    if inner:
        reason += f"; folders in it are not read, give each that is meant, such as {str(folder / inner[0])!r}"
    if not found:
        outcome.problems.append(Problem(printable(str(folder)), reason, False))
    return found


def _read(chosen: Sequence[tuple[Path, str]], model: Model, outcome: Outcome) -> Iterator[_Item]:
    for path, stem in chosen:
        shown = printable(str(path))
        try:
            data = read_file(path)
            prepared = model.prepare(read_photograph(data, printable(path.name), model.enough_px))
        except PictureError as error:
            outcome.problems.append(Problem(shown, str(error), True))
            continue
        yield _Item(stem, shown, sha256(data), prepared)


def _batches(items: Iterable[_Item], batch: int) -> Iterator[list[_Item]]:
    """At most ``batch`` items, fewer where they are large."""
    group: list[_Item] = []
    for item in items:
        group.append(item)
        if len(group) == batch or sum(held.prepared.photograph.pixels.nbytes for held in group) > HELD_BYTES:
            yield group
            group = []
    if group:
        yield group


def _write(item: _Item, found: Found, out: Path, model: Model, threshold: float) -> None:
    found.check_finite()
    photograph = item.prepared.photograph
    no_number = model.evidence == "none"
    visible = np.flatnonzero((found.confidence >= threshold) | no_number)
    drawn = draw_points(
        photograph.pixels,
        found.xy_px[visible],
        visible,
        names=True,
        confidence=None if no_number else found.confidence[visible],
        scale=enlargement(photograph.pixels.shape),
        palette=model.palette,
    )
    made_by: dict[str, Any] = {"program": MAKER, "format": FORMAT, **model.made_by}
    if model.kind == "hand":
        made_by |= {"kind": model.kind, "confidence": _MEANINGS[model.evidence]}
    width, height = photograph.size_px
    picture = {
        "name": os.path.basename(item.shown),
        "sha256": item.hash,
        "width": width,
        "height": height,
        "notes": list(photograph.notes),
    }
    head = {"made_by": made_by, "picture": picture, "threshold": threshold}
    about = {} if found.hand_type is None else {"hand": type_json(found.hand_type)}
    points = _points_json(model, found.confidence, found.xy_px * photograph.reduced, threshold)
    text = json.dumps({**head, **about, "points": points}, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    # The JSON comes last: where it is, the picture is, too.
    _replace(out / f"{item.stem}.points.jpg", encode(drawn, ".jpg", head), _is_our_picture)
    _replace(out / f"{item.stem}.points.json", text.encode(), _is_our_json)


def enlargement(shape: tuple[int, ...]) -> int:
    """The whole number by which an image [H, W, …] is enlarged before points are drawn."""
    return max(1, min(MOST_ENLARGED, -(-DRAWN // max(shape[:2]))))


def _points_json(model: Model, numbers: ArrayLike, xy_px: ArrayLike, threshold: float) -> list[dict[str, Any]]:
    """All points as JSON values; where the model gives no number it is null, and every point counts as visible."""
    known, palette = model.evidence != "none", model.palette
    rows = zip(
        *(palette.names, palette.groups, palette.codes),
        *(np.asarray(numbers).tolist(), np.asarray(xy_px).tolist()),
        strict=True,
    )
    return [
        {
            "name": name,
            "meridian": group,
            "code": code,
            "visible": not known or number >= threshold,
            _KEYS[model.evidence]: round(number, 6) if known else None,
            "x": round(x, 3),
            "y": round(y, 3),
        }
        for name, group, code, number, (x, y) in rows
    ]


def _replace(path: Path, data: bytes, is_ours: Callable[[Path], bool]) -> None:
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not is_ours(path)):
        raise PictureError(f"{path.name!r} exists and was not written by {MAKER}; move it or name another --out")
    try:
        write_atomic(path, data)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PictureError(f"{path.name!r} is too long a name for this disk; rename the picture") from None
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another --out") from None


def _is_ours(record: Any) -> bool:
    made_by = record.get("made_by") if isinstance(record, dict) else None
    return isinstance(made_by, dict) and made_by.get("program") == MAKER


def _is_our_picture(path: Path) -> bool:
    try:
        return _is_ours(read_provenance(path))
    except AcuSimError:
        return False


def _is_our_json(path: Path) -> bool:
    try:
        return path.stat().st_size < 4 << 20 and _is_ours(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
