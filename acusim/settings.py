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

import difflib
import json
import math
import re
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, ClassVar, Literal, Self, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic.fields import FieldInfo

from acusim.errors import ConfigError, shown
from acusim.settings_file import read_settings


class Settings(BaseModel):
    """Base of all settings: frozen, strict (no text becomes a number), without unknown names.

    As TOML and JSON know neither tuples nor paths, a list is taken for a tuple and a text for a path.

    Raises:
        ConfigError: an unknown name, or a value of another type, not allowed, or out of its range.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    WHAT: ClassVar[str] = "setting"
    """What one of these settings is called in messages."""

    def __init__(self, **values: Any):
        model = type(self)
        try:
            super().__init__(**{name: _python_value(field_of(model, name), value) for name, value in values.items()})
        except ValidationError as error:
            raise ConfigError(_explained(error, model)) from None

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
        """All settings as TOML, which from_toml reads back to equal ones; settings that are None are omitted."""
        return toml_lines(self.as_dict())

    @classmethod
    def from_toml(cls, path: Path | None) -> Self:
        """Settings from a TOML file of differences; None gives the defaults.

        Raises:
            ConfigError: unreadable, not TOML, or as the class; names the file.
        """
        return cls() if path is None else read_settings(path, cls.WHAT, lambda values: cls(**values))


def _python_value(field: FieldInfo, value: Any) -> Any:
    """A value from TOML or JSON in its field's own type."""
    kind = inner_type(field)
    if isinstance(value, list) and get_origin(kind) is tuple:
        return tuple(Path(entry) if element_type(kind) is Path else entry for entry in value)
    return Path(value) if kind is Path and isinstance(value, str) else value


def toml_lines(values: dict[str, Any], table: str = "") -> str:
    """A dictionary as TOML: plain values first, dictionaries as tables; None is omitted.

    Args:
        values: texts, numbers, paths, sequences of these, and dictionaries.
        table: the name of the table that holds the values, such as ``engine.server``.
    """
    plain = "".join(
        f"{_toml_key(name)} = {_toml_value(value)}\n"
        for name, value in values.items()
        if value is not None and not isinstance(value, dict)
    )
    tables = {f"{table}{_toml_key(name)}": value for name, value in values.items() if isinstance(value, dict)}
    return plain + "".join(f"\n[{name}]\n{toml_lines(value, f'{name}.')}" for name, value in tables.items())


def _toml_key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml_value(name)


def _toml_value(value: Any) -> str:
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(_toml_value, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    # JSON's strings, integers, floats and booleans are valid TOML, but for one control character.
    text = json.dumps(str(value) if isinstance(value, Path) else value, ensure_ascii=False)
    return text.replace("\x7f", "\\u007f")


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
    """The value of ``Field(json_schema_extra={name: …})``, None if there is none."""
    extra = field.json_schema_extra
    return extra.get(name) if isinstance(extra, dict) else None


def bounds_of(field: FieldInfo) -> tuple[float | None, float | None]:
    """The smallest and the largest allowed number; None where there is no limit."""
    low = high = None
    for rule in field.metadata:
        low = getattr(rule, "ge", low)
        high = getattr(rule, "le", high)
    return low, high


def range_text(field: FieldInfo) -> str:
    """The allowed numbers of a field, such as ``1..64`` or ``at least 1``; empty where there is no limit."""
    low, high = (None if bound is None else _number_text(bound) for bound in bounds_of(field))
    if low is not None and high is not None:
        return f"{low}..{high}"
    return f"at least {low}" if low is not None else f"at most {high}" if high is not None else ""


def _number_text(value: float) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def choices_of(field: FieldInfo) -> tuple[Any, ...]:
    """The allowed values of a Literal field, or of the entries of a tuple of Literals; empty for any other."""
    kind = element_type(inner_type(field))
    return get_args(kind) if get_origin(kind) is Literal else ()


def inner_type(field: FieldInfo) -> Any:
    """The field's type without ``| None``."""
    kind: Any = field.annotation
    if get_origin(kind) in (Union, UnionType):
        some = [part for part in get_args(kind) if part is not NoneType]
        return some[0] if len(some) == 1 else kind
    return kind


def element_type(kind: Any) -> Any:
    """The type of a tuple's entries; any other type as it is."""
    return get_args(kind)[0] if get_origin(kind) is tuple else kind


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
    """A text as a value of a field's type, a tuple's entries separated by commas; the model checks whether it is valid.

    Raises:
        ConfigError: there is no such field, or the text is not of its type.
    """
    field = field_of(model, name)
    kind = inner_type(field)
    if get_origin(kind) is tuple:
        return tuple(_parsed_entry(field, name, part.strip(), option) for part in value.split(",") if part.strip())
    return _parsed_entry(field, name, value, option)


def _parsed_entry(field: FieldInfo, name: str, value: str, option: str) -> Any:
    kind = element_type(inner_type(field))
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
    if kind is Path:
        return Path(value)
    return next((choice for choice in choices_of(field) if str(choice) == value), value)


def _explained(error: ValidationError, model: type[BaseModel]) -> str:
    """The first thing that is wrong, in one line."""
    fault = error.errors(include_url=False)[0]
    name = ".".join(str(part) for part in fault["loc"])
    if fault["type"] == "missing":
        return f"{name} is missing"
    given = f"{name} = {shown(fault['input'])}"
    field = model.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    if field is None:
        return f"{given}: {fault['msg']}"
    if fault["type"] == "literal_error":
        return f"{given} is not one of {', '.join(str(choice) for choice in choices_of(field))}"
    if fault["type"] in ("greater_than_equal", "less_than_equal", "finite_number"):
        allowed = range_text(field) or "a finite number"
        return f"{given} is outside {allowed}" if ".." in allowed else f"{given} is not {allowed}"
    if fault["type"].endswith(("_type", "_parsing", "is_instance_of")):
        kind = inner_type(field) if len(fault["loc"]) == 1 else element_type(inner_type(field))
        return f"{given} is not of type {getattr(kind, '__name__', kind)}"
    return f"{given}: {fault['msg']}"
