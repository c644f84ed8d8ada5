"""Distinguishes heads from hands by the detectors for faces and palms that come with MediaPipe.

The larger one, by the area of its box, decides. Nothing is learned or tuned here; docs/guide/web.md has its accuracy.
"""

import threading
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.photographs import letterbox
from training.inference.faces import NEAR, open_detector
from training.inference.quiet import silenced
from training.settings import TaskName

CONFIDENCE = 0.3
"""From which a detection counts."""
SIDE = 512
"""Of the square that the detectors see, in pixels."""


class Detector:
    """Finds faces and hands; some 40 ms per picture. Threads may share it; they wait for each other."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        with silenced():  # until the first answer: MediaPipe opens its graphs in threads that have notices, too
            from mediapipe.python.solutions.hands import Hands  # type: ignore[import-untyped]

            self._faces: Any = open_detector(NEAR, CONFIDENCE)
            self._hands: Any = Hands(static_image_mode=True, max_num_hands=1, min_detection_confidence=CONFIDENCE)
            self.kind_of(np.zeros((SIDE, SIDE, 3), np.uint8))

    def kind_of(self, pixels: NDArray[np.uint8]) -> TaskName | None:
        """The content of a picture [H, W, 3] RGB; None where there is neither a face nor a hand."""
        square, _ = letterbox(pixels, SIDE)
        with self._lock, silenced():
            faces = self._faces.process(square).detections or []
            hands = self._hands.process(square).multi_hand_landmarks or []
        boxes = [face.location_data.relative_bounding_box for face in faces]
        face = max((box.width * box.height for box in boxes), default=0.0)
        spans = [np.ptp([(mark.x, mark.y) for mark in hand.landmark], axis=0) for hand in hands]
        hand = max((float(span.prod()) for span in spans), default=0.0)
        return None if face == hand else "head" if face > hand else "hand"

    def close(self) -> None:
        """Releases the detectors."""
        self._faces.close()
        self._hands.close()
