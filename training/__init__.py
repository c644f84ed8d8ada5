"""Acupoint detectors: data, models, losses, the training loop, metrics, export and a web page.

model = training.load_model("head")            # comes with the package; or a folder that train wrote
found = model.predict("photo.jpg")             # or an array [H, W, 3] of uint8, RGB
for name, (x, y), visible in zip(found.names, found.coords_px, found.visible): ...
"""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from training.inference.model import Model
    from training.settings import Crop


def load_model(
    run: str | Path, checkpoint: str | None = "best", device: str = "auto", crop: "Crop" = "auto"
) -> "Model":
    """A trained model of the head or the hand, ready to predict.

    Args:
        run: ``head`` or ``hand``, the models that come with the package; the folder that ``train`` wrote; or an ONNX
            file that ``export`` wrote, which always works on the CPU.
        checkpoint: of a run: best, last or epoch_0012; None takes best, or last where there is no best.
        device: auto (a GPU if there is one), cpu, cuda or cuda:1.
        crop: what a model of the head sees of an image: the head around the largest face, or the whole image where
            there is none (auto); only images with a face (face); always the whole image (none).

    Returns:
        A model whose ``predict(image)`` and ``predict_batch(images)`` give the points of images; see
        ``training.inference.model.Model`` and ``PredictedPoints``.

    Raises:
        ConfigError: no such run, checkpoint, file or device, or a damaged file.
    """
    from training.hardware import Hardware
    from training.inference.loading import load_model as load
    from training.shipped import model_path

    return load(model_path(run), checkpoint, Hardware(device, keep=False).device).with_crop(crop)
