"""Runs a batch: plan, ledger, workers, manifest. Whatever dies, the same call finishes the rest."""

import os
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from acusim.errors import AcuSimError, EngineError, LayoutError, OutputError
from acusim.files import safe_join
from acusim.folders import why
from acusim.layout import MAP_FILE
from acusim.lock import LOCK_FILE, Lock
from controller.checking import open_ledger, verify
from controller.gate import WAYS, Gate
from controller.job import Job, job_of
from controller.lanes import Lanes
from controller.ledger import LEDGER_FILE, Done, Ledger
from controller.making import Made, put
from controller.plan import Plan, variant_folders
from controller.planning import plan_batch
from controller.pool import Pool
from controller.progress import ASIDE_SHOWN, Progress
from controller.rebuilding import Rebuilt, adopt, rebuild_if_lost
from controller.results import write_contact_sheet, write_manifest
from controller.settings import (
    Settings,
    check_identity,
    check_places,
    identity_of,
    known_identity,
    refuse_other,
    state_folder,
)
from controller.stock import Stock, take_stock
from controller.stop import Stop
from controller.traces import gone, holds_more
from engines.base import Check, Engine
from engines.factory import make_engine
from engines.scenes import Scene

FLUSH_SECONDS = 0.1
"""How often the ledger is committed; what a crash takes back is at most this and is made again."""
MAP_BYTES = 1 << 20
GATED = "set aside"
"""Of the gate's counts: no attempt was accepted."""


@dataclass(slots=True)
class Summary:
    """How a batch ended."""

    planned: int = 0
    """Pictures of this plan."""
    already: int = 0
    """Were done before."""
    made: int = 0
    """Made by this run."""
    aside: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of pictures that could not be made."""
    interrupted: bool = False
    fatal: str | None = None
    seconds: float = 0.0
    """From the start of the command to its end."""
    seconds_to_open: float | None = None
    """From the start of the command until an engine was open and took up the first picture; None: it never did."""
    seconds_to_first: float | None = None
    """From the start of the command until the first picture was written; None: none was."""
    prompt_sets: dict[str, int] = field(default_factory=dict)
    """Pictures made by this run, for each prompt set."""
    facts: dict[str, int] = field(default_factory=dict)
    """What the engine told of them, such as "geometry depth-mm16": how many."""
    servers: dict[str, int] = field(default_factory=dict)
    """Pictures made by this run, by the address of the server that made them; empty without servers."""
    doubtful: list[tuple[str, list[str]]] = field(default_factory=list)
    """(path, reasons) of pictures of this run whose head's mask may be wrong."""
    unused_depths: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of pictures of this run whose depth map could not be used."""
    gate: dict[str, int] = field(default_factory=dict)
    """How the gate's pictures came about, and how many it set aside; empty without a gate."""
    rebuilt: dict[str, int] = field(default_factory=dict)
    """Of --repair: what was not in the ledger, but in OUT, by how that was known."""
    contact_sheet: Path | None = None

    @property
    def rate(self) -> float:
        """Pictures a second of this run."""
        return self.made / self.seconds if self.seconds > 0 else 0.0


def check_batch(settings: Settings) -> list[Check]:
    """Looks whether a batch could run: data set, prompts, scenes, and all that the engine needs. Makes nothing.

    Raises:
        ConfigError: the workflow cannot be read.
    """
    engine = make_engine(settings.recipe, settings.setup)
    lacking: EngineError | None = None
    try:
        engine.identity()
    except EngineError as error:
        lacking = error
    engine_checks = engine.check()
    if lacking and all(check.ok is not False for check in engine_checks):
        engine_checks.append(Check(f"engine {engine.name}", False, str(lacking)))
    try:
        plan, scenes, warnings = plan_batch(settings)
    except AcuSimError as error:
        return [Check("plan", False, str(error), "correct that argument"), *engine_checks]
    found = f"{len(plan.items)} pictures to make, {len(plan.aside)} to set aside, {len(scenes)} scenes"
    checks = [Check("plan", None if plan.aside else True, found, "see --dry-run" if plan.aside else "")]
    checks += [Check("scenes", None, note, "leave it out") for note in warnings]
    return checks + engine_checks


def dry_run(settings: Settings, has_output: bool) -> tuple[Plan, tuple[Scene, ...], list[str]]:
    """What plan_batch gives, after everything that would make a batch end before its first picture; writes nothing.

    Args:
        settings: what is asked for.
        has_output: whether an OUT was named, which then must be one that the batch could go on with.

    Raises:
        ConfigError, LayoutError, EngineError: as run_batch, but no server is asked and no model is loaded.
    """
    if has_output:
        check_places(settings.dataset, settings.output)
    engine_identity = make_engine(settings.recipe, settings.setup).identity()
    plan, scenes, warnings = plan_batch(settings)
    if has_output and settings.output.is_dir() and holds_more(settings.output):
        with open_ledger(settings.output) as ledger:
            identity = identity_of(settings, plan, scenes, engine_identity)
            begun = known_identity(ledger, identity)
            if begun is not None:
                refuse_other(begun, ledger.get_meta("bald codes") or {}, settings, plan, identity)
    return plan, scenes, warnings


def run_batch(settings: Settings, progress: Progress, started: float | None = None) -> Summary:
    """Makes everything that is planned and not done.

    Args:
        settings: what is asked for.
        progress: what is said meanwhile.
        started: when the command started, by ``time.monotonic``; None: now.

    Raises:
        ConfigError, LayoutError: a setting is wrong, or OUT was begun with other settings.
        EngineError: the engine is not available, or broke down; what it did not make stays planned.
        OutputError: OUT cannot be written.
        KeyboardInterrupt: a signal came before there was anything in hand.
    """
    started = time.monotonic() if started is None else started
    with Stop(progress.note) as stop:
        check_places(settings.dataset, settings.output, settings.repair)
        engine = make_engine(settings.recipe, settings.setup)  # one that does not exist is told before anything is read
        engine_identity = engine.identity()
        plan, scenes, warnings = plan_batch(settings)
        identity = identity_of(settings, plan, scenes, engine_identity)
        for note in warnings:
            progress.note(f"scene {note}")
        progress.plan(plan)
        state = state_folder(settings.output)
        with Lock(state / LOCK_FILE, "controller", settings.output):
            rebuilt = rebuild_if_lost(settings, plan, scenes, identity, progress.note) if settings.repair else None
            with Ledger(state / LEDGER_FILE, create=not holds_more(settings.output)) as ledger:
                if ledger.get_meta("identity") is None and holds_more(settings.output):
                    raise gone(settings.output)
                check_identity(ledger, settings, plan, identity)
                damaged: set[str] = set()
                if settings.repair:
                    if rebuilt is None:
                        rebuilt = adopt(ledger, settings, plan, scenes, identity)
                    damaged = _look_over(ledger, settings, rebuilt, progress)
                stock = take_stock(ledger, plan, settings.output, damaged, only_known=settings.repair)
                batch = _Batch(settings, engine, plan, scenes, ledger, progress, stock, stop, started)
                batch.summary.rebuilt = rebuilt.counts if rebuilt else {}
                return batch.run()


def _look_over(ledger: Ledger, settings: Settings, rebuilt: Rebuilt, progress: Progress) -> set[str]:
    """Says what in OUT does not verify; returns the keys of what is to be made again."""
    for key, reason in rebuilt.refused[:ASIDE_SHOWN]:
        progress.note(f"{key}: {reason}: made again")
    if len(rebuilt.refused) > ASIDE_SHOWN:
        progress.note(f"and {len(rebuilt.refused) - ASIDE_SHOWN} more that are made again")
    faults = list(verify(ledger, settings))
    for fault in faults:
        progress.note(f"{fault.path}: {fault.what}")
    return {fault.key for fault in faults if fault.key}


class _Batch:
    """One run over one OUT, with the lock held."""

    def __init__(
        self,
        settings: Settings,
        engine: Engine,
        plan: Plan,
        scenes: tuple[Scene, ...],
        ledger: Ledger,
        progress: Progress,
        stock: Stock,
        stop: Stop,
        started: float,
    ):
        self.settings, self.engine, self.plan, self.scenes, self.ledger = settings, engine, plan, scenes, ledger
        self.progress, self.stock, self.stop = progress, stock, stop
        planned = len(stock.todo) + stock.already + len(stock.aside)
        self.summary = Summary(planned=planned, already=stock.already, aside=list(stock.aside))
        self._begun, self._flushed = started, time.monotonic()
        self.summary.servers = dict.fromkeys(engine.servers, 0)
        self._sets: Counter[str] = Counter()
        self._facts: Counter[str] = Counter()
        self._started: list[str] = []
        self._done: list[Done] = []
        self._aside: list[tuple[str, str, list[dict[str, Any]]]] = []
        if settings.gate:
            self.summary.gate = dict.fromkeys((*WAYS, GATED), 0)

    def run(self) -> Summary:
        """Does it."""
        for note in self.stock.notes:
            self.progress.note(note)
        try:
            self._copy_maps()
            if self.stock.todo:
                self._make()
            self._flush()
            self._write_results()
        except (OutputError, LayoutError) as error:
            self.summary.fatal = self.summary.fatal or str(error)
        self.summary.seconds = time.monotonic() - self._begun
        return self.summary

    def _copy_maps(self) -> None:
        source = safe_join(self.plan.root, MAP_FILE)
        try:
            if not source.is_file():
                there = os.path.lexists(source)
                lacking = f"{MAP_FILE} of the dataset is no regular file" if there else f"the dataset has no {MAP_FILE}"
                self.progress.note(f"{lacking}: none is written")
                return
            if (size := source.stat().st_size) > MAP_BYTES:
                raise LayoutError(f"{MAP_FILE} of the dataset has {size} bytes: 174 names have some 3000")
            content = source.read_bytes()
        except OSError as error:
            self.progress.note(f"{MAP_FILE} of the dataset cannot be read ({why(error)}): none is written")
            return
        for folder in variant_folders(self.settings.variants):
            target = self.settings.output / folder / MAP_FILE
            if target.is_symlink() or not target.is_file() or target.read_bytes() != content:
                put(self.settings.output, folder + MAP_FILE, content)

    def _jobs(self) -> Iterator[Job]:
        for item in self.stock.todo:
            yield job_of(item, self.plan, self.scenes, self.settings.seed)

    def _make(self) -> None:
        summary, todo = self.summary, self.stock.todo
        recipe, gate, seed = self.settings.recipe, self.settings.gate, self.settings.seed
        if self.engine.processes:
            count = min(self.settings.workers, len(todo))
            pool = Pool(recipe, self.plan.root, self.settings.output, count, gate, seed)
        else:
            gating = Gate(gate, recipe, seed) if gate else None
            pool = Lanes(self.engine, self.plan.root, self.settings.output, gating)
        clean = False
        try:
            self.progress.begin(len(todo))
            for made in pool.run(self._jobs(), self._job_started, self._stopping, self._tick):
                self._note(made)
                if time.monotonic() - self._flushed > FLUSH_SECONDS:
                    self._flush()
            clean = True
        except KeyboardInterrupt:
            summary.interrupted = True
        finally:
            pool.close(now=not clean)
            self.progress.end()
            summary.prompt_sets = dict(sorted(self._sets.items()))
            summary.facts = dict(sorted(self._facts.items()))
            self._flush()
            self.ledger.recover()
            self.ledger.commit()
            self.stop.draining = False  # not before: a first signal must not cost what was just made
        if self.stop.count:
            summary.interrupted = True

    def _job_started(self, job: Job) -> None:
        self.stop.draining = True  # from now on there is something to finish
        if self.summary.seconds_to_open is None:
            self.summary.seconds_to_open = time.monotonic() - self._begun
        self._started.append(job.key)

    def _note(self, made: Made) -> None:
        if made.fatal is not None:
            if made.engine_lost:
                raise EngineError(made.fatal)
            self.summary.fatal = self.summary.fatal or made.fatal
        elif made.reason is not None:
            self._aside.append((made.key, made.reason, made.attempts))
            if made.attempts:
                self.summary.gate[GATED] += 1
            self.summary.aside.append((made.key, made.reason))
            self.progress.aside(made.key, made.reason)
        else:
            self._done.append(made.done(self.stock.stamps[made.key]))
            self.summary.made += 1
            if self.summary.seconds_to_first is None:
                self.summary.seconds_to_first = time.monotonic() - self._begun
            if server := made.record.get("server"):
                self.summary.servers[server] = self.summary.servers.get(server, 0) + 1
            self._sets[made.record["prompt_set"]] += 1
            if "way" in made.record:
                self.summary.gate[made.record["way"]] += 1
            if doubts := made.record.get("doubts"):
                self.summary.doubtful.append((made.key, doubts))
            if unused := made.record.get("unused_depth"):
                self.summary.unused_depths.append((made.key, unused))
            self._facts.update(f"{name} {value}" for name, value in made.record["facts"].items())

    def _tick(self) -> None:
        while self.engine.notes:
            self.progress.note(self.engine.notes.pop(0))
        aside = len(self.summary.aside) - len(self.stock.aside)
        self.progress.advance(self.summary.made, aside, self.engine.work_in_progress(), self.engine.activity())
        if self.summary.seconds_to_open is not None:
            self.stop.draining = not self.engine.is_waiting()
            if self.stop.count and not self.stop.draining:
                self.progress.note("stopping now: no server can be reached, so nothing in hand can be finished")
                raise KeyboardInterrupt

    def _stopping(self) -> bool:
        return self.stop.count > 0 or self.summary.fatal is not None

    def _flush(self) -> None:
        self.ledger.start(self._started)
        self.ledger.finish(self._done)
        self.ledger.set_aside(self._aside)
        self.ledger.commit()
        for buffer in (self._started, self._done, self._aside):
            buffer.clear()
        self._flushed = time.monotonic()

    def _write_results(self) -> None:
        output = self.settings.output
        for name, content in {
            "recipe.toml": self.settings.recipe.to_toml().encode(),
            **self.engine.documents(),
        }.items():
            put(output, name, content)
        write_manifest(self.ledger, output)
        self.summary.contact_sheet = write_contact_sheet(self.ledger, output, self.plan.root)
