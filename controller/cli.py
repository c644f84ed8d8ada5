"""The command line. Parses, calls, prints; decides nothing."""

import argparse
import dataclasses
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from acusim.command_line import USAGE
from acusim.errors import AcuSimError, ConfigError, EngineError
from acusim.pace import rate_text
from controller.launch import forget, launched
from controller.options import (
    ASIDE,
    HOW,
    INTERRUPTED,
    NO_ENGINE,
    OK,
    WHERE,
    build_parser,
    flags,
    given,
    unused,
)
from engines.recipe import Recipe, unused_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    started = time.monotonic()
    launch = launched(os.environ)
    if launch and not launch.leads:
        return OK
    options = build_parser().parse_args(arguments, argparse.Namespace(launch=launch, started=started))
    try:
        if launch:
            launch.check()
            forget(os.environ)
        return _run(options)
    except EngineError as error:
        print(f"controller: {error}", file=sys.stderr)
        return NO_ENGINE
    except AcuSimError as error:
        print(f"controller: {error}", file=sys.stderr)
        return USAGE
    except BrokenPipeError:  # the reader of our output has left, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return USAGE
    except (OSError, RuntimeError) as error:  # RuntimeError: a loop of symbolic links in a path
        print(f"controller: {error}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("controller: interrupted", file=sys.stderr)
        return INTERRUPTED


def _run(options: argparse.Namespace) -> int:
    chosen = [name for name in _WHAT if getattr(options, name)]
    if len(chosen) > 1 and set(chosen) != {"batch", "dry_run"}:  # a batch may be said to be a dry run
        raise ConfigError(f"choose one of {flags(chosen)}: each is a command of its own, to be run one after the other")
    if not chosen:
        raise ConfigError(
            "nothing to do: say --batch, --dry-run, --check, --status, --verify, --repair or --reproduce IMAGE"
        )
    if options.reproduce:
        return _reproduce(options)
    if options.output is None and not ((options.dry_run or options.check) and options.dataset):
        raise ConfigError("--output is missing: the folder that becomes the new dataset root")
    if options.check:
        return _check(options)
    if options.status:
        return _status(options)
    if options.verify:
        return _verify(options)
    return _batch(options)


def _settings(options: argparse.Namespace) -> Any:
    from controller.gate import GateSettings
    from controller.settings import Settings

    workers = options.workers if options.workers is not None else len(os.sched_getaffinity(0))
    if not 1 <= workers <= 256:
        raise ConfigError(f"--workers {workers} is outside 1..256")
    for name in ("batch_size", "gpus"):
        value = getattr(options, name)
        if value is not None and not 1 <= value <= 64:
            raise ConfigError(f"{flags([name])} {value} is outside 1..64")
    if options.repair and options.dataset is None:
        from controller.checking import repair_settings

        if ignored := given(options, HOW):
            told = flags(ignored)
            raise ConfigError(f"--repair without --dataset takes the settings OUT was made with; leave out {told}")
        stored = repair_settings(options.output, workers)
        return dataclasses.replace(stored, repair=True, **_where(options, stored.recipe))
    if options.dataset is None:
        raise ConfigError("--dataset is missing: the root of the AcuSim dataset to augment")
    recipe = Recipe.from_toml(options.recipe) if options.recipe else Recipe()
    if options.engine:
        recipe = Recipe.from_dict({"engine": options.engine}, recipe)
    recipe = recipe.with_settings(options.set)
    return Settings(
        dataset=options.dataset,
        output=options.output,
        recipe=recipe,
        scenes=options.scenes,
        variants=options.variants,
        select=options.select,
        limit=options.limit,
        seed=options.seed,
        prompts=options.prompts,
        bald_codes=options.bald_codes,
        size=options.size,
        workers=workers,
        repair=options.repair,
        workflow=options.workflow,
        gate=None if options.gate is None else GateSettings.from_toml(Path(options.gate) if options.gate else None),
        **_where(options, recipe),
    )


def _where(options: argparse.Namespace, recipe: Recipe) -> dict[str, Any]:
    """Where and how the engine shall work, as far as it was said, by the user or else by what launched this."""
    said = {name: getattr(options, name) for name in given(options, WHERE)}
    if "server" in said:
        said["servers"] = tuple(said.pop("server"))
    if options.launch and recipe.engine == "embedded":
        if options.launch.processes > 1:
            said.setdefault("gpus", options.launch.processes)
        if options.launch.cpu:
            said.setdefault("device", "cpu")
    return said


_WHAT = ("batch", "dry_run", "check", "status", "verify", "repair", "reproduce")


def _batch(options: argparse.Namespace) -> int:
    from controller.batch import dry_run, run_batch
    from controller.progress import Progress

    settings = _settings(options)
    progress = Progress(quiet=options.quiet)
    engine = settings.recipe.engine
    idle = [", ".join(unused_settings(settings.recipe)), flags(unused(options, engine))]
    for told in filter(None, idle):
        progress.note(f"note: engine {engine} does not use {told}")
    if options.launch and engine != "embedded" and options.launch.processes > 1:
        progress.note(
            f"note: engine {engine} is not for several GPUs: one of {options.launch.processes} processes works"
        )
    if options.launch and engine == "embedded" and options.launch.single and settings.gpus == 1:
        progress.note("note: the launcher started one process only, as without several GPUs; --gpus N makes it N")
    if options.dry_run:
        plan, scenes, warnings = dry_run(settings, options.output is not None)
        return _show_plan(options, settings, plan, scenes, warnings)
    summary = run_batch(settings, progress, options.started)
    code = OK
    if summary.aside:
        code = ASIDE
    if summary.interrupted:
        code = INTERRUPTED
    if summary.fatal:
        code = USAGE
    if options.json:
        report = dataclasses.asdict(summary) | {"set_aside": summary.aside, "exit_code": code, "rate": summary.rate}
        report.pop("aside")
        print(json.dumps(report, ensure_ascii=False, default=str))
    else:
        _print_summary(settings, summary)
    if summary.fatal:
        print(f"controller: stopped: {summary.fatal}; mend that and run the same command again", file=sys.stderr)
    return code


def _print_summary(settings: Any, summary: Any) -> None:
    done = summary.made + summary.already
    print(f"{done} of {summary.planned} pictures are in {settings.output} ({summary.already} from before)")
    if summary.made:
        sets = ", ".join(f"{name} {count}" for name, count in summary.prompt_sets.items())
        print(f"made {summary.made} in {summary.seconds:.1f} s ({rate_text(summary.rate)}): {sets}")
        for address, count in summary.servers.items():
            print(f"  {address}: {count} pictures")
        for fact, count in summary.facts.items():
            print(f"  {fact}: {count}")
    if summary.doubtful:
        print(f"look at {len(summary.doubtful)} pictures whose mask is doubtful; which, in manifest.jsonl:")
        _print_kinds([doubt for _, doubts in summary.doubtful for doubt in doubts])
    if summary.unused_depths:
        print(f"made {len(summary.unused_depths)} without their depth maps, which cannot be used; see manifest.jsonl:")
        _print_kinds([reason.partition(": ")[2] for _, reason in summary.unused_depths])
    if summary.gate:
        print("gate: " + ", ".join(f"{count} {way}" for way, count in summary.gate.items()))
    if summary.aside:
        print(f"set aside {len(summary.aside)}; reasons in {settings.output / 'manifest.jsonl'}:")
        _print_kinds([reason for _, reason in summary.aside])
    if summary.contact_sheet:
        print(f"look at {summary.contact_sheet}")
    if summary.interrupted:
        print("interrupted; run the same command again to go on")


def _print_kinds(reasons: Sequence[str]) -> None:
    """How often each kind of reason, whatever the numbers and names in it."""
    kinds = Counter(re.sub(r"'[^']*'|\b[0-9][0-9.]*\b", "…", reason)[:100] for reason in reasons)
    for kind, count in kinds.most_common(8):
        print(f"  {count} x {kind}")


def _show_plan(options: argparse.Namespace, settings: Any, plan: Any, scenes: Any, warnings: list[str]) -> int:
    if options.json:
        report = {
            "pictures": len(plan.items),
            "prompt_sets": plan.prompt_sets,
            "hair_codes": [dataclasses.asdict(entry) for entry in plan.evidence],
            "scenes": [scene.name for scene in scenes],
            "recipe": settings.recipe.as_dict(),
            "recipe_hash": settings.recipe.hash,
            "set_aside": plan.aside,
            "notes": plan.notes + warnings,
        }
        print(json.dumps(report, ensure_ascii=False))
        return ASIDE if plan.aside else OK
    sets = ", ".join(f"{name} {count}" for name, count in plan.prompt_sets.items())
    print(f"would make {len(plan.items)} pictures by engine {settings.recipe.engine}, {settings.variants} per sample")
    print(f"prompt sets: {sets}")
    for entry in plan.evidence:
        print(f"hair code {entry}")
    print(f"scenes: {', '.join(scene.name for scene in scenes)}")
    print(f"recipe {settings.recipe.hash[:12]}")
    for text in [*plan.notes, *warnings]:
        print(f"note: {text}")
    for path, reason in plan.aside:
        print(f"would set aside {path}: {reason}")
    return ASIDE if plan.aside else OK


def _check(options: argparse.Namespace) -> int:
    from controller.batch import check_batch
    from controller.check_table import print_checks
    from controller.settings import check_places

    settings = _settings(options)
    if options.output is not None:
        check_places(settings.dataset, settings.output)
    checks = check_batch(settings)
    failed = [check for check in checks if check.ok is False]
    if options.json:
        report = {"ok": not failed, "checks": [dataclasses.asdict(check) for check in checks]}
        print(json.dumps(report, ensure_ascii=False))
    else:
        print_checks(checks)
    return NO_ENGINE if failed else OK


def _status(options: argparse.Namespace) -> int:
    from acusim.lock import LOCK_FILE, lock_owner
    from controller.checking import open_ledger
    from controller.ledger import SET_ASIDE, STATE_FOLDER

    with open_ledger(options.output) as ledger:
        counts, aside, settings = ledger.counts(), ledger.aside(), ledger.get_meta("settings")
    owner = lock_owner(options.output / STATE_FOLDER / LOCK_FILE)
    if options.json:
        print(
            json.dumps(
                {"counts": counts, "set_aside": aside, "running": owner, "settings": settings}, ensure_ascii=False
            )
        )
        return OK
    print(", ".join(f"{count} {state}" for state, count in counts.items()))
    print(f"at work: {owner}" if owner else "no controller is at work here")
    if settings:
        print(f"engine {settings['recipe']['engine']}, dataset {settings['dataset']}")
    for key, reason in aside[:20]:
        print(f"{SET_ASIDE}: {key}: {reason}")
    if len(aside) > 20:
        print(f"and {len(aside) - 20} more, see --json")
    return OK


def _verify(options: argparse.Namespace) -> int:
    from controller.checking import open_ledger, stored_settings, verify
    from controller.ledger import DONE, PLANNED, RUNNING

    with open_ledger(options.output) as ledger:
        faults = list(verify(ledger, stored_settings(ledger, options.output, 1)))
        counts = ledger.counts()
    done, unfinished = counts[DONE], counts[PLANNED] + counts[RUNNING]
    if options.json:
        report = {"done": done, "unfinished": unfinished, "faults": [dataclasses.asdict(fault) for fault in faults]}
        print(json.dumps(report, ensure_ascii=False))
    else:
        for fault in faults:
            print(f"{fault.path}: {fault.what}")
        damaged = len({fault.key for fault in faults})
        print(f"{done} pictures checked, {damaged} damaged" + ("; --repair makes them again" if faults else ""))
        if unfinished:
            print(f"{unfinished} are planned, but not made yet")
    return ASIDE if faults else OK


def _reproduce(options: argparse.Namespace) -> int:
    from controller.checking import reproduce

    device = "cpu" if options.device == "auto" and options.launch and options.launch.cpu else options.device
    found = reproduce(
        options.reproduce,
        options.dataset,
        options.scenes,
        tuple(options.server),
        options.workflow,
        options.models,
        device,
        options.low_memory,
        options.server_header_file,
    )
    if options.json:
        print(json.dumps(dataclasses.asdict(found), default=str))
    elif found.same:
        print(f"{found.image}: made again, the same bytes (sha256 {found.made_sha256})")
    else:
        print(f"{found.image}: differs: sha256 {found.recorded_sha256} lies there, {found.made_sha256} was made")
        print(f"{found.different_pixels} pixels differ, by at most {found.largest_difference} of 255 levels")
    return OK if found.same else ASIDE
