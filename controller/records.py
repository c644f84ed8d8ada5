"""The record of how an image was created: inside the file, and as a line of the manifest."""

from pathlib import Path
from typing import Any

import numpy as np

import acusim
from acusim.dataset import Sample
from acusim.pictures import encode
from controller.job import Job
from controller.samples import LoadedJob
from engines.base import Engine, Result
from engines.recipe import Recipe

PROGRAM = "acusim-augment"
_INSIDE_ONLY = ("recipe_hash", "positive", "negative", "program", "version")
"""What the record inside an image holds beside its line of the manifest."""


def encode_result(entry: LoadedJob, result: Result, engine: Engine) -> tuple[bytes, dict[str, Any]]:
    """The image file with its record inside, and its line of the manifest."""
    job, recipe = entry.job, entry.request.recipe or engine.recipe
    line = _line(entry, result, recipe)
    inside = {
        **line,
        "recipe": recipe.as_dict(),
        "recipe_hash": recipe.hash,
        "positive": job.positive,
        "negative": job.negative,
        "program": PROGRAM,
        "version": acusim.__version__,
    }
    extension = Path(job.sample.image).suffix
    # The server does not decide the pixels: the same image from another server has the same bytes.
    server = {"server": result.server} if result.server else {}
    return encode(np.ascontiguousarray(result.pixels), extension, inside), line | server


def planned_line(job: Job, recipe: Recipe) -> dict[str, Any]:
    """What is in an image's line of the manifest before it is created."""
    return {
        "image": job.key,
        "label": job.folder + job.sample.label,
        "sample": str(job.sample.id),
        "source": job.sample.image,
        "variant": job.variant,
        "attempt": job.attempt,
        "seed": job.seed,
        "scene": job.scene.name,
        "scene_sha256": job.scene.sha256,
        "bald": job.bald,
        "prompt_set": job.prompt_set,
        "engine": recipe.engine,
        "recipe": recipe.hash,
    }


def _line(entry: LoadedJob, result: Result, recipe: Recipe) -> dict[str, Any]:
    job = entry.job
    digests = {f"{name}_sha256": digest for name, digest in entry.digests.items()}
    if annotation := job.sample.annotation_sha256:
        digests["annotation_sha256"] = annotation
    found = {"foreground": entry.foreground} if entry.foreground else {}
    line = planned_line(job, recipe) | digests | {"facts": result.facts | found}
    if depth := job.sample.copied.get("depth"):
        line["depth"] = job.folder + depth
    if isinstance(job.sample, Sample) and job.sample.unused_depth:
        line["unused_depth"] = job.sample.unused_depth
    if result.doubts:
        line["doubts"] = list(result.doubts)
    if entry.notes:
        line["source_notes"] = list(entry.notes)
    if entry.attempts:
        line |= {"way": entry.attempts[-1]["way"], "attempts": entry.attempts}
    return line


def line_of(inside: dict[str, Any]) -> dict[str, Any]:
    """The line of the manifest that belongs to the record inside an image, without the facts of its point mask."""
    line = {name: value for name, value in inside.items() if name not in _INSIDE_ONLY}
    return line | {"recipe": inside.get("recipe_hash")}
