"""Writes the depth maps: a person's labels to a head, and the head to the depth of each picture."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from acusim import layout, rig
from acusim.dataset import Dataset, Sample
from acusim.errors import AcuSimError, ConfigError, LabelError, LayoutError, OutputError, PictureError
from acusim.files import overlap, safe_join
from acusim.foreground import find_foreground
from acusim.parallel import Work
from acusim.pictures import FITTED, encode_depth, read_file, read_rgb
from synthetic.fit import __version__
from synthetic.fit.person_fit import HAIR_VIEWS, PersonFit
from synthetic.fit.persons import Labels, Person, depth_path, persons_of, read_labels, state_of
from synthetic.record import prepare_root
from synthetic.settings import FitSettings
from synthetic.workers import Summary, TaskResult, peak_rss_mb, run_tasks, write_files

Mask = NDArray[np.bool_]

LEAST_OVERLAP = 0.6
"""Share of the fitted head that must lie on the picture's head."""


def fit_dataset(settings: FitSettings, on_progress: Callable[[int, int], None] | None = None) -> Summary:
    """Writes the depth maps that a data set lacks.

    Args:
        settings: which data set, and where to.
        on_progress: called with (depth maps made so far in this run, depth maps to make).

    Raises:
        ConfigError: ROOT2 is ROOT or below it, or holds something else.
        LayoutError: ROOT is not a data set, or has no images of this size.
        OutputError: a file cannot be written.
    """
    dataset = layout.scan(settings.dataset, settings.size)
    if settings.output is not None:
        _prepare_output(settings.output, dataset, settings)
    persons = persons_of(dataset)
    summary = run_tasks(
        partial(fit_person, settings),
        persons,
        workers=min(settings.workers, len(persons) or 1),
        total=len(dataset),
        finished=0,
        out=settings.root,
        on_progress=on_progress,
    )
    unused = tuple((problem.path, problem.reason) for problem in dataset.problems if problem.is_image)
    return replace(summary, problems=(*unused, *summary.problems))


def _prepare_output(output: Path, dataset: Dataset, settings: FitSettings) -> None:
    """Creates ROOT2, or raises ConfigError where it is not a place for a copy of ROOT."""
    if overlap(output.resolve(), dataset.root):
        raise ConfigError(f"--output {str(output)!r} is ROOT, in it, or around it; leave it out to write into ROOT")
    prepare_root(
        output,
        made_by="synthetic fit",
        version=__version__,
        fixed={"size": settings.size},
        grown=lambda _: {},
        may_change="--workers",
        option="--output",
    )
    if (dataset.root / layout.MAP_FILE).is_file():
        _copy(dataset.root, output, layout.MAP_FILE)


def _state(sample: Sample, root: Path, settings: FitSettings, digest: str) -> str:
    """As state_of; a depth map of ROOT's own counts in a copy, too.

    Raises:
        PictureError: as state_of.
    """
    here = state_of(sample, root, digest)
    return here if settings.output is None or here == "own" else state_of(sample, settings.output, digest)


def fit_person(settings: FitSettings, person: Person, work: Work) -> TaskResult:
    """Makes the depth maps of one person, until it is asked to stop.

    Raises:
        OutputError: a file cannot be written.
    """
    cv2.setNumThreads(1)
    root = person.samples[0].root
    assert root is not None
    labels = read_labels(person.samples, root)
    problems = list(labels.problems)
    uncopied = _copy_samples(person.samples, root, settings.output) if settings.output is not None else {}
    problems += [problem for problem in uncopied.items() if problem[0] in labels.views]
    wanted, skipped = list[Sample](), 0
    for sample in person.samples:
        if sample.image not in labels.views.keys() - uncopied.keys():
            continue
        try:
            state = _state(sample, root, settings, labels.sha256)
        except PictureError as error:
            problems.append((sample.image, str(error)))
            continue
        if state in ("missing", "outdated"):
            wanted.append(sample)
        else:
            skipped += 1
    work.report(len(person.samples) - len(wanted))
    if not wanted:
        return TaskResult(0, peak_rss_mb(), skipped, tuple(problems))
    try:
        fit = _fitted(person, labels)
    except LabelError as error:
        work.report(len(wanted))
        problems += [(sample.image, str(error)) for sample in wanted]
        return TaskResult(0, peak_rss_mb(), skipped, tuple(problems))
    created = 0
    for sample in wanted:
        if work.stopping():
            break
        try:
            depth = _depth_of(sample, fit, labels)
        except AcuSimError as error:
            problems.append((sample.image, str(error)))
        else:
            _put(settings.root, depth_path(sample), encode_depth(depth, _record(fit, labels)))
            created += 1
        work.report(1)
    return TaskResult(created, peak_rss_mb(), skipped, tuple(problems), _notes(person, fit))


def _notes(person: Person, fit: PersonFit) -> tuple[str, ...]:
    """What a user should know of a person's fit."""
    if len(fit.head.views) == 1:
        return (f"{person.name}: one view alone; what its label does not say of the depth is a mean head's",)
    return ()


def _fitted(person: Person, labels: Labels) -> PersonFit:
    """The person's head; the hair is as thick as it stands out in a few of the pictures."""
    views = list(labels.views.values())
    masks: list[tuple[rig.Camera, Mask]] = []
    # From all sides alike: samples are in the order of their frames.
    seen = [sample for sample in person.samples if sample.image in labels.views]
    for sample in seen[:: max(1, len(seen) // HAIR_VIEWS)]:
        try:
            masks.append((labels.views[sample.image].camera, _read(sample)[1]))
        except AcuSimError:  # reported with its own depth map
            continue
    return PersonFit.of(person.samples[0].id.gender, views, masks)


def _record(fit: PersonFit, labels: Labels) -> dict[str, Any]:
    """What a depth map says of how it was made."""
    return {
        "generator": "synthetic fit",
        "version": __version__,
        **FITTED,
        "labels_sha256": labels.sha256,
        "views": len(fit.head.views),
        "left_out": len(fit.head.left_out),
        "acupoints": fit.head.points,
        "residual_px_of_512": round(fit.head.residual_px, 2),
        "hair_mm": fit.hair_mm,
    }


def _read(sample: Sample) -> tuple[NDArray[np.uint8], Mask]:
    """[H, H, 3] a sample's picture and [H, H] the head in it.

    Raises:
        PictureError: the picture cannot be read, is not square, or its head cannot be found.
    """
    assert sample.root is not None
    picture = read_rgb(safe_join(sample.root, sample.image))
    height, width = picture.pixels.shape[:2]
    if height != width:
        raise PictureError(f"the picture is {width} x {height}; cameras of AcuSim take square ones")
    return picture.pixels, find_foreground(picture.pixels, None, picture.alpha).mask


def _depth_of(sample: Sample, fit: PersonFit, labels: Labels) -> NDArray[np.uint16]:
    """[H, H] the depth of one picture, in millimetres.

    Raises:
        PictureError: as ``_read``, or the picture's head is not where the fitted one is.
        LabelError: the label fits no head with those of the other views.
    """
    if sample.image in fit.head.left_out:
        raise LabelError(fit.head.left_out[sample.image])
    view, (pixels, mask) = labels.views[sample.image], _read(sample)
    bare = fit.head_in(view.camera, len(mask))
    covered = bare > 0
    overlap = float((covered & mask).sum()) / max(1, int(covered.sum()))
    if overlap < LEAST_OVERLAP:
        raise PictureError(
            f"{100 * overlap:.0f} % of the fitted head lie on the head in the picture, at least "
            f"{100 * LEAST_OVERLAP:.0f} % are usual: is it this person, by the rig's camera {sample.id.frame}?"
        )
    return fit.depth_in(view, pixels, mask, bare)


def _copy_samples(samples: Sequence[Sample], root: Path, output: Path) -> dict[str, str]:
    """Copies samples that are missing or differ; returns images and why they could not be copied."""
    problems: dict[str, str] = {}
    for sample in samples:
        try:
            for path in filter(None, (sample.label, sample.depth)):
                _copy(root, output, path)
            _copy(root, output, sample.image, depth_path(sample) if sample.depth is None else None)
        except (PictureError, LayoutError) as error:
            problems[sample.image] = str(error)
    return problems


def _copy(root: Path, output: Path, path: str, made_of_it: str | None = None) -> None:
    """Copies a file that is missing or differs; what was made of the other one goes first."""
    data, target = read_file(safe_join(root, path), "file"), safe_join(output, path)
    if target.is_file():
        if read_file(target, "file") == data:
            return
        if made_of_it is not None:
            safe_join(output, made_of_it).unlink(missing_ok=True)
    _put(output, path, data)


def _put(root: Path, path: str, data: bytes) -> None:
    """Writes a file and the folders above it.

    Raises:
        OutputError: it cannot be written.
    """
    folder = safe_join(root, path).parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{str(folder)!r} cannot be created: {error.strerror or error}") from None
    write_files(root, [(path, data)])
