"""The command line. Parses, calls, prints; decides nothing."""

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from acusim.command_line import USAGE, Parser, add_verbosity, start_logging
from acusim.errors import AcuSimError, ConfigError
from acusim.options import add_options, given_options
from acusim.parallel.settings import ClusterSettings
from acusim.processes import terminating
from evaluation.settings import MAX_WORKERS, CalibrationSettings, PairSettings, ReportSettings
from evaluation.thresholds import Thresholds

if TYPE_CHECKING:
    from acusim.keypoints import KeypointSet
    from evaluation.pairs import Problem
    from evaluation.progress import Progress
    from evaluation.run import Outcome

log = logging.getLogger(__name__)

OK, PROBLEMS, INTERRUPTED = 0, 2, 130
PROBLEMS_PRINTED = 8
_INTERRUPTED = "interrupted; run the same command again to continue"

_EPILOG = """\
exit codes:
  0    done
  1    usage or configuration is wrong, or the output folder cannot be written
  2    done, but items could not be measured (they are listed with their reasons)
  130  interrupted; run the same command again to continue

examples:
  %(prog)s report --original ACUSIM --augmented OUT --out REPORT
  %(prog)s drift --original ACUSIM --augmented OUT --out REPORT --workers 2
  %(prog)s certify --original ACUSIM --augmented OUT --out REPORT --masks OUT
  %(prog)s calibrate --original ACUSIM --augmented OUT --out CALIBRATION
"""
_COMMANDS = {
    "drift": "the paper's protocol, and the detector's null: DIR/drift.json, drift.csv",
    "certify": "a certificate for every image: DIR/certificates.json, certificates.csv, point masks",
    "report": "both, baselines, and a page: DIR/report.html, report.json, report.csv",
    "calibrate": "what the certificate finds: DIR/calibration.md, calibration.json, thresholds.toml",
}
_OWN_OPTIONS = {
    "drift": ["null", "still"],
    "certify": ["masks"],
    "report": ["null", "still", "baselines", "masks"],
}
_EVERYWHERE = [*PairSettings.model_fields, *ClusterSettings.model_fields]
_RESULTS = {"drift": "drift", "certify": "certificates", "report": "report"}
"""Name of each command's files."""


def build_parser() -> argparse.ArgumentParser:
    """All commands and their arguments."""
    parser = Parser(
        "evaluation",
        description="Is every label of an augmented data set still true? Drift of facial keypoints beside the "
        "detector's own noise, and a certificate for every view.",
        epilog=_EPILOG,
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, text in _COMMANDS.items():
        _add_arguments(commands.add_parser(name, help=text, description=text), name)
    return parser


def _add_arguments(parser: argparse.ArgumentParser, command: str) -> None:
    if command == "calibrate":
        add_options(parser, CalibrationSettings)
    else:
        add_options(parser, ReportSettings, [*_EVERYWHERE, *_OWN_OPTIONS[command]])
    if command != "drift":
        parser.add_argument(
            "--thresholds",
            type=Path,
            metavar="F.toml",
            help="thresholds that differ from the shipped ones (default: the shipped ones)",
        )
    parser.add_argument("--json", action="store_true", help="print the results as JSON; everything else goes to stderr")
    add_verbosity(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    args = build_parser().parse_args(arguments)
    start_logging(args)
    try:
        with terminating():
            return _run(args)
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except (AcuSimError, OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links in a path
        print(f"evaluation: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print(f"evaluation: {_INTERRUPTED}", file=sys.stderr)
        return INTERRUPTED


def _settings(args: argparse.Namespace, model: type[PairSettings], **values: Any) -> Any:
    given = {**given_options(args, model), **values}
    given["thresholds"] = Thresholds.from_toml(getattr(args, "thresholds", None))
    workers = MAX_WORKERS if given.get("cluster") else len(os.sched_getaffinity(0))
    return model(**{"workers": workers, **given})


def _run(args: argparse.Namespace) -> int:
    from evaluation.progress import Progress

    progress = Progress(args.quiet)
    if args.command == "calibrate":
        from evaluation.calibration import calibrate

        settings = _settings(args, CalibrationSettings)
        _keypoints(args, settings)
        results, text = calibrate(settings, progress)
        code = PROBLEMS if results["problems"] else OK
        print(json.dumps(results, ensure_ascii=False) if args.json else text)
        return code
    unused = {name: 0 for name in ("null", "baselines") if name not in _OWN_OPTIONS[args.command]}
    steps = {"faces": args.command != "certify", "certificate": args.command != "drift"}
    settings = _settings(args, ReportSettings, **steps, **unused)
    if (found := _keypoints(args, settings)) is not None:
        return _certify_keypoints(args, settings, found, progress)
    return _measure(args, settings, progress)


def _keypoints(args: argparse.Namespace, settings: PairSettings) -> "KeypointSet | None":
    """The originals where they are not AcuSim's.

    Raises:
        ConfigError: the command is for AcuSim alone.
    """
    from acusim.keypoints import KeypointSet, open_any

    found = open_any(settings.original, settings.size)
    if not isinstance(found, KeypointSet):
        return None
    if args.command != "certify":
        raise ConfigError(f"{args.command} measures heads in AcuSim's views; for {found.format} data use certify")
    return found


def _measure(args: argparse.Namespace, settings: ReportSettings, progress: "Progress") -> int:
    from evaluation.run import plan, run

    pairs = plan(settings)
    log.info("%d pairs", len(pairs.pairs))
    for note in pairs.notes:
        log.info(note)
    with progress:
        outcome = run(settings, pairs, progress.advance)
    from evaluation.output import write_results

    name = _RESULTS[args.command]
    results = write_results(settings, outcome, name)
    if args.command == "report":
        from acusim.results import write_result
        from evaluation.page import page

        write_result(settings.out / "report.html", page(settings, outcome, results))
    code = PROBLEMS if outcome.problems else OK
    if args.json:
        print(json.dumps(results | {"exit_code": code}, ensure_ascii=False))
    else:
        _print_summary(settings, outcome, results, name)
    return code


def _certify_keypoints(
    args: argparse.Namespace, settings: ReportSettings, found: "KeypointSet", progress: "Progress"
) -> int:
    from evaluation.keypoint_certificates import MARGIN, certify

    with progress:
        results, problems = certify(settings, found, progress.advance)
    code, certificate = PROBLEMS if problems else OK, results["certificate"]
    if args.json:
        print(json.dumps(results | {"exit_code": code}, ensure_ascii=False))
        return code
    print(
        f"certificate: {_percent(certificate['accepted'])} of {certificate['pictures']} pictures accepted, "
        f"{_percent(certificate['trusted'])} of the visible points trusted within {MARGIN}"
    )
    _print_details(settings, certificate["reasons"], problems, "certificates")
    return code


def _print_summary(settings: ReportSettings, outcome: "Outcome", results: dict[str, Any], name: str) -> None:
    print(f"{outcome.pairs} pairs in {outcome.seconds:.1f} s, {outcome.reused} items known from before")
    if drift := results.get("drift"):
        rate = drift["detection_failure_rate"]
        print(f"detection failed in {_percent(rate)}; kept {drift['discards']['total'].get('kept', 0)} pairs")
        for row in drift["verdicts"]:
            median = drift["px_trusted_views"][row["keypoint"]]["median"]["value"]
            shown = "–" if median is None else f"{median:.2f} px"
            print(f"  {row['keypoint']:15s} median {shown} in trusted views; {row['text']}")
    if certificate := results.get("certificate"):
        print(f"certificate: {_percent(certificate['accepted'])} accepted, {_percent(certificate['trusted'])} of the "
              "visible acupoints trusted")  # fmt: skip
    _print_details(settings, (results.get("certificate") or {"reasons": {}})["reasons"], outcome.problems, name)


def _print_details(settings: ReportSettings, reasons: dict[str, int], problems: "Sequence[Problem]", name: str) -> None:
    for kind, count in reasons.items():
        print(f"  {count} x {kind}")
    if problems:
        print(f"{len(problems)} problems:")
        for problem in problems[:PROBLEMS_PRINTED]:
            print(f"  {problem.path}: {problem.reason}")
        if len(problems) > PROBLEMS_PRINTED:
            print(f"  and {len(problems) - PROBLEMS_PRINTED} more, see {settings.out / name}.json")
    print(f"results: {settings.out / name}.{'html' if name == 'report' else 'json'}")


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{100 * value:.1f} %"
