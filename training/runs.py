"""A run's folder, for those who use what was trained in it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from acusim.errors import ConfigError
from acusim.text_files import json_of
from training.config import Config, read_config
from training.data.split import Part, parse_persons

if TYPE_CHECKING:
    import torch

    from training.models.acusimnet import AcuSimNet
    from training.models.hand import HandNet
    from training.tasks.hand_config import HandConfig
    from training.tasks.hand_points import HandPoints

CONFIG, DATA = "config.toml", "data.json"
MAX_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """What runs of all tasks have."""

    path: Path
    """The run's folder."""
    persons: dict[str, Part]
    """Which part each person was in."""
    digest: str
    """Of the data it was trained with."""
    checkpoint: str
    """Name of the checkpoint's folder."""
    epoch: int
    """Epochs it has seen."""
    sha256: str
    """Of the checkpoint's weights."""


@dataclass(frozen=True, slots=True, eq=False)
class HeadRun(_Run):
    """A trained network of the head and what it was trained with."""

    kind: ClassVar[Literal["head"]] = "head"
    config: Config
    network: "AcuSimNet"
    """In evaluation mode, on the device."""

    @property
    def made_by(self) -> dict[str, Any]:
        """What a result says of the model that made it."""
        return _made_by(self, self.config.name)


@dataclass(frozen=True, slots=True, eq=False)
class HandRun(_Run):
    """A trained network of the hand and what it was trained with."""

    kind: ClassVar[Literal["hand"]] = "hand"
    config: "HandConfig"
    network: "HandNet"
    """In evaluation mode, on the device."""
    points: "HandPoints"
    """What its points are called."""

    @property
    def made_by(self) -> dict[str, Any]:
        """What a result says of the model that made it."""
        return _made_by(self, self.config.name)


Run = HeadRun | HandRun
"""Told apart by ``kind``."""


def _made_by(run: _Run, config: str) -> dict[str, Any]:
    return {"run": run.path.name, "config": config, "checkpoint": run.checkpoint,
            "epoch": run.epoch, "sha256": run.sha256}  # fmt: skip


def open_run(path: Path, checkpoint_name: str | None = None, device: "torch.device | str" = "cpu") -> Run:
    """Loads a run's network.

    Args:
        path: the folder that train wrote.
        checkpoint_name: best, last or epoch_0012; None takes best.
        device: where the network goes.

    Raises:
        ConfigError: no run, no such checkpoint, or files of another kind in it.
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

    if isinstance(config, Config):
        from training.models.acusimnet import AcuSimNet
        from training.models.grouping import make_groups

        network = AcuSimNet(config.model, make_groups(config.model.grouping, config.train.seed))
        return HeadRun(**common, config=config, network=loaded(network))
    from training.models.hand import HandNet
    from training.tasks.hand_config import HandConfig
    from training.tasks.hand_points import parse_points

    assert isinstance(config, HandConfig)
    points = parse_points({"point": document.get("points")})
    return HandRun(**common, config=config, network=loaded(HandNet(config.model, len(points))), points=points)


def read_persons(path: Path) -> dict[str, Part]:
    """Which part each person of a run is in.

    Raises:
        ConfigError: no run.
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
