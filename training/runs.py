"""Folders of runs: loading a trained network and what it was trained with."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from acusim.errors import ConfigError, LayoutError
from acusim.settings_file import read_settings
from acusim.text_files import json_of
from training.config import read_config
from training.data.split import Part, parse_persons
from training.shipped import NAMES
from training.shipped import files as shipped_files
from training.tasks.hand_config import HandConfig
from training.tasks.head_config import HeadConfig

if TYPE_CHECKING:
    import torch

    from training.geometry.template import Template
    from training.models.hand import HandNet
    from training.models.head import HeadNetwork
    from training.tasks.hand_points import HandPoints

CONFIG, DATA, TEMPLATE = "config.toml", "data.json", shipped_files.TEMPLATE_FILE
SHIPPED = "shipped"
"""Name of the only checkpoint of a shipped model."""
MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What runs of all tasks share."""

    path: Path
    """The run's folder."""
    persons: dict[str, Part]
    """The part of each person."""
    digest: str
    """Of the training data."""
    checkpoint: str
    """Name of the checkpoint's folder."""
    epoch: int
    """Epochs of training."""
    sha256: str
    """Of the checkpoint's weights."""
    config: HeadConfig | HandConfig

    @property
    def made_by(self) -> dict[str, Any]:
        """The model's entry in results."""
        return {
            "run": self.path.name,
            "config": self.config.name,
            "checkpoint": self.checkpoint,
            "epoch": self.epoch,
            "sha256": self.sha256,
        }


@dataclass(frozen=True, slots=True, eq=False)
class HeadRun(_Run):
    """A trained network of the head and what it was trained with."""

    kind: ClassVar[Literal["head"]] = "head"
    config: HeadConfig
    network: "HeadNetwork"
    """In evaluation mode, on the device."""
    template: "Template | None"
    """Of the persons that it was trained on; None where it did not learn the positions of occluded points."""


@dataclass(frozen=True, slots=True, eq=False)
class HandRun(_Run):
    """A trained network of the hand and what it was trained with."""

    kind: ClassVar[Literal["hand"]] = "hand"
    config: HandConfig
    network: "HandNet"
    """In evaluation mode, on the device."""
    points: "HandPoints"
    """Names of its points."""


Run = HeadRun | HandRun
"""Distinguished by ``kind``."""


_Held = tuple[dict[str, Any], dict[str, Any], dict[str, Any]]
"""Fields of a run, its network's tensors by name, and its points as parse_points takes them."""


def open_run(path: Path, checkpoint_name: str | None = None, device: "torch.device | str" = "cpu") -> Run:
    """Loads a run's network.

    Args:
        path: the folder that train wrote, or that of a shipped model; training.shipped.model_path gives it for a name.
        checkpoint_name: best, last or epoch_0012; None takes best. Shipped models have none.
        device: of the network.

    Raises:
        ConfigError: not a run's folder, no such checkpoint, or damaged files.
    """
    from training.checkpoint import load_into

    shipped_files.check_installed(path)
    if not (path / CONFIG).exists():
        raise ConfigError(
            f"{str(path)!r} is not a run: it has no {CONFIG}; give a folder that train wrote, or the name of a shipped "
            f"model: {', '.join(NAMES)}"
        )
    config = read_config(path / CONFIG)
    is_shipped = shipped_files.is_shipped(path)
    common, weights, rows = _shipped(path, checkpoint_name) if is_shipped else _trained(path, checkpoint_name)

    def loaded(network: Any) -> Any:
        load_into(network, weights, f"{str(path)!r}, checkpoint {common['checkpoint']!r},")
        return network.to(device).eval()

    if isinstance(config, HeadConfig):
        from training.models.head import make_network

        return HeadRun(**common, config=config, network=loaded(make_network(config)), template=_template(path))
    from training.models.hand import HandNet
    from training.tasks.hand_points import parse_points

    assert isinstance(config, HandConfig)
    points_file = path / shipped_files.POINTS_FILE
    points = read_settings(points_file, "points", parse_points) if is_shipped else parse_points(rows)
    return HandRun(**common, config=config, network=loaded(HandNet(config.model, len(points))), points=points)


def _template(run: Path) -> "Template | None":
    """The template of a run that has one.

    Raises:
        ConfigError: it is damaged.
    """
    from training.geometry.template import Template

    path = run / TEMPLATE
    if not path.exists():
        return None
    try:
        return Template.load(path)
    except LayoutError as error:
        raise ConfigError(f"{str(path)!r}: {error}; take it from a copy of this run") from None


def _trained(path: Path, checkpoint_name: str | None) -> _Held:
    """A folder that train wrote."""
    from training import checkpoint

    document = _document(path / DATA)
    folder = checkpoint.find(path, checkpoint_name)
    held = checkpoint.load(folder)
    prefix = "network."
    weights = {key.removeprefix(prefix): value for key, value in held.model.items() if key.startswith(prefix)}
    fields = {
        "path": path,
        "persons": parse_persons(document.get("persons")),
        "digest": str(document.get("digest")),
        "checkpoint": folder.resolve().name,
        "epoch": int(held.state["epoch"]),
        "sha256": checkpoint.checkpoint_hash(folder),
    }
    return fields, weights, {"point": document.get("points")}


def _shipped(path: Path, checkpoint_name: str | None) -> _Held:
    """A shipped model, whose points are in a file of their own."""
    if checkpoint_name not in (None, "best", SHIPPED):
        raise ConfigError(f"{str(path)!r} is a shipped model, which has no checkpoint {checkpoint_name!r}; omit it")
    held = shipped_files.read_weights(path)
    fields = {
        "path": path,
        "persons": parse_persons(held.persons),
        "digest": held.digest,
        "checkpoint": SHIPPED,
        "epoch": held.epoch,
        "sha256": held.sha256,
    }
    return fields, held.weights, {}


def read_persons(path: Path) -> dict[str, Part]:
    """The part of each person in a run.

    Raises:
        ConfigError: not a run's folder.
    """
    if shipped_files.is_shipped(path):
        return parse_persons(shipped_files.read_weights(path).persons)
    return parse_persons(_document(path / DATA).get("persons"))


def _document(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ConfigError(f"{str(path)!r} is larger than {MAX_BYTES >> 20} MiB: train did not write it")
        document = json_of(path.read_bytes())
    except OSError as error:
        raise ConfigError(
            f"{str(path)!r} cannot be read: {error.strerror}; is this a folder that train wrote?"
        ) from None
    except ValueError as error:
        raise ConfigError(f"{str(path)!r} is damaged: {error}") from None
    if not isinstance(document, dict):
        raise ConfigError(f"{str(path)!r} is not what train writes")
    return document
