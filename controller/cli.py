"""The command line. Parses, calls, prints; decides nothing."""

import argparse
import dataclasses
import json
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn, get_args

import acusim
from acusim.errors import AcuSimError, ConfigError, EngineError
from engines.engine import Transport
from engines.recipe import ENGINES, Recipe, unused_settings

OK, USAGE, ASIDE, NO_ENGINE, INTERRUPTED = 0, 1, 2, 3, 130

_EPILOG = """\
exit codes:
  0    done
  1    usage or configuration is wrong, or the output folder cannot be written
  2    finished, but items were set aside (or --verify / --reproduce found a difference)
  3    the engine is not available (or --check found something missing)
  130  interrupted; run the same command again to go on

examples:
  python controller/controller.py --batch --dataset ACUSIM --output OUT --engine relight
  python controller/controller.py --batch --dataset ACUSIM --output OUT --engine relight --variants 3 \\
      --select 'gender=F,frame=1-36' --scenes MY_SCENES --set light_strength=0.6
  python controller/controller.py --check --dataset ACUSIM --output OUT --server http://127.0.0.1:8188
  python controller/controller.py --batch --dataset ACUSIM --output OUT --server http://127.0.0.1:8188
  python controller/controller.py --status --output OUT
  python -m controller --reproduce OUT/train/image/img_512/F_Brisen_F_HA_C_0141.png
"""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Wrong usage is exit code 1 here; 2 means that items were set aside."""
        self.print_usage(sys.stderr)
        self.exit(USAGE, f"{self.prog}: error: {message}\n")


def build_parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = _Parser(
        prog="controller",
        description="Relights an AcuSim dataset without moving a single acupoint; OUT is a dataset of the same layout.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"acusim-augment {acusim.__version__}")
    what = parser.add_argument_group("what to do")
    what.add_argument("--batch", action="store_true", help="make everything that is not made yet")
    what.add_argument("--dry-run", action="store_true", help="show the plan and the evidence for it; write nothing")
    what.add_argument("--check", action="store_true", help="look whether the engine has all it needs; make nothing")
    what.add_argument("--status", action="store_true", help="what is done, planned and set aside in OUT")
    what.add_argument("--verify", action="store_true", help="compare every file in OUT with the hash in its ledger")
    what.add_argument("--repair", action="store_true", help="verify, then make again what is missing or damaged")
    what.add_argument("--reproduce", type=Path, metavar="IMAGE", help="make one picture again and compare the bytes")

    data = parser.add_argument_group("data")
    data.add_argument("--dataset", type=Path, metavar="ROOT", help="AcuSim dataset root: ROOT/train/image/img_512/…")
    data.add_argument("--output", type=Path, metavar="OUT", help="new dataset root; nothing outside it is written")
    data.add_argument("--size", type=int, metavar="PX", help="which img_PX to read (default: 512, else the largest)")
    data.add_argument(
        "--select",
        metavar="CONDITIONS",
        help="such as 'gender=F,hair=HA,HC,frame=1-36'; keys: gender name size hair eye frame split",
    )
    data.add_argument("--limit", type=int, metavar="N", help="at most N samples, in the order of their names")
    data.add_argument("--scenes", type=Path, metavar="DIR", help="pictures that set the light (default: shipped ones)")

    how = parser.add_argument_group("how")
    how.add_argument("--engine", choices=ENGINES, help="who makes the pixels (default: the recipe's, else comfyui)")
    how.add_argument("--recipe", type=Path, metavar="F.toml", help="settings that differ from the defaults")
    how.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="one setting, such as steps=28")
    how.add_argument(
        "--variants", type=int, default=1, metavar="K", help="pictures per sample, in OUT/v01, OUT/v02 … (1)"
    )
    how.add_argument("--seed", type=int, default=0, metavar="S", help="changes every picture's seed (0)")
    how.add_argument("--prompts", type=Path, metavar="F.toml", help="own prompt sets, tried before the shipped four")
    how.add_argument(
        "--bald-codes",
        default="auto",
        metavar="A,B",
        help="hair codes that mean bald; auto tells it from the labels, none means none (auto)",
    )
    how.add_argument("--workers", type=int, metavar="N", help="worker processes (default: one for each core)")
    how.add_argument("--json", action="store_true", help="print the result as JSON; everything else goes to stderr")
    how.add_argument("--quiet", action="store_true", help="no progress and no notes")

    comfyui = parser.add_argument_group("engine comfyui")
    comfyui.add_argument(
        "--server",
        action="append",
        default=[],
        metavar="URL",
        help="a running ComfyUI; name several to share the work (http://127.0.0.1:8188)",
    )
    comfyui.add_argument(
        "--workflow",
        type=Path,
        metavar="F.json",
        help="own workflow in API format (default: workflows/api/WIRING.json)",
    )
    comfyui.add_argument("--batch-size", type=int, metavar="N", help="most pictures in one prompt")
    comfyui.add_argument(
        "--transport",
        choices=get_args(Transport),
        default="auto",
        help="shared: the server reads the dataset and writes below OUT itself; remote: upload and download (auto)",
    )
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command; returns its exit code."""
    parser = build_parser()
    options = parser.parse_args(arguments)
    try:
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
    if len(chosen) > 1:
        raise ConfigError(f"choose one of {_flags(chosen)}")
    if not chosen and not options.batch:
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
    from controller.settings import Settings

    workers = options.workers if options.workers is not None else len(os.sched_getaffinity(0))
    if not 1 <= workers <= 256:
        raise ConfigError(f"--workers {workers} is outside 1..256")
    if options.batch_size is not None and not 1 <= options.batch_size <= 64:
        raise ConfigError(f"--batch-size {options.batch_size} is outside 1..64")
    if options.repair and options.dataset is None:
        from controller.checking import open_ledger, stored_settings

        if ignored := _given(options, _HOW):
            told = _flags(ignored)
            raise ConfigError(f"--repair without --dataset takes the settings OUT was made with; leave out {told}")
        with open_ledger(options.output) as ledger:
            stored = stored_settings(ledger, options.output, workers)
        return dataclasses.replace(
            stored,
            repair=True,
            servers=tuple(options.server) or stored.servers,
            batch_size=options.batch_size or stored.batch_size,
            transport=stored.transport if options.transport == "auto" else options.transport,
        )
    if options.dataset is None:
        raise ConfigError("--dataset is missing: the root of the AcuSim dataset to augment")
    recipe = Recipe.from_toml(options.recipe) if options.recipe else Recipe()
    if options.engine:
        recipe = dataclasses.replace(recipe, engine=options.engine)
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
        servers=tuple(options.server),
        workflow=options.workflow,
        batch_size=options.batch_size,
        transport=options.transport,
    )


_COMFYUI = ("server", "workflow", "batch_size", "transport")
_WHAT = ("check", "status", "verify", "repair", "reproduce", "dry_run")
_HOW = (
    *("engine", "recipe", "set", "variants", "seed", "prompts", "bald_codes", "scenes", "select", "limit", "size"),
    "workflow",
)


def _given(options: argparse.Namespace, names: Iterable[str]) -> list[str]:
    """Which of some options differ from their defaults."""
    parser = build_parser()
    return [name for name in names if getattr(options, name) != parser.get_default(name)]


def _flags(names: Iterable[str]) -> str:
    """Names of options as a user writes them."""
    return ", ".join("--" + name.replace("_", "-") for name in names)


def _batch(options: argparse.Namespace) -> int:
    from controller.batch import plan_batch, run_batch
    from controller.progress import Progress
    from controller.settings import check_places

    settings = _settings(options)
    progress = Progress(quiet=options.quiet)
    unused = unused_settings(settings.recipe)
    if unused:
        progress.note(f"note: engine {settings.recipe.engine} does not use {', '.join(unused)}")
    if settings.recipe.engine != "comfyui" and (idle := _given(options, _COMFYUI)):
        progress.note(f"note: engine {settings.recipe.engine} does not use {_flags(idle)}")
    if options.dry_run:
        if options.output is not None:
            check_places(settings.dataset, settings.output)
        plan, scenes, warnings = plan_batch(settings)
        return _show_plan(options, settings, plan, scenes, warnings)
    summary = run_batch(settings, progress)
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
        print(f"made {summary.made} in {summary.seconds:.1f} s ({summary.rate:.1f}/s): {sets}")
        for fact, count in summary.facts.items():
            print(f"  {fact}: {count}")
    if summary.aside:
        kinds = Counter(re.sub(r"'[^']*'|\b[0-9][0-9.]*\b", "…", reason)[:100] for _, reason in summary.aside)
        print(f"set aside {len(summary.aside)}; reasons in {settings.output / 'manifest.jsonl'}:")
        for kind, count in kinds.most_common(8):
            print(f"  {count} x {kind}")
    if summary.contact_sheet:
        print(f"look at {summary.contact_sheet}")
    if summary.interrupted:
        print("interrupted; run the same command again to go on")


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
    from controller.progress import print_checks
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
    from controller.checking import open_ledger
    from controller.ledger import SET_ASIDE, STATE_FOLDER, Lock

    with open_ledger(options.output) as ledger:
        counts, aside, settings = ledger.counts(), ledger.aside(), ledger.get_meta("settings")
    owner = Lock.owner(options.output / STATE_FOLDER)
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

    found = reproduce(options.reproduce, options.dataset, options.scenes, tuple(options.server), options.workflow)
    if options.json:
        print(json.dumps(dataclasses.asdict(found), default=str))
    elif found.same:
        print(f"{found.image}: made again, the same bytes (sha256 {found.made_sha256})")
    else:
        print(f"{found.image}: differs: sha256 {found.recorded_sha256} lies there, {found.made_sha256} was made")
        print(f"{found.different_pixels} pixels differ, by at most {found.largest_difference} of 255 levels")
    return OK if found.same else ASIDE
