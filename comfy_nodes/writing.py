"""Writes a batch into a dataset: true size, nearest level, label before image, each file completely or not at all."""

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

import acusim
from acusim.errors import ConfigError, LayoutError, OutputError
from acusim.files import safe_join, sha256, write_atomic
from acusim.float_images import to_levels
from acusim.labels import parse_label_file
from acusim.layout import MAP_FILE
from acusim.pictures import EXTENSIONS, encode, read_file

from .samples import Floats, LoadedSample, Samples, without_padding

_AS_SAMPLE = "as sample"
FORMATS = (_AS_SAMPLE, "png", "jpg")
PROGRAM = "acusim-augment"
_THREADS = 8


@dataclass(frozen=True, slots=True, eq=False)
class Saved:
    """The outcome for one image."""

    sample: LoadedSample
    image: str
    """Path below the dataset's folder."""
    sha256: str
    """Of the file's bytes; "" where it was not written."""
    bytes: int
    width: int
    height: int
    finite: bool
    """False if the image contains NaN or infinity: it was not written."""
    minimum: float | None
    """Smallest value of the received image, 1 is white; None where it is not finite."""
    maximum: float | None
    pixels: NDArray[np.uint8] | None
    """[H, W, 3] as written."""

    def report(self, folder: PurePosixPath) -> dict[str, Any]:
        """The entry of the node's output; ``folder`` is the dataset's below its root."""
        return {
            "sample": str(self.sample.id),
            "file": str(folder / self.image) if self.finite else None,
            "sha256": self.sha256,
            "bytes": self.bytes,
            "width": self.width,
            "height": self.height,
            "source": self.sample.image,
            "source_sha256": self.sample.source_sha256,
            "foreground": self.sample.foreground,
            "doubts": list(self.sample.doubts),
            "unused_depth": self.sample.unused_depth,
            "finite": self.finite,
            "minimum": self.minimum,
            "maximum": self.maximum,
        }


def save_batch(
    images: Floats,
    samples: Samples,
    target: Path,
    format: str,
    labels: bool,
    record: dict[str, Any],
    texts: dict[str, str],
) -> list[Saved]:
    """Writes a batch below a dataset's folder.

    Args:
        images: [B, H, W, 3] with the padding of Load Samples.
        samples: one for each image.
        target: the folder; created if missing.
        format: one of FORMATS.
        labels: also copy label, depth map and map.txt.
        record: further fields for each image's record.
        texts: text chunks for each PNG.

    Raises:
        LayoutError: shapes do not match, the target is the source, or a path leads out of it.
        ConfigError: a sample has no label to copy.
        LabelError: a label is damaged.
        OutputError: a file cannot be written.
    """
    pictures = without_padding(images, samples)
    if labels and (bare := [sample.image for sample in samples.samples if sample.label is None]):
        raise ConfigError(f"labels is on, but {bare[0]} has no label in its dataset; turn labels off")
    _refuse_source(target, samples)
    if labels and os.path.isfile(samples.root / MAP_FILE):
        _put(target, MAP_FILE, read_file(safe_join(samples.root, MAP_FILE), MAP_FILE))
    with ThreadPoolExecutor(min(_THREADS, os.cpu_count() or 1, len(pictures))) as pool:
        return list(
            pool.map(
                lambda picture, sample: _save(picture, sample, samples.root, target, format, labels, record, texts),
                pictures,
                samples.samples,
            )
        )


def _refuse_source(target: Path, samples: Samples) -> None:
    if target.exists() and samples.root.exists() and os.path.samefile(target, samples.root):
        raise LayoutError(
            f"folder {target.name!r} is the dataset that the samples were loaded from: it would be overwritten; "
            "write to another folder"
        )


def _save(
    picture: Floats,
    sample: LoadedSample,
    root: Path,
    target: Path,
    format: str,
    labels: bool,
    record: dict[str, Any],
    texts: dict[str, str],
) -> Saved:
    height, width = picture.shape[:2]
    low, high = float(picture.min()), float(picture.max())
    stem, extension = os.path.splitext(sample.image)
    image = sample.image if format == _AS_SAMPLE else f"{stem}.{format}"
    if not (np.isfinite(low) and np.isfinite(high)):
        return Saved(sample, image, "", 0, width, height, False, None, None, None)
    _refuse_twin(target, image)
    pixels = to_levels(picture)
    inside = {
        **record,
        "sample": str(sample.id),
        "source": sample.image,
        "source_sha256": sample.source_sha256,
        "program": PROGRAM,
        "version": acusim.__version__,
    }
    data = encode(pixels, os.path.splitext(image)[1], inside, texts)
    if labels and sample.label is not None:
        _put(target, sample.label, parse_label_file(safe_join(root, sample.label))[1])
        if sample.depth is not None:
            _put(target, sample.depth, read_file(safe_join(root, sample.depth), "depth"))
    _put(target, image, data)
    return Saved(sample, image, sha256(data), len(data), width, height, True, low, high, pixels)


def _refuse_twin(target: Path, image: str) -> None:
    stem, extension = os.path.splitext(image)
    for other in EXTENSIONS:
        if other != extension.lower() and os.path.lexists(target / (stem + other)):
            raise LayoutError(
                f"{stem + other} already exists beside {image}: a dataset has one image per sample; write to another "
                "folder, or in the same format"
            )


def _put(target: Path, relative: str, data: bytes) -> None:
    try:
        path = safe_join(target, relative)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, data)
    except OSError as error:
        raise OutputError(f"cannot write {relative!r} below {str(target)!r}: {error.strerror or error}") from None
