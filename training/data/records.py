"""The pictures of a trainer: records, targets, decoded pixels, and what is not usable."""

import hashlib
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acusim import rig
from acusim.errors import ConfigError
from acusim.layout import Problem
from acusim.rig import Camera
from acusim.selection import Selection
from training.data.cache import PictureCache
from training.data.progress import Progress, Say
from training.data.reading import Reading
from training.data.shards import MAX_SIDE
from training.data.sources import Record
from training.geometry.projection import cameras_of

if TYPE_CHECKING:
    import torch

__all__ = ["HeadData", "Record", "Targets", "TorchTargets", "load"]

_log = logging.getLogger(__name__)


_FROM_FRAME = np.empty(0)
"""Stands for cameras that are not given: those of the rig, by frame."""


def _from_frame() -> NDArray[np.float64]:
    return _FROM_FRAME


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
    """[N] camera 1..144 of the rig: the picture's, or the one that its own camera is near."""
    rotation: NDArray[np.float64] = field(default_factory=_from_frame)
    """[N, 3, 3] world to camera, as acusim.rig; without a value the rig's by frame, as the two below."""
    translation_mm: NDArray[np.float64] = field(default_factory=_from_frame)
    """[N, 3]"""
    focal: NDArray[np.float64] = field(default_factory=_from_frame)
    """[N] focal length as a multiple of the picture's width."""

    def __post_init__(self) -> None:
        cameras = [self.rotation, self.translation_mm, self.focal]
        if any(given is _FROM_FRAME for given in cameras):
            usual = cameras_of(self.frame)
            for name, given, value in zip(("rotation", "translation_mm", "focal"), cameras, usual, strict=True):
                object.__setattr__(self, name, value if given is _FROM_FRAME else given)
        count, points_each = self.visible.shape
        shapes = {"xy": (count, points_each, 2), "trusted": (count, points_each), "depth_mm": (count, points_each)}
        shapes |= {"frame": (count,), "rotation": (count, 3, 3), "translation_mm": (count, 3), "focal": (count,)}
        for name, shape in shapes.items():
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


def camera_arrays(cameras: Sequence[Camera]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Rotation [N, 3, 3], translation in mm [N, 3] and focal length [N] of cameras."""
    return (
        np.array([camera.R for camera in cameras], np.float64).reshape(-1, 3, 3),
        np.array([camera.t_mm for camera in cameras], np.float64).reshape(-1, 3),
        np.array([camera.focal for camera in cameras], np.float64),
    )


def on_the_rig(targets: Targets) -> bool:
    """Whether all pictures are from the rig's own cameras."""
    given = targets.rotation, targets.translation_mm, targets.focal
    return all(np.allclose(one, other) for one, other in zip(given, cameras_of(targets.frame), strict=True))


@dataclass(frozen=True, slots=True, eq=False)
class TorchTargets:
    """Targets as tensors on one device."""

    xy: "torch.Tensor"
    visible: "torch.Tensor"
    trusted: "torch.Tensor"
    depth_mm: "torch.Tensor"
    frame: "torch.Tensor"
    rotation: "torch.Tensor"
    translation_mm: "torch.Tensor"
    focal: "torch.Tensor"

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
        *camera_arrays([row.camera for row in rows]),
    )
    digest = hashlib.sha256(f"size {size}\n".encode())
    for row in rows:
        digest.update(f"{row.record.root}\t{row.record.image}\t{row.image_sha256}\t{row.known_by}\n".encode())
    records = tuple(row.record for row in rows)
    problems, notes = tuple(reading.problems), tuple(reading.notes)
    return HeadData(records, targets, cache, problems, notes, digest.hexdigest(), reading.rejected)
