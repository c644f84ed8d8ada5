"""A trained hand network as something that finds points in pictures of any size."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from acusim.errors import EngineError
from training.drawing import MERIDIAN_COLOURS, Colour, Palette
from training.hands.points import HandPoints
from training.photograph import letterbox
from training.predict import Predictor, Squares
from training.runs import HandRun

if TYPE_CHECKING:
    import torch

    from training.hands.config import HandConfig
    from training.hands.model import HandNet

PEAK = "height of the heatmap's peak, cut to 0..1; not a probability"
NO_CONFIDENCE = "none: the network gives coordinates alone"
VISIBLE_FROM = 0.3
"""Height of a peak from which a point counts as visible where nobody says otherwise. Not tuned."""
OTHER_COLOUR: Colour = (150, 150, 150)
"""Of meridians that the head does not have."""


@dataclass(frozen=True, slots=True, eq=False)
class FoundHand:
    """The points of one picture."""

    xy_px: NDArray[np.float64]
    """[P, 2] pixels from the picture's left and top edge."""
    confidence: NDArray[np.float64] | None
    """[P] height of the heatmaps' peaks, 0..1; None for networks that give coordinates."""


class HandRecogniser:
    """Finds the points of a run's network in pictures; ``recognise`` may be called by one thread at a time.

    Args:
        run: what training.runs.open_run returned.
        device: where its network is.
    """

    kind = "hand"

    def __init__(self, run: HandRun, device: "torch.device | str" = "cpu"):
        self.points: HandPoints = run.points
        self.made_by = run.made_by
        self.size = run.config.data.size
        self._gives_peaks = run.network.OUTPUT == "heatmaps"
        self._predict = hand_predictor(run.network, run.config, device)

    def recognise(self, pixels: NDArray[np.uint8]) -> FoundHand:
        """The points of an upright picture [H, W, 3] RGB of any size.

        Raises:
            EngineError: the network's output is not finite.
        """
        square, transform = letterbox(pixels, self.size)
        [confidence], [unit] = self._predict(square[None])
        if not (np.isfinite(confidence).all() and np.isfinite(unit).all()):
            raise EngineError("the model's output is not finite; is the checkpoint that of a diverged training?")
        return FoundHand(transform.from_unit(unit), confidence.astype(np.float64) if self._gives_peaks else None)


def hand_predictor(network: "HandNet", config: "HandConfig", device: "torch.device | str") -> Predictor:
    """A network as a function of pixels, decoded as its configuration says; confidences are 1 where it gives none."""
    import torch

    from training.hands.model import locate
    from training.head_task import as_input

    network = network.to(device).eval()

    def run(squares: Squares) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
        with torch.inference_mode():
            xy, peak = locate(network(as_input(torch.from_numpy(squares).to(device))), config.loss.decoding)
            confidence = torch.ones(xy.shape[:2]) if peak is None else peak
            return confidence.cpu().numpy(), xy.cpu().numpy()

    return run


def palette_of(points: HandPoints) -> Palette:
    """Names and colours of points for training.drawing."""
    meridians = tuple(point.meridian for point in points.points)
    others = dict.fromkeys((name for name in meridians if name not in MERIDIAN_COLOURS), OTHER_COLOUR)
    return Palette(
        tuple(f"{point.id} {point.pinyin} {point.chinese}" for point in points.points),
        points.ids,
        meridians,
        {**MERIDIAN_COLOURS, **others},
    )
