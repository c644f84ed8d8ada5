"""A trained model for use from Python: ``training.load_model(RUN).predict(image)``.

The commands predict and serve find points by the same class.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from acusim.errors import ConfigError, EngineError
from acusim.pictures import read_file
from training.data.photographs import Photograph, Transform, crop_square, letterbox, read_photograph, whole_square
from training.inference.drawing import HEAD, Palette, hand_palette
from training.inference.face_crop import FaceCropper, Framing
from training.inference.head_fit import HeadFit, head_fits
from training.inference.point_names import HEAD_POINTS, Point, hand_points
from training.inference.predictors import Predictor, Squares
from training.settings import Crop, TaskName
from training.tasks.hand_type import type_json

if TYPE_CHECKING:
    from training.tasks.hand_points import HandPoints

Image = str | Path | NDArray[np.uint8]
Evidence = Literal["visibility", "peak", "none"]
"""What a point's number is: its probability of being visible, the height of its heatmap's peak, or nothing."""
THRESHOLDS: dict[Evidence, float] = {"visibility": 0.5, "peak": 0.3, "none": 0.0}
"""Default number from which a point counts as visible. That of peaks is not tuned."""
ENOUGH = 1024
"""Pixels that both sides of a photograph should keep; larger JPEGs are read reduced."""


@dataclass(frozen=True, slots=True, eq=False)
class PredictedPoints:
    """The N acupoints of one image."""

    points: tuple[Point, ...]
    """[N] codes and names, the same for every image of a model."""
    coords_px: NDArray[np.float64]
    """[N, 2] x and y in pixels from the left and top edge of the image, turned upright by its EXIF orientation; the
    first pixel's centre is (0.5, 0.5). Positions of points that are not visible mean little."""
    visibility: NDArray[np.float64]
    """[N] 0..1. The probability that the point is visible; for some models of the hand the height of the heatmap's
    peak, which is not a probability, or 1 for networks that give coordinates alone; see Model.evidence."""
    visible: NDArray[np.bool_]
    """[N] whether visibility is at least the threshold."""
    hand_type: NDArray[np.float64] | None = None
    """[2] probability that the hand is the left one, and that its palm is seen; None for models without that output."""
    framing: Framing | None = None
    """Which part of the image the model saw, and why; None for models that always see the whole image."""
    fit: HeadFit | None = None
    """Pose, points in millimetres and the fit's residual; None where no fit was made."""

    @property
    def names(self) -> tuple[str, ...]:
        """[N] the points' names as in label files."""
        return tuple(point.name for point in self.points)

    @property
    def hand(self) -> dict[str, Any] | None:
        """``side`` and ``face`` of a hand, each with its likelier value and the probability of that value."""
        return None if self.hand_type is None else type_json(self.hand_type)


class Prepared(NamedTuple):
    """A photograph and the square cut from it."""

    photograph: Photograph
    square: Squares
    """[S, S, 3]."""
    transform: Transform
    framing: Framing | None = None
    """See PredictedPoints."""


class Found(NamedTuple):
    """The points of one decoded photograph."""

    confidence: NDArray[np.float64]
    """[N] 0..1, see Evidence; 1 where the model gives none."""
    xy_px: NDArray[np.float64]
    """[N, 2] pixels from the left and top edge of the photograph as it was decoded."""
    hand_type: NDArray[np.float64] | None = None
    """[2] as in PredictedPoints."""
    framing: Framing | None = None
    """As in PredictedPoints; in pixels of the photograph as it was decoded."""
    fit: HeadFit | None = None
    """As in PredictedPoints."""

    def check_finite(self) -> None:
        """Checks the numbers.

        Raises:
            EngineError: one is not finite.
        """
        numbers = [self.confidence, self.xy_px, self.hand_type, self.fit and self.fit.points_mm]
        if not all(np.isfinite(array).all() for array in numbers if array is not None):
            raise EngineError("the model's output is not finite; is the checkpoint that of a diverged training?")


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """A model that finds acupoints in images of heads or hands. One thread at a time may use it."""

    kind: TaskName
    """What it knows: head or hand."""
    points: tuple[Point, ...]
    """[N] what it finds, in the order of every result."""
    palette: Palette
    """Short names and colours of the points, for drawing."""
    evidence: Evidence
    """What ``visibility`` in its results is."""
    size: int
    """Side of its square input in pixels. Images are scaled to it, with black padding where they are not square."""
    predictor: Predictor
    made_by: Mapping[str, Any]
    """JSON values that identify the model, such as the run's name and the hash of its weights."""
    cropper: FaceCropper | None = None
    """Chooses the part of each image that a model of the head sees; None for the whole image."""
    quick: Predictor | None = None
    """The same in one look, without mirrored images and second pass, for moving pictures; None where there is only one.
    """

    @property
    def names(self) -> tuple[str, ...]:
        """[N] the points' names as in label files."""
        return tuple(point.name for point in self.points)

    @property
    def threshold(self) -> float:
        """The default visibility from which a point counts as visible."""
        return THRESHOLDS[self.evidence]

    @property
    def enough_px(self) -> int:
        """Pixels that both sides of an image should keep when it is read."""
        return max(ENOUGH, self.size)

    def predict(self, image: Image, threshold: float | None = None) -> PredictedPoints:
        """The acupoints of one image.

        Args:
            image: path of a PNG or JPEG, or an array [H, W, 3] of uint8, RGB, which is not modified.
            threshold: visibility from which a point counts as visible, 0..1; None for the model's default.

        Raises:
            ConfigError: the threshold is outside 0..1.
            PictureError: the file is missing, not a PNG or JPEG, damaged, animated, or over 64 megapixels.
            ValueError: the array has another shape or type.
            EngineError: the model's output is not finite.
        """
        return self.predict_batch([image], threshold=threshold)[0]

    def predict_batch(
        self, images: Sequence[Image], batch_size: int = 8, threshold: float | None = None
    ) -> list[PredictedPoints]:
        """The acupoints of several images, in their order.

        Args:
            images: as for predict; they may differ in size.
            batch_size: images that the model takes at a time, at least 1.
            threshold: as for predict.

        Raises:
            ConfigError: the batch size is below 1, or as predict.
            PictureError, ValueError, EngineError: as predict; of the first image that fails.
        """
        limit = self.threshold if threshold is None else threshold
        check_threshold(limit)
        if batch_size < 1:
            raise ConfigError(f"batch_size = {batch_size} is below 1")
        out: list[PredictedPoints] = []
        for start in range(0, len(images), batch_size):
            group = [self.prepare(self._read(image)) for image in images[start : start + batch_size]]
            for item, found in zip(group, self.find(group), strict=True):
                found.check_finite()
                xy, visible = found.xy_px * item.photograph.reduced, found.confidence >= limit
                more = found.hand_type, found.framing, found.fit
                out.append(PredictedPoints(self.points, xy, found.confidence, visible, *more))
        return out

    def _read(self, image: Image) -> Photograph:
        if isinstance(image, str | Path):
            return read_photograph(read_file(Path(image)), Path(image).name, self.enough_px)
        return Photograph(image, ())

    def prepare(self, photograph: Photograph) -> Prepared:
        """A photograph, or the part of it that the cropper chooses, scaled and padded for the model.

        Raises:
            PictureError: the cropper requires a face, and there is none.
            ValueError: its pixels are not [H, W, 3] uint8.
        """
        pixels = photograph.pixels
        if self.cropper is None or pixels.ndim != 3:
            return Prepared(photograph, *letterbox(pixels, self.size))
        framing = self.cropper.frame(pixels)
        if framing.square == whole_square(pixels):
            return Prepared(photograph, *letterbox(pixels, self.size), framing)
        return Prepared(photograph, *crop_square(pixels, framing.square, self.size), framing)

    def find(self, items: Sequence[Prepared], quick: bool = False) -> list[Found]:
        """The points of some photographs, in one batch; see Found.check_finite."""
        predictor = self.quick if quick and self.quick else self.predictor
        prediction = predictor(np.stack([item.square for item in items]))
        types = [None] * len(items) if prediction.hand_types is None else np.asarray(prediction.hand_types, np.float64)
        confidence = np.asarray(prediction.confidence, np.float64)
        fits = [None] * len(items) if prediction.fit is None else head_fits(prediction.fit)
        return [
            Found(confidence[row], item.transform.from_unit(prediction.xy[row]), types[row], item.framing, fits[row])
            for row, item in enumerate(items)
        ]

    def recognise(self, pixels: NDArray[np.uint8], quick: bool = False) -> Found:
        """The points of a decoded photograph [H, W, 3] RGB; ``quick``: in one look, of a moving picture.

        Raises:
            PictureError: the cropper requires a face, and there is none.
            EngineError: the model's output is not finite.
        """
        [found] = self.find([self.prepare(Photograph(pixels, ()))], quick)
        found.check_finite()
        return found

    def with_crop(self, crop: Crop) -> "Model":
        """The same model with a cropper in front of it; one of the hand always sees the whole image.

        Raises:
            ConfigError: ``crop`` is "face" for a model of the hand.
        """
        if self.kind == "hand":
            if crop == "face":
                raise ConfigError("crop = 'face' is for models of the head; this one is of the hand: choose 'none'")
            return self
        return replace(self, cropper=FaceCropper(crop))

    def warm_up(self) -> None:
        """Runs it once on a grey image: the first run takes longer, and some libraries comment on it.

        Raises:
            EngineError: the model's output is not finite.
        """
        if self.cropper:
            self.cropper.open()
        whole = replace(self, cropper=None)  # a grey image has no face
        whole.recognise(np.full((self.enough_px, self.enough_px, 3), 127, np.uint8))


def check_threshold(threshold: float) -> None:
    """Checks a threshold.

    Raises:
        ConfigError: it is outside 0..1.
    """
    if not 0 <= threshold <= 1:
        raise ConfigError(f"threshold {threshold} is not within 0..1")


def head_model(predictor: Predictor, size: int, made_by: Mapping[str, Any], quick: Predictor | None = None) -> Model:
    """A model of the head's 174 acupoints."""
    return Model("head", HEAD_POINTS, HEAD, "visibility", size, predictor, made_by, quick=quick)


def hand_model(
    points: "HandPoints",
    outputs: Collection[str],
    predictor: Predictor,
    size: int,
    made_by: Mapping[str, Any],
    quick: Predictor | None = None,
) -> Model:
    """A model of some acupoints of the hand; ``outputs`` are the names of training.models.hand.named_outputs."""
    evidence: Evidence = "visibility" if "visibility" in outputs else "peak" if "heatmaps" in outputs else "none"
    palette = hand_palette(points)
    return Model("hand", hand_points(points.points), palette, evidence, size, predictor, made_by, quick=quick)
