"""Networks as functions of pixels: squares in, points in 0..1 of the square out."""

from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from training.models.hand import HandNet
    from training.models.heatmaps import Decoding
    from training.tasks.hand_config import HandConfig

Squares = NDArray[np.uint8]


class Prediction(NamedTuple):
    """The output of a model for B squares."""

    confidence: NDArray[np.floating]
    """[B, N] probability of being visible, or height of the heatmap's peak; 1 where the model gives neither."""
    xy: NDArray[np.floating]
    """[B, N, 2] 0..1 of the square."""
    hand_types: NDArray[np.floating] | None = None
    """[B, 2] probability of each trait's second value, see tasks.hand_type; None for models without that output."""


Predictor = Callable[[Squares], Prediction]
"""[B, S, S, 3] uint8 RGB to a Prediction."""


def head_predictor(model: "torch.nn.Module", device: "torch.device | str") -> Predictor:
    """A model of the head as a function of pixels; it is put into evaluation mode on the device.

    Args:
        model: images [B, 3, S, S] in 0..1 to an output with ``visibility_logits`` [B, N] and ``coordinates`` [B, N, 2].
        device: where it runs.
    """
    import torch

    from training.tasks.base import as_input

    model = model.to(device).eval()

    def run(squares: Squares) -> Prediction:
        with torch.inference_mode():
            output = model(as_input(torch.from_numpy(squares).to(device)))
            probability = output.visibility_logits.float().sigmoid()
            return Prediction(probability.cpu().numpy(), output.coordinates.float().cpu().numpy())

    return run


def hand_predictor(network: "HandNet", config: "HandConfig", device: "torch.device | str") -> Predictor:
    """A network of the hand as a function of pixels, decoded as its configuration states."""
    import torch

    from training.tasks.base import as_input

    network = network.to(device).eval()

    def run(squares: Squares) -> Prediction:
        with torch.inference_mode():
            output = network(as_input(torch.from_numpy(squares).to(device)))
            types = None if output.type_logits is None else output.type_logits.float().sigmoid().cpu()
            return hand_prediction(output.points, types, config.loss.decoding)

    return run


def hand_prediction(points: "torch.Tensor", types: "torch.Tensor | None", decoding: "Decoding") -> Prediction:
    """The output of a network of the hand as a Prediction.

    Args:
        points: heatmaps [B, N, S, S] or coordinates [B, N, 2].
        types: [B, 2] probabilities of the hand's type, or None.
        decoding: how peaks are found.
    """
    import torch

    from training.models.hand import locate

    xy, peak = locate(points, decoding)
    confidence = torch.ones(xy.shape[:2]) if peak is None else peak
    return Prediction(confidence.cpu().numpy(), xy.cpu().numpy(), None if types is None else types.numpy())
