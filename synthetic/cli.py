"""The commands: ``python -m synthetic [heads] --out DIR`` and ``python -m synthetic hands --out DIR --count N``.

python -m synthetic --out heads --identities 4
python -m synthetic --out heads --identities 40 --views kept --workers 2
python -m synthetic --out wild --identities 8 --views 1,5,10-12 --light wild --quality fine
python -m synthetic hands --out hands --count 1000 --seed 0 --workers 2
"""

import argparse
import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from acusim.command_line import Parser
from acusim.errors import AcuSimError, ConfigError
from acusim.plain_progress import PlainProgress

if TYPE_CHECKING:
    from synthetic.workers import Summary

EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130


class _Parser(Parser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; `{self.prog} --help` lists the arguments")


def parser() -> argparse.ArgumentParser:
    """The arguments for heads. Choices are checked by plan.Settings, which says what is allowed."""
    out = _Parser(
        "synthetic",
        description="Makes heads in AcuSim's layout, with true labels and depth.",
        epilog="`%(prog)s heads` is the same; `%(prog)s hands --help` explains hands.",
    )
    out.add_argument("--out", type=Path, required=True, help="dataset root to make or to go on with")
    out.add_argument("--identities", type=int, default=4, help="how many persons; may grow later")
    out.add_argument("--views", default="kept", help="kept (the 45 of training), all, or 1,2,5-9")
    out.add_argument("--size", type=int, default=512, help="side in pixels: 64, 128, 256, 512 or 1024")
    out.add_argument("--quality", default="draft", help="draft, or fine: 2x2 samples, soft shadows")
    out.add_argument("--seed", type=int, default=0, help="decides who the persons are")
    out.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    out.add_argument("--light", default="studio", help="studio (flat, on black) or wild")
    out.add_argument("--split", default="train", help="train or test")
    out.add_argument(
        "--jpeg",
        default="",
        metavar="PERSONS",
        help="persons, counted from 1, whose pictures are JPEG without depth maps, as AcuSim ships them: 6 or 1,3-5 "
        "(default: none)",
    )
    out.add_argument("--jpeg-quality", type=int, default=90, metavar="Q", help="of these pictures, 1..100")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    return out


def hands_parser() -> argparse.ArgumentParser:
    """The arguments for hands. Choices are checked by hands.plan.HandSettings."""
    out = _Parser("synthetic", "hands", description="Makes hands with seven acupoints as labelme files.")
    out.add_argument("--out", type=Path, required=True, help="folder to make or to go on with")
    out.add_argument("--count", type=int, required=True, help="how many pictures; may grow later")
    out.add_argument("--seed", type=int, default=0, help="decides everything that is left to chance")
    out.add_argument("--size", type=int, default=512, help="longer side in pixels, 128..2048")
    out.add_argument("--quality", default="draft", help="draft, or fine: 2x2 samples")
    out.add_argument("--side", default="both", help="left, right or both")
    out.add_argument("--face", default="back", help="what is shown: back, palm or both")
    out.add_argument("--subjects", type=int, default=40, help="how many persons")
    out.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    out.add_argument("--quiet", action="store_true", help="no progress bar")
    return out


def _views(text: str) -> tuple[int, ...]:
    from acusim.rig import parse_frames

    try:
        return parse_frames(text)
    except ConfigError as error:
        raise ConfigError(f"--views: {error}") from None


def main(argv: list[str] | None = None) -> int:
    """Runs the command; returns its exit code: 0 done, 1 error, 130 interrupted."""
    try:
        words = list(sys.argv[1:] if argv is None else argv)
        if words[:1] == ["hands"]:
            return _run_hands(hands_parser().parse_args(words[1:]))
        return _run(parser().parse_args(words[1:] if words[:1] == ["heads"] else words))
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    frames = _views(arguments.views)
    from synthetic.generate import generate
    from synthetic.plan import Settings, parse_persons

    try:
        jpeg = parse_persons(arguments.jpeg)
    except ConfigError as error:
        raise ConfigError(f"--jpeg {error}") from None

    settings = Settings(
        out=arguments.out,
        identities=arguments.identities,
        frames=frames,
        size=arguments.size,
        quality=arguments.quality,
        seed=arguments.seed,
        workers=arguments.workers,
        light=arguments.light,
        split=arguments.split,
        jpeg=jpeg,
        jpeg_quality=arguments.jpeg_quality,
    )
    summary = _with_bar(partial(generate, settings), arguments.quiet)
    print(
        f"{summary.made} views made in {summary.seconds:.1f} s ({summary.views_per_second:.1f}/s), "
        f"{summary.skipped} were there already; {settings.identities} identities, {len(frames)} views each, "
        f"in {settings.out}; peak memory {summary.peak_rss_mb} MB a worker"
    )
    return _exit_code(summary)


def _run_hands(arguments: argparse.Namespace) -> int:
    from synthetic.hands.plan import HandSettings

    values = {name: value for name, value in vars(arguments).items() if name != "quiet"}
    settings = HandSettings(**values)
    from synthetic.hands.generate import generate

    summary = _with_bar(partial(generate, settings), arguments.quiet)
    print(
        f"{summary.made} pictures made in {summary.seconds:.1f} s ({summary.views_per_second:.1f}/s), "
        f"{summary.skipped} were there already; {settings.count} in all of {min(settings.subjects, settings.count)} "
        f"persons in {settings.out}; peak memory {summary.peak_rss_mb} MB a worker"
    )
    return _exit_code(summary)


def _with_bar(work: Callable[[Callable[[int, int], None]], "Summary"], quiet: bool) -> "Summary":
    """Runs something that reports (done, total), with a bar on a terminal and lines elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("views"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    if not quiet and not console.is_terminal:
        lines = PlainProgress(lambda text: print(text, file=sys.stderr, flush=True))
        return work(lambda made, total: lines("views", made, total))
    with Progress(*columns, console=console, disable=quiet) as progress:
        bar = progress.add_task("views", total=None)
        return work(lambda made, total: progress.update(bar, completed=made, total=total))


def _exit_code(summary: "Summary") -> int:
    if summary.interrupted:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK
