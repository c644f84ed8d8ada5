"""A trained hand network as something that finds points in pictures, for predict and the web page."""

from typing import TYPE_CHECKING

from training.inference.drawing import MERIDIAN_COLOURS, Colour, Palette
from training.inference.predict import Prediction, Predictor, Squares
from training.tasks.hand_points import HandPoints

if TYPE_CHECKING:
    import torch

    from training.models.hand import HandNet
    from training.models.heatmaps import Decoding
    from training.tasks.hand_config import HandConfig

PEAK = "height of the heatmap's peak, cut to 0..1; not a probability"
NO_CONFIDENCE = "none: the network gives coordinates alone"
VISIBLE_FROM = 0.3
"""Height of a peak from which a point counts as visible where nobody says otherwise. Not tuned."""
OTHER_COLOUR: Colour = (150, 150, 150)
"""Of meridians that the head does not have."""


def hand_predictor(network: "HandNet", config: "HandConfig", device: "torch.device | str") -> Predictor:
    """A network as a function of pixels, decoded as its configuration says; confidences are 1 where it gives none."""
    import torch

    from training.tasks.base import as_input

    network = network.to(device).eval()

    def run(squares: Squares) -> Prediction:
        with torch.inference_mode():
            output = network(as_input(torch.from_numpy(squares).to(device)))
            types = None if output.type_logits is None else output.type_logits.float().sigmoid().cpu()
            return prediction_of(output.points, types, config.loss.decoding)

    return run


def prediction_of(points: "torch.Tensor", types: "torch.Tensor | None", decoding: "Decoding") -> Prediction:
    """What a network's output says; probabilities are 1 where it gives none.

    Args:
        points: heatmaps [B, P, S, S] or coordinates [B, P, 2].
        types: [B, 2] probabilities of the hand's type, or None.
        decoding: how peaks are found.
    """
    import torch

    from training.models.hand import locate

    xy, peak = locate(points, decoding)
    confidence = torch.ones(xy.shape[:2]) if peak is None else peak
    return Prediction(confidence.cpu().numpy(), xy.cpu().numpy(), None if types is None else types.numpy())


def palette_of(points: HandPoints) -> Palette:
    """Names and colours of points for training.inference.drawing."""
    meridians = tuple(point.meridian for point in points.points)
    others = dict.fromkeys((name for name in meridians if name not in MERIDIAN_COLOURS), OTHER_COLOUR)
    return Palette(
        tuple(f"{point.id} {point.pinyin} {point.chinese}" for point in points.points),
        points.ids,
        meridians,
        {**MERIDIAN_COLOURS, **others},
    )
