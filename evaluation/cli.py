"""The command line. Parses, calls, prints; decides nothing."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.command_line import USAGE, Parser
from acusim.errors import AcuSimError, ConfigError
from acusim.processes import terminating

OK, PROBLEMS, INTERRUPTED = 0, 2, 130

_EPILOG = """\
exit codes:
  0    done
  1    usage or configuration is wrong, or the output folder cannot be written
  2    done, but items could not be measured (they are listed with their reasons)
  130  interrupted; run the same command again to go on

examples:
  %(prog)s report --original ACUSIM --augmented OUT --out REPORT
  %(prog)s drift --original ACUSIM --augmented OUT --out REPORT --workers 2
  %(prog)s certify --original ACUSIM --augmented OUT --out REPORT --masks OUT
  %(prog)s calibrate --original ACUSIM --augmented OUT --out CALIBRATION
"""


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = Parser(
        "evaluation",
        description="Is every label of an augmented data set still true? Drift of facial keypoints beside the "
        "detector's own noise, and a certificate for every view.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in (
        ("drift", "the paper's protocol, and the detector's null: DIR/drift.json, drift.csv"),
        ("certify", "a certificate for every picture: DIR/certificates.json, certificates.csv, point masks"),
        ("report", "both, baselines, and a page to look at: DIR/report.html, report.json, report.csv"),
        ("calibrate", "what the certificate finds: DIR/calibration.md, calibration.json, thresholds.toml"),
    ):
        _add_arguments(commands.add_parser(name, help=text, description=text), name)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    add = parser.add_argument
    add("--original", type=Path, required=True, metavar="ROOT", help="dataset root of the originals")
    add(
        "--augmented",
        type=Path,
        required=True,
        metavar="ROOT",
        help="root of the augmented pictures (or of v01, v02 …)",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="folder for the results; a run that was cut off goes on")
    add("--workers", type=int, metavar="N", help="worker processes (default: one for each core)")
    add("--size", type=int, metavar="PX", help="which img_PX to read (default: 512, else the largest)")
    add("--select", metavar="CONDITIONS", help="such as 'gender=F,hair=HA,HC,frame=1-36' (default: all)")
    add("--limit", type=int, metavar="N", help="at most N pairs, in the order of their names (default: all)")
    add("--bald-codes", default="auto", metavar="A,B", help="hair codes that mean bald (auto: derived from the labels)")
    if command in ("drift", "report"):
        add("--null", type=int, default=150, metavar="N", help="originals that measure the detector's noise")
    if command == "report":
        add("--baselines", type=int, default=45, metavar="N", help="pairs on which the baselines are made")
    if command in ("certify", "report"):
        add(
            "--masks",
            type=Path,
            metavar="ROOT",
            help="write point masks below ROOT, such as the augmented root (default: none are written)",
        )
    if command != "drift":
        add(
            "--thresholds",
            type=Path,
            metavar="F.toml",
            help="thresholds that differ from the shipped ones (default: the shipped ones)",
        )
    if command == "calibrate":
        add("--fit", type=int, metavar="K", help="persons that thresholds are fitted on (default: the first half)")
        add("--seed", type=int, default=0, metavar="S", help="draws warps, shifts and edits")
    add("--json", action="store_true", help="print the results as JSON; everything else goes to stderr")
    add("--quiet", action="store_true", help="no progress and no notes")


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    options = build_parser().parse_args(arguments)
    try:
        with terminating():
            return _run(options)
    except AcuSimError as error:
        print(f"evaluation: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links in a path
        print(f"evaluation: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("evaluation: interrupted; run the same command again to go on", file=sys.stderr)
        return INTERRUPTED


def _settings(options: argparse.Namespace) -> Any:
    from evaluation.run import Settings
    from evaluation.thresholds import Thresholds

    command = options.command
    return Settings(
        original=_folder("--original", options.original),
        augmented=_folder("--augmented", options.augmented),
        out=options.out,
        workers=options.workers if options.workers is not None else len(os.sched_getaffinity(0)),
        size=options.size,
        select=options.select,
        limit=options.limit,
        bald_codes=options.bald_codes,
        thresholds=Thresholds.from_toml(getattr(options, "thresholds", None)),
        faces=command in ("drift", "report"),
        certificate=command in ("certify", "report"),
        null_sample=getattr(options, "null", 0),
        baseline_sample=getattr(options, "baselines", 0),
        masks=getattr(options, "masks", None),
    )


def _folder(option: str, path: Path) -> Path:
    if not path.is_dir():
        raise ConfigError(f"{option} {str(path)!r} is not a folder")
    return path


def _run(options: argparse.Namespace) -> int:
    from evaluation.progress import Progress

    settings = _settings(options)
    progress = Progress(options.quiet)
    if options.command == "calibrate":
        from evaluation.calibrating import calibrate

        return calibrate(settings, options.fit, options.seed, options.json, progress)
    return _measure(options, settings, progress)


def _measure(options: argparse.Namespace, settings: Any, progress: Any) -> int:
    from evaluation.run import plan, run

    pairs = plan(settings)
    progress.note(f"{len(pairs.pairs)} pairs")
    for note in pairs.notes:
        progress.note(f"note: {note}")
    with progress:
        outcome = run(settings, pairs, progress.advance)
    from acusim.results import put
    from evaluation.output import write_results

    name = {"drift": "drift", "certify": "certificates", "report": "report"}[options.command]
    results = write_results(settings, outcome, name)
    if options.command == "report":
        from evaluation.page import page

        put(settings.out / "report.html", page(settings, outcome, results))
    code = PROBLEMS if outcome.problems else OK
    if options.json:
        import json

        print(json.dumps(results | {"exit_code": code}, ensure_ascii=False))
    else:
        _print_summary(settings, outcome, results, name)
    return code


def _print_summary(settings: Any, outcome: Any, results: dict[str, Any], name: str) -> None:
    print(f"{outcome.pairs} pairs in {outcome.seconds:.1f} s, {outcome.reused} items known from before")
    if drift := results.get("drift"):
        rate = drift["detection_failure_rate"]
        print(f"detection failed in {_percent(rate)}; kept {drift['discards']['total'].get('kept', 0)} pairs")
        for row in drift["verdicts"]:
            median = drift["px_trusted_views"][row["keypoint"]]["median"]["value"]
            told = "–" if median is None else f"{median:.2f} px"
            print(f"  {row['keypoint']:15s} median {told} in trusted views; {row['text']}")
    if certificate := results.get("certificate"):
        print(f"certificate: {_percent(certificate['accepted'])} accepted, {_percent(certificate['trusted'])} of the "
              "visible acupoints trusted")  # fmt: skip
        for kind, count in certificate["reasons"].items():
            print(f"  {count} x {kind}")
    if outcome.problems:
        print(f"{len(outcome.problems)} problems:")
        for problem in outcome.problems[:8]:
            print(f"  {problem.path}: {problem.reason}")
        if len(outcome.problems) > 8:
            print(f"  and {len(outcome.problems) - 8} more, see {settings.out / name}.json")
    print(f"look at {settings.out / name}.{'html' if name == 'report' else 'json'}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
