"""The command: ``python -m synthetic --out DIR``.

python -m synthetic --out heads --identities 4
python -m synthetic --out heads --identities 40 --views kept --workers 2
python -m synthetic --out wild --identities 8 --views 1,5,10-12 --light wild --quality fine
"""

import argparse
import os
import sys
from pathlib import Path
from typing import NoReturn

from acusim.errors import AcuSimError, ConfigError

EXIT_OK, EXIT_ERROR, EXIT_INTERRUPTED = 0, 1, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ConfigError(f"{message}; `{self.prog} --help` lists the arguments")


def parser() -> argparse.ArgumentParser:
    """The command's arguments. Choices are checked by plan.Settings, which says what is allowed."""
    out = _Parser(prog="python -m synthetic", description="Makes heads in AcuSim's layout, with true labels and depth.")
    out.add_argument("--out", type=Path, required=True, help="dataset root to make or to go on with")
    out.add_argument("--identities", type=int, default=4, help="how many persons (default 4); may grow later")
    out.add_argument("--views", default="kept", help="kept (the 45 of training), all, or 1,2,5-9 (default kept)")
    out.add_argument("--size", type=int, default=512, help="side in pixels: 64, 128, 256, 512 or 1024 (default 512)")
    out.add_argument("--quality", default="draft", help="draft, or fine: 2x2 samples, soft shadows (default draft)")
    out.add_argument("--seed", type=int, default=0, help="decides who the persons are (default 0)")
    out.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    out.add_argument("--light", default="studio", help="studio (flat, on black) or wild (default studio)")
    out.add_argument("--split", default="train", help="train or test (default train)")
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
        arguments = parser().parse_args(argv)
        return _run(arguments)
    except AcuSimError as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_ERROR
    except KeyboardInterrupt:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED


def _run(arguments: argparse.Namespace) -> int:
    frames = _views(arguments.views)
    from synthetic.generate import generate
    from synthetic.plan import Settings

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
    )
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
    with Progress(*columns, console=console, disable=arguments.quiet or not console.is_terminal) as progress:
        bar = progress.add_task("views", total=None)
        summary = generate(settings, lambda made, total: progress.update(bar, completed=made, total=total))
    print(
        f"{summary.made} views made in {summary.seconds:.1f} s ({summary.views_per_second:.1f}/s), "
        f"{summary.skipped} were there already; {settings.identities} identities, {len(frames)} views each, "
        f"in {settings.out}; peak memory {summary.peak_rss_mb} MB a worker"
    )
    if summary.interrupted:
        print("interrupted; run the same command again to go on", file=sys.stderr)
        return EXIT_INTERRUPTED
    return EXIT_OK
