"""A head's detector with what it knows of heads: mirrored pictures, the template's fit, and a second pass.

Each picture is predicted as it is and mirrored, the template is fitted to the points, and where the fit is trusted the
picture is brought to the framing that the network knows best and predicted again. The result's visible points are the
network's, moved half way to the fitted head; hidden points are the fitted head's.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from training.data.augmentation import head_flip
from training.eval.predictions import Predictions
from training.geometry.fit import Fit, fit
from training.geometry.refinement import combine, refine, weights_of
from training.geometry.similarity import mirror_points, reduced
from training.inference.predictors import Prediction, Predictor, Squares
from training.tasks.base import squares_of

if TYPE_CHECKING:
    from training.data.records import HeadData
    from training.geometry.template import Template

FIT_SHARE = 0.5
"""How far visible points are moved to the fitted head."""


def fitted_predictor(
    network: Predictor,
    template: "Template",
    size: int,
    *,
    mirrored: bool = True,
    passes: int = 2,
    fit_share: float = FIT_SHARE,
) -> Predictor:
    """A predictor with a fit.

    Args:
        network: squares [B, size, size, 3] to a Prediction.
        template: of the persons that it was trained on.
        size: side of the network's input.
        mirrored: whether every picture is also predicted mirrored, which takes twice as long.
        passes: 1, or 2.
        fit_share: how far visible points are moved to the fitted head, 0..1.

    Returns:
        squares of any size, best ENLARGED * size, to a Prediction with its ``fit``.
    """
    flip = head_flip()

    def once(squares: Squares) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        plain = network(squares)
        if not mirrored:
            return plain.confidence, plain.xy
        other = network(np.ascontiguousarray(squares[:, :, ::-1]))
        return combine((plain.confidence, plain.xy), (other.confidence[:, flip], mirror_points(other.xy[:, flip])))

    def run(squares: Squares) -> Prediction:
        first = once(np.stack([reduced(square, size) for square in squares]))
        if passes > 1:
            refined = refine(once, list(squares), first, template, size)
            probability, xy, result = refined.probability, refined.xy, refined.fit
        else:
            probability, xy = first
            result = fit(template, xy, weights_of(probability))
        return Prediction(probability, _joined(probability, xy, result, fit_share), fit=result)

    return run


def predict_squares(
    predictor: Predictor,
    data: "HeadData",
    index: NDArray[np.int64],
    progress: Callable[[int], None] = lambda _: None,
) -> Predictions:
    """A predictor's answers for some of the pictures of a data set, as training.tasks.head.predict gives a network's.

    Args:
        predictor: of squares of the pictures' size.
        data: all pictures.
        index: [N] numbers of those to use.
        progress: called with the number of pictures just done.
    """
    probability, xy = np.zeros((len(index), 174), np.float32), np.zeros((len(index), 174, 2), np.float32)
    for rows, squares in squares_of(data.cache, index):
        found = predictor(squares)
        probability[rows], xy[rows] = found.confidence, found.xy
        progress(len(squares))
    return Predictions(probability.clip(0, 1), xy)


def _joined(
    probability: NDArray[np.floating], xy: NDArray[np.floating], result: Fit, share: float
) -> NDArray[np.floating]:
    """[B, 174, 2] the fitted head's points where hidden, between both where visible, and the given ones where the fit
    is not trusted."""
    towards = 1 + np.asarray(probability)[..., None] * (share - 1)
    return np.where(result.ok[:, None, None], xy + towards * (result.xy - xy), xy)
