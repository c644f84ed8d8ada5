"""Everything that decides a training run: model, loss, data and schedule, in TOML files that hold only differences.

A configuration is a sum of experiments, such as ``A1+B1``: names of files in ``experiments/`` or paths of TOML files,
applied from left to right to the defaults, which are the paper's acuSimNet, or those of the hand where a part says
``task = "hand"``. Two parts that set one setting to different values are refused: the name would say less than the run
did.
"""

from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any, Literal, get_args

from acusim.errors import ConfigError, shown
from acusim.folders import is_litter
from acusim.rig import parse_frames
from acusim.selection import parse_selection
from acusim.settings import check_fields, choice, number
from acusim.settings_file import read_settings
from training.data.augmentation import Augmentation
from training.data.split import SplitSettings
from training.models.backbones import BACKBONES, BackboneName
from training.models.grouping import GROUPINGS, Grouping
from training.settings import TASKS, BaseConfig, TaskName, TrainConfig

Trunk = Literal["three", "single"]
VisibilityLoss = Literal["focal", "rmse"]
Mask = Literal["soft", "hard", "none"]
Uncertainty = Literal["paper", "zeros", "none"]
Reduction = Literal["sum", "mean"]
Normalisation = Literal["none", "imagenet"]
Pictures = Literal["all", "originals", "augmented"]
DEFAULT = "acusimnet"


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network."""

    backbone: BackboneName = choice("densenet201", *BACKBONES)
    """What makes features of pictures."""
    weights: str = ""
    """Where the backbone starts: empty for random, "imagenet" for the published weights, or a safetensors file."""
    final_relu: bool = True
    """DenseNet's last ReLU, which the public code leaves out."""
    normalise: Normalisation = choice("none", *get_args(Normalisation))
    """What is done to pictures in 0..1: nothing (paper), or ImageNet's mean and deviation."""
    grouping: Grouping = choice("meridians", *GROUPINGS)
    """Ablation A: which acupoints share a branch."""
    trunk: Trunk = choice("three", *get_args(Trunk))
    """Layers of a branch before its heads: 1024/768/512 (public code, the paper's Table 1), or one of 512 (text)."""
    dropout: float = number(1.0, 0.0, 1.0)
    """Factor on the dropout of the trunk's layers; 0 for none."""
    final_scale: float = number(1.0, 0.0, 1.0)
    """Factor on the initial weights of visibility and coordinate heads; 0 starts them at their mean answer."""

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.final_relu and not self.backbone.startswith("densenet"):
            raise ConfigError(f"final_relu = False is for DenseNet; {self.backbone} has no ReLU to leave out")


@dataclass(frozen=True, kw_only=True)
class LossConfig:
    """What is minimised. Equations are the paper's."""

    visibility: VisibilityLoss = choice("focal", *get_args(VisibilityLoss))
    """Equation 4, or the root mean square error of the acuSim baseline."""
    alpha: float = number(0.25, 0.0, 1.0)
    """Focal loss: weight of visible points; occluded ones have 1 - alpha."""
    gamma: float = number(2.0, 0.0, 10.0)
    """Focal loss: exponent."""
    omega: float = number(4.0, 0.01, 100.0)
    """Soft wing loss: scale."""
    epsilon: float = number(0.2, 0.001, 10.0)
    """Soft wing loss: curvature."""
    theta: float = number(0.5, 0.001, 10.0)
    """Soft wing loss: where it becomes linear."""
    mask: Mask = choice("soft", *get_args(Mask))
    """Ablations B and D: weights of coordinate and class losses by predicted visibility. soft: equation 2 (B0);
    hard: 1 from p = 0.5 on, else 0 (B1); none: 1 (B2, and D1, which is the same)."""
    tau_low: float = number(0.075, 0.0, 0.5)
    """Soft mask: probability below which the weight is 0."""
    tau_high: float = number(0.925, 0.5, 1.0)
    """Soft mask: probability from which the weight is 1."""
    floor: float = number(0.075, 0.0, 1.0)
    """Soft mask: least weight between the two."""
    decay: bool = True
    """Equation 3: occluded points count less and less in the coordinate loss."""
    decay_start: float = number(25.0, 0.0, 100000.0)
    """Equation 3: a, in epochs."""
    decay_end: float = number(125.0, 0.0, 100000.0)
    """Equation 3: b, in epochs."""
    decay_floor: float = number(0.03, 0.0, 1.0)
    """Equation 3: w_min."""
    uncertainty: Uncertainty = choice("paper", *get_args(Uncertainty))
    """Ablation C: initial log sigma 0, 1, -5 (C0), zeros (C1), or no such parameters (C2)."""
    reduction: Reduction = choice("sum", *get_args(Reduction))
    """Over the batch; over the points of a picture it is always the sum."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.decay and self.decay_end <= self.decay_start:
            raise ConfigError(f"decay_end = {self.decay_end} is not above decay_start = {self.decay_start}")


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which pictures, and who is in which part."""

    size: int = number(512, 32, 1024)
    """Side of the pictures in pixels."""
    frames: str = "kept"
    """kept (the 45 of the public loader), all, or 1,2,5-9."""
    select: str = ""
    """Further conditions, as the controller's --select takes them."""
    train_pictures: Pictures = choice("all", *get_args(Pictures))
    """Which pictures of the training persons are learned from, where augmented ones are at hand."""
    val_pictures: Pictures = choice("originals", *get_args(Pictures))
    """Which pictures of the validation persons are looked at."""
    test_pictures: Pictures = choice("all", *get_args(Pictures))
    """Which pictures of the test persons are kept apart; evaluate chooses among them."""
    val: float = number(0.1, 0.001, 0.9)
    """Share of the persons that chooses the best epoch."""
    test: float = number(0.2, 0.0, 0.9)
    """Share of the persons that nothing is chosen by."""
    split_seed: int = number(0, 0, 2**31)
    """Draws who is in which part."""
    bald_codes: str = "auto"
    """Hair codes that mean bald, as the controller's --bald-codes takes them."""

    def __post_init__(self) -> None:
        check_fields(self)
        parse_frames(self.frames)
        parse_selection(self.select)
        if self.val + self.test > 0.95:
            raise ConfigError(f"val + test = {self.val + self.test:g} leave too little to train on")

    def split(self) -> SplitSettings:
        """How persons are divided."""
        pictures = {f"{part}_pictures": getattr(self, f"{part}_pictures") for part in ("train", "val", "test")}
        return SplitSettings(1 - self.val - self.test, self.val, self.test, self.split_seed, **pictures)


@dataclass(frozen=True, kw_only=True)
class Config(BaseConfig):
    """A whole configuration of the head's task."""

    TASK = "head"

    name: str = DEFAULT
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    data: DataConfig = field(default_factory=DataConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    augment: Augmentation = field(default_factory=Augmentation)


def experiments() -> tuple[str, ...]:
    """Names of the experiments that come with the project."""
    folder = resources.files("training").joinpath("configs")
    names = (entry.name for entry in folder.iterdir() if not is_litter(entry.name))
    return tuple(sorted(name.removesuffix(".toml") for name in names if name.endswith(".toml")))


def _path_of(part: str) -> Path:
    if part in experiments():
        return Path(str(resources.files("training").joinpath("configs", f"{part}.toml")))
    path = Path(part)
    if path.suffix != ".toml":
        raise ConfigError(
            f"--config: {part!r} is no experiment ({', '.join(experiments())}) and no .toml file; "
            "several are joined by +, such as A1+B1"
        )
    return path


def _default_of(task: TaskName, name: str) -> BaseConfig:
    if task == "head":
        return Config(name=name)
    from training.tasks.hand_config import HandConfig

    return HandConfig(name=name)


def _read(path: Path) -> dict[str, Any]:
    """The content of a TOML file; its task is checked, its sections are not."""

    def make(document: dict[str, Any]) -> dict[str, Any]:
        if document.get("task", TASKS[0]) not in TASKS:
            raise ConfigError(f"task = {shown(document['task'])} is not one of {', '.join(TASKS)}")
        return document

    return read_settings(path, "configuration", make)


def _sections(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {name: value for name, value in document.items() if name not in ("name", "note", "task")}


def load_config(text: str = DEFAULT) -> BaseConfig:
    """The configuration of a sum of experiments.

    Args:
        text: such as ``acusimnet``, ``A1+B1``, ``hand_hrnet`` or ``mine.toml+C1``.

    Returns:
        A Config, or a training.tasks.hand_config.HandConfig where a part says ``task = "hand"``.

    Raises:
        ConfigError: an unknown experiment or setting, a value out of its range, or two parts that contradict.
    """
    parts = [(part, _read(_path_of(part.strip()))) for part in text.split("+")]
    # A user's own file that names no task goes with either.
    named = (document.get("task", TASKS[0] if part.strip() in experiments() else None) for part, document in parts)
    tasks: list[TaskName] = sorted({task for task in named if task})
    if len(tasks) > 1:
        raise ConfigError(f"--config {text!r}: its parts are of the tasks {' and '.join(tasks)}; take those of one")
    config = _default_of(tasks[0] if tasks else TASKS[0], text)
    set_by: dict[tuple[str, str], str] = {}
    for part, document in parts:
        before, changes = config, _sections(document)
        try:
            config = config.changed(changes)
        except ConfigError as error:
            raise ConfigError(f"configuration {part!r}: {error}") from None
        for section, values in changes.items():
            for name in values:
                first = set_by.setdefault((section, name), part)
                was, now = (getattr(getattr(one, section), name) for one in (before, config))
                if first != part and was != now:
                    raise ConfigError(f"--config {text!r}: {first} and {part} both set {section}.{name}")
    return config


def read_config(path: Path) -> BaseConfig:
    """The configuration that a run wrote down.

    Raises:
        ConfigError: unreadable, or not one.
    """
    document = _read(path)
    name = str(document.get("name", DEFAULT))
    try:
        return _default_of(document.get("task", TASKS[0]), name).changed(_sections(document))
    except ConfigError as error:
        raise ConfigError(f"configuration {str(path)!r}: {error}") from None
