"""Squares of hands, cached: stored in a file named by the hash of their inputs, decoded by processes."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from acusim.errors import LayoutError
from acusim.files import sha256, write_atomic
from acusim.parallel import map_each
from acusim.tensor_files import read_header
from training.data.hand_augmentation import Augmentation
from training.data.hand_dataset import HandData, HandSquares, make_squares
from training.data.photographs import Transform
from training.data.progress import Progress

FORMAT = 2
"""Incremented when the same pictures give other squares."""
_CHUNK = 16
_FEW = 64
"""Up to so many pictures are decoded in this process, since others would take longer to start."""
ARRAYS = ("pixels", "xy", "visible", "known", "row", "variant")
"""Arrays of HandSquares, with a row for each square."""
_WAYS = "transforms"


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
