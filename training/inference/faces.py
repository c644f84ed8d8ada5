"""Finds faces in photographs by the detectors that come with MediaPipe; they work offline."""

import threading
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.photographs import letterbox
from training.inference.quiet import silenced

CONFIDENCE = 0.5
"""From which a detection counts."""
SIDE = 256
"""Of the square that the detectors see, in pixels; their networks work at 128 and 192."""
NEAR, FAR = 0, 1
"""MediaPipe's detectors: of faces that take much of the picture, and of smaller ones, at twice the time."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face; lengths and positions are pixels of the picture, from its left and top edge."""

    confidence: float
    """0..1."""
    centre: NDArray[np.float64]
    """[2] of the detector's box."""
    side: float
    """Of that box, which is square."""
    marks: NDArray[np.float64]
    """[6, 2] right eye, left eye (the person's own), tip of the nose, mouth, right ear, left ear."""


def open_detector(which: int, confidence: float) -> Any:
    """One of MediaPipe's face detectors; call it within ``silenced``.

    Raises:
        ModuleNotFoundError: MediaPipe is not installed.
    """
    from mediapipe.python.solutions.face_detection import FaceDetection  # type: ignore[import-untyped]

    return FaceDetection(model_selection=which, min_detection_confidence=confidence)


class FaceFinder:
    """Finds the faces of pictures; threads may share it, they wait for each other.

    The detector of small faces is asked only where the other finds none.

    Raises:
        ModuleNotFoundError: MediaPipe is not installed.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        empty = np.zeros((SIDE, SIDE, 3), np.uint8)
        with silenced():
            self._detectors = [open_detector(which, CONFIDENCE) for which in (NEAR, FAR)]
            for detector in self._detectors:  # the first picture takes longer and has notices
                detector.process(empty)

    def find(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture [H, W, 3] RGB, the largest first."""
        square, transform = letterbox(pixels, SIDE)
        found: list[Any] = []
        with self._lock:
            for detector in self._detectors:
                found = detector.process(square).detections or []
                if found:
                    break
        faces = []
        for one in found:
            box = one.location_data.relative_bounding_box
            marks = np.array([(mark.x, mark.y) for mark in one.location_data.relative_keypoints], np.float64)
            centre = transform.from_unit((box.xmin + box.width / 2, box.ymin + box.height / 2))
            side = max(box.width, box.height) * SIDE / max(transform.scale)
            faces.append(Face(float(one.score[0]), centre, float(side), transform.from_unit(marks)))
        return sorted(faces, key=lambda face: -face.side)

    def close(self) -> None:
        """Releases the detectors."""
        for detector in self._detectors:
            detector.close()
