"""A head told from a hand."""

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from training.web.detection import Detector


@pytest.fixture(scope="module")
def detector() -> Iterator[Detector]:
    detector = Detector()
    yield detector
    detector.close()


def test_nothing_is_found_where_there_is_nothing(detector: Detector):
    for shape in ((300, 200, 3), (8, 900, 3), (1, 1, 3)):
        assert detector.kind_of(np.full(shape, 128, np.uint8)) is None


class _Finds:
    """A detector that always finds the same, and remembers what it saw."""

    def __init__(self, **found: Any):
        self.found = found
        self.seen: list[tuple[int, ...]] = []

    def process(self, pixels: np.ndarray) -> Any:
        self.seen.append(pixels.shape)
        return SimpleNamespace(**self.found)


def _face(side: float) -> Any:
    box = SimpleNamespace(width=side, height=side)
    return SimpleNamespace(location_data=SimpleNamespace(relative_bounding_box=box))


def _hand(side: float) -> Any:
    return SimpleNamespace(landmark=[SimpleNamespace(x=0.1 + side * k, y=0.2 + side * k) for k in (0, 0.5, 1)])


@pytest.mark.parametrize(
    ("faces", "hands", "kind"),
    [
        ([0.4], [], "head"),
        ([], [0.1], "hand"),
        ([0.4, 0.1], [0.3], "head"),
        ([0.1, 0.2], [0.3], "hand"),
        ([], [], None),
    ],
)
def test_the_larger_decides(
    detector: Detector, monkeypatch: pytest.MonkeyPatch, faces: list[float], hands: list[float], kind: str | None
):
    found = [_face(side) for side in faces], [_hand(side) for side in hands]
    face_detector = _Finds(detections=found[0] or None)
    monkeypatch.setattr(detector, "_faces", face_detector)
    monkeypatch.setattr(detector, "_hands", _Finds(multi_hand_landmarks=found[1] or None))
    assert detector.kind_of(np.zeros((3000, 100, 3), np.uint8)) == kind
    assert face_detector.seen == [(512, 512, 3)]
