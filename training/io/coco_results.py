"""A model's results in COCO's format, written and read. Source: https://cocodataset.org/#format-results

The third number of each keypoint is its probability of being visible, which COCO's evaluation ignores; the score is the
mean probability of the points at or over the threshold, 0 without any.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from acusim.coco_parts import numbers_of
from acusim.errors import LabelError, shown
from acusim.layout import Problem
from acusim.text_files import json_document
from acusim.tolerances import comparable_id
from training.io.coco import CATEGORY_ID

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """The points that a model found in one picture."""

    image_id: int
    xy_px: Floats
    """[K, 2]."""
    probability: Floats
    """[K] of being visible."""
    score: float


def result_of(image_id: int, xy_px: ArrayLike, probability: ArrayLike, threshold: float = 0.5) -> Result:
    """A result with its score: the mean probability of the points at or over the threshold, 0 where there is none."""
    chances = np.asarray(probability, np.float64)
    visible = chances[chances >= threshold]
    score = float(visible.mean()) if visible.size else 0.0
    return Result(image_id, np.asarray(xy_px, np.float64), chances, score)


def dump_results(results: Iterable[Result]) -> bytes:
    """The COCO results file of some pictures.

    Raises:
        ValueError: shapes do not belong together, or a number is not finite.
    """
    entries = [
        {
            "image_id": result.image_id,
            "category_id": CATEGORY_ID,
            "keypoints": np.c_[result.xy_px, result.probability].ravel().tolist(),
            "score": result.score,
        }
        for result in results
    ]
    return json.dumps(entries, allow_nan=False, separators=(",", ":")).encode()


def parse_results(data: bytes, count: int) -> tuple[list[Result], list[Problem]]:
    """Reads a COCO results file of K = ``count`` keypoints.

    Raises:
        LabelError: not JSON, or not a list of objects.
    """
    document = json_document(data)
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise LabelError("not a list of objects: this is not a COCO results file")
    results: dict[int, Result] = {}
    problems: list[Problem] = []
    for position, entry in enumerate(document):
        number = comparable_id(entry.get("image_id"))
        try:
            if type(number) is not int:
                raise LabelError(f"image_id is {shown(entry.get('image_id'))}, not a whole number")
            if number in results:
                raise LabelError(f"a second result for image {number}")
            keypoints = numbers_of(entry.get("keypoints"), 3 * count, "keypoints").reshape(-1, 3)
            if not ((keypoints[:, 2] >= 0) & (keypoints[:, 2] <= 1)).all():
                raise LabelError("keypoints: the third number is not always a probability, 0..1")
            (score,) = numbers_of([entry.get("score")], 1, "score").tolist()
            results[number] = Result(number, keypoints[:, :2], keypoints[:, 2], score)
        except LabelError as error:
            problems.append(Problem(f"result {position}", str(error), True))
    return list(results.values()), problems
