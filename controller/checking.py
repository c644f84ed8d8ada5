"""Looks at what was made: --verify, and --reproduce one picture."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

from acusim.errors import AcuSimError, ConfigError, ProvenanceError, shown
from acusim.files import printable, safe_join, sha256
from acusim.layout import MAP_FILE, Sample
from acusim.pictures import decode_rgb, read_file, read_provenance
from acusim.sample_id import SampleId
from controller.job import Job
from controller.ledger import LEDGER_FILE, STATE_FOLDER, DamagedLedger, Ledger
from controller.making import Made, render
from controller.plan import variant_folders
from controller.settings import Settings
from controller.traces import gone, kept_state, made_here
from engines.base import Setup
from engines.factory import make_engine
from engines.options import ComfyUIOptions, Device, EmbeddedOptions, Precision, RelightOptions
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
        DamagedLedger: there was one.
    """
    path = output / STATE_FOLDER / LEDGER_FILE
    if path.parent.is_symlink() or not (path.is_file() and path.stat().st_size):
        if made_here(output):
            raise gone(output)
        if path.is_file() and not path.parent.is_symlink():
            raise ConfigError(f"ledger {str(path)!r} is empty: no batch got as far as planning")
        raise ConfigError(f"--output {str(output)!r} holds no ledger: it was not made by --batch")
    ledger = Ledger(path, read_only=True)
    try:
        if ledger.get_meta("identity") is None and made_here(output):
            raise gone(output)
    except BaseException:
        ledger.close()
        raise
    return ledger


def stored_settings(ledger: Ledger, output: Path, workers: int) -> Settings:
    """The settings of the last batch.

    Raises:
        ConfigError: the ledger holds none.
    """
    stored = ledger.get_meta("settings")
    if stored is None and made_here(output):
        raise gone(output)
    if stored is None:
        raise ConfigError(f"the ledger in {str(output)!r} holds no settings: no batch was ever begun")
    return Settings.from_stored(stored, output, workers)


def repair_settings(output: Path, workers: int) -> Settings:
    """The settings of the last batch, also where the ledger cannot be used.

    Raises:
        ConfigError: nothing but the pictures is left of them; says what to do.
    """
    try:
        with open_ledger(output) as ledger:
            return stored_settings(ledger, output, workers)
    except DamagedLedger as error:
        kept = kept_state(output)
        if kept is None:
            raise ConfigError(
                f"{error.what}, and its settings are gone, too: say --repair --output {output} with --dataset and the "
                "other settings of the batch, such as --engine, --seed and --variants; they are compared with what "
                "made the pictures"
            ) from None
        return Settings.from_stored(kept["settings"], output, workers)


def verify(ledger: Ledger, settings: Settings) -> Iterator[Fault]:
    """Compares every file of every done picture with its hash in the ledger, and map.txt with the dataset's."""
    output = settings.output
    for key, record in ledger.records():
        for name in ("image", "label", "depth", "mask"):
            if name not in record:
                continue
            expected = record["sha256"] if name == "image" else record[f"{name}_sha256"]
            found = _hash_below(output, record[name])
            if found != expected:
                yield Fault(key, record[name], "missing" if found is None else "not the bytes that were made")
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
    different_pixels: int
    largest_difference: int
    """In levels of 255."""


def reproduce(
    image: Path,
    dataset: Path | None = None,
    scenes: Path | None = None,
    servers: tuple[str, ...] = (),
    workflow: Path | None = None,
    models: Path | None = None,
    device: Device = "auto",
    low_memory: bool = False,
    server_header_file: Path | None = None,
) -> Reproduction:
    """Makes a picture again from what its own metadata says, in memory, and compares the bytes.

    Args:
        image: a picture made by a batch, in its place below OUT.
        dataset: the dataset root; None takes the one OUT was made from.
        scenes: the folder of scenes; None takes the one OUT was made with.
        servers: addresses of ComfyUI servers; none takes those OUT was made with.
        workflow: a ComfyUI workflow; None takes the one OUT was made with.
        models: a folder of model files; None takes the one OUT was made with.
        device: where models run; auto takes what OUT was made with.
        low_memory: for a smaller GPU than OUT was made on.
        server_header_file: headers for a login in front of the servers.

    Raises:
        ConfigError: the dataset, the scene, the workflow or the model files are not those that made the picture.
        PictureError, ProvenanceError: the picture does not say what made it.
    """
    record = _checked_record(read_provenance(image), image.name)
    key, source = record["image"], record["source"]
    folder = key[: len(key) - len(source)]
    sample = Sample(
        id=SampleId.parse(record["sample"]),
        split=source.split("/")[0],
        size=0,
        image=source,
        label=record["label"][len(folder) :],
        depth=record["depth"][len(folder) :] if "depth" in record else None,
        unused_depth=record.get("unused_depth"),
    )
    recipe = Recipe.from_dict(record["recipe"])
    known = {name: record[name] for name in _JOB_FIELDS}
    output = _output_of(image, key)
    precision = _precision(record["facts"])
    if output is not None:
        with open_ledger(output) as ledger:
            settings = stored_settings(ledger, output, 1)
        dataset, scenes = dataset or settings.dataset, scenes or settings.scenes
        servers, workflow = servers or settings.servers, workflow or settings.workflow
        models, low_memory = models or settings.models, low_memory or settings.low_memory
        device = settings.device if device == "auto" else device
        precision = settings.precision if precision == "auto" else precision
    elif dataset is None:
        raise ConfigError(f"{str(image)!r} does not lie in an OUT with its ledger; say --dataset (and --scenes)")
    scene = _scene(load_scenes(scenes)[0], record["scene_sha256"], record["scene"])
    found = sha256(read_file(safe_join(dataset.resolve(), sample.image)))
    if found != record["source_sha256"]:
        raise ConfigError(f"{sample.image!r} in {str(dataset)!r} is not the picture this was made from; say --dataset")
    job = Job(key=key, folder=folder, sample=sample, scene=scene, **known)
    options = {
        "relight": RelightOptions(),
        "comfyui": ComfyUIOptions(
            batch_size=1, server=tuple(servers), server_header_file=server_header_file, workflow=workflow
        ),
        "embedded": EmbeddedOptions(
            batch_size=1, models=models, device=device, precision=precision, low_memory=low_memory
        ),
    }[recipe.engine]
    setup = Setup(dataset, None, options)  # a batch may be running in OUT
    with make_engine(recipe, setup) as engine:
        [answer] = render(engine, [job], dataset.resolve(), record.get("attempts", ()))
    if isinstance(answer, Made):
        raise ConfigError(f"{image.name!r} cannot be made again: {answer.reason}")
    for fact, told in _COMPARED.items():
        wanted, used = (facts.get(fact) for facts in (record["facts"], answer[1]["facts"]))
        if wanted != used:
            raise ConfigError(f"{image.name!r} was made {told.format(shown(wanted), shown(used))}")
    there, made = read_file(image), answer[0]
    pixels, levels = 0, 0
    if there != made:
        old, new = (decode_rgb(data, image.name).pixels.astype(int) for data in (there, made))
        if old.shape == new.shape:
            difference = abs(old - new).max(axis=2)
            pixels, levels = int((difference > 0).sum()), int(difference.max())
        else:
            pixels, levels = old.shape[0] * old.shape[1], 255
    return Reproduction(image, there == made, sha256(there), sha256(made), pixels, levels)


_COMPARED = {
    "workflow": "by workflow {}, this is {}; say --workflow",
    "weights": "with model files of hash {}, these have {}; say --models",
    "precision": "in precision {}, this machine computes in {}; say --device, or go where it was made",
}
"""Facts that a picture can be made again by, and what to do where they differ."""


def _precision(facts: dict[str, Any]) -> Precision:
    """The one a picture was made in, auto if it does not say."""
    return next((name for name in get_args(Precision) if name == facts.get("precision")), "auto")


_JOB_FIELDS = ("variant", "attempt", "seed", "bald", "prompt_set", "positive", "negative")
_FIELDS: dict[str, type] = {
    **dict.fromkeys(("image", "source", "label", "sample", "scene", "scene_sha256", "source_sha256"), str),
    **dict.fromkeys(("prompt_set", "positive", "negative"), str),
    **dict.fromkeys(("variant", "attempt", "seed"), int),
    "bald": bool,
    "recipe": dict,
    "facts": dict,
}

_SOMETIMES: dict[str, type] = {"depth": str, "way": str, "attempts": list}


def _checked_record(record: dict[str, Any], name: str) -> dict[str, Any]:
    """An untrusted record with every field that is used present, of its type and in range.

    Raises:
        ProvenanceError: names the field.
    """
    fields = _FIELDS | {name: kind for name, kind in _SOMETIMES.items() if name in record}
    for field, kind in fields.items():
        value = record.get(field)
        sound = type(value) is kind
        if sound and isinstance(value, str):
            sound = printable(value) == value
        if sound and kind is int:
            sound = 0 <= int(record[field]) < 2**63
        if not sound:
            raise ProvenanceError(f"the record in {name!r} is not one of ours: {field} = {shown(value)}")
    tried = record.get("attempts", [{"way": record.get("way")}])
    if not all(isinstance(each, dict) for each in tried) or not tried or tried[-1].get("way") != record.get("way"):
        raise ProvenanceError(f"the record in {name!r} is not one of ours: attempts = {shown(tried)}")
    if not record["image"].endswith(record["source"]):
        raise ProvenanceError(f"the record in {name!r} is not one of ours: image and source do not match")
    return record


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


def file_sha256(path: Path) -> str | None:
    """Hash of a regular file, None if there is none."""
    try:
        return sha256(path.read_bytes()) if path.is_file() else None
    except OSError:
        return None
