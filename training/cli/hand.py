"""What the commands do for models of the hand."""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from acusim.errors import ConfigError
from acusim.layout import Problem
from acusim.results import put
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
from training.data.hand_dataset import HandSquares
from training.data.hand_loader import HandSet, Side, load_hands, pattern_note
from training.data.split import PARTS, Part
from training.hardware import Hardware
from training.history import History
from training.inference.hand import NO_CONFIDENCE, PEAK, VISIBLE_FROM, hand_predictor, palette_of
from training.io.skipped import FILE, SetAside, beside
from training.models.hand import HandOutput, on_meta
from training.runs import HandRun
from training.tasks.hand_config import HandConfig
from training.tasks.hand_type import TRAITS, known_types, majorities


def _root(options: argparse.Namespace) -> Path:
    if len(options.data) > 1:
        raise ConfigError(f"--data is given {len(options.data)} times; a model of the hand takes one folder")
    return options.data[0]


def _squares(hands: HandSet, part: Side, bars: Bars, **how: Any) -> HandSquares:
    try:
        return hands.squares(part, progress=bars, say=say, **how)
    finally:
        bars.close()


def _notes(hands: HandSet, config: HandConfig) -> list[str]:
    data = hands.data
    notes = [*data.notes]
    if data.left_out:
        notes.append(f"{len(data.left_out)} pictures lack a point and are left out (data.missing)")
    pattern = pattern_note(data, config.data.subject)
    return [*notes, pattern] if pattern else notes


def train(config: HandConfig, options: argparse.Namespace, hardware: Hardware) -> int:
    """``train``: see cli.py."""
    from training.cli.training_run import train_task
    from training.tasks.hand import HandTask

    bars = Bars(options.quiet or not hardware.is_main)
    with hardware.main_first():
        cache = cache_folder(options)
        hands = load_hands(_root(options), config, cache=cache, workers=workers_of(options))
        squares = _squares(hands, "train", bars, augmentation=config.augment), _squares(hands, "val", bars)
    problems = [*hands.data.problems, *(problem for made in squares for problem in made.problems)]
    notes = _notes(hands, config)
    persons: dict[Part, int] = {part: sum(value == part for value in hands.persons.values()) for part in PARTS}

    def tell_data() -> None:
        tell(notes, problems)
        told = ", ".join(f"{part} {len(hands.rows[part])} of {count} subjects" for part, count in persons.items())
        say(
            f"pictures: {told}; {len(squares[0])} to train on with siblings; {hardware.world} x {hardware.device}, "
            f"{config.train.precision}"
        )

    code = train_task(
        config,
        HandTask(config, hands, *squares),
        options,
        hardware,
        bars,
        tell=tell_data,
        document={
            "roots": [str(hands.data.root)],
            "digest": hands.digest,
            "pictures": {part: len(rows) for part, rows in hands.rows.items()},
            "persons": hands.persons,
            "points": hands.data.points.as_json(),
            "left_out": list(hands.data.left_out),
            "notes": notes,
            "changes": [{"path": it.path, "what": it.tolerance.note, "how": it.detail} for it in hands.data.changes],
            "problems": as_json(problems),
        },
        summary=lambda history: summary(history, config, options.out),
    )
    return code or exit_code(problems)


def summary(history: History, config: HandConfig, run: Path) -> str:
    """What a run came to, for people."""
    by = config.train.best_by
    known = [row for row in history.rows if row[by] is not None]
    if not known:
        return f"no epoch of {len(history.rows)} has a {by}: it diverged; try a lower train.lr"
    best = (max if by == "pck" else min)(known, key=lambda row: row[by])
    told = [
        f"best epoch by {by}: {best['epoch']} of {len(history.rows)}: {best['error_px']:.2f} px off (mean pose "
        f"{best['floor_error_px']:.2f} px), PCK {100 * best['pck']:.1f} % (mean pose {100 * best['floor_pck']:.1f} %)"
    ]
    told += [
        f"{name} of the hand: {100 * best[name]:.1f} % right (always the same: {100 * best[f'floor_{name}']:.1f} %)"
        for name in TRAITS
        if best.get(name) is not None
    ]
    told.append(f"look at {run / 'curves'}; measure it: python -m training evaluate {run} --data ROOT --out REPORT")
    return "\n".join(told)


def evaluate(run: HandRun, options: argparse.Namespace, device: torch.device) -> int:
    """``evaluate``: see cli.py."""
    from training.eval.hand import evaluate as evaluate_predictions
    from training.tasks.hand import floor_of
    from training.tasks.hand import predict as predict_squares

    if options.frames or options.pictures == "augmented":
        raise ConfigError("--frames and --pictures augmented are for models of the head")
    config, bars, table = run.config, Bars(options.quiet), SetAside(options.out / FILE)
    hands = load_hands(
        _root(options),
        config,
        points=run.points,
        persons=run.persons,
        cache=cache_folder(options),
        workers=workers_of(options),
    )
    if options.part == "all":
        both = np.sort(np.concatenate([hands.rows["test"], hands.rows["new"]]))
        hands.rows["test"], part = both, "test"
    else:
        part: Side = options.part
    if not len(hands.rows[part]):
        there = ", ".join(f"{name} {len(rows)}" for name, rows in hands.rows.items() if len(rows)) or "none"
        raise ConfigError(f"--part {options.part}: no such picture in --data; pictures by part: {there}")
    squares = _squares(hands, part, bars)
    problems = [*hands.data.problems, *squares.problems]
    tell(_notes(hands, config), problems)
    floor = majority = None
    if len(hands.rows["train"]):
        majority = majorities(known_types([hands.data.records[row] for row in hands.rows["train"]]))
        floor = floor_of(squares if part == "train" else _squares(hands, "train", bars), hands.data.points)
    else:
        say("note: no picture of a training subject is in --data, so no floor is known; name the training folder")
    done = 0

    def advance(count: int) -> None:
        nonlocal done
        done += count
        bars(options.part, done, len(squares))

    everything = np.arange(len(squares))
    try:
        predictions = predict_squares(run.network, squares, everything, config, device, advance)
    finally:
        bars.close()
    if options.predictions:
        with writing(options.predictions):
            options.predictions.parent.mkdir(parents=True, exist_ok=True)
            predictions.save(options.predictions)
    results = evaluate_predictions(
        predictions,
        squares,
        hands.data,
        floor,
        options.out,
        settings=config.metric_settings(),
        title=f"{config.name}: {options.part}",
        metadata={
            **run.made_by,
            "data": str(options.data[0]),
            "part": options.part,
            "decoding": config.loss.decoding if run.network.OUTPUT == "heatmaps" else "coordinates",
        },
        majority=majority,
        heatmaps=_heatmaps(run, squares, device) if run.network.OUTPUT == "heatmaps" else None,
    )
    table.write(problems)
    if options.json:
        print(json.dumps(results, ensure_ascii=False))
    else:
        say(f"look at {options.out / 'report.html'}")
    return exit_code(problems)


def _heatmaps(run: HandRun, squares: HandSquares, device: torch.device) -> Any:
    """True and predicted heatmaps of a square by its number."""
    from training.models.heatmaps import gaussian_heatmaps
    from training.tasks.base import as_input
    from training.tasks.hand import targets_of

    xy, visible = targets_of(squares, torch.device("cpu"))

    def pair(number: int) -> tuple[Any, Any]:
        side = (squares.size, squares.size)
        true = gaussian_heatmaps(xy[[number]], visible[[number]], side, run.config.loss.sigma_px)
        with torch.inference_mode():
            predicted = run.network(as_input(torch.from_numpy(squares.pixels[[number]]).to(device))).points
        return true[0].numpy(), predicted[0].float().cpu().numpy()

    return pair


def predict(run: HandRun, options: argparse.Namespace, device: torch.device) -> int:
    """``predict``: see cli.py."""
    from training.inference.predict import predict_pictures

    has_peaks = run.network.OUTPUT == "heatmaps"
    with predicting(options) as (outcome, progress):
        predict_pictures(
            hand_predictor(run.network, run.config, device),
            run.config.data.size,
            options.images,
            options.out,
            made_by={**run.made_by, "kind": run.kind, "confidence": PEAK if has_peaks else NO_CONFIDENCE},
            threshold=VISIBLE_FROM if options.threshold is None else options.threshold,
            palette=palette_of(run.points),
            confidence="confidence" if has_peaks else None,
            outcome=outcome,
            progress=progress,
        )
    return outcome.exit_code


def export(run: HandRun, path: Path) -> dict[str, float]:
    """``export``: see cli.py; returns the largest differences.

    The file gives ``heatmaps`` [B, P, S, S], which training.models.heatmaps.decode turns into points by the method that
    its metadata's configuration names under loss.decoding, or ``coordinates`` [B, P, 2] in 0..1; and, where the network
    has that head, ``hand_type`` [B, 2]: the probability of the left hand and that of the palm.
    """
    from training.inference.export import export as export_onnx

    def outputs(output: HandOutput) -> dict[str, torch.Tensor]:
        types = {} if output.type_logits is None else {"hand_type": output.type_logits.sigmoid()}
        return {run.network.OUTPUT: output.points, **types}

    config = run.config.as_dict() | {"run": run.made_by}
    return export_onnx(
        run.network,
        path,
        run.config.data.size,
        config=config,
        checkpoint_sha256=run.sha256,
        names=run.points.ids,
        outputs=outputs,
    )


def network_on_meta(config: HandConfig) -> tuple[torch.nn.Module, int]:
    """A network of shapes for ``describe``, and the side of its input."""
    network = on_meta(config)
    return network.model if network.hand_type is None else network, config.data.size


def coco_export(root: Path, out: Path, bars: Bars) -> int:
    """``coco export --kind hand``: see cli.py."""
    from training.io.coco import dump_dataset
    from training.io.hand_coco import category_of, items_of_folder

    table = SetAside(beside(out))
    items, data = items_of_folder(root, lambda done, total: bars("labels", done, total))
    bars.close()
    put(out, dump_dataset(items, category_of(data.points)))
    tell(data.notes, [])
    say(f"{len(items)} pictures in {out}")
    return aside(data.problems, table)


def coco_import(data: bytes, out: Path, record: Recorder) -> tuple[list[str], list[Problem]]:
    """``coco import --kind hand``: see cli.py; what write_labelme returns."""
    from training.io.hand_coco import write_labelme

    return write_labelme(data, out, record)
