"""The command ``calibrate``: trials on all pairs, thresholds fitted on some persons, rates for the others."""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from acusim.errors import AcuSimError, ConfigError
from acusim.files import sha256
from acusim.parallel import Died, Work, run
from acusim.results import json_values, write_result
from acusim.seeds import generator_of
from evaluation import subjects
from evaluation.attacks import FAINT
from evaluation.calibration_tables import markdown
from evaluation.certificate import Judge
from evaluation.measuring import CERTIFICATE
from evaluation.pairs import Pair, Problem
from evaluation.progress import Progress
from evaluation.run import plan
from evaluation.settings import CalibrationSettings
from evaluation.store import Reader, Store
from evaluation.subjects import Task, tasks_of
from evaluation.threshold_fit import fit
from evaluation.thresholds import Thresholds
from evaluation.trial_rates import Row, beyond_bounds, falsely_trusted, rate, table
from evaluation.trial_records import from_text, to_text
from evaluation.trials import Trial, trials_of

TRIALS = "trials 1"
"""In the key of stored trials; raised when their meaning changes."""


_State = tuple[CalibrationSettings, Judge, Reader | None]


@dataclass(slots=True)
class Answer:
    """The trials, or the reason why there are none."""

    trials: list[Trial]
    problem: str | None = None
    records: list[tuple[str, str]] = field(default_factory=list)
    """What the parent should store."""


@contextmanager
def prepare(settings: CalibrationSettings, store: Path | None) -> Iterator[_State]:
    """What a process works with.

    Args:
        settings: of the run.
        store: the file in which the parent keeps the trials.
    """
    with subjects.prepare(settings) as (_, judge):
        yield settings, judge, None if store is None else Reader(store)


def make_trials(task: Task, work: Work) -> Answer:
    """The trials of one pair, in a prepared process; what is wrong with it is reported in the answer."""
    settings, judge, known = work.state
    try:
        subject = subjects.load(settings, task)
    except AcuSimError as error:
        return Answer([], str(error)[:500])
    seed = f"{settings.seed}\n{task.pair.id}"
    key = " ".join((TRIALS, CERTIFICATE, settings.thresholds.sha256, sha256(seed.encode()), subject.sha256))
    with suppress(ValueError):  # there are none, or they are damaged
        return Answer(from_text(known.get(key) if known else None))
    trials = list(trials_of(subject, judge, generator_of(seed)))
    return Answer(trials, records=[(key, to_text(trials))])


def calibrate(settings: CalibrationSettings, progress: Progress) -> tuple[dict[str, Any], str]:
    """Runs the command and writes its files.

    Returns:
        The content of calibration.json and of calibration.md.

    Raises:
        ConfigError: too few persons or images.
        OutputError: the results cannot be written.
    """
    pairs = plan(settings)
    people = list(dict.fromkeys(pair.id.person for pair in pairs.pairs))
    if len(people) < 2:
        raise ConfigError("all images show one person; thresholds are fitted on some persons and tested on others")
    count = len(people) // 2 if settings.fit is None else settings.fit
    if not 1 <= count < len(people):
        raise ConfigError(
            f"--fit {count}: of {len(people)} persons, 1..{len(people) - 1} can be fitted on; the rates are measured "
            "on the others"
        )
    fitted_on = {people[index * len(people) // count] for index in range(count)}  # evenly over their order
    trials, problems = _run_trials(settings, pairs.pairs, progress)
    try:
        thresholds = fit([trial for trial in trials if trial.person in fitted_on], settings.thresholds)
    except ValueError as error:
        raise ConfigError(f"{error}; give more pairs") from None
    held_out = [trial for trial in trials if trial.person not in fitted_on]
    rows = table(held_out, thresholds)
    persons = len(fitted_on), len(people) - len(fitted_on)
    results = _results(rows, thresholds, held_out, persons, [*pairs.problems, *problems])
    text = markdown(rows, thresholds, settings.thresholds, results)
    write_result(settings.out / "thresholds.toml", thresholds.to_toml().encode())
    write_result(settings.out / "calibration.json", (json.dumps(results, ensure_ascii=False, indent=1) + "\n").encode())
    write_result(settings.out / "calibration.md", text.encode())
    return results, text


def _run_trials(
    settings: CalibrationSettings, pairs: Sequence[Pair], progress: Progress
) -> tuple[list[Trial], list[Problem]]:
    """All trials, in the order of the augmented images' names, and what was wrong."""
    tasks = tasks_of(pairs)
    answers: dict[str, list[Trial]] = {}
    problems: list[Problem] = []
    with progress, Store(settings.out) as store:
        results = run(make_trials, tasks, settings.workers, prepare=prepare, arguments=(settings, store.path))
        progress.advance(0, len(tasks))
        for done, (task, answer) in enumerate(results, start=1):
            if isinstance(answer, Died):
                answer = Answer([], str(answer))
            if answer.problem:
                problems.append(Problem(task.pair.augmented, answer.problem))
            store.add(answer.records)
            answers[task.pair.augmented] = answer.trials
            progress.advance(done, len(tasks))
    return [trial for key in sorted(answers) for trial in answers[key]], problems


def _results(
    rows: list[Row], thresholds: Thresholds, held_out: list[Trial], persons: tuple[int, int], problems: list[Problem]
) -> dict[str, Any]:
    """The content of calibration.json; ``persons`` are those fitted on and those held out."""
    moved = [trial for trial in held_out if trial.kind in ("warp", "shift")]
    attacked = [trial for trial in held_out if trial.kind == "attack"]
    clear, faint = ([t for t in attacked if (t.look in FAINT) is wanted] for wanted in (False, True))
    warps = [trial for trial in moved if trial.kind == "warp"]
    return {
        "thresholds": thresholds.as_dict(),
        "persons_fitted": persons[0],
        "persons_measured": persons[1],
        "beyond_their_bound": _counted(beyond_bounds(moved, thresholds), moved),
        "falsely_trusted": {
            name: _counted(falsely_trusted(trials, thresholds, thresholds.tolerance_mm), trials)
            for name, trials in (("warps", warps), ("attacks", clear), ("faint attacks", faint))
        },
        "rows": json_values(rows),
        "problems": json_values(problems),
    }


def _counted(counts: NDArray[np.float64], trials: list[Trial]) -> dict[str, Any]:
    """How many of how many, and the share with its interval over persons."""
    found, of = (int(value) for value in counts.sum(0))
    return {"points": found, "of": of, "share": rate(counts, trials).as_json()}
