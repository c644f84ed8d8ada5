"""The paper's drift protocol: eight facial keypoints before and after, and when a pair is discarded.

Source: section 5 of the diffusion-based augmentation of AcuSim ("facial-landmark-based difference comparison").
d_k is the Euclidean distance of keypoint k in pixels. A pair is discarded if detection fails on either picture, if the
face is less than 80 px wide, or if fewer than 6 of the 8 keypoints are found in both.
"""

from dataclasses import dataclass
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from acusim import rig

KEYPOINTS = ("LE_outer", "RE_outer", "LE_inner", "RE_inner", "Mouth_L", "Mouth_R", "Philtrum", "NasalBridgeMid")
"""L and R are the subject's. Philtrum is the apex of the upper lip, NasalBridgeMid halfway between the inner canthi."""
LEAST_FACE_PX = 80.0
LEAST_KEYPOINTS = 6

Discard = Literal[
    "no face in the original",
    "no face in the augmented picture",
    "face narrower than 80 px",
    "fewer than 6 of 8 keypoints",
]
DISCARDS: tuple[Discard, ...] = get_args(Discard)
TRUSTED_AZIMUTH_DEG, TRUSTED_ELEVATION_DEG = 45.0, 30.0
"""Views in which the detector is reliable; beyond, its error grows and from behind its faces are false."""


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """What the detector found in one image; without a face there are no keypoints."""

    keypoints_px: NDArray[np.float64] | None
    """[8, 2] pixels in the order of KEYPOINTS, NaN for those outside the image; None if there is no face."""
    width_px: float
    """Horizontal span of the face oval, NaN if there is no face."""

    def as_json(self) -> dict[str, Any]:
        """For the store of measurements."""
        if self.keypoints_px is None:
            return {"keypoints": None}
        rows = [[None if np.isnan(v) else round(float(v), 4) for v in row] for row in self.keypoints_px]
        return {"keypoints": rows, "width": round(float(self.width_px), 4)}

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Face":
        """The inverse of as_json."""
        if record["keypoints"] is None:
            return NO_FACE
        rows = [[np.nan if v is None else v for v in row] for row in record["keypoints"]]
        return cls(np.array(rows, np.float64), float(record["width"]))


NO_FACE = Face(None, float("nan"))


@dataclass(frozen=True, slots=True, eq=False)
class PairDrift:
    """The drift of one pair, or why it is discarded."""

    shift_px: NDArray[np.float64]
    """[8, 2] dx, dy; NaN where a keypoint is not found in both, or the pair is discarded."""
    discard: Discard | None

    @property
    def distance_px(self) -> NDArray[np.float64]:
        """[8] d_k."""
        return np.hypot(self.shift_px[:, 0], self.shift_px[:, 1])


def pair_drift(original: Face, augmented: Face) -> PairDrift:
    """The protocol for one pair."""
    nothing = np.full((len(KEYPOINTS), 2), np.nan)
    if original.keypoints_px is None:
        return PairDrift(nothing, "no face in the original")
    if augmented.keypoints_px is None:
        return PairDrift(nothing, "no face in the augmented picture")
    if min(original.width_px, augmented.width_px) < LEAST_FACE_PX:
        return PairDrift(nothing, "face narrower than 80 px")
    shift = augmented.keypoints_px - original.keypoints_px
    if (~np.isnan(shift).any(1)).sum() < LEAST_KEYPOINTS:
        return PairDrift(nothing, "fewer than 6 of 8 keypoints")
    return PairDrift(shift, None)


def azimuth_deg(frame: int) -> float:
    """Azimuth of a camera in -180..180: 0 faces the subject, positive is at the subject's left."""
    return (rig.camera(frame).azimuth_deg + 180) % 360 - 180


def is_trusted_view(frame: int) -> bool:
    """Whether the detector can be trusted in a camera's view."""
    camera = rig.camera(frame)
    return abs(azimuth_deg(frame)) <= TRUSTED_AZIMUTH_DEG and abs(camera.elevation_deg) <= TRUSTED_ELEVATION_DEG
