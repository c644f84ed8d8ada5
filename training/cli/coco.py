"""``coco``: data sets as COCO keypoints, and back."""

import argparse
from pathlib import Path
from typing import Any

from acusim.errors import LabelError
from acusim.layout import Problem
from acusim.results import write_result
from acusim.tolerances import Change, notes_of
from training.cli.console import EPILOG, Bars, list_skipped, log_notes, message
from training.cli.options import CommandOptions, add_command, option, positional
from training.io.skipped import FILE, SkippedFiles, beside
from training.settings import TASKS, TaskName

DESCRIPTION = f"""Writes a data set as COCO keypoints, or creates label files from such a document. What cannot be used
is listed with its reason in F.{FILE} beside the file, or in ROOT/{FILE}."""
EXPORT = f"""Writes a data set as COCO keypoints. What cannot be used is listed with its reason in F.{FILE} beside the
file."""
IMPORT = f"""Creates label files from COCO keypoints of any program: AcuSim labels for heads, labelme files for hands.
Name the folder that holds the pictures as --out; train can then read it. Deviations from the format are read where
there is no doubt, and noted (docs/results/tolerances.md); existing label files are never changed. What cannot be used
is listed with its reason in ROOT/{FILE}."""


class _KindOptions(CommandOptions):
    kind: TaskName = TASKS[0]
    """What is labelled."""


class ExportOptions(_KindOptions):
    """The options of ``coco export``."""

    data: Path = option(metavar="ROOT")
    """Root of an AcuSim data set, or folder of labelme files."""
    out: Path = option(metavar="F.json")
    """File to write."""


class ImportOptions(_KindOptions):
    """The options of ``coco import``."""

    document: Path = positional()
    """COCO keypoints."""
    out: Path = option(metavar="ROOT")
    """Folder that gets the labels, beside its pictures: root of an AcuSim data set, or folder of hands."""


def add_arguments(commands: "argparse._SubParsersAction[Any]") -> None:
    """Adds the command."""
    parser = commands.add_parser("coco", help="data sets as COCO keypoints, and back", description=DESCRIPTION)
    directions = parser.add_subparsers(dest="direction", required=True, metavar="DIRECTION")
    summary = "labels of a data set to a COCO document"
    out = add_command(directions, "export", ExportOptions, summary, description=EXPORT)
    out.set_defaults(func=run_export)
    summary = "a COCO document to label files"
    back = add_command(directions, "import", ImportOptions, summary, description=IMPORT, epilog=EPILOG)
    back.add_argument("document", type=Path, metavar="F.json", help="COCO keypoints")
    back.set_defaults(func=run_import)


def run_export(arguments: argparse.Namespace) -> int:
    """Writes a data set as COCO keypoints; returns the exit code."""
    from training.io.coco import dump_dataset

    options = ExportOptions.of(arguments)
    bars, table = Bars(options.quiet), SkippedFiles(beside(options.out))
    read = _read_heads if options.kind == "head" else _read_hands
    items, category, problems, notes = read(options.data, bars)
    bars.close()
    write_result(options.out, dump_dataset(items, category))
    log_notes(notes, [])
    message(f"{len(items)} pictures in {options.out}")
    return list_skipped(problems, table)


def _read_heads(root: Path, bars: Bars) -> tuple[list[Any], Any, list[Problem], list[str]]:
    """The pictures of a root as COCO items, their category, what was skipped, and notes."""
    from training.io.coco import Item
    from training.io.coco_labels import HEAD, items_of_root

    found = list(items_of_root(root, progress=lambda done, total: bars("labels", done, total)))
    items = [item for item in found if isinstance(item, Item)]
    return items, HEAD, [problem for problem in found if isinstance(problem, Problem)], []


def _read_hands(root: Path, bars: Bars) -> tuple[list[Any], Any, list[Problem], list[str]]:
    """As _read_heads, of a folder of labelme files."""
    from training.io.hand_coco import category_of, items_of_folder

    items, data = items_of_folder(root, lambda done, total: bars("labels", done, total))
    return items, category_of(data.points), list(data.problems), list(data.notes)


def run_import(arguments: argparse.Namespace) -> int:
    """Creates label files from a COCO document; returns the exit code."""
    from training.io.coco import read_document
    from training.io.coco_labels import write_labels
    from training.io.hand_coco import write_labelme

    options = ImportOptions.of(arguments)
    table = SkippedFiles(options.out / FILE)
    data = read_document(options.document)
    changes: list[Change] = []
    write = write_labels if options.kind == "head" else write_labelme
    try:
        written, problems = write(data, options.out, changes.append)
    except LabelError as error:
        raise LabelError(f"document {str(options.document)!r}: {error}") from None
    log_notes(notes_of(changes), [])
    message(f"{len(written)} labels in {options.out}")
    return list_skipped(problems, table)
