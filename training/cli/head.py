"""``train`` and ``evaluate`` for models of the head."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from acusim.errors import ConfigError, LabelError, few
from acusim.files import safe_join
from acusim.layout import Problem
from acusim.results import write_result
from acusim.rig import parse_frames
from acusim.selection import parse_selection
from acusim.weak_spots import LIGHT, WeakSpots, values_of
from training.cli.console import Bars, as_json, exit_code, log_notes, message
from training.cli.options import DataOptions, EvaluateOptions, TrainOptions, chosen_part
from training.cli.training_run import baseline_of, save_predictions, train_task
from training.data import leaks, sources, split
from training.data.lights import light_of
from training.data.positions import template_of
from training.data.records import HeadData, load, on_the_rig
from training.distillation import TEACHER, Teacher, open_teacher
from training.eval import head as evaluation
from training.eval.baselines import THROUGH_CAMERA, fit_baselines, through_camera
from training.eval.metrics import zero_fpr_threshold
from training.eval.predictions import Predictions
from training.eval.weak import weak_spots
from training.geometry.similarity import reduced
from training.hardware import Hardware
from training.history import History
from training.inference.fitted_predictor import fitted_predictor, predict_squares
from training.inference.predictors import ENLARGED, Predictor, head_predictor
from training.io.coco import dump_dataset, read_document
from training.io.coco_labels import HEAD, evaluated_items, predictions_of, results_of
from training.models.heatmap_net import HeatmapNet
from training.runs import TEMPLATE, HeadRun
from training.shipped import model_path
from training.tasks.base import as_input
from training.tasks.head import HeadTask, rising
from training.tasks.head import predict as predict_data
from training.tasks.head_config import HeadConfig

Predict = Callable[[NDArray[np.intp], str], Predictions]
Baselines = Callable[[NDArray[np.intp]], dict[str, Predictions]]


def _load(
    config: HeadConfig, options: DataOptions, bars: Bars, frames: str | None = None, size: int | None = None
) -> HeadData:
    """The data sets of --data as training.data reads them; ``size`` differs from the configuration's."""
    try:
        return load(
            options.data,
            size=size or config.data.size,
            cache_dir=options.cache_folder,
            frames=parse_frames(frames or config.data.frames),
            selection=parse_selection(config.data.select),
            bald_codes=config.data.bald_codes,
            workers=options.processes,
            progress=bars,
        )
    finally:
        bars.close()


def _log_data(data: HeadData) -> None:
    """What could not be used, and what a reader of the figures should know."""
    log_notes(data.notes, data.problems)


def train(config: HeadConfig, options: TrainOptions, hardware: Hardware) -> int:
    """Trains; returns the exit code."""
    bars = Bars(options.quiet or not hardware.is_main)
    teacher = _teacher(config, options, hardware.device)
    with hardware.main_first():
        data = _load(config, options, bars)
    parts = split.split(data.records, config.data.split())
    parts = split.limited(parts, data.records, config.data.persons, config.data.split())
    leaks.check(data, parts.indices)
    taught_on = teacher.knows(parts.persons) if teacher else []

    def report_data() -> None:
        _log_data(data)
        if taught_on:
            text = (
                f"the teacher was trained on {len(taught_on)} of the validation and test persons: {few(taught_on, 5)}"
            )
            log_notes([f"{text}; their figures flatter"], [])
        log_notes(parts.notes, [])
        persons = {part: sum(value == part for value in parts.persons.values()) for part in parts.indices}
        text = ", ".join(f"{part} {len(index)} of {persons[part]} persons" for part, index in parts.indices.items())
        message(f"pictures: {text}; {hardware.world} x {hardware.device}, {config.train.precision}")

    task = HeadTask(config, data, parts, teacher)
    code = train_task(
        config,
        task,
        options,
        hardware,
        bars,
        report_data=report_data,
        document={
            "roots": [str(root) for root in options.data],
            "digest": data.digest,
            "pictures": {part: len(index) for part, index in parts.indices.items()},
            "persons": parts.persons,
            "rejected": data.rejected,
            "notes": list(data.notes),
            "problems": as_json(data.problems),
            **({TEACHER: teacher.run.made_by} if teacher else {}),
        },
        summary=lambda history: _summary(history, config.train.best_by),
        files={TEMPLATE: task.template.to_bytes()} if task.template else None,
    )
    return code or exit_code(data.problems)


def _teacher(config: HeadConfig, options: TrainOptions, device: torch.device) -> Teacher | None:
    """The model of --teacher."""
    if options.teacher is None:
        return None
    if config.model.network != "heatmaps":
        raise ConfigError(f"--teacher: {config.name} has no heatmaps to learn from it; take --config heatmaps")
    return open_teacher(model_path(options.teacher), device)


def _summary(history: History, best_by: str) -> str:
    best = max(history.rows, key=lambda row: rising(row, best_by))
    epochs = ", ".join(f"{name} {'never' if epoch is None else epoch}" for name, epoch in history.reached().items())
    return (
        f"best epoch {best['epoch']} of {len(history.rows)}: visibility {100 * best['micro']:.2f} % of validation "
        f"points (all occluded {100 * baseline_of(best, 'all_occluded'):.2f} %, majority "
        f"{100 * baseline_of(best, 'majority'):.2f} %), visible points {best['error_px']:.2f} px off (mean position "
        f"{baseline_of(best, 'error_px'):.2f} px)"
        + (f", both right {100 * best['joint']:.2f} %" if "joint" in best else "")
        + "\n"
        f"epochs to accuracy: {epochs}"
    )


def evaluate(
    run: HeadRun, options: EvaluateOptions, device: torch.device, bars: Bars
) -> tuple[dict[str, Any], list[Problem]]:
    """Evaluates; returns the results and which files could not be used."""
    predictor, data = _predictor(run, options, device, bars)
    _log_data(data)
    # The pictures that a part was trained with do not restrict what is measured; --pictures does.
    settings = run.config.data.split().changed(train_pictures="all", val_pictures="all", test_pictures="all")
    parts = split.apply(data.records, run.persons, settings)
    part, index = _chosen(parts, data, options)
    if part != "train" and (shared := leaks.described(data, {"train": parts.indices["train"], part: index})):
        text = "pictures that are measured are not independent of the training's, so figures may be too good:"
        log_notes(["\n".join([text, *shared])], [])

    def predict(numbers: NDArray[np.intp], what: str) -> Predictions:
        progress = bars.counter(what, len(numbers))
        try:
            if predictor:
                return predict_squares(predictor, data, numbers, progress)
            return predict_data(run.network, data, numbers, run.config, device, progress)
        finally:
            bars.close()

    predictions, targets = _predictions(options, run, index, part, predict), data.targets.take(index)
    records = [data.records[number] for number in index]
    size, title = run.config.data.size, _title(run, options)

    def picture(number: int) -> NDArray[np.uint8]:
        return reduced(data.cache[int(index[number])], size)

    save_predictions(predictions, options.predictions)
    if options.coco:
        items = evaluated_items([record.image for record in records], targets.xy, targets.visible, size)
        write_result(options.coco / "annotations.json", dump_dataset(items, HEAD))
        write_result(options.coco / "results.json", results_of(predictions, size))
    if options.weak:
        spots = _weak(run, options, data, index, predictions)
        write_result(options.weak, spots.to_toml().encode())
    baselines = _baselines(data, parts.indices["train"])
    results = evaluation.evaluate(
        predictions,
        targets,
        records,
        baselines(index),
        options.out,
        size=size,
        title=f"{title}: {part}",
        metadata={
            **({"results": options.results} if options.results else run.made_by),
            "data": ", ".join(str(root) for root in options.data),
            "part": part,
            "fit": predictor is not None,
        },
        groups={"root": [options.data[record.root].name for record in records]} if len(options.data) > 1 else None,
        picture=picture,
        zero_fpr=_thresholds(options, part, data, parts.indices["val"], predict, baselines),
        heatmaps=_heatmaps(run, picture, device, options),
    )
    return results, list(data.problems)


def _heatmaps(
    run: HeadRun, picture: Callable[[int], NDArray[np.uint8]], device: torch.device, options: EvaluateOptions
) -> Callable[[int], NDArray[np.float32]] | None:
    """Heatmaps [174, h, w] of a picture by its number, by the network alone; None for networks without."""
    network = run.network
    if options.results or not isinstance(network, HeatmapNet):
        return None

    def of_picture(number: int) -> NDArray[np.float32]:
        pixels = torch.from_numpy(np.array(picture(number))[None])
        return network.heatmaps(as_input(pixels.to(device)))[0].cpu().numpy()

    return of_picture


def _predictor(
    run: HeadRun, options: EvaluateOptions, device: torch.device, bars: Bars
) -> tuple[Predictor | None, HeadData]:
    """The predictor with the template's fit, or None, and the pictures in the size that it takes."""
    if run.template is None or not options.fit or options.results:
        return None, _load(run.config, options, bars, options.frames)
    size = run.config.data.size
    predictor = fitted_predictor(head_predictor(run.network, device), run.template, size)
    if sources.all_have(options.data, ENLARGED * size, size):
        return predictor, _load(run.config, options, bars, options.frames, ENLARGED * size)
    log_notes([f"not all of --data is of size {ENLARGED * size}; the second pass magnifies size {size}"], [])
    return predictor, _load(run.config, options, bars, options.frames)


def _baselines(data: HeadData, train: NDArray[np.intp]) -> Baselines:
    """What gives the baselines' predictions for some pictures; none where no training picture is available."""
    if not len(train):
        text = "no picture of a training person is in --data, so no baseline is known; name the training roots, too"
        log_notes([text], [])
        return lambda _: {}
    known = data.targets.take(train)
    fitted = fit_baselines(known)
    mean_mm = cache(lambda: template_of(data, train).mean_mm)

    def answers(index: NDArray[np.intp]) -> dict[str, Predictions]:
        tested = data.targets.take(index)
        out = fitted.predict(tested.frame)
        if not on_the_rig(tested):
            cameras = tested.rotation, tested.translation_mm, tested.focal
            out[THROUGH_CAMERA] = through_camera(fitted, mean_mm(), *cameras, known.frame)
        return out

    return answers


def _title(run: HeadRun, options: EvaluateOptions) -> str:
    """What is measured, for people."""
    return options.results.name if options.results else run.config.name


def _weak(
    run: HeadRun, options: EvaluateOptions, data: HeadData, index: NDArray[np.intp], predictions: Predictions
) -> WeakSpots:
    """Where the model errs among the measured pictures."""
    records = [data.records[number] for number in index]
    lights = [light_of(safe_join(options.data[record.root], record.image)) for record in records]
    return weak_spots(
        predictions,
        data.targets.take(index),
        [record.person for record in records],
        [values_of(one.id, one.bald) | {LIGHT: light} for one, (light, _) in zip(records, lights, strict=True)],
        size=run.config.data.size,
        model=f"{_title(run, options)}, {run.path.name}",
        data=", ".join(sources.root_names(options.data)),
        light_names=dict(lights),
    )


def _thresholds(
    options: EvaluateOptions,
    part: str,
    data: HeadData,
    val: NDArray[np.intp],
    predict: Predict,
    baselines: Baselines,
) -> dict[str, float] | None:
    """Those without false positives on the validation pictures; None where none is needed or available."""
    if not len(val) or part == "val" or options.results:
        return None
    answers = {"model": predict(val, "validation")} | baselines(val)
    return {name: zero_fpr_threshold(one.probability, data.targets.visible[val]) for name, one in answers.items()}


def _predictions(
    options: EvaluateOptions, run: HeadRun, index: NDArray[np.intp], part: str, predict: Predict
) -> Predictions:
    """The run's own predictions, or those of --results."""
    if not options.results:
        return predict(index, part)
    try:
        return predictions_of(read_document(options.results, "results"), len(index), run.config.data.size)
    except LabelError as error:
        raise ConfigError(f"--results {str(options.results)!r}: {error}") from None


def _chosen(parts: split.Split, data: HeadData, options: EvaluateOptions) -> tuple[str, NDArray[np.intp]]:
    """The part that --part means, and the numbers of its pictures of --pictures."""
    known = {**parts.indices, "new": parts.new}
    if options.pictures != "all":
        originals = np.array([record.variant == "" for record in data.records])
        wanted = originals if options.pictures == "originals" else ~originals
        known = {part: numbers[wanted[numbers]] for part, numbers in known.items()}
    if options.part == "all":
        known["all"] = np.sort(np.concatenate([known["test"], known["new"]]))
    part = chosen_part(options.part, {name: len(numbers) for name, numbers in known.items()})
    index = known[part]
    if not len(index):
        available = ", ".join(f"{part} {len(numbers)}" for part, numbers in known.items() if len(numbers)) or "none"
        raise ConfigError(
            f"--part {options.part}, --pictures {options.pictures}: no such picture in --data; "
            f"by part there are: {available}"
        )
    return part, index
