"""Settings as fields of frozen dataclasses: their ranges beside them, one way to check them and to say what is wrong.

@dataclass(frozen=True)
class Recipe:
    steps: int = number(24, 1, 200)
    sampler: str = choice("dpmpp_2m", "dpmpp_2m", "euler")

    def __post_init__(self) -> None:
        check_fields(self)
"""

import dataclasses
import difflib
from dataclasses import field
from typing import Any

from acusim.errors import ConfigError, shown


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


def assignment(text: str, option: str = "--set") -> tuple[str, str]:
    """Name and value of ``name=value``.

    Raises:
        ConfigError: there is no '='.
    """
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(f"{option} {text!r} is not of the form name=value, such as steps=28")
    return name.strip(), value.strip()


def parsed(spec: "dataclasses.Field[Any]", value: str, option: str = "--set") -> Any:
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
