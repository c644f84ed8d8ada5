"""Options that several commands have, and how a command gets its own."""

import argparse
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from acusim.caches import cache_path
from acusim.command_line import add_verbosity
from acusim.options import add_options, given_options
from acusim.settings import Settings
from training.settings import Crop
from training.shipped import NAMES, model_path

AUTO_PARTS = ("test", "new", "val")
"""What --part auto looks for."""
_log = logging.getLogger(__name__)


def option(
    default: Any = ..., metavar: str | None = None, *, shown: str | None = None, flag: str | None = None, **rules: Any
) -> Any:
    """A field with the placeholder of its option's value, and a default to show where it is decided later."""
    return Field(default=default, json_schema_extra={"metavar": metavar, "default": shown, "flag": flag}, **rules)


def positional(default: Any = ...) -> Any:
    """A field that the command adds to its parser itself."""
    return Field(default=default, json_schema_extra={"hidden": True})


class CommandOptions(Settings):
    """Base of the commands' options."""

    quiet: bool = positional(False)
    """No progress and no notes; see acusim.command_line."""

    @classmethod
    def of(cls, arguments: argparse.Namespace) -> Self:
        """The options that were given.

        Raises:
            ConfigError: a value is not allowed.
        """
        return cls(**given_options(arguments, cls))


def add_command(
    commands: "argparse._SubParsersAction[Any]",
    name: str,
    options: type[CommandOptions],
    summary: str,
    description: str,
    epilog: str | None = None,
) -> argparse.ArgumentParser:
    """A command's parser, with its options, the required ones first, -v and -q.

    Args:
        commands: of the main parser.
        name: of the command.
        options: its options.
        summary: its line in the help of the main parser.
        description: the start of its own help.
        epilog: the end of it.
    """
    parser = commands.add_parser(name, help=summary, description=description, epilog=epilog)
    fields = options.model_fields
    add_options(parser, options, sorted(fields, key=lambda field: not fields[field].is_required()))
    add_verbosity(parser)
    return parser


class ConfigOptions(CommandOptions):
    """A configuration."""

    config: str = option("acusimnet", "NAMES")
    """Experiments or TOML files, joined by +, such as A1+B1 or hand_hrnet (see training/configs)."""
    set: tuple[str, ...] = option((), "S.N=V")
    """One more setting, such as train.epochs=20 (repeatable; describe --json lists all)."""


class DeviceOptions(CommandOptions):
    """Where a model runs."""

    device: str = "auto"
    """Auto (a GPU if there is one), cpu, cuda or cuda:1."""


class DataOptions(DeviceOptions):
    """Data sets and how they are read."""

    data: tuple[Path, ...] = option(metavar="ROOT")
    """Root of an AcuSim data set, or of the controller's output (repeatable); for hands one folder of labelme files."""
    cache: Path | None = option(None, "DIR", shown="~/.cache/acusim-augment")
    """Decoded pictures; may be deleted."""
    workers: int = option(0, "N", ge=0)
    """Processes that decode pictures; 0 takes one per CPU."""

    @property
    def cache_folder(self) -> Path:
        """Folder of decoded pictures."""
        return self.cache or cache_path("images")

    @property
    def processes(self) -> int:
        """How many processes decode."""
        return self.workers or os.cpu_count() or 1


class CropOptions(CommandOptions):
    """What a model of the head sees of a picture."""

    crop: Crop = "auto"
    """What the head's model sees. auto: the head around the largest face, or the whole picture where none is found;
    face: pictures with a face alone; none: the whole picture, as of AcuSim's own."""


class RunOptions(CommandOptions):
    """A trained model."""

    run: str = positional()
    """Folder that train wrote, or the name of a shipped model."""
    checkpoint: str | None = option(None, "NAME", shown="best")
    """One of best, last or epoch_0012."""

    @property
    def run_path(self) -> Path:
        """The model's folder or file."""
        return model_path(self.run)


RUN_HELP = f"folder that train wrote, or {' or '.join(NAMES)}: the models that come with the package"


def add_run(parser: argparse.ArgumentParser) -> None:
    """The argument of RunOptions."""
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)


class TrainOptions(DataOptions, ConfigOptions):
    """Of the command train."""

    out: Path = option(metavar="RUN")
    """Folder of the run."""
    init: str | None = option(None, "RUN")
    """Initial weights from another run, from a checkpoint's folder in it, or from a shipped model by its name: all that
    fit by name and shape."""
    teacher: str | None = option(None, "RUN")
    """A trained run of the head with heatmaps, or head, the shipped model: what it says of visibility and places is
    learnt beside the labels, by a small network such as --config heatmaps --set model.backbone=tiny."""
    freeze: str = option("", "NAMES", shown="none")
    """Parts that are not trained, such as backbone or network.backbone,criterion; sets train.freeze."""
    compile: bool = False
    """Use torch.compile; the first step takes minutes."""


class EvaluateOptions(DataOptions, RunOptions):
    """Of the command evaluate."""

    out: Path = option(metavar="DIR")
    """Folder of results.json and report.html."""
    part: Literal["auto", "test", "val", "train", "new", "all"] = "auto"
    """Whose pictures: the run's test, val or train persons, persons new to it, or test and new: all. Auto: the first of
    test, new and val that --data has, which it says if it is not test."""
    pictures: Literal["originals", "augmented", "all"] = "all"
    """Which of them; for hands the originals are all."""
    frames: str | None = option(None, "F", shown="those of the run")
    """Kept, all, or 1,2,5-9; not for hands."""
    fit: bool = True
    """Measure what predict gives: for heads the template's fit, where the run has one, for both mirrored pictures and a
    second pass; without, the network alone is measured."""
    predictions: Path | None = option(None, "F")
    """Also write the predictions, as safetensors."""
    coco: Path | None = option(None, "DIR")
    """Also write truth and predictions as COCO keypoints (heads)."""
    results: Path | None = option(None, "F.json")
    """Measure a COCO results file, of whatever program, instead of the run; ids as in --coco (heads)."""
    weak: Path | None = option(None, "F.toml")
    """Also write where the model errs, over view, gender, hair and light, for the controller's --focus (heads)."""
    json_: bool = option(False, flag="--json")
    """Print the results as JSON."""


def chosen_part(asked: str, pictures: Mapping[str, int]) -> str:
    """The part that --part means, with a note where auto finds another one than test.

    Args:
        asked: the option.
        pictures: of each part in --data.
    """
    if asked != "auto":
        return asked
    part = next((name for name in AUTO_PARTS if pictures.get(name)), AUTO_PARTS[0])
    if part != AUTO_PARTS[0]:
        what = {"new": "of persons that are new to the run", "val": "of the persons that chose its best epoch"}[part]
        _log.warning("note: no picture in --data is of the run's test persons; measured are those %s (%s)", what, part)
    return part
