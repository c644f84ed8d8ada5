"""What the commands do for models of the head."""

import argparse
import dataclasses
import json
from pathlib import Path
from typing import Any

import torch

from acusim.errors import ConfigError, LabelError
from acusim.files import write_atomic
from acusim.layout import Problem
from acusim.results import put
from acusim.rig import parse_frames
from acusim.selection import parse_selection
from acusim.tolerances import Recorder
from training.cli.console import (
    Bars,
    as_json,
    aside,
    cache_folder,
    exit_code,
    predicting,
    say,
    tell,
    workers_of,
    writing,
)
from training.config import Config
from training.hardware import Hardware
from training.history import History
from training.io.skipped import FILE, SetAside, beside
from training.models.acusimnet import AcuSimNet, on_meta
from training.runs import HeadRun

VISIBLE_FROM = 0.5
"""Probability from which a point counts as visible where nobody says otherwise."""


def _load(config: Config, options: argparse.Namespace, bars: Bars, frames: str | None = None) -> Any:
    """The data sets of --data as training.data sees them."""
    from training.data.records import load

    try:
        return load(
            options.data,
            size=config.data.size,
            cache_dir=cache_folder(options),
            frames=parse_frames(frames or config.data.frames),
            selection=parse_selection(config.data.select),
            bald_codes=config.data.bald_codes,
            workers=workers_of(options),
            progress=bars,
            say=say,
        )
    finally:
        bars.close()


def _tell(data: Any) -> None:
    """What could not be used, and what a reader of the figures should know."""
    notes = list(data.notes)
    if data.rejected:
        notes.append(f"{data.rejected} augmented pictures are left out: their point masks say that labels may be false")
    tell(notes, data.problems)


def train(config: Config, options: argparse.Namespace, hardware: Hardware) -> int:
    """``train``: see cli.py."""
    from training.cli.training_run import train_task
    from training.data import leaks, split
    from training.tasks.head import HeadTask

    bars = Bars(options.quiet or not hardware.is_main)
    with hardware.main_first():
        data = _load(config, options, bars)
    parts = split.split(data.records, config.data.split())
    leaks.check(data, parts.indices)

    def tell_data() -> None:
        _tell(data)
        persons = {part: sum(value == part for value in parts.persons.values()) for part in parts.indices}
        told = ", ".join(f"{part} {len(index)} of {persons[part]} persons" for part, index in parts.indices.items())
        say(f"pictures: {told}; {hardware.world} x {hardware.device}, {config.train.precision}")

    code = train_task(
        config,
        HeadTask(config, data, parts),
        options,
        hardware,
        bars,
        tell=tell_data,
        document={
            "roots": [str(root) for root in options.data],
            "digest": data.digest,
            "pictures": {part: len(index) for part, index in parts.indices.items()},
            "persons": parts.persons,
            "rejected": data.rejected,
            "notes": list(data.notes),
            "problems": as_json(data.problems),
        },
        summary=lambda history: summary(history, options.out),
    )
    return code or exit_code(data.problems)


def summary(history: History, run: Path) -> str:
    """What a run came to, for people."""
    best = max(history.rows, key=lambda row: row["micro"])
    told = ", ".join(f"{name} {'never' if epoch is None else epoch}" for name, epoch in history.reached().items())
    return (
        f"best epoch {best['epoch']} of {len(history.rows)}: visibility {100 * best['micro']:.2f} % of validation "
        f"points (all occluded {100 * best['floor_all_occluded']:.2f} %, majority "
        f"{100 * best['floor_majority']:.2f} %), visible points {best['error_px']:.2f} px off (mean position "
        f"{best['floor_error_px']:.2f} px)\n"
        f"epochs to accuracy: {told}\n"
        f"look at {run / 'curves'}; measure it: python -m training evaluate {run} --data ROOT --out REPORT"
    )


def evaluate(run: HeadRun, options: argparse.Namespace, device: torch.device) -> int:
    """``evaluate``: see cli.py."""
    from training.data import split
    from training.eval import head as evaluation
    from training.eval.baselines import fit_floors
    from training.eval.metrics import zero_fpr_threshold
    from training.tasks.head import predict as predict_data

    bars, table = Bars(options.quiet), SetAside(options.out / FILE)
    data = _load(run.config, options, bars, options.frames)
    _tell(data)
    # What a part was trained with says nothing about the pictures that are here: all of them but for --pictures.
    settings = dataclasses.replace(
        run.config.data.split(), train_pictures="all", val_pictures="all", test_pictures="all"
    )
    parts = split.apply(data.records, run.persons, settings)
    index = _chosen(parts, data.records, options)

    def predicted(numbers: Any, what: str) -> Any:
        done = 0

        def advance(count: int) -> None:
            nonlocal done
            done += count
            bars(what, done, len(numbers))

        try:
            return predict_data(run.network, data, numbers, run.config, device, advance)
        finally:
            bars.close()

    train, val = parts.indices["train"], parts.indices["val"]
    floors = fit_floors(data.targets.take(train)).predict(data.targets.frame[index]) if len(train) else {}
    if not floors:
        say("note: no picture of a training person is among --data, so no floor is known; name the training roots, too")
    threshold = None
    if len(val) and options.part != "val" and not options.results:
        threshold = zero_fpr_threshold(predicted(val, "validation").probability, data.targets.visible[val])
    targets = data.targets.take(index)
    predictions = _read_results(options, len(index), run) if options.results else predicted(index, options.part)
    records = [data.records[number] for number in index]
    if options.predictions:
        with writing(options.predictions):
            options.predictions.parent.mkdir(parents=True, exist_ok=True)
            predictions.save(options.predictions)
    if options.coco:
        _write_coco(options.coco, predictions, targets, [record.image for record in records], run.config.data.size)
    results = evaluation.evaluate(
        predictions,
        targets,
        records,
        floors,
        options.out,
        size=run.config.data.size,
        title=f"{options.results.name if options.results else run.config.name}: {options.part}",
        metadata={
            **({"results": options.results} if options.results else run.made_by),
            "data": ", ".join(str(root) for root in options.data),
            "part": options.part,
        },
        groups={"root": [options.data[record.root].name for record in records]} if len(options.data) > 1 else None,
        picture=lambda number: data.cache[int(index[number])],
        zero_fpr=threshold,
    )
    table.write(data.problems)
    if options.json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        say(f"look at {options.out / 'report.html'}")
    return exit_code(data.problems)


def _read_results(options: argparse.Namespace, count: int, run: HeadRun) -> Any:
    from training.io.coco import read_document
    from training.io.coco_labels import predictions_of

    try:
        return predictions_of(read_document(options.results, "results"), count, run.config.data.size)
    except LabelError as error:
        raise ConfigError(f"--results {str(options.results)!r}: {error}") from None


def _write_coco(folder: Path, predictions: Any, targets: Any, images: list[str], size: int) -> None:
    from training.io.coco import dump_dataset
    from training.io.coco_labels import HEAD, evaluated_items, results_of

    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        items = evaluated_items(images, targets.xy, targets.visible, size)
        write_atomic(folder / "annotations.json", dump_dataset(items, HEAD))
        write_atomic(folder / "results.json", results_of(predictions, size))


def _chosen(parts: Any, records: Any, options: argparse.Namespace) -> Any:
    """Numbers of the pictures of --part and --pictures."""
    import numpy as np

    known = {**parts.indices, "new": parts.new}
    if options.pictures != "all":
        originals = np.array([record.variant == "" for record in records])
        wanted = originals if options.pictures == "originals" else ~originals
        known = {part: numbers[wanted[numbers]] for part, numbers in known.items()}
    if options.part == "all":
        known["all"] = np.sort(np.concatenate([known["test"], known["new"]]))
    index = known[options.part]
    if not len(index):
        there = ", ".join(f"{part} {len(numbers)}" for part, numbers in known.items() if len(numbers)) or "none"
        raise ConfigError(
            f"--part {options.part}, --pictures {options.pictures}: no such picture in --data; "
            f"by part there are: {there}"
        )
    return index


def predict(run: HeadRun, options: argparse.Namespace, device: torch.device) -> int:
    """``predict``: see cli.py."""
    from training.inference import predict as prediction

    with predicting(options) as (outcome, progress):
        prediction.predict(
            run.network,
            run.config,
            options.images,
            options.out,
            device,
            made_by=run.made_by,
            threshold=VISIBLE_FROM if options.threshold is None else options.threshold,
            outcome=outcome,
            progress=progress,
        )
    return outcome.exit_code


def export(run: HeadRun, path: Path) -> dict[str, float]:
    """``export``: see cli.py; returns the largest differences."""
    from training.inference.export import export as export_onnx

    config = run.config.as_dict() | {"run": run.made_by}
    return export_onnx(run.network, path, run.config.data.size, config=config, checkpoint_sha256=run.sha256)


def network_on_meta(config: Config) -> tuple[AcuSimNet, int]:
    """A network of shapes for ``describe``, and the side of its input."""
    return on_meta(config), config.data.size


def coco_export(root: Path, out: Path, bars: Bars) -> int:
    """``coco export``: see cli.py."""
    from training.io.coco import Item, dump_dataset
    from training.io.coco_labels import HEAD, items_of_root

    table = SetAside(beside(out))
    items, problems = [], []
    for found in items_of_root(root, progress=lambda done, total: bars("labels", done, total)):
        (items if isinstance(found, Item) else problems).append(found)
    bars.close()
    put(out, dump_dataset(items, HEAD))
    say(f"{len(items)} pictures in {out}")
    return aside(problems, table)


def coco_import(data: bytes, out: Path, record: Recorder) -> tuple[list[str], list[Problem]]:
    """``coco import``: see cli.py; what write_labels returns."""
    from training.io.coco_labels import write_labels

    return write_labels(data, out, record)
