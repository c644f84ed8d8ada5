"""Folders of runs: loading a trained network and what it was trained with."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from acusim.errors import ConfigError
from acusim.text_files import json_of
from training.config import read_config
from training.data.split import Part, parse_persons
from training.tasks.hand_config import HandConfig
from training.tasks.head_config import HeadConfig

if TYPE_CHECKING:
    import torch

    from training.models.acusimnet import AcuSimNet
    from training.models.hand import HandNet
    from training.tasks.hand_points import HandPoints

CONFIG, DATA = "config.toml", "data.json"
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
    network: "AcuSimNet"
    """In evaluation mode, on the device."""


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


def open_run(path: Path, checkpoint_name: str | None = None, device: "torch.device | str" = "cpu") -> Run:
    """Loads a run's network.

    Args:
        path: the folder that train wrote.
        checkpoint_name: best, last or epoch_0012; None takes best.
        device: of the network.

    Raises:
        ConfigError: not a run's folder, no such checkpoint, or damaged files.
    """
    from training import checkpoint

    config = read_config(path / CONFIG)
    document = _document(path / DATA)
    folder = checkpoint.find(path, checkpoint_name)
    held = checkpoint.load(folder)
    prefix = "network."
    weights = {key.removeprefix(prefix): value for key, value in held.model.items() if key.startswith(prefix)}
    common: dict[str, Any] = {
        "path": path,
        "persons": parse_persons(document.get("persons")),
        "digest": str(document.get("digest")),
        "checkpoint": folder.resolve().name,
        "epoch": int(held.state["epoch"]),
        "sha256": checkpoint.checkpoint_hash(folder),
    }

    def loaded(network: Any) -> Any:
        checkpoint.load_into(network, weights, f"checkpoint {str(folder)!r}")
        return network.to(device).eval()

    if isinstance(config, HeadConfig):
        from training.models.acusimnet import AcuSimNet
        from training.models.grouping import make_groups

        network = AcuSimNet(config.model, make_groups(config.model.grouping, config.train.seed))
        return HeadRun(**common, config=config, network=loaded(network))
    from training.models.hand import HandNet
    from training.tasks.hand_points import parse_points

    assert isinstance(config, HandConfig)
    points = parse_points({"point": document.get("points")})
    return HandRun(**common, config=config, network=loaded(HandNet(config.model, len(points))), points=points)


def read_persons(path: Path) -> dict[str, Part]:
    """The part of each person in a run.

    Raises:
        ConfigError: not a run's folder.
    """
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
