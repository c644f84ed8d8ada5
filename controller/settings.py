"""What a user asks a batch for. The command line and the ledger's stored settings derive from the model."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field, model_validator

from acusim.errors import ConfigError
from acusim.settings import Settings, extra_of, field_of, inner_type
from controller.gate_settings import GateSettings
from engines.options import OPTIONS, ComfyUIOptions, EngineOptions, RelightOptions
from engines.recipe import Recipe

if TYPE_CHECKING:
    from engines.base import Setup

DATA, HOW = "data", "how"
"""Groups of options in ``--help``; a field of a group has an option."""
FOCUS_FILE = "weak.toml"
"""Copy of the table of --focus in OUT."""


class BatchSettings(Settings):
    """Everything that a batch is asked for; the engine's options are those of the recipe's engine."""

    WHAT = "batch setting"

    dataset: Path = Field(json_schema_extra={"group": DATA, "metavar": "ROOT"})
    """Root of the AcuSim dataset: ROOT/train/image/img_512/…"""
    output: Path | None = Field(default=None, json_schema_extra={"group": DATA, "metavar": "OUT", "stored": False})
    """New dataset root; nothing outside it is written."""
    size: int | None = Field(
        default=None, json_schema_extra={"group": DATA, "metavar": "PX", "default": "512, else the largest"}
    )
    """Which img_PX to read."""
    select: str | None = Field(
        default=None, json_schema_extra={"group": DATA, "metavar": "CONDITIONS", "default": "all"}
    )
    """Such as 'gender=F,hair=HA,HC,frame=1-36'; keys: gender name size hair eye frame split."""
    limit: int | None = Field(default=None, ge=1, json_schema_extra={"group": DATA, "metavar": "N", "default": "all"})
    """At most N samples, in the order of their names."""
    persons: int | None = Field(default=None, ge=1, json_schema_extra={"group": DATA, "metavar": "N", "default": "all"})
    """At most N persons, whom --seed draws among those selected, with all their samples."""
    budget: int | None = Field(default=None, ge=1, json_schema_extra={"group": DATA, "metavar": "N", "default": "all"})
    """At most N images, spread evenly over the samples, or with --focus over those where a model errs."""
    focus: Path | None = Field(
        default=None, json_schema_extra={"group": DATA, "metavar": "WEAK.toml", "default": "none"}
    )
    """Spend --budget where a model errs: the table that ``training evaluate --weak`` wrote."""
    scenes: Path | None = Field(
        default=None, json_schema_extra={"group": DATA, "metavar": "DIR", "default": "shipped ones"}
    )
    """Scene pictures that set the light."""
    variants: int = Field(default=1, ge=1, le=99, json_schema_extra={"group": HOW, "metavar": "K"})
    """Images per sample, in OUT/v01, OUT/v02 …"""
    seed: int = Field(default=0, json_schema_extra={"group": HOW, "metavar": "S", "default": 0})
    """Changes every image's seed."""
    prompts: Path | None = Field(default=None, json_schema_extra={"group": HOW, "metavar": "F.toml", "default": "none"})
    """Own prompt sets, tried before the shipped four."""
    bald_codes: str = Field(default="auto", json_schema_extra={"group": HOW, "metavar": "A,B"})
    """Hair codes that mean bald; auto derives them from the labels, none means none."""
    recipe: Recipe
    """Everything that decides a pixel."""
    gate: GateSettings | None = None
    """Certify every image before it is written; None writes whatever is valid."""
    repair: bool = Field(default=False, json_schema_extra={"stored": False})
    """Redo what is damaged, and finish whatever OUT was ever asked for, whatever selects or limits it now."""
    engine_options: EngineOptions
    """Where and how the recipe's engine works; the defaults where they are not given."""

    def __init__(self, **values: Any):
        if isinstance(values.get("recipe"), Recipe):
            values.setdefault("engine_options", OPTIONS[values["recipe"].engine]())
        super().__init__(**values)

    @model_validator(mode="after")
    def _check_engine(self) -> Self:
        if self.engine_options.engine != self.recipe.engine:
            raise ConfigError(f"options of engine {self.engine_options.engine} for engine {self.recipe.engine}")
        if self.focus is not None and self.budget is None:
            raise ConfigError("--focus says where a budget is spent: name it with --budget N")
        return self

    @property
    def out(self) -> Path:
        """OUT, where a command needs one.

        Raises:
            ConfigError: it was not named.
        """
        if self.output is None:
            raise ConfigError("--output is missing: the folder that becomes the new dataset root")
        return self.output

    @property
    def setup(self) -> "Setup":
        """What the engine has to know of all this beside the recipe."""
        from engines.base import Setup

        return Setup(self.dataset, self.output, self.engine_options)

    @property
    def workers(self) -> int:
        """Worker processes of engine relight: as asked for, else one for each core."""
        asked = self.engine_options.workers if isinstance(self.engine_options, RelightOptions) else None
        return asked or len(os.sched_getaffinity(0))

    def stored(self) -> dict[str, Any]:
        """What the ledger keeps, so that --repair and --reproduce need no further arguments: JSON values."""
        return _stored(self)

    @classmethod
    def from_stored(cls, stored: dict[str, Any], output: Path) -> "BatchSettings":
        """The settings of the last run on ``output``, also as earlier versions stored them.

        Raises:
            ConfigError: they cannot be read.
        """
        from engines.base import WORKFLOW_FILE

        try:
            settings = cls(**_current_form(stored), output=output)
        except (ConfigError, KeyError, TypeError, AttributeError) as error:
            raise ConfigError(f"the settings in the ledger of {str(output)!r} cannot be read: {error}") from None
        options = settings.engine_options
        # OUT keeps copies.
        if isinstance(options, ComfyUIOptions) and options.workflow is not None and not options.workflow.is_file():
            settings = settings.changed(engine_options=options.changed(workflow=output / WORKFLOW_FILE))
        if settings.focus is not None and not settings.focus.is_file():
            settings = settings.changed(focus=output / FOCUS_FILE)
        return settings


def _stored(settings: Settings) -> dict[str, Any]:
    fields = type(settings).model_fields
    return {name: _json(value) for name, value in settings if extra_of(fields[name], "stored") is not False}


def _json(value: Any) -> Any:
    if isinstance(value, Settings):
        return _stored(value)
    if isinstance(value, Path):
        return str(value.resolve())
    return list(value) if isinstance(value, tuple) else value


def _current_form(stored: dict[str, Any]) -> dict[str, Any]:
    """Stored settings as the model takes them; earlier versions kept the engine's options beside the others."""
    values = {name: value for name, value in stored.items() if name in BatchSettings.model_fields}
    options = stored.get("engine_options", stored | {"server": stored.get("servers", [])})
    kind = OPTIONS[stored["recipe"]["engine"]]
    fields = {name: value for name, value in options.items() if name in kind.model_fields}
    return _python(BatchSettings, values) | {
        "recipe": Recipe.from_dict(stored["recipe"]),
        "gate": GateSettings(**stored["gate"]) if stored.get("gate") else None,
        "engine_options": kind(**_python(kind, fields)),
    }


def _python(model: type[Settings], values: dict[str, Any]) -> dict[str, Any]:
    """JSON values in their fields' own types."""

    def converted(name: str, value: Any) -> Any:
        if isinstance(value, str) and inner_type(field_of(model, name)) is Path:
            return Path(value)
        return tuple(value) if isinstance(value, list) else value

    return {name: converted(name, value) for name, value in values.items()}
