"""Jobs with their samples read from disk, and the engine's checked answers to them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from acusim.dataset import Sample
from acusim.errors import AcuSimError, EngineError, PictureError
from acusim.files import safe_join, sha256
from acusim.keypoints import KeypointPicture, Keypoints
from acusim.labels import Label, checked, parse_label, read_checked
from acusim.pictures import decode_rgb, read_file
from controller.job import Job, JobResult
from engines.base import Request, Result

Augment = Callable[[list[Request]], list[Result | AcuSimError]]


@dataclass(slots=True)
class LoadedJob:
    """A job whose sample has been read."""

    job: Job
    request: Request
    notes: tuple[str, ...]
    """About how the image was read."""
    label: Label | Keypoints
    copied: dict[str, bytes]
    """The files that accompany the image, by what they are: label, depth."""
    digests: dict[str, str]
    """SHA-256 of the sample's files, by what they are: source, label, depth, foreground."""
    foreground: str = ""
    """How the foreground of a picture of another data set than AcuSim was found."""
    attempts: list[dict[str, Any]] = field(default_factory=list)
    """The gate's verdict on each attempt so far."""
    kept: dict[str, Any] = field(default_factory=dict)
    """What the gate knows of the sample."""


SampleFiles = dict[str, bytes]
"""A sample's files as they were read, by what they are: source, label, depth, foreground."""


def read_sample(job: Job, root: Path) -> SampleFiles:
    """The files of a job's sample, below the root of its data set.

    Raises:
        AcuSimError: one cannot be read.
    """
    sample = job.sample
    files: SampleFiles = {}
    for name, path in sample.sources.items():
        place = safe_join(root, path)
        if name == "label" and isinstance(sample, Sample):  # a small file
            files[name] = read_checked(place, "label", bytes)[0]
        else:
            files[name] = read_file(place, {"source": "picture", "foreground": "mask"}.get(name, name))
    return files


def load_jobs(
    jobs: Sequence[Job], root: Path, read: Callable[[Job], SampleFiles], results: dict[str, Any]
) -> list[LoadedJob]:
    """The jobs whose samples can be read; the others get a result, by key.

    Args:
        jobs: to be loaded.
        root: of the data set, for engines that hand on paths.
        read: gives the files of a job's sample.
        results: gets those of jobs that cannot be loaded.
    """
    loaded: list[LoadedJob] = []
    for job in jobs:
        try:
            loaded.append(_load(job, root, read(job)))
        except AcuSimError as error:
            results[job.key] = JobResult.skip(job.key, error)
    return loaded


def _load(job: Job, root: Path, files: SampleFiles) -> LoadedJob:
    sample, source = job.sample, root / job.sample.image
    label: Label | Keypoints
    foreground = ""
    if isinstance(sample, KeypointPicture):
        from evaluation.cutouts import cut_out_subject

        label, depth = sample.points, None
        picture = cut_out_subject(sample, files["source"], files.get("foreground"))
        foreground = picture.source
    else:
        label, depth = checked(Path(sample.label).name, "label", parse_label, files["label"]), sample.depth
        picture = decode_rgb(files["source"], source.name)
    request = Request(
        sample=sample.id,
        source=source,
        pixels=picture.pixels,
        source_data=picture.data,
        source_sha256=sha256(picture.data),
        depth=root / depth if depth else None,
        depth_data=files.get("depth"),
        scene=job.scene,
        bald=job.bald,
        prompt_set=job.prompt_set,
        positive=job.positive,
        negative=job.negative,
        seed=job.seed,
        alpha=picture.alpha,
    )
    copied = {name: files[name] for name in sample.copied}
    digests = {name: sha256(data) for name, data in files.items()}
    return LoadedJob(job, request, picture.notes, label, copied, digests, foreground)


def augmented(name: str, augment: Augment, loaded: Sequence[LoadedJob]) -> list[Result | AcuSimError]:
    """The answers of an engine with that name, checked: an image of another size, or a flat one, is an error.

    Raises:
        EngineError: it gave another number of answers.
    """
    answers = augment([entry.request for entry in loaded]) if loaded else []
    if len(answers) != len(loaded):
        raise EngineError(f"engine {name} gave {len(answers)} answers to {len(loaded)} requests")
    return [_checked(entry, answer, name) for entry, answer in zip(loaded, answers, strict=True)]


def _checked(entry: LoadedJob, answer: Result | AcuSimError, name: str) -> Result | AcuSimError:
    """An engine's answer, or the error instead of it; one about the depth map names its path."""
    if isinstance(answer, AcuSimError):
        path = entry.job.sample.copied.get("depth")
        about_depth = path and isinstance(answer, PictureError) and str(answer).startswith("depth")
        return PictureError(f"{path}: {answer}") if about_depth else answer
    expected, pixels = entry.request.pixels.shape, answer.pixels
    if pixels.shape != expected or pixels.dtype != np.uint8:
        return PictureError(
            f"engine {name} answered {pixels.shape} {pixels.dtype} for {expected} uint8: its labels would be false"
        )
    if pixels.min() == pixels.max():
        return PictureError(f"engine {name} answered a flat image: every value is {pixels.min()}")
    return answer
