"""The face detector of the protocol: MediaPipe FaceMesh with refined landmarks (478 points)."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from evaluation.drift import NO_FACE, Face

VERSION = "mediapipe 0.10.21, refined, confidence 0.5"
"""In the key under which detections are stored."""
RE_OUTER, RE_INNER, LE_INNER, LE_OUTER = 33, 133, 362, 263
MOUTH_R, MOUTH_L, LIP_APEX = 61, 291, 0
FACE_OVAL = (
    (10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377)
    + (152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109)
)  # fmt: skip
MARKS = 478
_USED = (RE_OUTER, RE_INNER, LE_INNER, LE_OUTER, MOUTH_R, MOUTH_L, LIP_APEX, *FACE_OVAL)


def silence_native_log() -> None:
    """Sends this process's standard error to /dev/null: the only way to stop the detector's C++ log. For workers."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    os.close(nowhere)


@contextmanager
def native_log_silenced() -> Iterator[None]:
    """The same, for a while."""
    before = os.dup(2)
    try:
        silence_native_log()
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)


class Detector:
    """Finds the eight keypoints; some 200 MB and 5 ms an image. Use it as a context manager, one in each process."""

    def __enter__(self) -> Self:
        from mediapipe.python.solutions.face_mesh import FaceMesh  # type: ignore[import-untyped]

        self._mesh: Any = FaceMesh(static_image_mode=True, max_num_faces=1, refine_landmarks=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._mesh.close()

    def find(self, pixels: NDArray[np.uint8]) -> Face:
        """The face in an image [H, W, 3] RGB."""
        faces = self._mesh.process(pixels).multi_face_landmarks
        if not faces:
            return NO_FACE
        height, width = pixels.shape[:2]
        found, marks = faces[0].landmark, np.full((MARKS, 2), np.nan)
        for index in _USED:
            marks[index] = found[index].x * width, found[index].y * height
        return face_of(marks, width, height)


def face_of(marks_px: NDArray[np.float64], width: int, height: int) -> Face:
    """The protocol's keypoints from the detector's [478, 2] landmarks in pixels; NaN outside the image."""
    chosen = marks_px[[LE_OUTER, RE_OUTER, LE_INNER, RE_INNER, MOUTH_L, MOUTH_R, LIP_APEX]]
    outside = ((chosen < 0) | (chosen >= (width, height))).any(1) | ~np.isfinite(chosen).all(1)
    chosen = np.where(outside[:, None], np.nan, chosen)
    bridge = (chosen[2] + chosen[3]) / 2
    oval = marks_px[list(FACE_OVAL), 0]
    return Face(np.concatenate([chosen, bridge[None]]), float(oval.max() - oval.min()))
