"""What the configurations of all tasks share: sections of settings, their TOML, and how a task is trained.

A configuration is a frozen model whose fields are its name and its sections, each a model of settings
(acusim.settings). training/tasks/head_config.py and hand_config.py hold the sections of each task, training/config.py
reads configuration files.
"""

import json
from typing import Any, ClassVar, Literal, Self, cast, get_args

from pydantic import Field, model_validator

from acusim.errors import ConfigError
from acusim.files import sha256
from acusim.settings import Settings, assignment, parsed, toml_lines

TaskName = Literal["head", "hand"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
Crop = Literal["auto", "face", "none"]
"""What a model of the head sees of an image. auto: the head around the largest face, or the whole image where there is
none; face: images without a face are refused; none: the whole image, no search."""
Schedule = Literal["constant", "cosine"]
Precision = Literal["fp32", "bf16", "fp16"]
Normalisation = Literal["none", "imagenet"]
MAX_SEED = 2**31


class TrainConfig(Settings):
    """How a network is trained. The defaults are acuSimNet's."""

    WHAT = "setting of [train]"

    epochs: int = Field(default=150, ge=1, le=100000)
    """Most times that every picture is seen."""
    batch_size: int = Field(default=16, ge=1, le=65536)
    """Pictures of one optimiser step, over all GPUs and accumulated parts: results do not depend on the hardware."""
    accumulate: int = Field(default=1, ge=1, le=4096)
    """Parts in which the batch of a step is computed; more parts need less memory."""
    lr: float = Field(default=5e-5, ge=1e-9, le=10.0)
    """Learning rate of AdamW."""
    weight_decay: float = Field(default=1e-5, ge=0.0, le=1.0)
    """Weight decay of AdamW."""
    schedule: Schedule = "constant"
    """Schedule of the learning rate: constant (paper), or cosine to zero."""
    warmup_epochs: float = Field(default=0.0, ge=0.0, le=1000.0)
    """Epochs in which the learning rate rises linearly from zero."""
    clip_norm: float = Field(default=0.0, ge=0.0, le=1e9)
    """Largest norm of the gradient; 0 for no limit."""
    seed: int = Field(default=0, ge=0, le=MAX_SEED)
    """Seed of initial weights, order, dropout and augmentation."""
    precision: Precision = "fp32"
    """Precision of the network's arithmetic; weights, heads' losses and the optimiser always are fp32."""
    best_by: str = "micro"
    """Figure of the validation persons that chooses the best epoch."""
    patience: int = Field(default=0, ge=0, le=100000)
    """Training ends after so many epochs in a row without a better one; 0 never ends it early."""
    patience_from: int = Field(default=0, ge=0, le=100000)
    """Epochs after which patience begins to count."""
    freeze: str = ""
    """Modules that are not trained, separated by commas, such as network.backbone; their batch statistics stay, too."""
    keep: int = Field(default=2, ge=1, le=1000)
    """Checkpoints of past epochs kept beside last and best."""

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.batch_size % self.accumulate:
            raise ConfigError(f"batch_size = {self.batch_size} is not a multiple of accumulate = {self.accumulate}")
        return self


def check_shares(val: float, test: float) -> None:
    """Checks that validation and test leave enough persons to train on.

    Raises:
        ConfigError: they do not.
    """
    if val + test > 0.95:
        raise ConfigError(f"val + test = {val + test:g} leave too little to train on")


class BaseConfig(Settings):
    """A whole configuration of some task; every field but the name is a section."""

    WHAT = "section"
    TASK: ClassVar[TaskName]
    """The task that it configures."""

    name: str
    """The sum of experiments that it was read from."""
    train: TrainConfig
    """How the network is trained."""

    @classmethod
    def sections(cls) -> dict[str, type[Settings]]:
        """The sections' classes by name."""
        fields = ((name, field.annotation) for name, field in cls.model_fields.items() if name != "name")
        return {name: cast(type[Settings], kind) for name, kind in fields}

    def as_dict(self) -> dict[str, Any]:
        """The task, the name and all settings by section."""
        return {"task": self.TASK, **super().as_dict()}

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides a run: everything but the name."""
        return {name: value for name, value in self.as_dict().items() if name != "name"}

    @classmethod
    def completed(cls, identity: dict[str, Any]) -> dict[str, Any]:
        """An identity that an earlier version wrote, with the defaults of settings that it did not have."""
        defaults = cls(name="").identity  # pyright: ignore[reportCallIssue]  # every task's sections have defaults
        sections = {
            name: {**values, **identity.get(name, {})} if isinstance(values, dict) else identity.get(name, values)
            for name, values in defaults.items()
        }
        return {**identity, **sections}

    @property
    def hash(self) -> str:
        """SHA-256 over the identity: equal for equal runs."""
        return sha256(json.dumps(self.identity, sort_keys=True).encode())

    def to_toml(self) -> str:
        """The whole configuration as TOML, which load_config reads back to an equal one."""
        return toml_lines({"name": self.name, **self.as_dict()})

    def with_settings(self, assignments: list[str]) -> Self:
        """A copy changed by ``section.name=value`` texts, as the command line's --set takes them.

        Raises:
            ConfigError: not of that form, an unknown name, or a value out of its range.
        """
        sections = self.sections()
        changes: dict[str, dict[str, Any]] = {}
        for text in assignments:
            name, value = assignment(text)
            section, dot, setting = name.partition(".")
            if not dot or section not in sections:
                raise ConfigError(f"--set {text!r}: write section.name=value with one of {', '.join(sections)}")
            changes.setdefault(section, {})[setting] = parsed(sections[section], setting, value)
        return self.with_sections(changes)

    def with_sections(self, changes: dict[str, dict[str, Any]]) -> Self:
        """A copy with other settings, by section and name.

        Raises:
            ConfigError: an unknown section or setting, or a value out of its range.
        """
        for section, values in changes.items():
            if section not in self.sections() or not isinstance(values, dict):
                raise ConfigError(f"{section!r} is not a section; there are {', '.join(self.sections())}")
        return self.changed(**{name: getattr(self, name).changed(**values) for name, values in changes.items()})
