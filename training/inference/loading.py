"""Models from files: the folder of a run, or an ONNX file."""

from pathlib import Path
from typing import TYPE_CHECKING

from acusim.errors import ConfigError
from training import runs
from training.inference.fitted_predictor import fitted_predictor
from training.inference.hand_passes import has_passes, repeated_predictor, single_predictor
from training.inference.model import Model, hand_model, head_model
from training.inference.onnx_model import open_onnx
from training.inference.predictors import ENLARGED, hand_predictor, head_predictor
from training.settings import TaskName

if TYPE_CHECKING:
    import torch


def load_model(
    path: Path, checkpoint: str | None = None, device: "torch.device | str" = "cpu", threads: int | None = None
) -> Model:
    """A model by its files.

    Args:
        path: a run's folder, that of a shipped model, or a file that ends in .onnx; see training.shipped.model_path.
        checkpoint: of a run: best, last or epoch_0012; None takes best, else last.
        device: where a run's network works; ONNX files work on the CPU.
        threads: of the CPU, for ONNX files; None for all.

    Raises:
        ConfigError: no such run, checkpoint or file, or a damaged one.
    """
    if path.suffix.lower() == ".onnx":
        return open_onnx(path, threads)
    return model_of(runs.open_run(path, checkpoint, device), device)


def load_kind(kind: TaskName, path: Path, device: "torch.device | str" = "cpu", threads: int | None = None) -> Model:
    """A model as load_model gives it, of the kind that is expected.

    Raises:
        ConfigError: as load_model, or it is of another kind.
    """
    model = load_model(path, None, device, threads)
    if model.kind != kind:
        raise ConfigError(f"--{kind} {str(path)!r} is a model of the {model.kind}; use --{model.kind} for it")
    return model


def model_of(run: runs.Run, device: "torch.device | str" = "cpu") -> Model:
    """The model of an open run."""
    size = run.config.data.size
    if run.kind == "head":
        predictor = head_predictor(run.network, device)
        if run.template is None:
            return head_model(predictor, size, run.made_by)
        quick = fitted_predictor(predictor, run.template, size, mirrored=False, passes=1)
        return head_model(fitted_predictor(predictor, run.template, size), ENLARGED * size, run.made_by, quick)
    predictor, quick = hand_predictor(run.network, run.config, device), None
    if has_passes(run.config):
        quick = single_predictor(predictor, size)
        predictor, size = repeated_predictor(predictor, size), ENLARGED * size
    return hand_model(run.points, run.network.outputs, predictor, size, run.made_by, quick)
