"""``predict``: finds the acupoints in image files."""

import argparse
import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, ConfigError
from acusim.folders import list_folder
from acusim.pictures import EXTENSIONS
from training.cli.console import Bars, list_skipped, message
from training.cli.options import RUN_HELP, CropOptions, DeviceOptions, RunOptions, add_command, option, positional
from training.io.skipped import FILE, SkippedFiles
from training.settings import TaskName
from training.shipped import NAMES

DESCRIPTION = f"""Finds the acupoints in pictures: for each a JSON file with all of them, and a picture with the visible
ones. What cannot be used is skipped, and listed with its reason in {FILE}. Without RUN, the model of the head that
comes with the package is used."""
DEFAULT: TaskName = "head"
"""The model without RUN."""


class PredictOptions(CropOptions, DeviceOptions, RunOptions):
    """The command's options."""

    run: str = positional(DEFAULT)
    """Folder that train wrote, or the name of a shipped model."""
    images: tuple[Path, ...] = positional()
    """Files and folders."""
    out: Path = option(Path("predicted"), "DIR")
    """Folder of the results."""
    threshold: float | None = option(None, "P", gt=0, lt=1, shown="0.5, for heatmaps without visibility 0.3")
    """Probability, or height of the heatmap's peak, from which a point is visible; between 0 and 1."""
    pictures: bool = True
    """Draw the points into a picture; without, only JSON is written, which is faster."""
    hidden: bool = False
    """Draw hidden points, too, as rings, where the pose of the head locates them."""


RUN_FILE = "config.toml"
"""Of every run, and of nothing else."""
WEIGHTS = ("epoch_", "model.safetensors")
"""What the names in folders of checkpoints begin with: these are no runs, which their message says, but no images."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    summary = "find the acupoints in pictures"
    parser = add_command(commands, "predict", PredictOptions, summary, description=DESCRIPTION)
    model = parser.add_argument("run", metavar="[RUN]", help=f"{RUN_HELP} (default: {DEFAULT})")
    images = parser.add_argument("images", nargs="+", metavar="IMAGE", help="PNG or JPEG, or a folder of them")
    images.required = False  # a single argument is the image; see model_and_images
    model.required = False  # argparse would ask for it, and not for the image
    parser.set_defaults(func=run)


def model_and_images(words: Sequence[str]) -> tuple[str, tuple[Path, ...]]:
    """Divides the arguments into the model, which may be missing, and the images.

    The first is a model unless it looks like an image: an image's extension, another file but ONNX, or a folder that is
    neither a run nor holds a network's checkpoints.

    Raises:
        ConfigError: no argument, or a model alone, without images.
    """
    if not words:
        raise ConfigError("no pictures to predict; name files or folders")
    first, *others = words
    if first not in NAMES and _is_image(Path(first)):
        return DEFAULT, tuple(map(Path, words))
    if not others:
        raise ConfigError(f"no pictures to predict after the model {first!r}; name files or folders")
    return first, tuple(map(Path, others))


def _is_image(path: Path) -> bool:
    if path.is_dir():
        return not any(entry.name == RUN_FILE or entry.name.startswith(WEIGHTS) for entry in list_folder(path))
    return path.suffix.lower() in EXTENSIONS or path.suffix.lower() != ".onnx" and path.is_file()


def run(arguments: argparse.Namespace) -> int:
    """Runs the command; returns its exit code."""
    from training.hardware import Hardware
    from training.inference.loading import load_model
    from training.inference.predict import Outcome, predict_files

    words = [arguments.run, *(arguments.images or [])] if arguments.run else []
    arguments.run, arguments.images = model_and_images(words)
    options = PredictOptions.of(arguments)
    device = Hardware(options.device).device
    model = load_model(options.run_path, options.checkpoint, device).with_crop(options.crop)
    bars, table, outcome = Bars(options.quiet), SkippedFiles(options.out / FILE), Outcome()
    try:
        predict_files(
            model,
            options.images,
            options.out,
            threshold=options.threshold,
            pictures=options.pictures,
            hidden=options.hidden,
            outcome=outcome,
            progress=lambda done, total: bars("pictures", done, total),
        )
    except BaseException:
        bars.close()
        with contextlib.suppress(AcuSimError):  # the first error is the one to report
            if outcome.inspected:
                table.write(outcome.problems, outcome.inspected)
        raise
    bars.close()
    message(f"{len(outcome.written)} pictures in {options.out}")
    return list_skipped(outcome.problems, table, outcome.inspected)
