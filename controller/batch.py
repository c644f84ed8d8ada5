"""Runs a batch: plan, ledger, workers, manifest. Whatever dies, the same call finishes the rest."""

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from acusim.errors import ConfigError, EngineError, OutputError
from acusim.files import folds_names, is_part, sha256
from acusim.layout import MAP_FILE, Sample, scan
from controller import bald
from controller.ledger import DONE, LEDGER_FILE, SET_ASIDE, STATE_FOLDER, Done, Ledger, Lock
from controller.making import Job, Made, put
from controller.plan import Item, Plan, derive_seed, make_plan, split_colliding, variant_folders
from controller.pool import Pool
from controller.progress import Progress
from controller.prompt_sets import load_prompt_sets
from controller.results import write_contact_sheet, write_manifest
from controller.selection import parse_selection
from engines.engine import make_engine
from engines.recipe import Recipe
from engines.scenes import Scene, load_scenes, pick_scene, scenes_digest

FLUSH_SECONDS = 0.1
"""How often the ledger is committed; what a crash takes back is at most this and is made again."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What a user asks for."""

    dataset: Path
    output: Path
    recipe: Recipe
    scenes: Path | None = None
    """Folder of scene pictures; None takes the shipped ones."""
    variants: int = 1
    select: str | None = None
    limit: int | None = None
    seed: int = 0
    prompts: Path | None = None
    bald_codes: str = "auto"
    size: int | None = None
    workers: int = 1

    def stored(self) -> dict[str, Any]:
        """What the ledger keeps, so that --repair and --reproduce need no further arguments."""
        return {
            "dataset": str(self.dataset.resolve()),
            "recipe": self.recipe.as_dict(),
            "scenes": str(self.scenes.resolve()) if self.scenes else None,
            "variants": self.variants,
            "select": self.select,
            "limit": self.limit,
            "seed": self.seed,
            "prompts": str(self.prompts.resolve()) if self.prompts else None,
            "bald_codes": self.bald_codes,
            "size": self.size,
        }

    @classmethod
    def from_stored(cls, stored: dict[str, Any], output: Path, workers: int) -> "Settings":
        """The settings of the last run on ``output``."""
        paths = {name: Path(stored[name]) if stored[name] else None for name in ("scenes", "prompts")}
        rest = {name: stored[name] for name in ("variants", "select", "limit", "seed", "bald_codes", "size")}
        recipe = Recipe.from_dict(stored["recipe"])
        return cls(dataset=Path(stored["dataset"]), output=output, recipe=recipe, workers=workers, **paths, **rest)


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
    seconds_to_first: float = 0.0
    """Until the first worker had its engine open."""
    prompt_sets: dict[str, int] = field(default_factory=dict)
    """Pictures made by this run, for each prompt set."""
    facts: dict[str, int] = field(default_factory=dict)
    """What the engine told of them, such as "geometry depth-mm16": how many."""
    contact_sheet: Path | None = None

    @property
    def rate(self) -> float:
        """Pictures a second of this run."""
        return self.made / self.seconds if self.seconds > 0 else 0.0


def plan_batch(settings: Settings) -> tuple[Plan, tuple[Scene, ...], list[str]]:
    """Reads the dataset, prompts and scenes and lays out what would be made; writes nothing.

    Returns:
        The plan, the scenes, and warnings about scene files that cannot be used.

    Raises:
        ConfigError, LayoutError: a setting or the dataset root is wrong.
    """
    if settings.variants < 1 or settings.variants > 99:
        raise ConfigError(f"--variants {settings.variants} is outside 1..99")
    if settings.limit is not None and settings.limit < 1:
        raise ConfigError(f"--limit {settings.limit} is below 1")
    prompts = load_prompt_sets(settings.prompts)
    codes = bald.parse_bald_codes(settings.bald_codes)
    selection = parse_selection(settings.select)
    scenes, warnings = load_scenes(settings.scenes)
    dataset = scan(settings.dataset, settings.size)

    def judge(samples: list[Sample]) -> list[bald.Evidence]:
        return bald.gather(dataset.root, samples) if codes is None else bald.given(samples, codes)

    plan = make_plan(dataset, prompts, judge, selection, settings.limit, settings.variants)
    if not plan.items and not plan.aside:
        what = (
            f"--select {settings.select!r} matches none of" if settings.select else "there is no usable picture among"
        )
        raise ConfigError(f"{what} the {len(dataset.samples)} samples of {str(settings.dataset)!r}")
    return plan, scenes, list(warnings)


def check_places(dataset: Path, output: Path) -> None:
    """Refuses an output folder that would mix with the dataset, or with files of somebody else.

    Raises:
        ConfigError: says which, and what to do.
    """
    source, target = dataset.resolve(), output.resolve()
    if source == target or source in target.parents or target in source.parents:
        raise ConfigError(
            f"--output {str(output)!r} and --dataset {str(dataset)!r} lie in one another; keep them apart"
        )
    if output.exists() and not output.is_dir():
        raise ConfigError(f"--output {str(output)!r} is not a folder")
    if output.is_dir() and not (output / STATE_FOLDER).is_dir() and any(output.iterdir()):
        raise ConfigError(
            f"--output {str(output)!r} holds files but no ledger of this program; name a new or an empty folder"
        )


def run_batch(settings: Settings, progress: Progress) -> Summary:
    """Makes everything that is planned and not done.

    Raises:
        ConfigError, LayoutError: a setting is wrong, or OUT was begun with other settings.
        EngineError: the engine is not available; nothing was written into a fresh OUT.
        OutputError: OUT cannot be written.
    """
    check_places(settings.dataset, settings.output)
    make_engine(settings.recipe)  # an engine that does not exist is told before anything is read
    plan, scenes, warnings = plan_batch(settings)
    for note in warnings:
        progress.note(f"scene {note}")
    progress.plan(plan)
    state = settings.output / STATE_FOLDER
    _make_folder(state)
    with Lock(state), Ledger(state / LEDGER_FILE) as ledger:
        _check_identity(ledger, settings, plan, scenes)
        return _Batch(settings, plan, scenes, ledger, progress).run()


def _make_folder(state: Path) -> None:
    try:
        state.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"output folder {str(state.parent)!r} cannot be written: {error.strerror}") from None
    if state.is_symlink():
        raise ConfigError(f"{str(state)!r} is a symbolic link; it must be a folder of this OUT")


def _check_identity(ledger: Ledger, settings: Settings, plan: Plan, scenes: Iterable[Scene]) -> None:
    """Everything that decides a pixel or a path must be what OUT was begun with."""
    identity = {
        **{f"recipe.{name}": value for name, value in settings.recipe.as_dict().items()},
        "seed": settings.seed,
        "scenes": scenes_digest(tuple(scenes)),
        "prompts": plan.prompts.digest,
        "bald codes": sorted(plan.bald),
        "several variants": settings.variants > 1,
    }
    begun = ledger.get_meta("identity")
    if begun is None:
        ledger.set_meta("identity", identity)
    elif begun != identity:
        changed = [name for name in identity if begun.get(name) != identity[name]]
        told = "; ".join(f"{name}: {_short(begun.get(name))} -> {_short(identity[name])}" for name in changed)
        raise ConfigError(
            f"{str(settings.output)!r} was begun with other settings ({told}); use those, or another --output"
        )
    ledger.set_meta("settings", settings.stored())
    ledger.commit()


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


class _Batch:
    """One run over one OUT, with the lock held."""

    def __init__(self, settings: Settings, plan: Plan, scenes: tuple[Scene, ...], ledger: Ledger, progress: Progress):
        self.settings, self.plan, self.scenes, self.ledger, self.progress = settings, plan, scenes, ledger, progress
        self.summary = Summary()
        self._signals = 0
        self._sets: Counter[str] = Counter()
        self._facts: Counter[str] = Counter()
        self._started: list[str] = []
        self._done: list[Done] = []
        self._aside: list[tuple[str, str]] = []
        self._flushed = time.monotonic()

    def run(self) -> Summary:
        """Does it."""
        self._begun = begun = time.monotonic()
        try:
            todo = self._take_stock()
            self._copy_maps()
            with self._signals_caught():
                if todo:
                    self._make(todo)
            self._flush()
            self._write_results()
        except OutputError as error:
            self.summary.fatal = str(error)
        self.summary.seconds = time.monotonic() - begun
        return self.summary

    def _take_stock(self) -> list[Item]:
        """Brings the ledger up to date with the plan and with what lies on disk; returns what is to be made."""
        ledger, summary = self.ledger, self.summary
        items = self.plan.items
        aside = list(self.plan.aside)
        if folds_names(self.settings.output):
            checked = list(split_colliding(items))
            aside += [(item.key, reason) for item, reason in checked if reason]
            items = [item for item, reason in checked if not reason]
        ledger.recover()
        states = ledger.states()
        on_disk = _FilesOnDisk(self.settings.output)
        todo: list[Item] = []
        lost = 0
        for item in items:
            state, size = states.get(item.key, ("", None))
            if state == DONE and on_disk.size(item.key) == size and self._has_companions(item, on_disk):
                summary.already += 1
                continue
            lost += state == DONE
            todo.append(item)
        if lost:
            self.progress.note(f"{lost} pictures were done but are damaged or gone from disk: made again")
        keys = {item.key for item in items}
        if not self.settings.select and self.settings.limit is None:
            wanted = keys | {key for key, _ in aside}
            ledger.forget(key for key, (state, _) in states.items() if state == SET_ASIDE and key not in wanted)
        ledger.plan(item.key for item in todo)
        ledger.replan(item.key for item in todo if item.key in states)
        ledger.set_aside(aside)
        ledger.commit()
        summary.planned = len(items) + len(aside)
        summary.aside += aside
        return todo

    @staticmethod
    def _has_companions(item: Item, on_disk: "_FilesOnDisk") -> bool:
        sample = item.sample
        companions = [sample.label, *([sample.depth] if sample.depth else [])]
        return all(on_disk.size(item.folder + companion) for companion in companions)

    def _copy_maps(self) -> None:
        source = self.plan.root / MAP_FILE
        if not source.is_file():
            self.progress.note(f"the dataset has no {MAP_FILE}: none is written")
            return
        content = source.read_bytes()
        for folder in variant_folders(self.settings.variants):
            target = self.settings.output / folder / MAP_FILE
            if not target.is_file() or target.read_bytes() != content:
                put(self.settings.output, folder + MAP_FILE, content)

    def _jobs(self, todo: list[Item]) -> Iterator[Job]:
        prompts = self.plan.prompts
        for item in todo:
            sample = item.sample
            seed = derive_seed(self.settings.seed, sample.id, item.variant, attempt=0)
            scene = pick_scene(self.scenes, seed)
            bald_head = sample.id.hair in self.plan.bald
            prompt_set = prompts.choose(sample.id, bald_head)
            positive, negative = prompts.texts(prompt_set, sample.id, seed)
            yield Job(
                key=item.key,
                folder=item.folder,
                sample=sample,
                variant=item.variant,
                attempt=0,
                seed=seed,
                scene=scene.path,
                scene_name=scene.name,
                scene_sha256=scene.sha256,
                bald=bald_head,
                prompt_set=prompt_set.name,
                positive=positive,
                negative=negative,
            )

    def _make(self, todo: list[Item]) -> None:
        summary = self.summary
        count = min(self.settings.workers, len(todo))
        pool = Pool(self.settings.recipe, self.plan.root, self.settings.output, count)
        clean = False
        try:
            self.progress.begin(len(todo))
            for made in pool.run(self._jobs(todo), self._job_started, self._stopping):
                self._note(made)
                self.progress.advance(summary.made, len(summary.aside))
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
        if self._signals:
            summary.interrupted = True

    def _job_started(self, job: Job) -> None:
        self.summary.seconds_to_first = self.summary.seconds_to_first or time.monotonic() - self._begun
        self._started.append(job.key)

    def _note(self, made: Made) -> None:
        if made.fatal is not None:
            if made.engine_lost:
                raise EngineError(made.fatal)
            self.summary.fatal = self.summary.fatal or made.fatal
        elif made.reason is not None:
            self._aside.append((made.key, made.reason))
            self.summary.aside.append((made.key, made.reason))
            self.progress.aside(made.key, made.reason)
        else:
            self._done.append(Done(made.key, made.attempt, made.sha256, made.size, made.record, made.seconds))
            self.summary.made += 1
            self._sets[made.record["prompt_set"]] += 1
            self._facts.update(f"{name} {value}" for name, value in made.record["facts"].items())

    def _stopping(self) -> bool:
        return self._signals > 0 or self.summary.fatal is not None

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
        put(output, "recipe.toml", self.settings.recipe.to_toml().encode())
        write_manifest(self.ledger, output)
        self.summary.contact_sheet = write_contact_sheet(self.ledger, output, self.plan.root, self.summary.made > 0)

    @contextmanager
    def _signals_caught(self) -> Iterator[None]:
        """The first SIGINT or SIGTERM drains, the second stops at once."""

        def caught(number: int, frame: FrameType | None) -> None:
            self._signals += 1
            if self._signals > 1:
                raise KeyboardInterrupt
            self.progress.note("stopping: finishing what is in hand (once more to stop now)")

        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, caught) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class _FilesOnDisk:
    """Sizes of the files below OUT, listed folder by folder when first asked; clears away half-written ones."""

    def __init__(self, output: Path):
        self._output = os.path.realpath(output)
        self._folders: dict[str, dict[str, int]] = {}

    def size(self, relative: str) -> int | None:
        folder, _, name = relative.rpartition("/")
        if folder not in self._folders:
            self._folders[folder] = self._list(folder)
        return self._folders[folder].get(name)

    def _list(self, folder: str) -> dict[str, int]:
        path = os.path.join(self._output, folder)
        sizes: dict[str, int] = {}
        if not os.path.isdir(path) or os.path.realpath(path) != path:
            return sizes
        with os.scandir(path) as entries:
            for entry in entries:
                if is_part(entry.name):
                    os.unlink(entry.path)
                elif entry.is_file(follow_symlinks=False):
                    sizes[entry.name] = entry.stat(follow_symlinks=False).st_size
        return sizes


def file_sha256(path: Path) -> str | None:
    """Hash of a regular file, None if there is none."""
    try:
        return sha256(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None
