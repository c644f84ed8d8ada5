"""``train`` and ``evaluate`` for models of the hand."""

import logging
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acusim.errors import ConfigError
from acusim.layout import Problem
from training.cli.console import Bars, as_json, exit_code, log_notes, message
from training.cli.options import DataOptions, EvaluateOptions, TrainOptions, chosen_part
from training.cli.training_run import baseline_of, save_predictions, train_task
from training.data.hand_loader import HandSet, Side, load_hands, pattern_note
from training.data.hand_squares import HandSquares
from training.data.split import PARTS, Part
from training.eval import hand as evaluation
from training.hardware import Hardware
from training.history import History
from training.inference.hand_passes import has_passes, predict_squares, repeated_predictor
from training.inference.predictors import ENLARGED, hand_predictor
from training.models.heatmaps import gaussian_heatmaps
from training.runs import HandRun
from training.tasks.base import as_input
from training.tasks.hand import HandPredictions, HandTask, baseline_pose, predict, targets_of
from training.tasks.hand_config import HandConfig
from training.tasks.hand_type import TRAITS, known_types, majorities

_log = logging.getLogger(__name__)


def _load(config: HandConfig, options: DataOptions, run: HandRun | None = None) -> HandSet:
    if len(options.data) != 1:
        raise ConfigError(f"--data is given {len(options.data)} times; a model of the hand takes one folder")
    known = {"points": run.points, "persons": run.persons} if run else {}
    [root] = options.data
    return load_hands(root, config, cache=options.cache_folder, workers=options.processes, **known)


def _squares(hands: HandSet, part: Side, bars: Bars, **how: Any) -> HandSquares:
    try:
        return hands.squares(part, progress=bars, say=_log.warning, **how)
    finally:
        bars.close()


def _notes(hands: HandSet, config: HandConfig) -> list[str]:
    data = hands.data
    notes = [*data.notes]
    if data.left_out:
        notes.append(f"{len(data.left_out)} pictures lack a point and are not used (data.missing)")
    pattern = pattern_note(data, config.data.subject)
    return [*notes, pattern] if pattern else notes


def train(config: HandConfig, options: TrainOptions, hardware: Hardware) -> int:
    """Trains; returns the exit code."""
    bars = Bars(options.quiet or not hardware.is_main)
    with hardware.main_first():
        hands = _load(config, options)
        hands.limit(config.data.persons, config.data.split_seed)
        squares = _squares(hands, "train", bars, augmentation=config.augment), _squares(hands, "val", bars)
    problems = [*hands.data.problems, *(problem for some in squares for problem in some.problems)]
    notes = _notes(hands, config)
    persons: dict[Part, int] = {part: sum(value == part for value in hands.persons.values()) for part in PARTS}

    def report_data() -> None:
        log_notes(notes, problems)
        text = ", ".join(f"{part} {len(hands.rows[part])} of {count} subjects" for part, count in persons.items())
        message(
            f"pictures: {text}; {len(squares[0])} to train on with siblings; {hardware.world} x {hardware.device}, "
            f"{config.train.precision}"
        )

    code = train_task(
        config,
        HandTask(config, hands, *squares),
        options,
        hardware,
        bars,
        report_data=report_data,
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
        summary=lambda history: _summary(history, config),
    )
    return code or exit_code(problems)


def _summary(history: History, config: HandConfig) -> str:
    by = config.train.best_by
    known = [row for row in history.rows if row[by] is not None]
    if not known:
        return f"no epoch of {len(history.rows)} has a {by}: it diverged; try a lower train.lr"
    best = (max if by == "pck" else min)(known, key=lambda row: row[by])
    lines = [
        f"best epoch by {by}: {best['epoch']} of {len(history.rows)}: {best['error_px']:.2f} px off (mean pose "
        f"{baseline_of(best, 'error_px'):.2f} px), PCK {100 * best['pck']:.1f} % (mean pose "
        f"{100 * baseline_of(best, 'pck'):.1f} %)"
    ]
    if best.get("visibility") is not None:
        known_share = 100 * baseline_of(best, "visibility")
        lines.append(f"visibility: {100 * best['visibility']:.1f} % right (each point's majority: {known_share:.1f} %)")
    lines += [
        f"{name} of the hand: {100 * best[name]:.1f} % right (always the same: {100 * baseline_of(best, name):.1f} %)"
        for name in TRAITS
        if best.get(name) is not None
    ]
    return "\n".join(lines)


def evaluate(
    run: HandRun, options: EvaluateOptions, device: torch.device, bars: Bars
) -> tuple[dict[str, Any], list[Problem]]:
    """Evaluates; returns the results and which files could not be used."""
    if options.frames or options.pictures == "augmented":
        raise ConfigError("--frames and --pictures augmented are for models of the head")
    config = run.config
    hands = _load(config, options, run)
    asked = chosen_part(options.part, {name: len(rows) for name, rows in hands.rows.items()})
    part = _chosen(hands, asked, options.part)
    squares = _squares(hands, part, bars)
    problems = [*hands.data.problems, *squares.problems]
    log_notes(_notes(hands, config), problems)
    mean_pose = majority = None
    if trained := len(hands.rows["train"]):
        majority = majorities(known_types([hands.data.records[row] for row in hands.rows["train"]]))
        train = squares if part == "train" else _squares(hands, "train", bars)
        try:
            mean_pose = baseline_pose(train, hands.data.points)
        except ConfigError as error:
            log_notes([f"there is no mean pose to compare with: {error}"], [])
    else:
        text = "no picture of a training subject is in --data, so no baseline is known; name the training folder"
        log_notes([text], [])
    predictions = _predictions(run, hands, part, squares, options.fit, device, bars)
    save_predictions(predictions, options.predictions)
    has_heatmaps = "heatmaps" in run.network.outputs
    results = evaluation.evaluate(
        predictions,
        squares,
        hands.data,
        mean_pose,
        options.out,
        settings=config.metric_settings(),
        title=f"{config.name}: {asked}",
        metadata={
            **run.made_by,
            "data": ", ".join(map(str, options.data)),
            "part": asked,
            "decoding": config.loss.decoding if has_heatmaps else "coordinates",
            "passes": options.fit and has_passes(config),
        },
        majority=majority,
        often_visible=hands.data.visible[hands.rows["train"]].mean(0) > 0.5 if trained else None,
        heatmaps=_heatmaps(run, squares, device) if has_heatmaps else None,
    )
    return results, problems


def _predictions(
    run: HandRun, hands: HandSet, part: Side, squares: HandSquares, passes: bool, device: torch.device, bars: Bars
) -> HandPredictions:
    """What is predicted for the squares, with the passes of ``predict`` where requested and the network is for them."""
    config, progress = run.config, bars.counter(part, len(squares))
    try:
        if not (passes and has_passes(config)):
            return predict(run.network, squares, np.arange(len(squares)), config, device, progress)
        predictor = repeated_predictor(hand_predictor(run.network, config, device), config.data.size)
        given = replace(hands, size=ENLARGED * hands.size).squares(part)
        return predict_squares(predictor, given, squares, progress)
    finally:
        bars.close()


def _chosen(hands: HandSet, part: Side | str, given: str) -> Side:
    """The part whose pictures are measured; "all" joins test and new in test. ``given`` is what --part says."""
    if part == "all":
        hands.rows["test"] = np.sort(np.concatenate([hands.rows["test"], hands.rows["new"]]))
    chosen: Any = "test" if part == "all" else part
    if not len(hands.rows[chosen]):
        available = ", ".join(f"{name} {len(rows)}" for name, rows in hands.rows.items() if len(rows)) or "none"
        raise ConfigError(
            f"--part {given}: no such picture in --data; pictures by part: {available}; subjects that the model does "
            "not know are measured as new (synthetic hands --first-subject N makes some)"
        )
    return chosen


def _heatmaps(run: HandRun, squares: HandSquares, device: torch.device) -> evaluation.Heatmaps:
    """True and predicted heatmaps of a square by its number."""
    xy, _, _ = targets_of(squares, torch.device("cpu"))
    measured = torch.from_numpy(squares.measured)

    def pair(number: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        side = (squares.size, squares.size)
        true = gaussian_heatmaps(xy[[number]], measured[[number]], side, run.config.loss.sigma_px)
        with torch.inference_mode():
            predicted = run.network(as_input(torch.from_numpy(squares.pixels[[number]]).to(device))).points
        return true[0].numpy(), predicted[0].float().cpu().numpy()

    return pair
