"""What is reached without seeing a picture: predictions fitted on the training part alone.

They are Predictions, so that the same ``score`` measures them, and are printed beside every figure of a model.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from acusim import acupoints, rig
from acusim.errors import ConfigError
from training.eval.predictions import Predictions, Targets
from training.geometry.projection import cameras_of, project

ALL_OCCLUDED = "all occluded"
PER_POINT = "per point"
PER_POINT_AND_FRAME = "per point and frame: knows the camera"
THROUGH_CAMERA = "mean head through the true camera"
BASELINES = (ALL_OCCLUDED, PER_POINT, PER_POINT_AND_FRAME)
COORDINATE_BASELINES = (PER_POINT, PER_POINT_AND_FRAME, THROUGH_CAMERA)
"""Baselines with positions; all occluded has (0, 0) for all, as the labels do for occluded points."""
_CENTRE = 0.5
_FRAMES = len(rig.FRAMES)


@dataclass(frozen=True, slots=True, eq=False)
class Baselines:
    """Frequencies and mean positions of the training part."""

    visible: NDArray[np.float64]
    """[145, 174] share of the pictures of each frame in which the point is visible; row 0 is over all pictures."""
    xy: NDArray[np.float64]
    """[145, 174, 2] mean position where it is visible; row 0 is over all pictures."""

    def predict(self, frame: NDArray[np.int16]) -> dict[str, Predictions]:
        """The baselines' predictions for N pictures, by the names of BASELINES.

        "Per point" is the majority (a probability of at least one half is visible) and the mean position of each
        point. "Per point and frame" is the same among the training pictures of one camera, which it is given and the
        model is not; where training lacks the camera, or the point in it, it is the same as "per point".

        Args:
            frame: [N] cameras 1..144.
        """
        count = len(frame)
        shape = (count, acupoints.COUNT)
        nothing = Predictions(np.zeros(shape, np.float32), np.zeros((*shape, 2), np.float32))
        rows = {PER_POINT: np.zeros(count, int), PER_POINT_AND_FRAME: np.asarray(frame, int)}
        known = {
            name: Predictions(self.visible[row].astype(np.float32), self.xy[row].astype(np.float32))
            for name, row in rows.items()
        }
        return {ALL_OCCLUDED: nothing, **known}


def through_camera(
    baselines: Baselines,
    mean_mm: NDArray[np.floating],
    rotation: NDArray[np.floating],
    translation_mm: NDArray[np.floating],
    focal: NDArray[np.floating],
    training_frames: NDArray[np.integer] | None = None,
) -> Predictions:
    """The mean head of training projected through the true camera of each picture, which may be off the rig.

    Visibility is the training part's frequency in the frame whose camera looks from the nearest direction; roll,
    distance and focal length make no difference to it.

    Args:
        baselines: of the training part.
        mean_mm: [174, 3] its mean head.
        rotation: [N, 3, 3] world to camera.
        translation_mm: [N, 3].
        focal: [N] multiples of the picture's width.
        training_frames: frames that the training part has pictures of; None for all of the rig.

    Raises:
        ConfigError: there are no frames, one of them does not exist, or the arrays' shapes do not fit each other.
    """
    frames = np.unique(rig.FRAMES if training_frames is None else training_frames)
    if not len(frames):
        raise ConfigError("the training part has no frames, so no camera of it is near")
    xy, _ = project(mean_mm, rotation, translation_mm, focal)
    nearest = frames[(rotation[:, 2] @ cameras_of(frames)[0][:, 2].T).argmax(1)]
    return Predictions(baselines.visible[nearest].astype(np.float32), xy.astype(np.float32))


def fit_baselines(targets: Targets) -> Baselines:
    """Fits the baselines on the targets of the training part.

    A point that is nowhere visible in training gets the mean of all visible points.

    Raises:
        ConfigError: there are no pictures.
    """
    visible = np.asarray(targets.visible)
    if not len(visible):
        raise ConfigError("the training part holds no pictures, so there are no baselines")
    located = visible & targets.trusted
    frame = np.asarray(targets.frame, int)
    pictures = _totals(np.ones((len(frame), 1)), frame)
    share = _ratio(_totals(visible, frame), pictures)
    count = _totals(located, frame)[..., None]
    position = _ratio(_totals(np.where(located[..., None], targets.xy, 0), frame), count)
    anywhere = targets.xy[located].mean(0) if located.any() else np.full(2, _CENTRE)
    position[0] = np.where(np.isnan(position[0]), anywhere, position[0])
    return Baselines(np.where(np.isnan(share), share[0], share), np.where(np.isnan(position), position[0], position))


def _totals(values: NDArray[np.generic], frame: NDArray[np.int_]) -> NDArray[np.float64]:
    """[145, ...] sums of values [N, ...] over the pictures of each frame; row 0 is over all of them."""
    out = np.zeros((_FRAMES + 1, *values.shape[1:]))
    for number in np.unique(frame):
        out[number] = values[frame == number].sum(0, dtype=np.float64)
    out[0] = out[1:].sum(0)
    return out


def _ratio(parts: NDArray[np.float64], wholes: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(parts, wholes, out=np.full(parts.shape, np.nan), where=np.broadcast_to(wholes > 0, parts.shape))
