"""The command ``calibrate``: trials on all pairs, thresholds from some persons, rates for the others."""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from acusim.errors import AcuSimError, ConfigError
from acusim.files import safe_join
from acusim.foreground import find_foreground
from acusim.labels import read_label
from acusim.pictures import read_file, read_rgb
from acusim.results import put
from acusim.seeds import generator_of
from evaluation.calibration import FALSE_ALARMS, Row, Trial, coverage, deceived, fit, table, trials_of
from evaluation.certificate import Judge
from evaluation.pairs import Pair, Problem
from evaluation.progress import Progress
from evaluation.reference import nearest, scaled, work_scale
from evaluation.run import Settings, plan
from evaluation.thresholds import Thresholds
from evaluation.workers import Died, Workers


@dataclass(frozen=True, slots=True)
class Task:
    """The trials of one pair."""

    pair: Pair
    stranger: str | None
    """Another person's augmented picture in the same view."""
    seed: int


@dataclass(slots=True)
class Answer:
    """The trials, or why there are none."""

    trials: list[Trial]
    problem: str | None = None


@dataclass(slots=True)
class _State:
    original: Path
    augmented: Path
    judge: Judge


_state: _State | None = None


def prepare(original: Path, augmented: Path, thresholds: Thresholds) -> None:
    """Makes this process a worker."""
    global _state
    import cv2

    cv2.setNumThreads(1)
    _state = _State(original, augmented, Judge(thresholds))


def make_trials(task: Task) -> Answer:
    """The trials of one pair; what is wrong with it is told in the answer."""
    assert _state is not None, "prepare() was not called in this process"
    pair = task.pair
    try:
        if pair.label is None:
            return Answer([], "no label: there are no acupoints to move")
        picture = read_rgb(safe_join(_state.original, pair.original))
        original = picture.pixels
        augmented = read_rgb(safe_join(_state.augmented, pair.augmented)).pixels
        label = read_label(safe_join(_state.original, pair.label))
        depth = read_file(safe_join(_state.original, pair.depth), "depth") if pair.depth else None
        head = find_foreground(original, depth, picture.alpha)
        stranger = read_rgb(safe_join(_state.augmented, task.stranger)).pixels if task.stranger else None
    except AcuSimError as error:
        return Answer([], str(error)[:500])
    if original.shape != augmented.shape:
        return Answer([], f"sizes {augmented.shape[:2]} and {original.shape[:2]} differ")
    # Everything at work size, in which displacements are counted.
    scale = work_scale(original.shape)
    original, augmented = scaled(original, scale), scaled(augmented, scale)
    reference = _state.judge.reference(
        original,
        nearest(head.depth, original.shape) if head.depth is not None and head.source == "depth-mm16" else None,
        label.xy * original.shape[1::-1],
        label.listed,
        mask=nearest(head.mask.astype(np.uint8), original.shape) > 0,
        frame=pair.id.frame,
    )
    if stranger is not None:
        stranger = scaled(stranger, work_scale(stranger.shape))
    random = generator_of(f"{task.seed}\n{pair.id}")
    return Answer(
        list(trials_of(reference, augmented, stranger, _state.judge, pair.id.identity, pair.id.frame, random))
    )


def calibrate(settings: Settings, fit_on: int | None, seed: int, as_json: bool, progress: Progress) -> int:
    """Runs the command; returns its exit code.

    Raises:
        ConfigError: too few persons or pictures.
        OutputError: the results cannot be written.
    """
    pairs = plan(settings)
    people = list(dict.fromkeys(pair.id.identity for pair in pairs.pairs))
    if len(people) < 2:
        raise ConfigError("all pictures show one person; thresholds are fitted on some persons and tested on others")
    count = len(people) // 2 if fit_on is None else fit_on
    if not 1 <= count < len(people):
        raise ConfigError(
            f"--fit {count}: of {len(people)} persons, 1..{len(people) - 1} can be fitted on; the rates are told for "
            "the others"
        )
    fitted_on = _every_other(people, count)
    tasks = _tasks(pairs.pairs, seed)
    arguments = (settings.original, settings.augmented, settings.thresholds)
    workers = Workers(make_trials, prepare, arguments, min(settings.workers, len(tasks)))
    answers: dict[str, list[Trial]] = {}
    problems = list(pairs.problems)
    with progress:
        progress.advance(0, len(tasks))
        for done, (task, answer) in enumerate(workers.run(tasks), start=1):
            if isinstance(answer, Died):
                answer = Answer([], "the worker process died on it")
            if answer.problem:
                problems.append(Problem(task.pair.augmented, answer.problem))
            answers[task.pair.augmented] = answer.trials
            progress.advance(done, len(tasks))
    trials = [trial for key in sorted(answers) for trial in answers[key]]
    try:
        thresholds = fit([trial for trial in trials if trial.person in fitted_on], settings.thresholds)
    except ValueError as error:
        raise ConfigError(f"{error}; give more pairs") from None
    held_out = [trial for trial in trials if trial.person not in fitted_on]
    return _write(settings, thresholds, held_out, (len(fitted_on), len(people) - len(fitted_on)), problems, as_json)


def _every_other(people: Sequence[str], count: int) -> set[str]:
    """``count`` of the persons, evenly over their order."""
    return {people[index * len(people) // count] for index in range(count)}


def _tasks(pairs: Sequence[Pair], seed: int) -> list[Task]:
    by_frame: dict[int, list[Pair]] = {}
    for pair in pairs:
        by_frame.setdefault(pair.id.frame, []).append(pair)
    tasks = []
    for number, pair in enumerate(pairs):
        others = [other for other in by_frame[pair.id.frame] if other.id.identity != pair.id.identity]
        tasks.append(Task(pair, others[number % len(others)].augmented if others else None, seed))
    return tasks


def _write(
    settings: Settings,
    thresholds: Thresholds,
    held_out: list[Trial],
    persons: tuple[int, int],
    problems: list[Problem],
    as_json: bool,
) -> int:
    rows = table(held_out, thresholds)
    share, points = coverage(held_out, thresholds)
    moved = {f"{part * thresholds.tolerance_mm:g}": part * thresholds.tolerance_mm for part in (1.0, 0.5)}
    results = {
        "thresholds": thresholds.as_dict(),
        "persons_fitted": persons[0],
        "persons_told": persons[1],
        "coverage": round(share, 5),
        "coverage_points": points,
        "moved_farther_than_mm": {
            name: dict(zip(("points", "believed"), deceived(held_out, thresholds, least), strict=True))
            for name, least in moved.items()
        },
        "rows": [_plain(row) for row in rows],
        "problems": [dataclasses.asdict(problem) for problem in problems],
    }
    text = _markdown(rows, thresholds, results)
    put(settings.out / "thresholds.toml", thresholds.to_toml().encode())
    put(settings.out / "calibration.json", (json.dumps(results, ensure_ascii=False, indent=1) + "\n").encode())
    put(settings.out / "calibration.md", text.encode())
    print(json.dumps(results, ensure_ascii=False) if as_json else text)
    return 2 if problems else 0


def _plain(row: Row) -> dict[str, object]:
    return {
        name: (None if np.isnan(value) else round(value, 5)) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(row).items()
    }


def _markdown(rows: list[Row], thresholds: Thresholds, results: dict[str, Any]) -> str:
    lines = [
        f"Thresholds from {results['persons_fitted']} persons at {100 * FALSE_ALARMS:g} % false alarms, rates for "
        f"{results['persons_told']} more.",
        "",
        "    " + thresholds.to_toml().replace("\n", "\n    ").rstrip(),
        "",
        f"Of {results['coverage_points']} trusted acupoints that moved by 1 px or more in accepted pictures "
        f"{100 * results['coverage']:.2f} % moved no farther than their bound.",
        *(
            f"Of {count['points']} acupoints that warps moved by more than {least} mm {count['believed']} are trusted "
            "in an accepted picture."
            for least, count in results["moved_farther_than_mm"].items()
        ),
        "",
        "| look | what | px | view | pictures | rejected | rejected, certain | caught | certificate true | trusted "
        "| p95 bound px | mm |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        cells = (row.rejected, row.rejected_certain, row.caught, row.true, row.trusted)
        told = " | ".join("–" if np.isnan(value) else f"{100 * value:.1f} %" for value in cells)
        bound = " | ".join("–" if np.isnan(value) else f"{value:.1f}" for value in (row.bound_px, row.bound_mm))
        lines.append(f"| {row.look} | {row.kind} | {row.size_px:g} | {row.view} | {row.pictures} | {told} | {bound} |")
    return "\n".join(lines) + "\n"
