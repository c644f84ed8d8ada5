"""Squares of hands: pictures as a network takes them, cached in a file named by the hash of what they are made of."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError, LayoutError
from acusim.files import printable, sha256, write_atomic
from acusim.layout import Problem
from acusim.parallel import map_each
from acusim.tensor_files import read_header
from training.data.hand_augmentation import VARIANTS, Augmentation, Variant, augmented
from training.data.hand_dataset import SIZE, HandData
from training.data.photographs import Transform, letterbox
from training.data.progress import Progress
from training.io.labelme import read_picture

FORMAT = 2
"""Incremented when the same pictures give other squares."""
_CHUNK = 16
_FEW = 64
"""Up to so many pictures are decoded in this process, since others would take longer to start."""
ARRAYS = ("pixels", "xy", "visible", "known", "row", "variant")
"""Arrays of HandSquares, with a row for each square."""
_WAYS = "transforms"


@dataclass(slots=True, eq=False)
class HandSquares:
    """Input of a model: M squares, several of which may come from one picture."""

    pixels: NDArray[np.uint8]
    """[M, S, S, 3] RGB."""
    xy: NDArray[np.float32]
    """[M, P, 2] pixels of the square; (0, 0) where the position is not known."""
    visible: NDArray[np.bool_]
    """[M, P]."""
    known: NDArray[np.bool_]
    """[M, P] True where the position is known for certain: HandData's known and trusted."""
    row: NDArray[np.int64]
    """[M] number of the picture in HandData."""
    variant: NDArray[np.int8]
    """[M] index in augmentation.VARIANTS; 0 is the picture itself."""
    transforms: tuple[Transform, ...] = ()
    """[M] from the (augmented) picture to the square, and back."""
    problems: list[Problem] = field(default_factory=list)
    """Pictures that could not be read."""

    @property
    def size(self) -> int:
        """Side of the squares in pixels."""
        return self.pixels.shape[1]

    @property
    def measured(self) -> NDArray[np.bool_]:
        """[M, P] visible points at positions that are certain: those that figures are about."""
        return self.visible & self.known

    def __len__(self) -> int:
        return len(self.pixels)

    def read(self, indices: Sequence[int] | NDArray[np.int64], out: NDArray[np.uint8]) -> None:
        """Copies pictures into out [len(indices), S, S, 3]; see training.data.loader.Pictures."""
        np.take(self.pixels, indices, axis=0, out=out)


def make_squares(
    data: HandData, rows: NDArray[np.int64], augmentation: Augmentation | None = None, size: int = SIZE
) -> HandSquares:
    """Reads pictures as squares: scaled to fit, the aspect kept, padded with zeros.

    Args:
        data: the folder.
        rows: which pictures, such as those of one part.
        augmentation: for training: four variants of each picture (original, turned, light, noise). None for others.
        size: side of the squares.
    """
    variants: tuple[Variant, ...] = VARIANTS if augmentation and augmentation.siblings else VARIANTS[:1]
    count = len(rows) * len(variants)
    pixels = np.zeros((count, size, size, 3), np.uint8)
    xy = np.zeros((count, len(data.points), 2), np.float32)
    visible, known, source = np.zeros(xy.shape[:2], bool), np.zeros(xy.shape[:2], bool), np.zeros(count, np.int64)
    kind, transforms, problems = np.zeros(count, np.int8), [], []
    at = 0
    for row in map(int, rows):
        record = data.records[row]
        try:
            picture = read_picture(data.root, record.image).pixels
            if picture.shape[1::-1] != record.size:
                raise ConfigError(f"has {picture.shape[1]} x {picture.shape[0]} pixels now, it had {record.size}")
        except AcuSimError as error:
            problems.append(Problem(printable(record.image), str(error), True))
            continue
        for variant in variants:
            changed, moved = picture, data.xy[row]
            if augmentation:
                certain = data.visible[row] & data.trusted[row]
                changed, moved = augmented(picture, moved, certain, variant, augmentation, record.image)
            pixels[at], transform = letterbox(changed, size)
            known[at] = data.known[row] & data.trusted[row]
            xy[at] = np.where(known[at][:, None], transform.to_square(moved), 0)
            visible[at], source[at], kind[at] = data.visible[row], row, VARIANTS.index(variant)
            transforms.append(transform)
            at += 1
    arrays = (pixels[:at], xy[:at], visible[:at], known[:at], source[:at], kind[:at])
    return HandSquares(*arrays, tuple(transforms), problems)


@dataclass(frozen=True, slots=True)
class _Task:
    data: HandData
    rows: NDArray[np.int64]
    augmentation: Augmentation | None
    size: int


def squares_of(
    data: HandData,
    digest: str,
    rows: NDArray[np.int64],
    augmentation: Augmentation | None,
    size: int,
    *,
    cache: Path | None = None,
    workers: int = 1,
    progress: Progress = lambda *_: None,
    say: Callable[[str], None] = lambda _: None,
) -> HandSquares:
    """Squares of some pictures: make_squares, or from the cache.

    Args:
        data: the folder.
        digest: of its pictures and labels.
        rows: which pictures.
        augmentation: for training pictures.
        size: side of the squares.
        cache: folder that stores them; None stores nothing.
        workers: processes that decode.
        progress: called with how many pictures are decoded.
        say: called with a message where the cache cannot be used.
    """
    settings = augmentation.as_dict() if augmentation else None
    inputs = json.dumps([FORMAT, digest, rows.tolist(), settings, size], sort_keys=True)
    path = cache / f"hands_{size}" / f"{sha256(inputs.encode())[:32]}.safetensors" if cache else None
    if path is not None and path.is_file():
        try:
            return _load(path)
        except (LayoutError, ValueError) as error:
            say(f"cache: {path.name} is damaged ({error}); its pictures are decoded again")
    chunks = [rows[start : start + _CHUNK] for start in range(0, len(rows), _CHUNK)]
    tasks = [(k, _Task(data, chunk, augmentation, size)) for k, chunk in enumerate(chunks)]
    parts: list[HandSquares | None] = [None] * len(tasks)
    done = 0
    for k, part in map_each(_decoded, tasks, workers if len(rows) > _FEW else 1):
        parts[k] = part
        done += len(chunks[k])
        progress("decode", done, len(rows))
    squares = _joined([part for part in parts if part is not None] or [make_squares(data, rows, augmentation, size)])
    if path is not None and not squares.problems:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _save(squares, path)
        except OSError as error:
            say(f"cache: {str(path)!r} cannot be written ({error.strerror or error}); continuing without it")
    return squares


def _decoded(task: tuple[int, _Task]) -> tuple[int, HandSquares]:
    k, it = task
    return k, make_squares(it.data, it.rows, it.augmentation, it.size)


def _joined(parts: list[HandSquares]) -> HandSquares:
    return HandSquares(
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in ARRAYS},
        transforms=tuple(one for part in parts for one in part.transforms),
        problems=[problem for part in parts for problem in part.problems],
    )


def _save(squares: HandSquares, path: Path) -> None:
    from safetensors.numpy import save

    ways = [(*one.scale, *one.offset, one.size) for one in squares.transforms]
    arrays = {name: getattr(squares, name) for name in ARRAYS}
    arrays[_WAYS] = np.array(ways, np.float64).reshape(-1, 5)
    write_atomic(path, save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))


def _load(path: Path) -> HandSquares:
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    if set(read_header(path)) != {*ARRAYS, _WAYS}:
        raise LayoutError("it contains other arrays")
    try:
        arrays = load_file(path)
    except (SafetensorError, OSError) as error:
        raise LayoutError(str(error)) from None
    if len({len(array) for array in arrays.values()}) != 1:
        raise LayoutError("its arrays have different lengths")
    ways = tuple(Transform((a, b), (c, d), int(e)) for a, b, c, d, e in arrays.pop(_WAYS).tolist())
    return HandSquares(**{name: arrays[name] for name in ARRAYS}, transforms=ways, problems=[])
