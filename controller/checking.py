"""Looks at what was made: --verify, and --reproduce one picture."""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from acusim.errors import AcuSimError, ConfigError, ProvenanceError
from acusim.files import safe_join, sha256
from acusim.layout import MAP_FILE, Sample
from acusim.pictures import read_file, read_provenance
from acusim.sample_id import SampleId
from controller.batch import Settings, file_sha256
from controller.ledger import LEDGER_FILE, STATE_FOLDER, Ledger
from controller.making import Job, Made, render
from controller.plan import variant_folders
from engines.engine import make_engine
from engines.recipe import Recipe
from engines.scenes import Scene, load_scenes


@dataclass(frozen=True, slots=True)
class Fault:
    """Something in OUT that is not as it was made."""

    key: str
    """The output picture it belongs to."""
    path: str
    """The file, relative to OUT."""
    what: str


def open_ledger(output: Path) -> Ledger:
    """The ledger of an OUT for reading.

    Raises:
        ConfigError: there is none.
    """
    path = output / STATE_FOLDER / LEDGER_FILE
    if not path.is_file():
        raise ConfigError(f"--output {str(output)!r} holds no ledger: it was not made by --batch")
    return Ledger(path, read_only=True)


def stored_settings(ledger: Ledger, output: Path, workers: int) -> Settings:
    """The settings of the last batch.

    Raises:
        ConfigError: the ledger holds none.
    """
    stored = ledger.get_meta("settings")
    if stored is None:
        raise ConfigError(f"the ledger in {str(output)!r} holds no settings: no batch was ever begun")
    return Settings.from_stored(stored, output, workers)


def verify(ledger: Ledger, output: Path) -> Iterator[Fault]:
    """Compares every file of every done picture with its hash in the ledger, and map.txt with the dataset's."""
    for key, record in ledger.records():
        for name in ("image", "label", "depth"):
            if name not in record:
                continue
            expected = record["sha256"] if name == "image" else record[f"{name}_sha256"]
            found = _hash_below(output, record[name])
            if found != expected:
                yield Fault(key, record[name], "missing" if found is None else "not the bytes that were made")
    settings = stored_settings(ledger, output, 1)
    expected = file_sha256(settings.dataset / MAP_FILE)
    for folder in variant_folders(settings.variants):
        if expected is not None and _hash_below(output, folder + MAP_FILE) != expected:
            yield Fault("", folder + MAP_FILE, "not the dataset's map.txt")


def _hash_below(output: Path, relative: str) -> str | None:
    try:
        return file_sha256(safe_join(output, relative))
    except AcuSimError:
        return None


@dataclass(frozen=True, slots=True)
class Reproduction:
    """A picture made once more."""

    image: Path
    same: bool
    recorded_sha256: str
    """Of the file as it lies there."""
    made_sha256: str


def reproduce(image: Path, dataset: Path | None = None, scenes: Path | None = None) -> Reproduction:
    """Makes a picture again from what its own metadata says, in memory, and compares the bytes.

    Args:
        image: a picture made by a batch, in its place below OUT.
        dataset: the dataset root; None takes the one OUT was made from.
        scenes: the folder of scenes; None takes the one OUT was made with.

    Raises:
        ConfigError: the dataset or the scene is not to be found.
        PictureError, ProvenanceError: the picture does not say what made it.
    """
    record = read_provenance(image)
    try:
        sample = Sample(
            id=SampleId.parse(record["sample"]),
            split=record["source"].split("/")[0],
            size=0,
            image=record["source"],
            label=record["label"][len(record["image"]) - len(record["source"]) :],
            depth=record["depth"][len(record["image"]) - len(record["source"]) :] if "depth" in record else None,
        )
        names = ("variant", "attempt", "seed", "scene_sha256", "bald", "prompt_set", "positive", "negative")
        known = {name: record[name] for name in names}
        recipe = Recipe.from_dict(record["recipe"])
        folder = record["image"][: len(record["image"]) - len(record["source"])]
        key, scene_name, source_sha256 = record["image"], record["scene"], record["source_sha256"]
    except (KeyError, TypeError, AttributeError) as error:
        raise ProvenanceError(f"the record in {image.name!r} is not complete: {error}") from None
    output = _output_of(image, key)
    if dataset is None or scenes is None:
        if output is None and dataset is None:
            raise ConfigError(f"{str(image)!r} does not lie in an OUT with its ledger; say --dataset (and --scenes)")
        if output is not None:
            with open_ledger(output) as ledger:
                settings = stored_settings(ledger, output, 1)
            dataset, scenes = dataset or settings.dataset, scenes or settings.scenes
    assert dataset is not None
    scene = _scene(load_scenes(scenes)[0], known["scene_sha256"], scene_name)
    found = sha256(read_file(safe_join(dataset.resolve(), sample.image)))
    if found != source_sha256:
        raise ConfigError(f"{sample.image!r} in {str(dataset)!r} is not the picture this was made from; say --dataset")
    job = Job(key=key, folder=folder, sample=sample, scene=scene.path, scene_name=scene.name, **known)
    with make_engine(recipe) as engine:
        [answer] = render(engine, [job], dataset.resolve())
    if isinstance(answer, Made):
        raise ConfigError(f"{image.name!r} cannot be made again: {answer.reason}")
    there = hashlib.sha256(read_file(image)).hexdigest()
    made = sha256(answer[1])
    return Reproduction(image, there == made, there, made)


def _output_of(image: Path, key: str) -> Path | None:
    """The OUT that holds a picture under its key."""
    absolute = image.resolve()
    parents = list(absolute.parents)
    depth = key.count("/")
    output = parents[depth] if depth < len(parents) else None
    return output if output and (output / STATE_FOLDER / LEDGER_FILE).is_file() else None


def _scene(scenes: Iterable[Scene], digest: str, name: str) -> Scene:
    for scene in scenes:
        if scene.sha256 == digest:
            return scene
    raise ConfigError(f"scene {name!r} with hash {digest[:12]}… is not in the scene folder; say --scenes")
