"""The command: ``python -m training``.

python -m training train --data ACUSIM --data AUGMENTED --out RUN
python -m training evaluate RUN --data ACUSIM --out REPORT
python -m training predict RUN photo.jpg --out PREDICTED
python -m training export RUN --onnx model.onnx
python -m training serve --head RUN --hand RUN
python -m training describe --config A1+B1 --json
python -m training train --config hand_hrnet --data HANDS --out RUN
accelerate launch --num_processes 8 -m training train --data ACUSIM --out RUN
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from acusim.command_line import USAGE, Parser
from acusim.errors import AcuSimError, TrainingError
from acusim.folders import why
from acusim.processes import terminating
from training.settings import TASKS

OK, ERROR, PROBLEMS, BROKE_DOWN, INTERRUPTED = 0, USAGE, 2, 3, 130
EPILOG = """exit codes: 0 done; 1 nothing was done, the message says why; 2 done, but some items were set aside, each
with its reason; 3 training cannot go on, its checkpoints are whole; 130 interrupted, the same command goes on"""
PARTS = ("test", "val", "train", "new", "all")


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = Parser(
        "training",
        description="Trains acupoint detectors, measures them and uses them.",
        epilog=EPILOG,
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _train(commands.add_parser("train", help="train a model, or go on with one", description=_TRAIN, epilog=EPILOG))
    _evaluate(commands.add_parser("evaluate", help="measure a trained model on a data set", description=_EVALUATE))
    _predict(commands.add_parser("predict", help="find the acupoints in pictures", description=_PREDICT))
    _export(commands.add_parser("export", help="write a model as ONNX", description=_EXPORT))
    _serve(commands.add_parser("serve", help="a web page that finds acupoints in pictures", description=_SERVE))
    _describe(commands.add_parser("describe", help="layers, parameters and FLOPs", description=_DESCRIBE))
    _coco(commands.add_parser("coco", help="data sets as COCO keypoints, and back", description=_COCO))
    return parser


_TRAIN = """Trains on one or several AcuSim roots: originals, and augmented versions of them, which follow their
source's part; or, with a configuration of the hand, on a folder of labelme files. Persons, never pictures, are divided
into training, validation and test. The same command again goes on where the run stands, with the same result as if it
had never stopped."""
_EVALUATE = """Measures a run's best checkpoint on the persons that it was not trained on, beside floors that need no
picture, and writes results.json, tables and report.html."""
_PREDICT = """Finds the acupoints in pictures: for each a JSON file with all of them, and a picture with the visible
ones. What cannot be used is set aside, and listed with its reason in set_aside.csv."""
_EXPORT = """Writes a model as ONNX, and checks it in onnxruntime against PyTorch before it gets its name."""
_SERVE = """Serves a web page, and an HTTP interface behind it, that finds the acupoints of a picture. Only this machine
can reach it, and pictures are never written to a disk (docs/web.md)."""
_DESCRIBE = """Tells the layers of a configuration, its true parameter counts, and the FLOPs of one picture."""
_COCO = """Writes a data set as COCO keypoints, or makes label files of such a document. What cannot be used is listed
with its reason in F.set_aside.csv beside the file, or in ROOT/set_aside.csv."""
_COCO_IMPORT = """Makes label files of COCO keypoints of any program: AcuSim labels for heads, labelme files for hands.
Name the folder that holds the pictures as --out, and train reads it then. What strays from the format is read where
there is no doubt, and noted (docs/tolerances.md); label files that are there already are never changed. What cannot be
used is listed with its reason in ROOT/set_aside.csv."""


def _config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config",
        default="acusimnet",
        metavar="NAMES",
        help="experiments or TOML files, joined by +, such as A1+B1 or hand_hrnet (see training/configs)",
    )
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="S.N=V",
        help="one setting more, such as train.epochs=20 (repeatable; training/config.py and "
        "training/tasks/hand_config.py list them)",
    )


def _data(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--data",
        type=Path,
        action="append",
        required=True,
        metavar="ROOT",
        help="AcuSim root, or what the controller made of one (repeatable); for hands one folder of labelme files",
    )
    add("--cache", type=Path, metavar="DIR", help="decoded pictures, may be deleted (default: ~/.cache/acusim-augment)")
    add("--workers", type=int, default=0, metavar="N", help="processes that decode pictures; 0 takes one a CPU")
    _device(parser)
    add("--quiet", action="store_true", help="no progress bar")


def _device(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--device", default="auto", help="auto (a GPU if there is one), cpu, cuda or cuda:1")


def _run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path, metavar="RUN", help="folder that train wrote")
    parser.add_argument("--checkpoint", metavar="NAME", help="best, last or epoch_0012 (default: best)")


def _train(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    _data(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="RUN", help="folder of the run")
    parser.add_argument("--compile", action="store_true", help="use torch.compile; the first step takes minutes")


def _evaluate(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    _data(parser)
    add = parser.add_argument
    add("--out", type=Path, required=True, metavar="DIR", help="folder of results.json and report.html")
    add(
        "--part",
        choices=PARTS,
        default="test",
        help="whose pictures: the run's test, val or train persons, persons new to it, or test and new: all",
    )
    add(
        "--pictures",
        choices=("originals", "augmented", "all"),
        default="all",
        help="which of them; for hands the originals are all",
    )
    add("--frames", metavar="F", help="kept, all, or 1,2,5-9; hands have none (default: the run's)")
    add("--predictions", type=Path, metavar="F", help="also write the predictions, as safetensors")
    add("--coco", type=Path, metavar="DIR", help="also write truth and predictions as COCO keypoints (heads)")
    add(
        "--results",
        type=Path,
        metavar="F.json",
        help="measure a COCO results file, of whatever program, instead of the run; ids as in --coco (heads)",
    )
    add("--json", action="store_true", help="print the results as JSON")


def _predict(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    add = parser.add_argument
    add("images", type=Path, nargs="+", metavar="IMAGE", help="PNG or JPEG")
    add("--out", type=Path, required=True, metavar="DIR", help="folder of what is found")
    add(
        "--threshold",
        type=float,
        metavar="P",
        help="a point is visible from this probability, or height of its heatmap's peak, on (default: 0.5, or 0.3)",
    )
    _device(parser)
    add("--quiet", action="store_true", help="no progress")


def _export(parser: argparse.ArgumentParser) -> None:
    _run(parser)
    parser.add_argument("--onnx", type=Path, required=True, metavar="F.onnx", help="file to write")


def _serve(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--head", type=Path, metavar="RUN", help="model of the head: a run's folder, or the .onnx file of export")
    add("--hand", type=Path, metavar="RUN", help="model of the hand, likewise")
    add("--port", type=int, default=8000, help="0 takes any free one")
    add("--host", default="127.0.0.1", help="name or address to listen on; the default is this machine alone")
    add("--allow-remote", action="store_true", help="needed with a --host that other machines can reach")
    add(
        "--name",
        action="append",
        default=[],
        help="another host name it answers to, at any port, such as a proxy's (repeatable)",
    )
    add("--threads", type=int, default=0, metavar="N", help="threads of a model on the CPU; 0 takes one a CPU")
    _device(parser)


def _describe(parser: argparse.ArgumentParser) -> None:
    _config(parser)
    parser.add_argument("--json", action="store_true", help="print JSON")


def _coco(parser: argparse.ArgumentParser) -> None:
    directions = parser.add_subparsers(dest="direction", required=True, metavar="DIRECTION")
    out = directions.add_parser("export", help="labels of a data set to a COCO document")
    out.add_argument("--data", type=Path, required=True, metavar="ROOT", help="AcuSim root, or folder of labelme files")
    out.add_argument("--out", type=Path, required=True, metavar="F.json", help="file to write")
    out.add_argument("--quiet", action="store_true", help="no progress")
    about = "a COCO document to label files"
    back = directions.add_parser("import", help=about, description=_COCO_IMPORT, epilog=EPILOG)
    back.add_argument("document", type=Path, metavar="F.json", help="COCO keypoints")
    back.add_argument(
        "--out",
        type=Path,
        required=True,
        metavar="ROOT",
        help="folder that gets the labels, beside its pictures: AcuSim root, or folder of hands",
    )
    for direction in (out, back):
        direction.add_argument("--kind", choices=TASKS, default=TASKS[0], help="what is labelled")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        from training.cli import commands

        with terminating():
            return getattr(commands, options.command)(options)
    except TrainingError as error:
        print(f"error: {error}", file=sys.stderr)
        return BROKE_DOWN
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:  # the reader of the output went away
        return OK
    except OSError as error:  # a file that can no longer be read or written: no fault of the program
        where = f"{error.filename!r}: " if error.filename else ""
        print(f"error: {where}{why(error)}", file=sys.stderr)
        return ERROR
