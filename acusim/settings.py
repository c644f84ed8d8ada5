"""Settings as frozen pydantic models: each option is written once, with its default, range and description.

    class Recipe(Settings):
        WHAT = "recipe setting"

        steps: int = Field(default=24, ge=1, le=200)
        \"\"\"Sampler steps (paper: 20-32).\"\"\"
        sampler: Literal["dpmpp_2m", "euler"] = "dpmpp_2m"
        \"\"\"k-sampler.\"\"\"

The text under a field is its description. TOML files, ``--set name=value``, identities and the docs' tables derive
from the model; ``acusim.options`` derives command-line options from it. Everything that is wrong is a ConfigError that
names the setting, its value, and what is allowed.
"""

import dataclasses
import difflib
import json
from dataclasses import field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from acusim.errors import ConfigError, shown
from acusim.settings_file import read_settings


class Settings(BaseModel):
    """Base of all settings: frozen, strict (no text becomes a number), without unknown names.

    Raises:
        ConfigError: an unknown name, or a value of another type, not allowed, or out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    WHAT: ClassVar[str] = "setting"
    """What one of these settings is called in messages."""

    def __init__(self, **values: Any):
        for name in values:
            field_of(type(self), name)
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise ConfigError(_explained(error, type(self))) from None

    def as_dict(self) -> dict[str, Any]:
        """All settings by name, nested ones as dictionaries; Python values."""
        return self.model_dump()

    def changed(self, **changes: Any) -> Self:
        """A copy with other values, checked like any.

        Raises:
            ConfigError: as the class.
        """
        return type(self)(**{**dict(self), **changes})

    def to_toml(self) -> str:
        """All settings as TOML, which from_toml reads back to equal ones; settings that are None are left out."""
        return toml_lines(self.as_dict())

    @classmethod
    def from_toml(cls, path: Path | None) -> Self:
        """Settings from a TOML file of differences; None gives the defaults.

        Raises:
            ConfigError: unreadable, not TOML, or as the class; names the file.
        """
        return cls() if path is None else read_settings(path, cls.WHAT, lambda values: cls(**values))


def toml_lines(values: dict[str, Any]) -> str:
    """A dictionary as TOML: plain values first, dictionaries as tables; None is left out."""
    # JSON's strings, integers, floats, booleans and arrays are all valid TOML.
    plain = "".join(
        f"{name} = {json.dumps(value, ensure_ascii=False)}\n"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    )
    tables = {name: value for name, value in values.items() if isinstance(value, dict)}
    return plain + "".join(f"\n[{name}]\n{toml_lines(value)}" for name, value in tables.items())


def field_of(model: type[BaseModel], name: str) -> FieldInfo:
    """The field of a name.

    Raises:
        ConfigError: there is no such field; the nearest spelling is offered.
    """
    fields = model.model_fields
    if name not in fields:
        near = difflib.get_close_matches(str(name)[:64], fields, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        what = getattr(model, "WHAT", Settings.WHAT)
        raise ConfigError(f"{shown(name)} is not a {what}; there are {', '.join(fields)}{hint}")
    return fields[name]


def extra_of(field: FieldInfo, name: str) -> Any:
    """What ``Field(json_schema_extra={name: …})`` says of a field, None if it says nothing."""
    extra = field.json_schema_extra
    return extra.get(name) if isinstance(extra, dict) else None


def bounds_of(field: FieldInfo) -> tuple[float | None, float | None]:
    """The least and the largest allowed number; None where there is no limit."""
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", low)
        high = getattr(rule, "le", high)
    return low, high


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """The allowed values of a Literal field, empty for any other."""
    kind = inner_type(field)
    return get_args(kind) if get_origin(kind) is Literal else ()


def inner_type(field: FieldInfo) -> Any:
    """The field's type without ``| None``."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        some = [part for part in get_args(kind) if part is not NoneType]
        return some[0] if len(some) == 1 else kind
    return kind


def assignment(text: str, option: str = "--set") -> tuple[str, str]:
    """Name and value of ``name=value``.

    Raises:
        ConfigError: there is no '='.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text!r} is not of the form name=value, such as steps=28")
    return name.strip(), value.strip()


def parsed(model: type[BaseModel], name: str, value: str, option: str = "--set") -> Any:
    """A text as a value of a field's type; the model checks whether it is allowed.

    Raises:
        ConfigError: there is no such field, or the text is not of its type.
    """
    kind = inner_type(field_of(model, name))
    if kind is bool:
        words = {"true": True, "false": False}
        if value not in words:
            raise ConfigError(f"{option} {name}={value}: write true or false")
        return words[value]
    if kind in (int, float):
        try:
            return kind(value)
        except ValueError:
            raise ConfigError(f"{option} {name}={value}: not a value of type {kind.__name__}") from None
    return Path(value) if kind is Path else value


def _explained(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that is wrong, in one line."""
    fault = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{name} is missing"
    field = model.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    said = f"{name} = {shown(fault['input'])}"
    if field is None:
        return f"{said}: {fault['msg']}"
    if fault["type"] == "literal_error":
        return f"{said} is not one of {', '.join(str(choice) for choice in choices_of(field))}"
    if fault["type"] in ("greater_than_equal", "less_than_equal", "finite_number"):
        low, high = bounds_of(field)
        return (
            f"{said} is outside {low:g}..{high:g}"
            if low is not None and high is not None
            else _one_sided(said, low, high)
        )
    if fault["type"].endswith("_type") or fault["type"].endswith("_parsing"):
        kind = inner_type(field)
        return f"{said} is not of type {getattr(kind, '__name__', kind)}"
    return f"{said}: {fault['msg']}"


def _one_sided(said: str, low: float | None, high: float | None) -> str:
    return f"{said} is below {low:g}" if low is not None else f"{said} is above {high:g}"


# Fields of dataclasses: to be removed when nothing uses them.
def number(default: float, low: float, high: float, **more: Any) -> Any:
    """A field that holds a number of the default's type in low..high; ``more`` is kept as metadata."""
    return field(default=default, metadata={"low": low, "high": high, **more})


def choice(default: str, *allowed: str, **more: Any) -> Any:
    """A field that holds one of some words."""
    return field(default=default, metadata={"allowed": allowed, **more})


def check_fields(settings: Any) -> None:
    """Checks every field of a dataclass and turns integers into floats where a float belongs; for __post_init__.

    Raises:
        ConfigError: a value of another type, not allowed, or out of its range.
    """
    for spec in dataclasses.fields(settings):
        object.__setattr__(settings, spec.name, checked(spec, getattr(settings, spec.name)))


def checked(spec: "dataclasses.Field[Any]", value: Any) -> Any:
    """The value in its field's own type.

    Raises:
        ConfigError: as check_fields.
    """
    if spec.default is dataclasses.MISSING:
        return value
    kind = type(spec.default)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value) if abs(value) < 1e300 else float("inf")
    if type(value) is not kind:
        raise ConfigError(f"{spec.name} = {shown(value)} is not of type {kind.__name__}")
    rules = spec.metadata
    if "allowed" in rules and value not in rules["allowed"]:
        raise ConfigError(f"{spec.name} = {shown(value)} is not one of {', '.join(rules['allowed'])}")
    if "low" in rules and not rules["low"] <= value <= rules["high"]:
        raise ConfigError(f"{spec.name} = {shown(value)} is outside {rules['low']}..{rules['high']}")
    return value


def spec_of(kind: type, name: str, what: str) -> "dataclasses.Field[Any]":
    """The field of a name; ``what`` a setting of this kind is called in messages.

    Raises:
        ConfigError: there is no such field; the nearest spelling is offered.
    """
    specs = {spec.name: spec for spec in dataclasses.fields(kind)}
    if name not in specs:
        near = difflib.get_close_matches(str(name)[:64], specs, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"{shown(name)} is not a {what}; there are {', '.join(specs)}{hint}")
    return specs[name]


def parsed_of(spec: "dataclasses.Field[Any]", value: str, option: str = "--set") -> Any:
    """A text as a value of its field's type.

    Raises:
        ConfigError: it is none.
    """
    kind = type(spec.default)
    if kind is bool:
        words = {"true": True, "false": False}
        if value not in words:
            raise ConfigError(f"{option} {spec.name}={value}: write true or false")
        return words[value]
    try:
        return kind(value)
    except ValueError:
        raise ConfigError(f"{option} {spec.name}={value}: not a value of type {kind.__name__}") from None
