"""The pictures of a trainer: records, targets, decoded pixels, and what is not usable."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.errors import ConfigError
from acusim.layout import Problem
from acusim.selection import Selection
from training.data.cache import PictureCache
from training.data.reading import Reading
from training.data.shards import MAX_SIDE
from training.data.sources import Record
from training.data.threads import Progress, Say

if TYPE_CHECKING:
    import torch

__all__ = ["HeadData", "Record", "Targets", "TorchTargets", "load"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Targets:
    """The correct output for N pictures, in the order of ``acupoints.NAMES``."""

    xy: NDArray[np.float32]
    """[N, 174, 2] 0..1 of the picture, x right, y down; (0, 0) where occluded."""
    visible: NDArray[np.bool_]
    """[N, 174]"""
    trusted: NDArray[np.bool_]
    """[N, 174] False: no loss of coordinates, as augmentation may have moved the point."""
    depth_mm: NDArray[np.float32]
    """[N, 174] along the camera's axis, NaN where unknown."""
    frame: NDArray[np.int16]
    """[N] camera 1..144."""

    def __post_init__(self) -> None:
        count, points_each = self.visible.shape
        shapes = {"xy": (count, points_each, 2), "trusted": (count, points_each), "depth_mm": (count, points_each)}
        for name, shape in {**shapes, "frame": (count,)}.items():
            if getattr(self, name).shape != shape:
                raise ConfigError(f"targets: {name} is {getattr(self, name).shape}, not {shape}")

    def __len__(self) -> int:
        return len(self.frame)

    def take(self, indices: NDArray[np.int64]) -> "Targets":
        """The targets of some of the pictures."""
        return Targets(*(getattr(self, entry.name)[indices] for entry in fields(self)))

    def to_torch(self, device: "torch.device | str") -> "TorchTargets":
        """The same on a device, once for a whole training."""
        import torch

        arrays = (torch.from_numpy(np.ascontiguousarray(getattr(self, entry.name))) for entry in fields(self))
        return TorchTargets(*(array.to(device) for array in arrays))


@dataclass(frozen=True, slots=True, eq=False)
class TorchTargets:
    """Targets as tensors on one device."""

    xy: "torch.Tensor"
    visible: "torch.Tensor"
    trusted: "torch.Tensor"
    depth_mm: "torch.Tensor"
    frame: "torch.Tensor"

    def take(self, index: "torch.Tensor") -> "TorchTargets":
        """The targets of a batch: index int64 [B] on the same device."""
        return TorchTargets(*(getattr(self, entry.name)[index] for entry in fields(self)))


@dataclass(frozen=True, slots=True, eq=False)
class HeadData:
    """Usable pictures in a fixed order, and the problems of the others."""

    records: tuple[Record, ...]
    targets: Targets
    cache: PictureCache
    """The decoded pictures, in the order of the records."""
    problems: tuple[Problem, ...]
    """Skipped files; paths begin with the root's name."""
    notes: tuple[str, ...]
    digest: str
    """SHA-256 over pictures, labels, masks and size."""
    rejected: int = 0
    """Augmented pictures that their point mask rejects."""

    def __len__(self) -> int:
        return len(self.records)


def load(
    roots: Sequence[Path],
    *,
    size: int,
    cache_dir: Path,
    frames: tuple[int, ...] = rig.KEPT_FRAMES,
    selection: Selection | None = None,
    bald_codes: str = "auto",
    workers: int = 1,
    progress: Progress = lambda *_: None,
    say: Say = _log.warning,
) -> HeadData:
    """Reads dataset roots, and decodes what the cache lacks.

    Args:
        roots: AcuSim roots, augmented outputs (of one or several variants), in any mixture.
        size: side in pixels of the model's input.
        cache_dir: folder of decoded pictures; serves any number of data sets.
        frames: cameras to use.
        selection: further conditions.
        bald_codes: hair codes that mean bald, or auto.
        workers: processes that decode.
        progress: called with a word for the work, how many items are done, of how many.
        say: called with a message that a user should read now: waiting, damaged entries.

    Raises:
        LayoutError: a root is not a dataset root, or no picture is usable.
        ConfigError: an argument is wrong.
        OutputError: the cache cannot be written.
    """
    if not 1 <= size <= MAX_SIDE:
        raise ConfigError(f"size {size} is not in 1..{MAX_SIDE}")
    for frame in frames:
        rig.check_frame(frame)
    if not frames:
        raise ConfigError("no frames are chosen")
    reading = Reading(roots, size, cache_dir, workers, progress, say)
    rows, cache = reading.run(frames, selection, bald_codes)
    targets = Targets(
        np.stack([row.xy for row in rows]),
        np.stack([row.visible for row in rows]),
        np.stack([row.trusted for row in rows]),
        np.stack([row.depth_mm for row in rows]),
        np.array([row.record.id.frame for row in rows], np.int16),
    )
    digest = hashlib.sha256(f"size {size}\n".encode())
    for row in rows:
        digest.update(f"{row.record.root}\t{row.record.image}\t{row.image_sha256}\t{row.known_by}\n".encode())
    records = tuple(row.record for row in rows)
    problems, notes = tuple(reading.problems), tuple(reading.notes)
    return HeadData(records, targets, cache, problems, notes, digest.hexdigest(), reading.rejected)
