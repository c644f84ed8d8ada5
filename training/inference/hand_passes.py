"""A hand's detector that looks several times: at a picture and its mirror image, and again at the hand alone.

The points of the first pass tell where the hand is and how large; the second pass sees it centred, in the usual size of
training pictures. Mirror images, and both passes, are averaged. This is for networks that were trained with mirrored
pictures and predict whether points are visible.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.geometry.similarity import invert, mirror_points, move_points, reduced, warp
from training.inference.predictors import Prediction, Predictor, Squares
from training.tasks.base import squares_of
from training.tasks.hand import HandPredictions
from training.tasks.hand_type import TRAITS

if TYPE_CHECKING:
    from training.data.hand_squares import HandSquares
    from training.tasks.hand_config import HandConfig

SPAN = 0.42
"""Longer side of the box around the points in the second pass, as a share of the square: the median of synthetic hands
for training."""
SCALES = (0.7, 1.6)
"""Least and largest magnification of the second pass."""


def has_passes(config: "HandConfig") -> bool:
    """Whether networks of this configuration are for several passes."""
    return config.online.flip > 0 and config.model.name == "integral"


def repeated_predictor(network: Predictor, size: int) -> Predictor:
    """A predictor with mirrored pictures and a second pass, four times as slow as the network.

    Args:
        network: squares [B, size, size, 3] to a Prediction.
        size: side of the network's input.

    Returns:
        squares of any size, best ENLARGED * size, to a Prediction.
    """

    def once(squares: Squares) -> Prediction:
        return _mean(network(squares), _mirrored(network(np.ascontiguousarray(squares[:, :, ::-1]))))

    def run(squares: Squares) -> Prediction:
        first = once(np.stack([reduced(square, size) for square in squares]))
        matrices = closer(first.xy)
        again = once(np.stack([warp(*pair, size) for pair in zip(squares, matrices, strict=True)]))
        return _mean(first, again._replace(xy=move_points(invert(matrices), again.xy)))

    return run


def single_predictor(network: Predictor, size: int) -> Predictor:
    """A predictor of one pass for squares of any size; arguments as of repeated_predictor."""
    return lambda squares: network(np.stack([reduced(square, size) for square in squares]))


def closer(xy: NDArray[np.floating]) -> NDArray[np.float64]:
    """Similarities that move the hand to the square's centre and bring it to the usual size.

    Args:
        xy: [B, P, 2] points of hands in 0..1 of their squares.

    Returns:
        [B, 2, 3], see training.geometry.similarity.
    """
    low, high = xy.min(1), xy.max(1)
    scale = np.clip(SPAN / np.maximum((high - low).max(1), 1e-6), *SCALES)
    linear = scale[:, None, None] * np.eye(2)
    return np.concatenate([linear, (0.5 - scale[:, None] * (low + high) / 2)[..., None]], 2)


def _mirrored(found: Prediction) -> Prediction:
    """What was found in a mirror image, for the picture itself: a left hand there is a right one here."""
    types = found.hand_types
    if types is not None:
        is_side = np.array([name == "side" for name in TRAITS])
        types = np.where(is_side, 1 - types, types)
    return Prediction(found.confidence, mirror_points(found.xy), types)


def _mean(one: Prediction, other: Prediction) -> Prediction:
    types = None
    if one.hand_types is not None and other.hand_types is not None:
        types = (one.hand_types + other.hand_types) / 2
    return Prediction((one.confidence + other.confidence) / 2, (one.xy + other.xy) / 2, types)


def predict_squares(
    predictor: Predictor,
    given: "HandSquares",
    squares: "HandSquares",
    progress: Callable[[int], None] = lambda _: None,
) -> HandPredictions:
    """A predictor's answers for squares, as training.tasks.hand.predict gives a network's.

    Args:
        predictor: with confidence as the probability of being visible.
        given: N squares of the size that it takes.
        squares: of the same pictures; positions are shares of these. Padding is of whole pixels, so the shares of one
            point in squares of two sizes may differ by a pixel.
        progress: called with the number of squares just done.
    """
    found: list[Prediction] = []
    for _, pixels in squares_of(given, np.arange(len(given))):
        found.append(predictor(pixels))
        progress(len(pixels))
    xy = np.concatenate([one.xy for one in found])
    ways = zip(given.transforms, squares.transforms, xy, strict=True)
    types = [one.hand_types for one in found if one.hand_types is not None]
    return HandPredictions(
        np.stack([there.to_square(here.from_unit(one)) / there.size for here, there, one in ways]).astype(np.float32),
        np.concatenate([one.confidence for one in found]).astype(np.float32),
        np.concatenate(types).astype(np.float32) if types else None,
        of_visibility=True,
    )
