"""A batch: check -> plan -> stock -> run -> results. Whatever dies, the same call finishes the rest."""

import time

from acusim.errors import AcuSimError, EngineError
from acusim.lock import LOCK_FILE, Lock
from controller.batch_run import BatchRun
from controller.hosts import gpu_places
from controller.identity import check_identity, refuse_other, stored_identity
from controller.ledger import LEDGER_FILE, Ledger
from controller.places import check_places, state_folder
from controller.planning import PlannedBatch, plan_batch
from controller.progress import NAMED, Progress
from controller.rebuilding import Rebuilt, adopt, rebuild_if_lost
from controller.settings import BatchSettings
from controller.stock import Stock, take_stock
from controller.stop import Stop
from controller.stored import open_ledger
from controller.summary import Summary
from controller.traces import holds_more, lost_ledger
from controller.verify import verify
from engines.base import Check
from engines.factory import make_engine
from engines.options import EmbeddedOptions


def check_batch(settings: BatchSettings) -> list[Check]:
    """Checks whether a batch could run: data set, prompts, scenes, and all that the engine needs. Creates nothing.

    Raises:
        ConfigError: the workflow cannot be read.
    """
    engine = make_engine(settings.recipe, settings.setup)
    missing: EngineError | None = None
    try:
        engine.identity()
    except EngineError as error:
        missing = error
    engine_checks = engine.check() + _gpu_checks(settings)
    if missing and all(check.ok is not False for check in engine_checks):
        engine_checks.append(Check(f"engine {engine.name}", False, str(missing)))
    try:
        batch = plan_batch(settings)
    except AcuSimError as error:
        return [Check("plan", False, str(error), "correct that argument"), *engine_checks]
    plan = batch.plan
    found = f"{len(plan.items)} images to create, {len(plan.skipped)} to skip, {len(batch.scenes)} scenes"
    checks = [Check("plan", None if plan.skipped else True, found, "see --dry-run" if plan.skipped else "")]
    checks += [Check("scenes", None, note, "leave it out") for note in batch.warnings]
    return checks + engine_checks


def _gpu_checks(settings: BatchSettings) -> list[Check]:
    """Whether so many GPUs are visible as are asked for."""
    options = settings.engine_options
    try:
        if isinstance(options, EmbeddedOptions) and options.gpus > 1:
            gpu_places(options)
    except EngineError as error:
        return [Check("GPUs", False, str(error), "name more there, or fewer with --gpus")]
    return []


def dry_run(settings: BatchSettings) -> PlannedBatch:
    """The plan, after everything that would make a batch end before its first image; writes nothing.

    Args:
        settings: what is asked for; where they name an OUT, the batch must be able to continue it.

    Raises:
        ConfigError, LayoutError, EngineError: as run_batch, but no server is asked and no model is loaded.
    """
    if settings.output is not None:
        check_places(settings.dataset, settings.output)
    batch = plan_batch(settings, make_engine(settings.recipe, settings.setup).identity())
    if settings.output is not None and settings.output.is_dir() and holds_more(settings.output):
        with open_ledger(settings.output) as ledger:
            stored = stored_identity(ledger, batch)
            if stored is not None:
                refuse_other(stored, ledger.get_meta("bald codes") or {}, batch)
    return batch


def run_batch(settings: BatchSettings, progress: Progress, started: float | None = None) -> Summary:
    """Creates everything that is planned and not done.

    Args:
        settings: what is asked for.
        progress: where it is reported meanwhile.
        started: when the command started, by ``time.monotonic``; None: now.

    Raises:
        ConfigError, LayoutError: a setting is wrong, or OUT was created with other settings.
        EngineError: the engine is not available, or broke down; what it did not create stays planned.
        OutputError: OUT cannot be written.
        KeyboardInterrupt: a signal came before anything was running.
    """
    started = time.monotonic() if started is None else started
    output = settings.out
    with Stop(progress.note) as stop:
        check_places(settings.dataset, output, settings.repair)
        engine = make_engine(settings.recipe, settings.setup)  # a wrong option is reported before anything is read
        batch = plan_batch(settings, engine.identity())
        progress.plan(batch)
        state = state_folder(output)
        with Lock(state / LOCK_FILE, "controller", output):
            rebuilt = rebuild_if_lost(batch, progress.note) if settings.repair else None
            with Ledger(state / LEDGER_FILE, create=not holds_more(output)) as ledger:
                if ledger.get_meta("identity") is None and holds_more(output):
                    raise lost_ledger(output)
                check_identity(ledger, batch)
                if settings.repair and rebuilt is None:
                    rebuilt = adopt(ledger, batch)
                stock = _stock(ledger, batch, rebuilt, progress)
                run = BatchRun(batch, stock, engine, ledger, progress, stop, started)
                run.summary.rebuilt = rebuilt.counts if rebuilt else {}
                return run.run()


def _stock(ledger: Ledger, batch: PlannedBatch, rebuilt: Rebuilt | None, progress: Progress) -> Stock:
    """What is to do; of a repair, also what does not verify, each with a note."""
    if rebuilt is None:
        return take_stock(ledger, batch.plan, batch.output)
    for key, reason in rebuilt.refused[:NAMED]:
        progress.note(f"{key}: {reason}: regenerated")
    if len(rebuilt.refused) > NAMED:
        progress.note(f"and {len(rebuilt.refused) - NAMED} more that are regenerated")
    faults = list(verify(ledger, batch.settings))
    for fault in faults:
        progress.note(f"{fault.path}: {fault.what}")
    damaged = {fault.key for fault in faults if fault.key}
    return take_stock(ledger, batch.plan, batch.output, damaged, only_known=True)
