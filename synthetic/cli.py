"""The commands: ``python -m synthetic [heads] --out DIR``, ``hands --out DIR --count N`` and ``fit --dataset ROOT``.

python -m synthetic --out heads --identities 4
python -m synthetic --out heads --identities 40 --views kept --workers 2
python -m synthetic --out wild --identities 8 --views 1,5,10-12 --light wild --quality fine
python -m synthetic hands --out hands --count 1000 --seed 0 --workers 2
python -m synthetic fit --dataset ACUSIM --output ACUSIM_WITH_DEPTH
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from acusim.command_line import Parser, add_verbosity, start_logging
from acusim.errors import AcuSimError, ConfigError
from acusim.options import add_options, given_options
from acusim.parallel.settings import ClusterSettings
from acusim.plain_progress import PlainProgress
from synthetic.settings import MAX_WORKERS, FitSettings, HandSettings, HeadSettings

if TYPE_CHECKING:
    from synthetic.workers import Summary

EXIT_OK, EXIT_ERROR, EXIT_SKIPPED, EXIT_INTERRUPTED = 0, 1, 2, 130
_INTERRUPTED = "interrupted; run the same command again to continue"


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; `{self.prog} --help` lists the arguments")


def parser() -> argparse.ArgumentParser:
    """The arguments for heads."""
    out = _Parser(
        "synthetic",
        description="Creates heads in AcuSim's layout, with true labels and depth.",
        epilog="`%(prog)s heads` is the same; `%(prog)s hands --help` explains hands, `%(prog)s fit --help` depth maps "
        "for a data set that has none.",
    )
    add_options(out, HeadSettings)
    add_verbosity(out)
    return out


def hands_parser() -> argparse.ArgumentParser:
    """The arguments for hands."""
    out = _Parser("synthetic", "hands", description="Creates hands with seven acupoints as labelme files.")
    add_options(out, HandSettings)
    add_verbosity(out)
    return out


def fit_parser() -> argparse.ArgumentParser:
    """The arguments for depth maps fitted to labels."""
    out = _Parser(
        "synthetic",
        "fit",
        description="Gives a data set in AcuSim's layout the depth maps that it lacks: each person's head is fitted to "
        "the labels of all its views. The relight engine takes them (--geometry auto).",
        epilog="exit codes: 0 done; 1 nothing was done, the message states why; 2 done, but images were set aside, "
        "each with its reason; 130 interrupted, run the same command again to continue",
    )
    add_options(out, FitSettings)
    add_verbosity(out)
    return out


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 done, 1 error, 2 images were set aside, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    command = words.pop(0) if words[:1] in (["heads"], ["hands"], ["fit"]) else "heads"
    build, work = {"heads": (parser, _heads), "hands": (hands_parser, _hands), "fit": (fit_parser, _fit)}[command]
    try:
        args = build().parse_args(words)
        start_logging(args)
        summary = work(args)
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print(_INTERRUPTED, file=sys.stderr)
        return EXIT_INTERRUPTED
    if summary.interrupted:
        print(_INTERRUPTED, file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_SKIPPED if summary.problems else EXIT_OK


def _heads(args: argparse.Namespace) -> "Summary":
    settings = HeadSettings(**_given(args, HeadSettings))
    from synthetic.generate import generate

    summary = _with_bar(partial(generate, settings), args.quiet)
    kinds = f"{settings.identities} identities, {len(settings.frames)} views each, in {settings.out}"
    _print_summary(summary, "views", kinds)
    return summary


def _given(args: argparse.Namespace, kind: type[ClusterSettings]) -> dict[str, Any]:
    """What was given, with as many workers as there are cores, here or on each node."""
    workers = MAX_WORKERS if args.cluster else os.cpu_count() or 1
    return {"workers": workers, **given_options(args, kind)}


def _hands(args: argparse.Namespace) -> "Summary":
    settings = HandSettings(**_given(args, HandSettings))
    from synthetic.hands.generate import generate

    summary = _with_bar(partial(generate, settings), args.quiet)
    persons = min(settings.subjects, settings.count)
    _print_summary(summary, "images", f"{settings.count} in total of {persons} persons in {settings.out}")
    return summary


def _fit(args: argparse.Namespace) -> "Summary":
    settings = FitSettings(**{"workers": os.cpu_count() or 1, **given_options(args, FitSettings)})
    from synthetic.fit.depth import fit_dataset
    from synthetic.fit.report import print_problems, write_sheet

    summary = _with_bar(partial(fit_dataset, settings), args.quiet)
    print_problems(summary)
    print(
        f"{summary.created} depth maps made from labels in {summary.seconds:.1f} s ({summary.views_per_second:.1f}/s), "
        f"{summary.skipped} existed already, {len(summary.problems)} images were set aside; in {settings.root}"
    )
    if sheet := write_sheet(settings.root, settings.size):
        print(f"pictures and what was fitted to their labels: {sheet}")
    return summary


def _print_summary(summary: "Summary", items: str, contents: str) -> None:
    print(
        f"{summary.created} {items} created in {summary.seconds:.1f} s ({summary.views_per_second:.1f}/s), "
        f"{summary.skipped} existed already; {contents}; peak memory {summary.peak_rss_mb} MB a worker"
    )


def _with_bar(work: Callable[[Callable[[int, int], None]], "Summary"], quiet: bool) -> "Summary":
    """Runs something that reports (done, total), with a bar on a terminal and lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("views"), BarColumn(), MofNCompleteColumn(), TextColumn("left"), TimeRemainingColumn())
    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        lines = PlainProgress(lambda text: print(text, file=sys.stderr, flush=True))
        return work(lambda done, total: lines("views", done, total))
    with Progress(*columns, console=console, disable=quiet) as progress:
        bar = progress.add_task("views", total=None)
        return work(lambda done, total: progress.update(bar, completed=done, total=total))
