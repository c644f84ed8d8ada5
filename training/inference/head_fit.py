"""The pose of a head and its points in space, where a fit of a head to the predicted points gives them."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from training.geometry.fit import Fit


@dataclass(frozen=True, slots=True, eq=False)
class HeadFit:
    """A head fitted to the points of one image."""

    yaw_deg: float
    """0 faces the camera; above 0 the head is turned to the person's own left."""
    pitch_deg: float
    """Above 0 it looks up."""
    roll_deg: float
    """Above 0 it is tilted clockwise, as seen in the image."""
    points_mm: NDArray[np.float64]
    """[N, 3] in AcuSim's frame: +x the person's left, -y the direction of the face, +z up."""
    residual_mm: float
    """Median distance of the visible points to their predictions, across the line of sight."""
    ok: bool
    """Whether the residual is small enough to trust pose, millimetres and hidden points."""

    def pose_json(self) -> dict[str, float]:
        """``yaw``, ``pitch`` and ``roll`` in degrees."""
        angles = {"yaw": self.yaw_deg, "pitch": self.pitch_deg, "roll": self.roll_deg}
        return {name: round(float(value), 2) for name, value in angles.items()}

    def fit_json(self) -> dict[str, Any]:
        """The residual, and whether it is small enough."""
        return {"residual_mm": round(float(self.residual_mm), 3), "ok": bool(self.ok)}

    def points_json(self) -> list[list[float]]:
        """[N, 3] rounded to micrometres."""
        return np.round(self.points_mm, 3).tolist()


def head_fits(result: "Fit") -> list[HeadFit]:
    """The fits to a batch of images, one by one."""
    millimetres = result.residual * result.translation_mm[:, 2] / result.focal
    return [
        HeadFit(yaw, pitch, roll, result.points_mm[row], float(millimetres[row]), bool(result.ok[row]))
        for row, (yaw, pitch, roll) in enumerate(result.pose_deg.tolist())
    ]
