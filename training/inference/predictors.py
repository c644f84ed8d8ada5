"""Networks as functions of pixels: squares in, points in 0..1 of the square out."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

    from training.geometry.fit import Fit
    from training.models.hand import HandNet
    from training.models.heatmaps import Decoding
    from training.tasks.hand_config import HandConfig

Squares = NDArray[np.uint8]
ENLARGED = 2
"""The squares for a predictor with a second pass are so many times as large as the network's: it may magnify."""


class Prediction(NamedTuple):
    """The output of a model for B squares."""

    confidence: NDArray[np.floating]
    """[B, N] probability of being visible, or height of the heatmap's peak; 1 where the model gives neither."""
    xy: NDArray[np.floating]
    """[B, N, 2] 0..1 of the square."""
    hand_types: NDArray[np.floating] | None = None
    """[B, 2] probability of each trait's second value, see tasks.hand_type; None for models without that output."""
    fit: "Fit | None" = None
    """Of heads: the template's fit to the B squares; None without a template."""


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

    from training.models.hand import named_outputs
    from training.tasks.base import as_input

    network = network.to(device).eval()

    def run(squares: Squares) -> Prediction:
        with torch.inference_mode():
            output = network(as_input(torch.from_numpy(squares).to(device)))
            return hand_prediction(named_outputs(output), config.loss.decoding)

    return run


def hand_prediction(outputs: "Mapping[str, torch.Tensor]", decoding: "Decoding") -> Prediction:
    """The output of a network of the hand as a Prediction.

    Args:
        outputs: as training.models.hand.named_outputs gives them.
        decoding: how peaks are found.
    """
    import torch

    from training.models.hand import locate

    points = outputs["heatmaps"] if "heatmaps" in outputs else outputs["coordinates"]
    xy, confident = locate(points, decoding, outputs.get("visibility"))
    confidence = torch.ones(xy.shape[:2]) if confident is None else confident.float()
    types = outputs["hand_type"].float().cpu().numpy() if "hand_type" in outputs else None
    return Prediction(confidence.cpu().numpy(), xy.cpu().numpy(), types)
