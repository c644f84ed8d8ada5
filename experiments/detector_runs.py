"""Trains the runs of the detector's experiments and keeps of each what the tables need: sums of each test person.

    OUT/runs/<row>-<hash>-s<seed>/            a trained run: its curves, and the weights of its last epoch
                                 /result.json what it was, and its sums on each test
    OUT/runs/<row>-<hash>-s<seed>.part/       one that is being trained; the same command continues it

The hash is over all that decides a run but its seed. So a configuration that several tables have, under whatever name,
is trained once, and a changed row is another run. Tests that are new, or whose pictures have changed, are measured with
the weights that were kept. Models are those of the last epoch: nothing is chosen by results.
"""

import functools
import json
import math
import re
import shutil
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from acusim.errors import ConfigError
from acusim.files import sha256, write_atomic
from acusim.lock import Lock
from acusim.parallel import map_each
from acusim.rig import parse_frames
from acusim.text_files import json_of
from experiments.detector_sections import COMMON, TESTS, Row, Settings
from training import checkpoint
from training.config import load_config
from training.data import leaks, split
from training.data.positions import template_of
from training.data.records import HeadData, load
from training.distillation import TEACHER, Teacher, open_teacher
from training.eval.baselines import THROUGH_CAMERA, fit_baselines, through_camera
from training.eval.metrics import TERMS, measure
from training.eval.predictions import Predictions
from training.hardware import Hardware
from training.loop import Loop
from training.shipped import model_path
from training.tasks.head import HeadTask, predict
from training.tasks.head_config import HeadConfig

RESULT = "result.json"
Floats = NDArray[np.float64]
Sums = tuple[tuple[str, ...], Floats]
"""Persons in ascending order, and their sums of metrics.TERMS [P, T]."""
PersonSums = dict[str, Sums]
"""By the title of a test."""


@dataclass(frozen=True)
class Plan:
    """What all runs have in common."""

    data: Path
    """Folder with train/NAME and test/NAME."""
    out: Path
    steps: int
    """Optimiser steps of each run, whatever the number of its pictures: full epochs of at least so many."""
    settings: Settings = ()
    """Further settings of all rows, such as data.size=128."""
    device: str = "cpu"
    workers: int = 1
    keep_checkpoints: bool = True
    """Whether weights of finished runs stay, for tests that are added later."""

    @property
    def tests(self) -> dict[str, Settings]:
        """The tests all of whose roots exist.

        Raises:
            ConfigError: none does.
        """
        there = {title: roots for title, roots in TESTS.items() if all(self._test(name).is_dir() for name in roots)}
        if not there:
            names = sorted({name for roots in TESTS.values() for name in roots})
            raise ConfigError(f"{str(self.data / 'test')!r} has none of {', '.join(names)}: nothing to measure on")
        return there

    def _test(self, name: str) -> Path:
        return self.data / "test" / name


@functools.lru_cache(maxsize=16)
def _loaded(roots: tuple[Path, ...], size: int, frames: str, cache: Path, workers: int) -> HeadData:
    missing = [str(root) for root in roots if not root.is_dir()]
    if missing:
        raise ConfigError(f"no folder {', '.join(missing)}; create it with python -m synthetic, or the controller")
    return load(roots, size=size, cache_dir=cache, frames=parse_frames(frames), workers=workers)


def _data(plan: Plan, config: HeadConfig, part: str, names: Settings) -> HeadData:
    roots = tuple(plan.data / part / name for name in names)
    return _loaded(roots, config.data.size, config.data.frames, plan.out / "cache", plan.workers)


def parts_of(data: HeadData, config: HeadConfig, persons: int) -> split.Split:
    """Training and validation pictures of the first so many persons of the split's ranking; 0 for all.

    Raises:
        ConfigError: there are fewer persons.
    """
    everyone = split.ranked({record.person for record in data.records}, config.data.split_seed)
    if persons > len(everyone):
        raise ConfigError(f"a row asks for {persons} training persons; the data has {len(everyone)}")
    chosen = set(everyone[:persons] if persons else everyone)
    index = np.array([number for number, record in enumerate(data.records) if record.person in chosen], np.int64)
    among = split.split([data.records[number] for number in index], config.data.split())
    return split.Split(among.persons, {part: index[rows] for part, rows in among.indices.items()})


def configured(plan: Plan, row: Row, seed: int) -> tuple[HeadConfig, HeadData, split.Split]:
    """The configuration of a run, its data and parts.

    Raises:
        ConfigError: a setting, root or number of persons does not exist; names the row.
    """
    try:
        config = load_config(row.config).with_settings([*COMMON, *row.settings, *plan.settings, f"train.seed={seed}"])
        assert isinstance(config, HeadConfig)
        data = _data(plan, config, "train", tuple(name.format(seed=seed) for name in row.roots))
        parts = parts_of(data, config, row.persons)
        steps = len(parts.indices["train"]) // config.train.batch_size
        epochs = math.ceil(plan.steps / max(steps, 1))
        # The paper's decay between epochs 25 and 125 of 150, in a run of other length.
        decay = (f"loss.decay_start={epochs / 6:g}", f"loss.decay_end={epochs / 1.2:g}")
        return config.with_settings([f"train.epochs={epochs}", *decay]), data, parts
    except ConfigError as error:
        raise ConfigError(f"row {row.name!r}: {error}") from None


def run(plan: Plan, row: Row, seed: int) -> PersonSums:
    """The sums of a run on all tests; it is trained unless it was, and measured where it was not.

    Raises:
        ConfigError: as configured; a test has no new persons; the weights that a new test needs were removed.
    """
    config, data, parts = configured(plan, row, seed)
    teacher = _teacher(row.teacher, plan.device)
    identity = _identity(config, data, parts, teacher)
    runs, mark = plan.out / "runs", _run_mark(config, data, parts, teacher)
    runs.mkdir(parents=True, exist_ok=True)
    with Lock(runs / f"{mark}.lock", "experiment", runs / mark, on_wait=lambda owner: print(f"waits for {owner}")):
        name = re.sub("[^a-z0-9]+", "-", row.name.lower()).strip("-")
        folder = next(runs.glob(f"*-{mark}"), runs / f"{name}-{mark}")
        if not folder.is_dir():
            leaks.check(data, parts.indices)
            print(f"{row.name}, seed {seed}: {config.train.epochs} epochs", flush=True)
            _train(plan, HeadTask(config, data, parts, teacher), folder)
        sums = _measured(plan, config, data, parts, folder, {"row": row.name, "seed": seed, **identity})
        if not plan.keep_checkpoints:
            shutil.rmtree(folder / checkpoint.FOLDER, ignore_errors=True)
    return sums


def run_all(plan: Plan, rows: Sequence[Row], seeds: int, jobs: int) -> None:
    """Does what run() does for all rows and seeds, so many at a time, one seed of all rows after the other.

    Raises:
        ConfigError: as run.
        EngineError: a process died.
    """
    tasks: dict[str, tuple[Plan, Row, int]] = {}
    alone = replace(plan, workers=1)  # processes of a pool start no others: all pictures are decoded here
    for seed in range(seeds):
        for row in rows:
            config, data, parts = configured(plan, row, seed)
            for roots in plan.tests.values():
                _data(plan, config, "test", roots)
            mark = _run_mark(config, data, parts, _teacher(row.teacher, plan.device))
            tasks.setdefault(mark, (alone, row, seed))  # rows may be equal
    for _ in tqdm(map_each(_run_task, list(tasks.values()), jobs), "runs", len(tasks), unit="run"):
        pass


def _run_task(task: tuple[Plan, Row, int]) -> None:
    run(*task)


@functools.lru_cache(maxsize=4)
def _teacher(name: str, device: str) -> Teacher | None:
    return open_teacher(model_path(name), Hardware(device).device) if name else None


def _identity(config: HeadConfig, data: HeadData, parts: split.Split, teacher: Teacher | None) -> dict[str, Any]:
    identity = {"config": config.identity, "data": data.digest, "persons": parts.persons}
    return identity | ({TEACHER: teacher.run.sha256} if teacher else {})


def _run_mark(config: HeadConfig, data: HeadData, parts: split.Split, teacher: Teacher | None) -> str:
    """Of a run's folder: a hash of all that decides it but its seed, and the seed."""
    seedless = _identity(config.with_settings(["train.seed=0"]), data, parts, teacher)
    return f"{_mark(seedless)}-s{config.train.seed}"


def _mark(identity: dict[str, Any]) -> str:
    return sha256(json.dumps(identity, sort_keys=True).encode())[:10]


def _train(plan: Plan, task: HeadTask, folder: Path) -> None:
    """Trains beside the folder, and renames; of the checkpoints the last one's weights stay."""
    mark = "-".join(folder.name.rsplit("-", 2)[1:])
    working = next(folder.parent.glob(f"*-{mark}.part"), folder.with_name(f"{folder.name}.part"))
    loop = Loop(task.config, task, working, Hardware(plan.device))
    loop.resume()
    loop.train()
    last = checkpoint.find(working, checkpoint.LAST).resolve()
    for entry in (working / checkpoint.FOLDER).iterdir():
        if entry.is_dir() and not entry.is_symlink() and entry != last:
            shutil.rmtree(entry)
    (last / checkpoint.OPTIMIZER).unlink()
    working.rename(folder)


def _measured(
    plan: Plan, config: HeadConfig, data: HeadData, parts: split.Split, folder: Path, identity: dict[str, Any]
) -> PersonSums:
    """The sums of a trained run; result.json gets those of tests that are new or whose pictures have changed."""
    path = folder / RESULT
    document = _document(path) if path.is_file() else {**identity, "terms": list(TERMS), "digests": {}, "sums": {}}
    task = None
    for title, roots in plan.tests.items():
        test, index = unseen(plan, config, roots, data)
        mark = _mark({"data": test.digest, "pictures": index.tolist()})
        if document["digests"].get(title) == mark:
            continue
        if task is None:
            task = HeadTask(config, data, parts)
            last = checkpoint.find(folder, checkpoint.LAST)
            checkpoint.load_into(task.trainee, checkpoint.load(last).model, f"checkpoint {str(last)!r}")
            task.trainee.to(Hardware(plan.device).device).eval()
        device = next(task.trainee.parameters()).device
        found = predict(task.trainee.network, test, index, config, device)
        document["sums"][title] = _as_json(_sums(found, test, index, config))
        document["digests"][title] = mark
        write_atomic(path, json.dumps(document, ensure_ascii=False).encode())
    return {title: _from_json(document["sums"][title]) for title in plan.tests}


def unseen(plan: Plan, config: HeadConfig, roots: Settings, training: HeadData) -> tuple[HeadData, NDArray[np.int64]]:
    """A test's data, and the numbers of its pictures of persons whose names the training roots do not have.

    Persons are known by name, and synthetic heads of two seeds may have the same.

    Raises:
        ConfigError: there is no such person.
    """
    data = _data(plan, config, "test", roots)
    known = {record.person for record in training.records}
    index = np.array([number for number, record in enumerate(data.records) if record.person not in known], np.int64)
    if not len(index):
        raise ConfigError(f"all persons of {', '.join(roots)} are among those of the training roots; draw others")
    return data, index


def _sums(predictions: Predictions, data: HeadData, index: NDArray[np.int64], config: HeadConfig) -> Sums:
    """The sums over the chosen pictures and their points of each of metrics.TERMS, by person."""
    names, member = np.unique([data.records[number].person for number in index], return_inverse=True)
    terms = measure(predictions, data.targets.take(index), config.data.size).sum(1, dtype=np.float64)
    sums = np.zeros((len(names), len(TERMS)))
    np.add.at(sums, member, terms)
    return tuple(names.tolist()), sums


def baselines(plan: Plan, row: Row) -> dict[str, PersonSums]:
    """The sums of the trivial baselines by their names, fitted on the training pictures of a row.

    The mean head through the true camera is among them, as the tests have views and cameras that training has not.

    Raises:
        ConfigError: as configured.
    """
    config, data, parts = configured(plan, row, 0)
    known = data.targets.take(parts.indices["train"])
    fitted, mean_mm = fit_baselines(known), template_of(data, parts.indices["train"]).mean_mm
    found: dict[str, PersonSums] = {}
    for title, roots in plan.tests.items():
        test, index = unseen(plan, config, roots, data)
        tested = test.targets.take(index)
        cameras = tested.rotation, tested.translation_mm, tested.focal
        answers = fitted.predict(tested.frame) | {
            THROUGH_CAMERA: through_camera(fitted, mean_mm, *cameras, known.frame)
        }
        for name, predictions in answers.items():
            found.setdefault(name, {})[title] = _sums(predictions, test, index, config)
    return found


def _document(path: Path) -> Any:
    try:
        document = json_of(path.read_bytes())
        terms = document["terms"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{str(path)!r} is not a result: {error}; remove it to compute it again") from None
    if terms != list(TERMS):
        raise ConfigError(f"{str(path)!r} has the terms {terms}, not {list(TERMS)}; remove it to compute it again")
    return document


def _as_json(sums: Sums) -> dict[str, Any]:
    return {"persons": sums[0], "sums": sums[1].tolist()}


def _from_json(document: dict[str, Any]) -> Sums:
    return tuple(document["persons"]), np.array(document["sums"], float)


def shared_persons(runs: Iterable[PersonSums], title: str) -> tuple[str, ...]:
    """The persons of a test on whom all the runs were measured, in ascending order.

    They differ between rows whose training roots hold different persons, as a person must be new to a run.

    Raises:
        ConfigError: there is none.
    """
    shared = set[str].intersection(*(set(one[title][0]) for one in runs))
    if not shared:
        raise ConfigError(f"test {title!r}: no person is new to all rows; draw other test persons")
    return tuple(sorted(shared))


def stacked(runs: Iterable[PersonSums], title: str, persons: Sequence[str]) -> Floats:
    """[R, P, T] the sums of several runs on one test, of these persons in this order."""
    return np.stack([values[[names.index(person) for person in persons]] for names, values in (r[title] for r in runs)])
