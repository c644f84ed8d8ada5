"""From records to rows to train on: labels, masks, pictures and depths are read, each problem recorded."""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.errors import AcuSimError, LayoutError
from acusim.files import printable, safe_join
from acusim.labels import Label
from acusim.layout import Problem
from acusim.parallel import map_each
from acusim.point_mask import mask_path
from acusim.selection import Selection
from training.data import head_points as points
from training.data import sources
from training.data.cache import PictureCache, open_cache
from training.data.memory import Memory
from training.data.point_trust import is_there, read_mask
from training.data.progress import Progress, Say
from training.data.shards import Source
from training.data.sources import Record

_DEPTH_CHUNK = 64
_FEW_DEPTHS = 256
"""Up to so many depth maps are read in this process, since others would take longer to start."""
_DISAGREE_MM = 10.0
_FEW = 3


@dataclass(slots=True, eq=False)
class Row:
    """The data of one picture."""

    record: Record
    label: Label
    known_by: str
    """SHA-256 of label and mask."""
    image_sha256: str
    xy: NDArray[np.float32]
    """[174, 2], 0 where occluded."""
    visible: NDArray[np.bool_]
    """[174]; so are trusted and depth_mm."""
    trusted: NDArray[np.bool_]
    depth_mm: NDArray[np.float32]

    @property
    def camera(self) -> rig.Camera:
        """The label's own, else the rig's of the frame."""
        return self.label.camera or rig.camera(self.record.id.frame)


class Reading:
    """Reads roots; pictures that are not usable are skipped, each with its reason in ``problems``.

    Args:
        roots: dataset roots.
        size: side in pixels.
        folder: the cache's.
        workers: processes that decode.
        progress: called with the progress.
        say: called with a message that a user should read now.
    """

    def __init__(self, roots: Sequence[Path], size: int, folder: Path, workers: int, progress: Progress, say: Say):
        self._roots = [Path(os.path.realpath(root)) for root in roots]
        self._names = sources.root_names(roots)
        self._size, self._folder, self._workers = size, folder, workers
        self._progress, self._say = progress, say
        self.problems: list[Problem] = []
        self.notes: list[str] = []
        self.rejected = 0
        """Augmented pictures that their point mask rejects."""

    def run(
        self, frames: Sequence[int], selection: Selection | None, bald_codes: str
    ) -> tuple[list[Row], PictureCache]:
        """The usable rows, at least one, and their pictures in the same order.

        Raises:
            LayoutError: a root is not a dataset root, or no picture is usable.
            ConfigError: the codes are malformed, or a root is named twice.
            OutputError: the cache cannot be written.
        """
        found = sources.find(self._roots, self._size, frames, selection, bald_codes)
        self.problems, self.notes = found.problems, [*view_bias(found.records), *found.notes]
        memory = Memory(self._folder, self._say)
        try:
            rows = self._hashed(list(self._labels(found.records)), memory)
            rows = list(self._without_copies(self._masked(rows)))
            wanted = [Source(self._path(row.record, row.record.image), *_of(row)) for row in rows]
            cache, kept, reasons = open_cache(
                self._folder, wanted, self._size, self._workers, self._progress, self._say
            )
            for index, reason in reasons.items():
                self._skip(rows[index].record, reason)
            rows = [rows[index] for index in kept]
            self._depths(rows, memory)
        finally:
            memory.close()
        if self.rejected:
            self.notes.append(f"{self.rejected} augmented pictures are left out: their point masks reject them")
        if not rows:
            few = "; ".join(f"{problem.path}: {problem.reason}" for problem in self.problems[:_FEW])
            raise LayoutError(
                f"no picture of {', '.join(self._names)} is usable: {len(found.records)} were chosen by frames and "
                f"selection, {self.rejected} of them are rejected by their point mask, and {len(self.problems)} files "
                f"were skipped{': ' if few else ''}{few}"
            )
        return rows, cache

    def _path(self, record: Record, relative: str) -> Path:
        return safe_join(self._roots[record.root], relative)

    def _skip(self, record: Record, reason: str, path: str | None = None) -> None:
        name = printable(f"{self._names[record.root]}/{path or record.image}")
        self.problems.append(Problem(name, reason, path is None, record.id))

    def _labels(self, records: Sequence[Record]) -> Iterator[Row]:
        for record in records:
            try:
                label, known_by = points.read_points(self._path(record, record.label))
            except AcuSimError as error:
                self._skip(record, str(error))
                continue
            xy = np.where(label.listed[:, None], label.xy, 0).astype(np.float32)
            depth_mm = points.depth_of_label(label, record.id.frame)
            yield Row(record, label, known_by, "", xy, label.listed, np.ones(acupoints.COUNT, bool), depth_mm)

    def _hashed(self, rows: Sequence[Row], memory: Memory) -> list[Row]:
        kept: list[Row] = []
        paths = [self._path(row.record, row.record.image) for row in rows]
        hashes = memory.hashes(paths, self._workers, lambda done, total: self._progress("read", done, total))
        for row, known in zip(rows, hashes, strict=True):
            if isinstance(known, str):
                row.image_sha256 = known
                kept.append(row)
            else:
                self._skip(row.record, str(known))
        return kept

    def _masked(self, rows: Sequence[Row]) -> Iterator[Row]:
        """Rows that their point mask accepts, or without a point mask, with the points that it trusts."""
        untrusted = masks = 0
        for row in rows:
            try:
                # A variant's mask is in the variant's own root, which is the first folder of the path.
                folder, split, rest = row.record.image.rpartition(f"{row.record.split_folder}/image/")
                path = self._path(row.record, folder + mask_path(split + rest))
                if is_there(path):
                    masks += 1
                    found = read_mask(path, row.visible, row.image_sha256)
                    row.trusted = found.trusted
                    row.known_by += found.digest
                    untrusted += int((~row.trusted).sum())
                    if found.rejected is not None:
                        self.rejected += 1
                        continue
            except AcuSimError as error:
                self._skip(row.record, str(error))
                continue
            yield row
        if masks:
            self.notes.append(f"{masks} pictures have a point mask; {untrusted} listed points are not trusted")

    def _without_copies(self, rows: Iterator[Row]) -> Iterator[Row]:
        """Rows without the second of two equal files of one sample."""
        seen: dict[tuple[str, str], Record] = {}
        for row in rows:
            first = seen.setdefault((str(row.record.id), row.image_sha256), row.record)
            if first is row.record:
                yield row
            else:
                twin = printable(f"{self._names[first.root]}/{first.image}")
                self._skip(row.record, f"the same picture as {twin}")

    def _depths(self, rows: Sequence[Row], memory: Memory) -> None:
        """Replaces the label's depths by those of millimetre maps."""
        mapped = [row for row in rows if row.record.depth]
        paths = [self._path(row.record, row.record.depth or "") for row in mapped]
        hashes = memory.hashes(paths, self._workers, lambda *_: None, "depth")
        row_of: dict[str, list[Row]] = {}
        path_of: dict[str, Path] = {}
        for row, path, known in zip(mapped, paths, hashes, strict=True):
            if isinstance(known, str):
                key = f"{known} {row.known_by[:64]} {points.RULE}"
                row_of.setdefault(key, []).append(row)
                path_of[key] = path
            else:
                self._skip(row.record, str(known), row.record.depth)
        depths = memory.depths(row_of, acupoints.COUNT)
        missing = [
            points.DepthTask(key, path_of[key], row_of[key][0].xy, row_of[key][0].visible, row_of[key][0].camera)
            for key in row_of
            if key not in depths
        ]
        chunks = [missing[start : start + _DEPTH_CHUNK] for start in range(0, len(missing), _DEPTH_CHUNK)]
        done = relative = 0
        for result in map_each(points.read_depths, chunks, self._workers if len(missing) > _FEW_DEPTHS else 1):
            fresh = [(key, values) for key, values, _ in result if values is not None]
            memory.keep_depths(fresh)
            depths.update(fresh)
            for key, _, reason in result:
                if reason:
                    self._skip(row_of[key][0].record, reason, row_of[key][0].record.depth)
            relative += sum(values is None and not reason for _, values, reason in result)
            done += len(result)
            self._progress("depth", done, len(missing))
        off: list[NDArray[np.float32]] = []
        for key, values in depths.items():
            for row in row_of[key]:
                known = np.isfinite(values)
                off.append(np.abs(values - row.depth_mm)[known & np.isfinite(row.depth_mm)])
                row.depth_mm = np.where(np.isfinite(row.depth_mm), row.depth_mm, values)
        if relative:
            self.notes.append(f"{relative} depth maps are relative, not in mm: they have no distances")
        both = np.concatenate(off) if off else np.zeros(0, np.float32)
        if len(both) and (median := float(np.median(both))) > _DISAGREE_MM:
            self.notes.append(
                f"depth maps and labels differ by {median:.0f} mm (median) in frames "
                f"{', '.join(map(str, points.TRUE_DEPTH_FRAMES))} or of labels with a camera, where both should be "
                "true; the labels are used"
            )


def _of(row: Row) -> tuple[str, str, int]:
    return printable(row.record.image), row.image_sha256, row.record.side


def view_bias(records: Sequence[Record]) -> list[str]:
    """How many of the records' frames are on which side of the subject, in a sentence; none without records."""
    azimuths = [rig.camera(frame).azimuth_deg for frame in sorted({record.id.frame for record in records})]
    if not azimuths:
        return []
    left, right = sum(0 < azimuth < 180 for azimuth in azimuths), sum(azimuth > 180 for azimuth in azimuths)
    return [
        f"{len(azimuths)} frames: {left} from the subject's left, {right} from the right, "
        f"{len(azimuths) - left - right} from the middle{'' if left == right else '; they are not balanced'}"
    ]
