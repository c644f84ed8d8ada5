"""Which square of a photograph a model of the head sees: the head, framed as in AcuSim, or the whole picture.

AcuSim's frames hold the whole head. Where its face is found, the square is placed from the face's box and marks by
numbers that were measured on rendered heads whose frame is known (``python -m benchmarks.face_framing``); what was
done is always stated, never silent.
"""

import contextlib
import threading
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from acusim.errors import PictureError
from training.data.photographs import Pixels, Square, whole_square
from training.inference.faces import Face, FaceFinder
from training.settings import Crop

Reason = Literal["face", "largest_face", "fills", "no_face", "no_detector", "off"]
REASONS: dict[Reason, str] = {
    "face": "the head around the face",
    "largest_face": "the head around the largest face",
    "fills": "the whole picture: the head fills it",
    "no_face": "the whole picture: no face found",
    "no_detector": "the whole picture: MediaPipe, which finds faces, is not installed",
    "off": "the whole picture: the search for faces is off",
}
"""In words."""
SIDE = 2.4
"""Side of AcuSim's frame as a multiple of the face's box: 2.31 from the front, 2.42 in the mean of the kept views."""
UP, NOSE_UP = 0.107, -0.937
"""Height of the frame's centre over that of the box, in boxes: UP + NOSE_UP * (the nose's height over it)."""
FILLS = 0.6
"""A square picture that shares at least so much of its joint area with the square is taken whole."""
LARGEST = 1.5
"""Side of a square as a multiple of the picture's longer side, at most: it bounds the memory."""


@dataclass(frozen=True, slots=True)
class Framing:
    """The part of a photograph that the model sees, and why."""

    reason: Reason
    square: Square
    """In pixels of the decoded photograph."""
    faces: int = 0
    """How many were found."""

    @property
    def text(self) -> str:
        """In words."""
        more = f" ({self.faces} were found)" if self.faces > 1 else ""
        return REASONS[self.reason] + more

    def as_json(self, reduced: int = 1) -> dict[str, Any]:
        """JSON values; lengths are pixels of the file's upright picture, each of ours being ``reduced`` of those."""
        left, top, side = (reduced * value for value in self.square)
        return {
            "what": "face" if self.reason in ("face", "largest_face") else "whole picture",
            "reason": self.reason,
            "faces": self.faces,
            "left": left,
            "top": top,
            "side": side,
        }


class Finder(Protocol):
    """Finds faces, see FaceFinder."""

    def find(self, pixels: NDArray[np.uint8]) -> list[Face]:
        """The faces of a picture, the largest first."""
        ...


class FaceCropper:
    """Chooses the square of each photograph.

    Args:
        crop: see Crop.
        finder: finds faces; None for MediaPipe's detector, which is loaded with the first picture.
    """

    def __init__(self, crop: Crop = "auto", finder: Finder | None = None):
        self.crop: Crop = crop
        self._finder = finder
        self._lock = threading.Lock()
        self._opened = finder is not None or crop == "none"

    def open(self) -> None:
        """Loads the detector now rather than with the first picture."""
        with self._lock:
            if not self._opened:
                with contextlib.suppress(ModuleNotFoundError):
                    self._finder = FaceFinder()
                self._opened = True

    def frame(self, pixels: Pixels) -> Framing:
        """The square for a photograph [H, W, 3] RGB.

        Raises:
            PictureError: ``crop`` is "face" and there is no face, or no detector.
        """
        whole = whole_square(pixels)
        if self.crop == "none":
            return Framing("off", whole)
        self.open()
        faces = self._finder.find(pixels) if self._finder else []
        if not faces:
            reason: Reason = "no_face" if self._finder else "no_detector"
            if self.crop == "face":
                advice = "choose --crop auto to use the whole picture" if self._finder else "install mediapipe"
                missing = "no face was found" if self._finder else "MediaPipe, which finds faces, is not installed"
                raise PictureError(f"{missing}; {advice}")
            return Framing(reason, whole)
        square = head_square(faces[0], max(pixels.shape[:2]))
        if pixels.shape[0] == pixels.shape[1] and _overlap(square, whole) >= FILLS:
            return Framing("fills", whole, len(faces))
        return Framing("largest_face" if len(faces) > 1 else "face", square, len(faces))


def head_square(face: Face, longer_px: int) -> Square:
    """The square of whole pixels that frames the head of a face as AcuSim does.

    Its centre is, along the line of the eyes, midway between the ears, and across it as UP and NOSE_UP state.

    Args:
        face: a face.
        longer_px: the longer side of its picture; bounds the square.
    """
    eyes, nose, mouth, ears = face.marks[:2].mean(0), face.marks[2], face.marks[3], face.marks[4:].mean(0)
    up = eyes - mouth
    length = float(np.hypot(*up))
    up = up / length if length > 0 else np.array([0.0, -1.0])
    right = np.array([-up[1], up[0]])
    along = float((ears - face.centre) @ right)
    over = UP * face.side + NOSE_UP * float((nose - face.centre) @ up)
    centre = face.centre + along * right + over * up
    side = int(np.clip(round(SIDE * face.side), 1, LARGEST * longer_px))
    left, top = np.round(centre - side / 2).astype(int).tolist()
    return Square(left, top, side)


def _overlap(one: Square, other: Square) -> float:
    """The area that two squares share, of the area that they cover together."""
    width = min(one.left + one.side, other.left + other.side) - max(one.left, other.left)
    height = min(one.top + one.side, other.top + other.side) - max(one.top, other.top)
    shared = max(0, width) * max(0, height)
    return shared / (one.side**2 + other.side**2 - shared)
