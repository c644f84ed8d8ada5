"""The models that come with the package, and the one place where a model's name or path becomes a folder.

    training/shipped/head/config.toml          settings of the network and its training
                         /model.safetensors    weights, see training.shipped.files
                         /points.toml          hands only: the points
                         /template.safetensors heads only: mean head and shapes, for the fit
                         /card.md              data, recipe, figures, limits

``head`` and ``hand`` are accepted wherever a command or load_model takes a run; ``./head`` is a folder of that name.
"""

import logging
from pathlib import Path

from training.settings import TASKS, TaskName

NAMES: tuple[TaskName, ...] = TASKS
"""Names of the shipped models."""
FOLDER = Path(__file__).parent
MODEL_FILE = "model.safetensors"
_log = logging.getLogger(__name__)


def shipped_folder(name: TaskName) -> Path:
    """The folder of a shipped model, whether or not this installation has its files."""
    return FOLDER / name


def available() -> tuple[TaskName, ...]:
    """The shipped models whose files are installed."""
    return tuple(name for name in NAMES if (shipped_folder(name) / MODEL_FILE).is_file())


def model_path(model: str | Path) -> Path:
    """The folder or file of a model.

    Args:
        model: the name of a shipped model, else the path of a run's folder, of a folder like that of a shipped model,
            or of an ONNX file. A name wins over a folder of that name in the working directory; a note states that,
            and ``./head`` means the folder.

    Returns:
        The path, which need not exist: opening it reports what is missing.
    """
    if str(model) not in NAMES:
        return Path(model)
    if Path(model).is_dir():
        _log.info("%s is the shipped model; ./%s would be the folder", model, model)
    name: TaskName = "head" if str(model) == "head" else "hand"
    return shipped_folder(name)
