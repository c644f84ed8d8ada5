"""The command. Parses, calls, prints; decides nothing."""

import argparse
import dataclasses
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from acusim.command_line import USAGE, start_logging
from acusim.errors import AcuSimError, ConfigError, EngineError
from controller.launch import forget, launched
from controller.options import (
    ACTIONS,
    INTERRUPTED,
    NO_ENGINE,
    OK,
    SKIPPED,
    build_parser,
    engine_options,
    flags,
    settings_of,
    unused,
)
from controller.settings import BatchSettings
from engines.options import EmbeddedOptions
from engines.recipe import ENGINES, unused_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    started = time.monotonic()
    launch = launched(os.environ)
    if launch and not launch.leads:
        return OK
    options = build_parser().parse_args(arguments, argparse.Namespace(launch=launch, started=started))
    start_logging(options)
    try:
        if launch:
            launch.check()
            forget(os.environ)
        return _run(options)
    except EngineError as error:
        print(f"controller: {error}", file=sys.stderr)
        return NO_ENGINE
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except (AcuSimError, OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links in a path
        print(f"controller: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("controller: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    chosen = [name for name in ACTIONS if getattr(options, name)]
    if len(chosen) > 1 and set(chosen) != {"batch", "dry_run"}:  # --batch --dry-run is a dry run
        raise ConfigError(f"choose one of {flags(chosen)}: each is a command of its own, to be run one after the other")
    if not chosen:
        raise ConfigError(
            "nothing to do: give --batch, --dry-run, --check, --status, --verify, --repair, --reproduce IMAGE, or "
            "--merge OUT2"
        )
    if options.reproduce:
        return _reproduce(options)
    if options.output is None and not ((options.dry_run or options.check) and options.dataset):
        raise ConfigError("--output is missing: the folder that becomes the new dataset root")
    run: Callable[[argparse.Namespace], int] = _batch
    for name, action in (("check", _check), ("status", _status), ("verify", _verify), ("merge", _merge)):
        run = action if getattr(options, name) else run
    return run(options)


def _batch(options: argparse.Namespace) -> int:
    from controller.batch import dry_run, run_batch
    from controller.printing import plan_report, print_plan, print_summary
    from controller.progress import Progress

    settings = settings_of(options)
    progress = Progress(quiet=options.quiet, verbose=options.verbose)
    for note in _notes(options, settings):
        progress.note(f"note: {note}")
    if options.dry_run:
        batch = dry_run(settings)
        _print_json(plan_report(batch)) if options.json else print_plan(batch)
        return SKIPPED if batch.plan.skipped else OK
    summary = run_batch(settings, progress, options.started)
    code = SKIPPED if summary.skipped else OK
    if summary.interrupted:
        code = INTERRUPTED
    if summary.fatal:
        code = USAGE
    if options.json:
        _print_json(dataclasses.asdict(summary) | {"exit_code": code, "rate": summary.rate})
    else:
        print_summary(settings.out, summary)
    if summary.fatal:
        print(f"controller: stopped: {summary.fatal}; fix that and run the same command again", file=sys.stderr)
    return code


def _notes(options: argparse.Namespace, settings: BatchSettings) -> list[str]:
    """What was asked for, but has no effect here."""
    engine, launch = settings.recipe.engine, options.launch
    ignored = [", ".join(unused_settings(settings.recipe)), flags(unused(options, engine))]
    notes = [f"engine {engine} does not use {names}" for names in ignored if names]
    if launch and engine != "embedded" and launch.processes > 1:
        notes.append(f"engine {engine} is not for several GPUs: one of {launch.processes} processes works")
    chosen = settings.engine_options
    if launch and isinstance(chosen, EmbeddedOptions) and launch.single and chosen.gpus == 1:
        notes.append("the launcher started one process only, as without several GPUs; --gpus N makes it N")
    return notes


def _check(options: argparse.Namespace) -> int:
    from controller.batch import check_batch
    from controller.check_table import print_checks
    from controller.places import check_places

    settings = settings_of(options)
    if settings.output is not None:
        check_places(settings.dataset, settings.output)
    checks = check_batch(settings)
    failed = [check for check in checks if check.ok is False]
    if options.json:
        _print_json({"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]})
    else:
        print_checks(checks)
    return NO_ENGINE if failed else OK


def _status(options: argparse.Namespace) -> int:
    from acusim.lock import LOCK_FILE, lock_owner
    from controller.ledger import STATE_FOLDER
    from controller.printing import print_status
    from controller.stored import open_ledger, stored_settings

    with open_ledger(options.output) as ledger:
        counts, skipped, stored = ledger.counts(), ledger.skipped(), ledger.get_meta("settings")
        settings = None if stored is None else stored_settings(ledger, options.output)
    owner = lock_owner(options.output / STATE_FOLDER / LOCK_FILE)
    if options.json:
        _print_json({"counts": counts, "skipped": skipped, "running": owner, "settings": stored})
    else:
        print_status(counts, skipped, owner, settings)
    return OK


def _verify(options: argparse.Namespace) -> int:
    from controller.ledger import DONE, PLANNED, RUNNING
    from controller.stored import open_ledger, stored_settings
    from controller.verify import verify

    with open_ledger(options.output) as ledger:
        faults = list(verify(ledger, stored_settings(ledger, options.output)))
        counts = ledger.counts()
    done, unfinished = counts[DONE], counts[PLANNED] + counts[RUNNING]
    if options.json:
        faulty = [dataclasses.asdict(fault) for fault in faults]
        _print_json({"done": done, "unfinished": unfinished, "faults": faulty})
    else:
        for fault in faults:
            print(f"{fault.path}: {fault.what}")
        damaged = len({fault.key for fault in faults})
        print(f"{done} images checked, {damaged} damaged" + ("; --repair regenerates them" if faults else ""))
        if unfinished:
            print(f"{unfinished} are planned, but not created yet")
    return SKIPPED if faults else OK


def _merge(options: argparse.Namespace) -> int:
    from controller.merging import merge

    merged = merge(options.output, options.merge, lambda text: print(text, file=sys.stderr))
    if options.json:
        _print_json(dataclasses.asdict(merged))
    else:
        for key, reason in merged.refused:
            print(f"{key}: {reason}")
        print(f"{merged.copied} images copied, {merged.already} were there, {len(merged.refused)} refused")
    return SKIPPED if merged.refused else OK


def _reproduce(options: argparse.Namespace) -> int:
    from controller.reproduce import reproduce

    given = {name: value for engine in ENGINES for name, value in engine_options(options, engine).items()}
    found = reproduce(options.reproduce, options.dataset, options.scenes, given)
    if options.json:
        _print_json(dataclasses.asdict(found))
    elif found.same:
        print(f"{found.image}: reproduced, the same bytes (sha256 {found.created_sha256})")
    else:
        print(f"{found.image}: differs: the file has sha256 {found.recorded_sha256}, now {found.created_sha256}")
        print(f"{found.different_pixels} pixels differ, by at most {found.largest_difference} of 255 levels")
    return OK if found.same else SKIPPED


def _print_json(report: object) -> None:
    print(json.dumps(report, ensure_ascii=False, default=str))
