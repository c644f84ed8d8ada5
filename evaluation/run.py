"""A run from two dataset roots to the measurements, with progress; an interrupted run loses nothing."""

import heapq
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any

from acusim import parallel
from acusim.selection import parse_selection
from evaluation.analysis import Certified, Drifts, faded_note
from evaluation.drift import is_trusted_view
from evaluation.far import far_measure, far_prepare, far_tasks, write_masks
from evaluation.measuring import BASELINES, Measured, Task, measure, prepare
from evaluation.pairs import Pair, Pairs, Problem, ensure_pairs, pair_up
from evaluation.reference import size_note
from evaluation.settings import PairSettings, ReportSettings
from evaluation.store import Store

WORST = 12
"""How many pairs a report shows with their images."""


@dataclass(order=True, slots=True)
class Worst:
    """A pair that a report shows; the larger, the worse."""

    badness: float
    order: int
    pair: Pair = field(compare=False)
    record: dict[str, Any] = field(compare=False)


@dataclass(slots=True)
class Outcome:
    """Everything that was measured."""

    pairs: int = 0
    problems: list[Problem] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    drifts: Drifts = field(default_factory=Drifts)
    certified: list[Certified] = field(default_factory=list)
    null: dict[str, Drifts] = field(default_factory=dict)
    baselines: dict[str, tuple[Drifts, list[Certified]]] = field(default_factory=dict)
    worst: list[Worst] = field(default_factory=list)
    seconds: float = 0.0
    reused: int = 0
    """Items of which everything was known from an earlier run."""


def plan(settings: PairSettings) -> Pairs:
    """The pairs to be measured.

    Raises:
        ConfigError, LayoutError: the roots or the selection are wrong, or nothing fits.
    """
    chosen = parse_selection(settings.select)
    pairs = pair_up(settings.original, settings.augmented, settings.size, chosen, settings.bald_codes)
    ensure_pairs(pairs, settings.original, settings.augmented)
    if settings.limit is not None:
        pairs.pairs = pairs.pairs[: settings.limit]
    side = min(int(PurePosixPath(pair.original).parent.name.removeprefix("img_")) for pair in pairs.pairs)
    if note := size_note(side):
        pairs.notes.append(note)
    return pairs


def spread(items: Sequence[Pair], count: int) -> list[Pair]:
    """At most ``count`` of some items, evenly over their order."""
    if len(items) <= count:
        return list(items)
    return [items[index * len(items) // count] for index in range(count)]


def _tasks_of(settings: ReportSettings, pairs: Sequence[Pair]) -> list[Task]:
    """The tasks of a run: every pair, then the null and the baselines on samples of them."""
    tasks = [Task("pair", pair) for pair in pairs]
    trusted = [pair for pair in pairs if is_trusted_view(pair.id.frame)] or list(pairs)
    if settings.faces:
        originals = list({pair.original: pair for pair in trusted}.values())
        tasks += [Task("null", pair) for pair in spread(originals, settings.null)]
    tasks += [Task("baseline", pair) for pair in spread(list(pairs), settings.baselines)]
    return tasks


def run(settings: ReportSettings, pairs: Pairs, advance: Callable[[int, int], None]) -> Outcome:
    """Measures everything.

    Args:
        settings: of the run.
        pairs: from ``plan``.
        advance: called with (items done, items in all).

    Raises:
        OutputError: the store or a point mask cannot be written.
        KeyboardInterrupt: interrupted; the measurements so far are kept.
    """
    started = time.monotonic()
    tasks = _tasks_of(settings, pairs.pairs)
    outcome = Outcome(len(pairs.pairs), list(pairs.problems), list(pairs.notes))
    with Store(settings.out) as store:
        results = _results(settings, tasks, store)
        # By number in the plan, so that tables do not depend on which worker finished first.
        kept: dict[int, tuple[Task, Measured, dict[str, Certified]]] = {}
        number_of = {id(task): number for number, task in enumerate(tasks)}
        advance(0, len(tasks))
        for done, (task, result) in enumerate(results, start=1):
            if isinstance(result, parallel.Died):
                result = Measured([str(result)], lost=True)
            store.add(result.records)
            outcome.reused += not result.records and not result.lost
            number = number_of[id(task)]
            _note_worst(outcome, task, result, number)
            certified = {name: Certified.of(task.pair, record) for name, record in result.certificates.items()}
            result.records, result.certificates = [], {}
            kept[number] = task, result, certified
            advance(done, len(tasks))
    for number in sorted(kept):
        _add_result(outcome, *kept[number])
    if note := faded_note((entry.summary for entry in outcome.certified), settings.thresholds.least_contrast):
        outcome.notes.append(note)
    outcome.worst.sort(reverse=True)
    outcome.seconds = time.monotonic() - started
    return outcome


def _results(
    settings: ReportSettings, tasks: list[Task], store: Store
) -> Iterator[tuple[Task, Measured | parallel.Died]]:
    """The result of each task, from workers of this machine or of a cluster."""
    if settings.cluster is None:
        yield from parallel.run(measure, tasks, settings.workers, prepare=prepare, arguments=(settings, store.path))
        return
    from acusim.parallel.cluster import RayCluster, Share

    host = RayCluster(settings.cluster, Share(per_node=settings.workers))
    travelling = far_tasks(settings, tasks, store)
    how = {"prepare": far_prepare, "arguments": (settings,), "said": lambda text: print(text, file=sys.stderr)}
    for far, result in parallel.run(far_measure, travelling, host, **how):
        if isinstance(result, parallel.Died):
            yield far.task, result
            continue
        measured, masks = result
        if settings.masks is not None:
            write_masks(settings.masks, masks)
        yield far.task, measured


def _note_worst(outcome: Outcome, task: Task, result: Measured, number: int) -> None:
    """Keeps the points of the worst pairs only."""
    record = result.certificates.get("augmented")
    if task.kind != "pair" or record is None:
        return
    strength, outline = record["found_strength"] or 0.0, record["outline_px"] or 0.0
    untrusted = 1 - record["trusted"] / record["visible"] if record["visible"] else 0.0
    badness = 1000.0 * (not record["accept"]) + min(strength, 500.0) + outline / 12 + untrusted
    entry = Worst(badness, -number, task.pair, record)
    if len(outcome.worst) < WORST:
        heapq.heappush(outcome.worst, entry)
    else:
        heapq.heappushpop(outcome.worst, entry)


def _add_result(outcome: Outcome, task: Task, result: Measured, certified: dict[str, Certified]) -> None:
    pair, faces = task.pair, result.faces
    if task.kind == "pair":
        outcome.problems += [Problem(pair.augmented, reason) for reason in result.problems]
        if "augmented" in faces:
            outcome.drifts.add(pair, faces["original"], faces["augmented"], result.width)
        outcome.certified += certified.values()
    elif task.kind == "null" and not result.lost:
        outcome.problems += [Problem(pair.original, reason) for reason in result.problems]
        for name, face in faces.items():
            if name != "original":
                outcome.null.setdefault(name, Drifts()).add(pair, faces["original"], face, result.width)
    elif task.kind == "baseline" and not result.lost:
        for name in BASELINES:
            drifts, entries = outcome.baselines.setdefault(name, (Drifts(), []))
            drifts.add(pair, faces["original"], faces[name], result.width)
            entries.append(certified[name])
