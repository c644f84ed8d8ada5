"""What configurations of all tasks have in common: sections of settings, their TOML, and how they are trained.

A configuration is a frozen dataclass whose sections are frozen dataclasses of checked fields (acusim.settings).
training/config.py has the head's and reads files; training/tasks/hand_config.py has the hand's.
"""

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self, get_args

from acusim.errors import ConfigError
from acusim.files import sha256
from acusim.settings import assignment, check_fields, choice, number, parsed_of, spec_of

TaskName = Literal["head", "hand"]
TASKS: tuple[TaskName, ...] = get_args(TaskName)
Schedule = Literal["constant", "cosine"]
Precision = Literal["fp32", "bf16", "fp16"]


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How it is trained. The defaults are acuSimNet's."""

    epochs: int = number(150, 1, 100000)
    """Times that every picture is seen, at most."""
    batch_size: int = number(16, 1, 65536)
    """Pictures of one optimiser step, over all GPUs and accumulated parts: results do not depend on the hardware."""
    accumulate: int = number(1, 1, 4096)
    """Parts that a step's batch is worked on in; more take less memory."""
    lr: float = number(5e-5, 1e-9, 10.0)
    """Learning rate of AdamW."""
    weight_decay: float = number(1e-5, 0.0, 1.0)
    """Of AdamW."""
    schedule: Schedule = choice("constant", *get_args(Schedule))
    """Of the learning rate: constant (paper), or cosine to zero."""
    warmup_epochs: float = number(0.0, 0.0, 1000.0)
    """Epochs in which the learning rate rises linearly from zero."""
    clip_norm: float = number(0.0, 0.0, 1e9)
    """Largest norm of the gradient; 0 for no limit."""
    seed: int = number(0, 0, 2**31)
    """Draws initial weights, order, dropout and augmentation."""
    precision: Precision = choice("fp32", *get_args(Precision))
    """Of the network's arithmetic; weights, heads' losses and the optimiser are fp32 always."""
    best_by: str = choice("micro", "micro", "macro", "error_px", "loss")
    """What the best epoch is chosen by, on the validation persons."""
    patience: int = number(0, 0, 100000)
    """Training ends after so many epochs in a row without a better one; 0 never ends it early."""
    patience_from: int = number(0, 0, 100000)
    """Epochs after which patience begins to count."""
    keep: int = number(2, 1, 1000)
    """Checkpoints of past epochs kept beside last and best."""

    def __post_init__(self) -> None:
        check_fields(self)
        if self.batch_size % self.accumulate:
            raise ConfigError(f"batch_size = {self.batch_size} is not a multiple of accumulate = {self.accumulate}")


@dataclass(frozen=True, kw_only=True)
class BaseConfig:
    """A whole configuration of some task; every field but the name is a section."""

    TASK: ClassVar[TaskName]
    """Which task it is of."""

    name: str
    """What it is called: the sum of experiments it was made from."""
    train: TrainConfig

    @classmethod
    def sections(cls) -> dict[str, type]:
        """The sections' classes by name."""
        fields = (spec for spec in dataclasses.fields(cls) if spec.name != "name")
        return {spec.name: type(_default(spec)) for spec in fields}

    def as_dict(self) -> dict[str, Any]:
        """The task, the name and all settings by section."""
        return {"task": self.TASK, **dataclasses.asdict(self)}

    @property
    def identity(self) -> dict[str, Any]:
        """All that decides a run: everything but the name."""
        return {name: value for name, value in self.as_dict().items() if name != "name"}

    @property
    def hash(self) -> str:
        """SHA-256 over the identity: equal for equal runs."""
        return sha256(json.dumps(self.identity, sort_keys=True).encode())

    def to_toml(self) -> str:
        """The whole configuration as TOML, which load_config reads back to an equal one."""
        lines = [f"name = {json.dumps(self.name, ensure_ascii=False)}\n", f'task = "{self.TASK}"\n']
        for section in self.sections():
            lines.append(f"\n[{section}]\n")
            # JSON's strings, integers, floats and booleans are all valid TOML.
            for name, value in dataclasses.asdict(getattr(self, section)).items():
                lines.append(f"{name} = {json.dumps(value, ensure_ascii=False)}\n")
        return "".join(lines)

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
            spec = spec_of(sections[section], setting, f"setting of [{section}]")
            changes.setdefault(section, {})[setting] = parsed_of(spec, value)
        return self.changed(changes)

    def changed(self, changes: dict[str, dict[str, Any]]) -> Self:
        """A copy with other settings, by section and name.

        Raises:
            ConfigError: an unknown section or setting, or a value out of its range.
        """
        sections = self.sections()
        for section, values in changes.items():
            if section not in sections or not isinstance(values, dict):
                raise ConfigError(f"{section!r} is not a section; there are {', '.join(sections)}")
            for name in values:
                spec_of(sections[section], name, f"setting of [{section}]")
        made = {name: dataclasses.replace(getattr(self, name), **values) for name, values in changes.items()}
        return dataclasses.replace(self, **made)


def _default(spec: "dataclasses.Field[Any]") -> Any:
    assert spec.default_factory is not dataclasses.MISSING, f"section {spec.name} has no default_factory"
    return spec.default_factory()
