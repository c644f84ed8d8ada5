"""Acupoint detectors: data, models, losses, the training loop, metrics, export and a web page.

model = training.load_model("runs/acusim")
found = model.predict("photo.jpg")             # or an array [H, W, 3] of uint8, RGB
for name, (x, y), visible in zip(found.names, found.coords_px, found.visible): ...
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.inference.model import Model


def load_model(run: str | Path, checkpoint: str | None = "best", device: str = "auto") -> "Model":
    """A trained model of the head or the hand, ready to predict.

    Args:
        run: the folder that ``train`` wrote, or an ONNX file that ``export`` wrote, which always works on the CPU.
        checkpoint: of a run: best, last or epoch_0012; None takes best, or last where there is no best.
        device: auto (a GPU if there is one), cpu, cuda or cuda:1.

    Returns:
        A model whose ``predict(image)`` and ``predict_batch(images)`` give the points of images; see
        ``training.inference.model.Model`` and ``PredictedPoints``.

    Raises:
        ConfigError: no such run, checkpoint, file or device, or a damaged file.
    """
    from training.hardware import Hardware
    from training.inference.loading import load_model as load

    return load(Path(run), checkpoint, Hardware(device, keep=False).device)
