"""Finds acupoints in photographs: for each picture a JSON file with all points, and a picture with the visible ones.

    OUT/<stem>.points.json    every point: name, meridian, code, probability of being visible, position in the picture
    OUT/<stem>.points.jpg     the picture with the visible points, by meridian, with names

A picture that cannot be read or written is set aside with its reason; the others go on.
"""

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.errors import AcuSimError, ConfigError, LayoutError, OutputError, PictureError
from acusim.files import printable, same_on_every_disk, sha256, write_atomic
from acusim.folders import list_folder
from acusim.layout import Problem
from acusim.pictures import EXTENSIONS, encode, read_file, read_provenance
from training.data.photographs import Photograph, Transform, letterbox, read_photograph
from training.inference.drawing import HEAD, Palette, draw_points
from training.tasks.hand_type import type_json

if TYPE_CHECKING:
    import torch

FORMAT = 1
MAKER = "training predict"
"""Tells our files from a user's own: in the JSON and in the picture's metadata."""
OK, PROBLEMS = 0, 2
ENOUGH = 1024
"""Pixels that both sides of a photograph should keep for its drawn picture; larger JPEGs are read reduced."""
DRAWN = 1024
"""A smaller picture is enlarged by a whole number to about this many pixels, so that names have room."""
MOST_ENLARGED = 4
HELD_BYTES = 256 << 20
"""Photographs that wait for their batch take about so much memory at most."""
STEM_BYTES = 160
"""A file name has at most 255 bytes; a stem that is longer than this is cut."""

Squares = NDArray[np.uint8]


class Prediction(NamedTuple):
    """What a model says of B squares."""

    probability: NDArray[np.floating]
    """[B, K] of being visible; any number where the model gives none."""
    xy: NDArray[np.floating]
    """[B, K, 2] 0..1 of the square."""
    hand_types: NDArray[np.floating] | None = None
    """[B, 2] probability of each trait's second value, see hands.hand_type; None for models that do not tell it."""


Predictor = Callable[[Squares], Prediction]
"""[B, S, S, 3] uint8 to a Prediction."""


class _Data(Protocol):
    @property
    def size(self) -> int: ...


class HasSize(Protocol):
    """A configuration, as far as it matters here: ``config.data.size`` is the side of the model's input in pixels."""

    @property
    def data(self) -> _Data: ...


@dataclass(slots=True)
class Outcome:
    """What became of the pictures."""

    written: list[Path] = field(default_factory=list)
    """The JSON files."""
    problems: list[Problem] = field(default_factory=list)
    """Pictures that were set aside."""
    looked_at: list[str] = field(default_factory=list)
    """Paths of all pictures, as problems name them."""

    @property
    def exit_code(self) -> int:
        """0, or 2 where a picture was set aside."""
        return PROBLEMS if self.problems else OK


def predictor_of(model: "torch.nn.Module", device: "torch.device | str") -> Predictor:
    """A model as a function of pixels; it is put into evaluation mode on the device.

    Args:
        model: images [B, 3, S, S] in 0..1 to an output with ``visibility_logits`` [B, K] and ``coordinates`` [B, K, 2].
        device: where it runs.
    """
    import torch

    from training.tasks.base import as_input

    model = model.to(device).eval()

    def run(squares: Squares) -> Prediction:
        with torch.inference_mode():
            output = model(as_input(torch.from_numpy(squares).to(device)))
            probability = output.visibility_logits.float().sigmoid()
            return Prediction(probability.cpu().numpy(), output.coordinates.float().cpu().numpy())

    return run


def predict(
    model: "torch.nn.Module",
    config: HasSize,
    paths: Iterable[Path],
    out: Path,
    device: "torch.device | str" = "cpu",
    *,
    made_by: Mapping[str, Any],
    threshold: float = 0.5,
    batch: int = 8,
    outcome: Outcome | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Predicts with a model: predict_pictures with its predictor and the size of its configuration."""
    return predict_pictures(
        predictor_of(model, device),
        config.data.size,
        paths,
        out,
        made_by=made_by,
        threshold=threshold,
        batch=batch,
        outcome=outcome,
        progress=progress,
    )


def predict_pictures(
    predictor: Predictor,
    size: int,
    paths: Iterable[Path],
    out: Path,
    *,
    made_by: Mapping[str, Any],
    threshold: float = 0.5,
    batch: int = 8,
    palette: Palette = HEAD,
    confidence: str | None = "probability",
    outcome: Outcome | None = None,
    progress: Callable[[int, int], None] = lambda *_: None,
) -> Outcome:
    """Predicts the points of pictures and writes two files for each.

    Args:
        predictor: the model.
        size: side of its input in pixels. Square pictures are scaled to it, others padded with black.
        paths: picture files, or folders whose pictures are taken; one that is named twice is taken once.
        out: folder for the results, made if missing. Files of an earlier prediction are replaced, others never.
        made_by: JSON values that tell the model, such as {"checkpoint": its SHA-256}; they go into every file.
        threshold: a point at least this probable counts as visible, 0..1.
        batch: pictures at a time.
        palette: the model's points.
        confidence: as for points_json.
        outcome: what became of the pictures is noted here as it happens, for where the work is cut off.
        progress: called with how many pictures are through, and of how many.

    Raises:
        ConfigError: the threshold or the batch is not allowed, or there is no picture at all.
        OutputError: the folder cannot be written.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold} is not within 0..1")
    if batch < 1:
        raise ConfigError(f"batch {batch} is not at least 1")
    outcome = Outcome() if outcome is None else outcome
    chosen = _chosen(paths, outcome)
    outcome.looked_at += [printable(str(path)) for path, _ in chosen]
    if not chosen and not outcome.problems:
        raise ConfigError(f"no pictures to predict; name files or folders with {', '.join(EXTENSIONS)}")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{str(out)!r} cannot be made: {error.strerror}; name another --out") from None
    progress(0, len(chosen))
    for group in _batches(_read(chosen, size, outcome), batch):
        found = predictor(np.stack([item.square for item in group]))
        types = [None] * len(group) if found.hand_types is None else found.hand_types
        for item, visible, unit, hand_type in zip(group, found.probability, found.xy, types, strict=True):
            try:
                _write(item, visible, unit, hand_type, out, made_by, threshold, palette, confidence)
                outcome.written.append(out / f"{item.stem}.points.json")
            except AcuSimError as error:
                if isinstance(error, OutputError):
                    raise
                outcome.problems.append(Problem(item.shown, str(error), True))
        progress(len(outcome.written) + sum(problem.is_image for problem in outcome.problems), len(chosen))
    return outcome


def points_json(
    probability: ArrayLike,
    xy_px: ArrayLike,
    threshold: float,
    palette: Palette = HEAD,
    confidence: str | None = "probability",
) -> list[dict[str, Any]]:
    """All points as JSON values.

    Args:
        probability: [K] of being visible.
        xy_px: [K, 2] pixels from the picture's left and top edge. Those of points that are not visible mean little.
        threshold: from which on a point is visible.
        palette: their names.
        confidence: key of the number in JSON; None for a model that gives none: it then is null under "confidence", and
            every point counts as visible.
    """
    chances, positions = np.asarray(probability, np.float64), np.asarray(xy_px, np.float64)
    return [
        {
            "name": name,
            "meridian": group,
            "code": code,
            "visible": confidence is None or bool(chance >= threshold),
            confidence or "confidence": None if confidence is None else round(float(chance), 6),
            "x": round(float(x), 3),
            "y": round(float(y), 3),
        }
        for name, group, code, chance, (x, y) in zip(
            palette.names, palette.groups, palette.codes, chances, positions, strict=True
        )
    ]


@dataclass(frozen=True, slots=True, eq=False)
class _Item:
    """A photograph on its way."""

    stem: str
    shown: str
    hash: str
    photograph: Photograph
    square: Squares
    transform: Transform


def _chosen(paths: Iterable[Path], outcome: Outcome) -> list[tuple[Path, str]]:
    """Each picture once, with a stem for its results that no other has."""
    files: dict[str, Path] = {}
    for path in paths:
        found = [path]
        if os.path.isdir(path):
            reason = f"the folder holds no picture ({', '.join(EXTENSIONS)})"
            try:
                entries = list_folder(path)
            except LayoutError as error:
                entries, reason = [], str(error)
            found = [path / entry.name for entry in entries if os.path.splitext(entry.name)[1].lower() in EXTENSIONS]
            inner = [entry.name for entry in entries if entry.kind == "folder"]
            if inner:
                reason += f"; folders in it are not read, give each that is meant, such as {str(path / inner[0])!r}"
            if not found:
                outcome.problems.append(Problem(printable(str(path)), reason, False))
        for file in found:
            files.setdefault(os.path.realpath(file), file)
    taken: set[str] = set()
    out: list[tuple[Path, str]] = []
    for file in files.values():
        base = printable(file.stem).encode()[:STEM_BYTES].decode(errors="ignore")
        stem, count = base, 1
        while same_on_every_disk(stem) in taken:
            count += 1
            stem = f"{base}_{count}"
        taken.add(same_on_every_disk(stem))
        out.append((file, stem))
    return out


def _read(chosen: Sequence[tuple[Path, str]], size: int, outcome: Outcome) -> Iterator[_Item]:
    for path, stem in chosen:
        shown = printable(str(path))
        try:
            data = read_file(path)
            photograph = read_photograph(data, printable(path.name), max(ENOUGH, size))
            square, transform = letterbox(photograph.pixels, size)
        except PictureError as error:
            outcome.problems.append(Problem(shown, str(error), True))
            continue
        yield _Item(stem, shown, sha256(data), photograph, square, transform)


def _batches(items: Iterable[_Item], batch: int) -> Iterator[list[_Item]]:
    """At most ``batch`` items, fewer where they are large."""
    group: list[_Item] = []
    for item in items:
        group.append(item)
        if len(group) == batch or sum(held.photograph.pixels.nbytes for held in group) > HELD_BYTES:
            yield group
            group = []
    if group:
        yield group


def _write(
    item: _Item,
    probability: NDArray[np.floating],
    unit: NDArray[np.floating],
    hand_type: NDArray[np.floating] | None,
    out: Path,
    made_by: Mapping[str, Any],
    threshold: float,
    palette: Palette,
    confidence: str | None,
) -> None:
    if not (np.isfinite(probability).all() and np.isfinite(unit).all()):
        raise PictureError("the model's output for it is not finite; is the checkpoint that of a diverged training?")
    xy = item.transform.from_unit(unit)
    visible = np.flatnonzero(probability >= threshold) if confidence else np.arange(len(probability))
    pixels = item.photograph.pixels
    scale = max(1, min(MOST_ENLARGED, -(-DRAWN // max(pixels.shape[:2]))))
    drawn = draw_points(
        pixels,
        xy[visible],
        visible,
        names=True,
        confidence=probability[visible] if confidence else None,
        scale=scale,
        palette=palette,
    )
    width, height = item.photograph.size_px
    picture = {
        "name": os.path.basename(item.shown),
        "sha256": item.hash,
        "width": width,
        "height": height,
        "notes": list(item.photograph.notes),
    }
    head = {"made_by": {"program": MAKER, "format": FORMAT, **made_by}, "picture": picture, "threshold": threshold}
    points = points_json(probability, xy * item.photograph.reduced, threshold, palette, confidence)
    about = {} if hand_type is None else {"hand": type_json(hand_type)}
    document = {**head, **about, "points": points}
    text = json.dumps(document, ensure_ascii=False, allow_nan=False, indent=1) + "\n"
    # The JSON comes last: where it is, the picture is, too.
    _put(out / f"{item.stem}.points.jpg", encode(drawn, ".jpg", head), _made_picture)
    _put(out / f"{item.stem}.points.json", text.encode(), _made_json)


def _put(path: Path, data: bytes, is_ours: Callable[[Path], bool]) -> None:
    if os.path.lexists(path) and (path.is_symlink() or not path.is_file() or not is_ours(path)):
        raise PictureError(f"{path.name!r} is there and was not made by {MAKER}; move it or name another --out")
    try:
        write_atomic(path, data)
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PictureError(f"{path.name!r} is too long a name for this disk; rename the picture") from None
        raise OutputError(f"{str(path)!r} cannot be written: {error.strerror}; name another --out") from None


def _is_ours(record: Any) -> bool:
    made_by = record.get("made_by") if isinstance(record, dict) else None
    return isinstance(made_by, dict) and made_by.get("program") == MAKER


def _made_picture(path: Path) -> bool:
    try:
        return _is_ours(read_provenance(path))
    except AcuSimError:
        return False


def _made_json(path: Path) -> bool:
    try:
        return path.stat().st_size < 4 << 20 and _is_ours(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return False
