"""The workers' side: reads images, runs the detector and the certificate, and caches results by content."""

import copy
import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, OutputError, PictureError
from acusim.files import safe_join, sha256, write_atomic
from acusim.labels import Label, parse_label
from acusim.parallel import Work
from acusim.pictures import decode_rgb, read_file
from acusim.point_mask import mask_path
from acusim.seeds import generator_of
from evaluation.certificate import Judge
from evaluation.drift import Face
from evaluation.edits import NULL_EDITS, jpeg
from evaluation.landmarks import VERSION as DETECTOR
from evaluation.landmarks import Detector, silence_native_log
from evaluation.masks import mask_bytes, record_of
from evaluation.pairs import Pair
from evaluation.reference import sample_reference
from evaluation.settings import ReportSettings
from evaluation.store import Reader
from evaluation.warps import Warp, random_warp, shifted

CERTIFICATE = "certificate 8"
"""In the key of stored certificates; raised when their meaning changes."""
STILL = "another light"
"""Name of the images below --still among the edits of the null."""
BAD_WARP_PX, BAD_WARP_RADIUS, BAD_SHIFT_PX = 8.0, 60.0, 5.0

Baseline = Literal["identity copy", "JPEG 75 copy", "local warp of 8 px", "shift of 5 px"]
BASELINES: tuple[Baseline, ...] = get_args(Baseline)


@dataclass(frozen=True, slots=True)
class Task:
    """One item: a pair, the null of its original, or the baselines of the pair."""

    kind: Literal["pair", "null", "baseline"]
    pair: Pair


@dataclass(slots=True)
class Measured:
    """Result of a task; small enough to be kept for every pair."""

    problems: list[str] = field(default_factory=list)
    lost: bool = False
    """The item could not be measured at all."""
    width: int = 512
    """Of the images, in pixels."""
    faces: dict[str, Face] = field(default_factory=dict)
    """"original" and "augmented", or the name of an edit or baseline."""
    certificates: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Of the augmented image or of each baseline: the summary, and "points" with one row for each listed point."""
    records: list[tuple[str, Any]] = field(default_factory=list)
    """What the parent should store."""


class Known(Protocol):
    """Measurements of earlier runs."""

    def get(self, key: str) -> Any | None:
        """The record of a key, None if there is none."""
        ...


class Worker:
    """State of one process; its detector is created when the first image needs it."""

    def __init__(self, settings: ReportSettings, known: Known | None):
        self.settings, self.known = settings, known
        self.judge = Judge(settings.thresholds)
        self.limits = settings.thresholds.sha256
        self._detector: list[Detector] = []
        """The one that was needed; shared with copies for other roots."""

    def at(self, roots: Mapping[str, Path | None], known: Known) -> "Worker":
        """The same for other roots, by the names of their settings."""
        other = copy.copy(self)
        other.settings, other.known = self.settings.changed(**roots), known
        return other

    def detector(self) -> Detector:
        if not self._detector:
            self._detector.append(Detector().__enter__())
        return self._detector[0]

    def cached(self, key: str, out: Measured, compute: Callable[[], Any]) -> Any:
        """The stored record of a key, or a new one."""
        record = self.known.get(key) if self.known is not None else None
        if record is None:
            record = compute()
            out.records.append((key, record))
        return record

    def face(self, source: "_ImageFile", out: Measured) -> Face:
        key = f"face {DETECTOR} {source.sha256}"
        return Face.from_json(self.cached(key, out, lambda: self.detector().find(source.pixels).as_json()))


class _ImageFile:
    """An image file, decoded when its pixels are needed."""

    def __init__(self, root: Path, relative: str):
        path = safe_join(root, relative)
        self.name = path.name
        self.data = read_file(path)
        self.sha256 = sha256(self.data)
        self._pixels: NDArray[np.uint8] | None = None

    @property
    def pixels(self) -> NDArray[np.uint8]:
        if self._pixels is None:
            self._pixels = decode_rgb(self.data, self.name).pixels
        return self._pixels


@contextmanager
def prepare(settings: ReportSettings, store: Path | None) -> Iterator[Worker]:
    """What a process works with.

    Args:
        settings: of the run.
        store: the file in which the parent keeps measurements; None where it cannot be seen.
    """
    silence_native_log()
    import cv2

    cv2.setNumThreads(1)
    yield Worker(settings, None if store is None else Reader(store))


def measure(task: Task, work: Work) -> Measured:
    """Works on a task in a prepared process; what is wrong with an item is reported in the result.

    Raises:
        OutputError: a point mask cannot be written.
    """
    steps = {"pair": _measure_pair, "null": _measure_null, "baseline": _measure_baselines}
    return measured(lambda out: steps[task.kind](work.state, task.pair, out))


def measured(step: Callable[[Measured], None]) -> Measured:
    """What a step measured; what is wrong with its item is reported there.

    Raises:
        OutputError: a point mask cannot be written.
    """
    out = Measured()
    try:
        step(out)
    except OutputError:
        raise
    except AcuSimError as error:
        out.problems.append(str(error)[:500])
        out.lost = True
    except Exception as error:  # a fault in our own code must cost one item, not the run
        out.problems.append(f"unexpected {type(error).__name__}: {str(error)[:200]}")
        out.lost = True
    return out


def _measure_pair(worker: Worker, pair: Pair, out: Measured) -> None:
    settings = worker.settings
    original, augmented = _ImageFile(settings.original, pair.original), _ImageFile(settings.augmented, pair.augmented)
    if settings.faces:
        # Both are decoded first: an unreadable one must not leave half a result.
        sizes = [_size(worker, source, out) for source in (original, augmented)]
        out.width = sizes[0][1]
        if sizes[0] == sizes[1]:
            out.faces = {"original": worker.face(original, out), "augmented": worker.face(augmented, out)}
        else:
            out.problems.append(
                f"it is {sizes[1][1]} x {sizes[1][0]}, its original {sizes[0][1]} x {sizes[0][0]}; they must be equal"
            )
    if settings.certificate:
        annotations = _Annotations(settings, pair, out)
        key = " ".join((CERTIFICATE, worker.limits, original.sha256, augmented.sha256, annotations.sha256))
        record = worker.cached(
            key, out, lambda: _certified(worker, pair, original.pixels, augmented.pixels, annotations)
        )
        out.certificates["augmented"] = record
        out.problems.extend(record["notes"])
        if settings.masks is not None and annotations.label is not None:
            _write_mask(settings, pair, augmented.sha256, record, annotations.label)


def _size(worker: Worker, source: _ImageFile, out: Measured) -> tuple[int, int]:
    key = f"size {source.sha256}"
    height, width = worker.cached(key, out, lambda: list(source.pixels.shape[:2]))
    return int(height), int(width)


class _Annotations:
    """Label and depth map of an original; what is wrong with them becomes a problem and does not stop the task."""

    def __init__(self, settings: ReportSettings, pair: Pair, out: Measured):
        digest = hashlib.sha256(f"frame {pair.id.frame}".encode())
        self.label: Label | None = None
        self.depth_data: bytes | None = None
        for kind, path, augmented_path in (
            ("label", pair.label, pair.augmented_label),
            ("depth map", pair.depth, pair.augmented_depth),
        ):
            if path is None:
                continue
            try:
                data = read_file(safe_join(settings.original, path), kind)
                if kind == "label":
                    self.label = parse_label(data)
                else:
                    self.depth_data = data
            except AcuSimError as error:
                out.problems.append(f"{kind} {Path(path).name!r} is not used: {str(error)[:200]}")
                continue
            digest.update(kind.encode() + data)
            if augmented_path is not None and _differs(settings.augmented, augmented_path, data):
                out.problems.append(f"the {kind} beside it differs from the original's, or cannot be read")
        self.sha256 = digest.hexdigest()


def _differs(root: Path, relative: str, data: bytes) -> bool:
    try:
        return read_file(safe_join(root, relative)) != data
    except AcuSimError:
        return True


def _certified(
    worker: Worker, pair: Pair, original: NDArray[np.uint8], augmented: NDArray[np.uint8], annotations: _Annotations
) -> dict[str, Any]:
    """The record of a certificate, with a note on a depth map that could not be used."""
    reference, notes = sample_reference(original, annotations.depth_data, annotations.label, pair.id.frame)
    return record_of(worker.judge.compare(reference, augmented)) | {"notes": notes}


def _write_mask(settings: ReportSettings, pair: Pair, image_sha256: str, record: dict[str, Any], label: Label) -> None:
    """Writes the point mask beside the label."""
    assert settings.masks is not None
    image = pair.augmented.removeprefix(pair.variant)
    data = mask_bytes(record, label, image, image_sha256, settings.thresholds.tolerance_mm)
    write_mask(safe_join(settings.masks, pair.variant + mask_path(image)), data)


def write_mask(path: Path, data: bytes) -> None:
    """Writes a point mask, unless it is there.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        if path.is_file() and path.read_bytes() == data:
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(
            f"point mask {str(path)!r} cannot be written: {error.strerror}; repair that or name another --masks"
        ) from None


def _measure_null(worker: Worker, pair: Pair, out: Measured) -> None:
    source = _ImageFile(worker.settings.original, pair.original)
    out.faces["original"] = worker.face(source, out)
    for name, edit in NULL_EDITS.items():
        key = f"null {DETECTOR} {name} {source.sha256}"

        def compute(name: str = name, edit: Any = edit) -> Any:
            return worker.detector().find(edit(source.pixels, _random(name, source))).as_json()

        out.faces[name] = Face.from_json(worker.cached(key, out, compute))
    if worker.settings.still is not None:
        try:
            still = _ImageFile(worker.settings.still, pair.original)
            if still.pixels.shape != source.pixels.shape:
                raise PictureError("another size than its original")
        except AcuSimError as error:  # the edits stand
            out.problems.append(f"the image below --still is not used: {str(error)[:200]}")
        else:
            out.faces[STILL] = worker.face(still, out)


def _random(name: str, source: _ImageFile) -> np.random.Generator:
    return generator_of(f"{name}\n{source.sha256}")


def _measure_baselines(worker: Worker, pair: Pair, out: Measured) -> None:
    settings = worker.settings
    original, augmented = _ImageFile(settings.original, pair.original), _ImageFile(settings.augmented, pair.augmented)
    annotations = _Annotations(settings, pair, Measured())
    out.faces["original"] = worker.face(original, out)
    for name in BASELINES:
        key = " ".join(
            (CERTIFICATE, DETECTOR, worker.limits, name, original.sha256, augmented.sha256, annotations.sha256)
        )

        def compute(name: Baseline = name) -> Any:
            pixels = _baseline(name, pair, original, augmented, annotations)
            certificate = _certified(worker, pair, original.pixels, pixels, annotations)
            return {"face": worker.detector().find(pixels).as_json(), "verdict": certificate}

        record = worker.cached(key, out, compute)
        out.faces[name], out.certificates[name] = Face.from_json(record["face"]), record["verdict"]


def _baseline(
    name: Baseline, pair: Pair, original: _ImageFile, augmented: _ImageFile, annotations: _Annotations
) -> NDArray[np.uint8]:
    """An image of which it is known how it should be judged."""
    if name == "identity copy":
        return original.pixels
    if name == "JPEG 75 copy":
        return jpeg(original.pixels, 75)
    random = _random(name, original)
    if name == "shift of 5 px":
        angle = random.uniform(0, 2 * np.pi)
        return shifted(augmented.pixels, BAD_SHIFT_PX * np.cos(angle), BAD_SHIFT_PX * np.sin(angle))
    height, width = original.pixels.shape[:2]
    points = np.array([[width / 2, height / 2]])
    if annotations.label is not None and annotations.label.listed.any():
        points = annotations.label.xy[annotations.label.listed] * (width, height)
    drawn = random_warp(points, BAD_WARP_PX, random)
    return Warp(drawn.centre, BAD_WARP_RADIUS, drawn.dx, drawn.dy).apply(augmented.pixels)
