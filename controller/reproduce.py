"""``--reproduce``: one image regenerated in memory from its own record, and compared byte for byte."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from acusim.errors import ConfigError, ProvenanceError, shown
from acusim.files import printable, safe_join, sha256
from acusim.keypoints import KeypointPicture, open_keypoints
from acusim.layout import Sample
from acusim.pictures import decode_rgb, read_file, read_provenance
from acusim.sample_id import SampleId
from acusim.tolerances import LAID_OUT
from controller.job import Job, JobResult
from controller.job_runner import render
from controller.ledger import LEDGER_FILE, STATE_FOLDER
from controller.settings import BatchSettings
from controller.stored import open_ledger, stored_settings
from engines.base import Setup
from engines.factory import make_engine
from engines.options import OPTIONS, ComfyUIOptions, EmbeddedOptions, Precision, RelightOptions
from engines.recipe import Recipe
from engines.scenes import Scene, load_scenes

_COMPARED = {
    "workflow": "by workflow {}, this is {}; name it by --workflow",
    "weights": "with model files of hash {}, these have {}; name their folder by --models",
    "precision": "in precision {}, this machine computes in {}; set --device, or use the machine it was created on",
}
"""Facts that an image can be reproduced by, and what to do where they differ."""
_JOB_FIELDS = ("variant", "attempt", "seed", "bald", "prompt_set", "positive", "negative")
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("image", "source", "label", "sample", "scene", "scene_sha256", "source_sha256"), str),
    **dict.fromkeys(("prompt_set", "positive", "negative"), str),
    **dict.fromkeys(("variant", "attempt", "seed"), int),
    "bald": bool,
    "recipe": dict,
    "facts": dict,
}
_OPTIONAL: dict[str, type] = {"depth": str, "way": str, "attempts": list}
_ONE_IMAGE = {"batch_size": 1, "transport": "auto", "gpus": 1, "compile": False}
"""Options of an engine that has one image to create."""


@dataclass(frozen=True, slots=True)
class Reproduction:
    """An image created once more."""

    image: Path
    same: bool
    recorded_sha256: str
    """Of the file on disk."""
    created_sha256: str
    different_pixels: int
    largest_difference: int
    """In levels of 255."""


def reproduce(
    image: Path, dataset: Path | None = None, scenes: Path | None = None, options: dict[str, Any] | None = None
) -> Reproduction:
    """Regenerates an image from its own metadata, in memory, and compares the bytes.

    Args:
        image: an image created by a batch, in its place below OUT.
        dataset: the dataset root; None takes that of OUT.
        scenes: the folder of scenes; None takes that of OUT.
        options: of the engine, by name, such as ``server`` or ``models``; others are those of OUT.

    Raises:
        ConfigError: the dataset, the scene, the workflow or the model files are not those of the image.
        PictureError, ProvenanceError: the image has no record of its settings.
    """
    record = _checked_record(read_provenance(image), image.name)
    recipe, stored = Recipe.from_dict(record["recipe"]), _stored(image, record["image"])
    if stored is not None:
        dataset, scenes = dataset or stored.dataset, scenes or stored.scenes
    elif dataset is None:
        raise ConfigError(f"{str(image)!r} is not in an OUT with its ledger; name --dataset (and --scenes)")
    scene = _scene(load_scenes(scenes)[0], record["scene_sha256"], record["scene"])
    job = _job(record, scene, dataset)
    found = sha256(read_file(safe_join(dataset.resolve(), job.sample.image)))
    if found != record["source_sha256"]:
        raise ConfigError(
            f"{job.sample.image!r} in {str(dataset)!r} is not the image this was created from; name --dataset"
        )
    chosen = _options(recipe, record["facts"], stored, options or {})
    with make_engine(recipe, Setup(dataset, None, chosen)) as engine:  # a batch may be running in OUT
        answer = render(engine, job, dataset.resolve(), record.get("attempts", ()))
    if isinstance(answer, JobResult):
        raise ConfigError(f"{image.name!r} cannot be reproduced: {answer.skipped}")
    for fact, text in _COMPARED.items():
        expected, used = (facts.get(fact) for facts in (record["facts"], answer[1]["facts"]))
        if expected != used:
            raise ConfigError(f"{image.name!r} was created {text.format(shown(expected), shown(used))}")
    return _compared(image, answer[0])


def _stored(image: Path, key: str) -> BatchSettings | None:
    """The settings of the OUT that holds an image under its key."""
    parents, depth = list(image.resolve().parents), key.count("/")
    output = parents[depth] if depth < len(parents) else None
    if output is None or not (output / STATE_FOLDER / LEDGER_FILE).is_file():
        return None
    with open_ledger(output) as ledger:
        return stored_settings(ledger, output)


def _job(record: dict[str, Any], scene: Scene, dataset: Path) -> Job:
    key, source = record["image"], record["source"]
    folder = key[: len(key) - len(source)]
    sample = _sample(record, folder) if LAID_OUT.fullmatch(source) else _picture(dataset, source)
    return Job(key=key, folder=folder, sample=sample, scene=scene, **{name: record[name] for name in _JOB_FIELDS})


def _picture(dataset: Path, source: str) -> KeypointPicture:
    """A picture of another data set than AcuSim."""
    found = open_keypoints(dataset.resolve())
    for picture in found.pictures if found else []:
        if picture.image == source:
            return picture
    raise ConfigError(f"{source!r} is not a labelled picture of {str(dataset)!r}; name --dataset")


def _sample(record: dict[str, Any], folder: str) -> Sample:
    source = record["source"]
    return Sample(
        id=SampleId.parse(record["sample"]),
        split=source.split("/")[0],
        size=0,
        image=source,
        label=record["label"][len(folder) :],
        depth=record["depth"][len(folder) :] if "depth" in record else None,
        unused_depth=record.get("unused_depth"),
    )


def _options(
    recipe: Recipe, facts: dict[str, Any], stored: BatchSettings | None, given: dict[str, Any]
) -> RelightOptions | ComfyUIOptions | EmbeddedOptions:
    """The options of OUT, changed by what is given and by what an image's facts demand."""
    kind = OPTIONS[recipe.engine]
    base = stored.engine_options if stored is not None and isinstance(stored.engine_options, kind) else kind()
    changes: dict[str, Any] = given | _ONE_IMAGE
    if facts.get("precision") in get_args(Precision):
        changes["precision"] = facts["precision"]
    return base.changed(**{name: value for name, value in changes.items() if name in kind.model_fields})


def _compared(image: Path, created: bytes) -> Reproduction:
    recorded = read_file(image)
    pixels, levels = 0, 0
    if recorded != created:
        old, new = (decode_rgb(data, image.name).pixels.astype(int) for data in (recorded, created))
        if old.shape == new.shape:
            difference = abs(old - new).max(axis=2)
            pixels, levels = int((difference > 0).sum()), int(difference.max())
        else:
            pixels, levels = old.shape[0] * old.shape[1], 255
    return Reproduction(image, recorded == created, sha256(recorded), sha256(created), pixels, levels)


def _checked_record(record: dict[str, Any], name: str) -> dict[str, Any]:
    """An untrusted record with every field that is used present, of its type and in range.

    Raises:
        ProvenanceError: names the field.
    """
    fields = _FIELDS | {name: kind for name, kind in _OPTIONAL.items() if name in record}
    for field, kind in fields.items():
        value = record.get(field)
        valid = type(value) is kind
        if valid and isinstance(value, str):
            valid = printable(value) == value
        if valid and kind is int:
            valid = 0 <= int(record[field]) < 2**63
        if not valid:
            raise ProvenanceError(f"the record in {name!r} is not one of ours: {field} = {shown(value)}")
    tried = record.get("attempts", [{"way": record.get("way")}])
    if not all(isinstance(each, dict) for each in tried) or not tried or tried[-1].get("way") != record.get("way"):
        raise ProvenanceError(f"the record in {name!r} is not one of ours: attempts = {shown(tried)}")
    if not record["image"].endswith(record["source"]):
        raise ProvenanceError(f"the record in {name!r} is not one of ours: image and source do not match")
    return record


def _scene(scenes: Iterable[Scene], digest: str, name: str) -> Scene:
    for scene in scenes:
        if scene.sha256 == digest:
            return scene
    raise ConfigError(f"scene {name!r} with hash {digest[:12]}… is not in the scene folder; name it by --scenes")
