"""Command-line options derived from settings: flag, type, choices, default and help come from the model's fields.

    class Demo(Settings):
        size: int = Field(default=512, ge=64, le=1024, json_schema_extra={"metavar": "PX"})
        \"\"\"Side of the pictures in pixels.\"\"\"

    add_options(parser, Demo)                      # --size PX   Side of the pictures in pixels (64..1024; default: 512)
    demo = Demo(**given_options(args, Demo))

A flag is the field's name with dashes. ``json_schema_extra`` may hold ``flag`` (another flag), ``metavar``, ``help``
(where the command line needs other words than the description), ``default`` (what to show as the default where it is
decided later) and ``hidden`` (no option).
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from acusim.settings import bounds_of, choices_of, extra_of, inner_type


def add_options(
    parser: "argparse._ActionsContainer", model: type[BaseModel], names: Iterable[str] | None = None
) -> None:
    """Adds an option for each field of a model.

    Args:
        parser: a parser or one of its groups.
        model: the settings; fields that are settings themselves have no option.
        names: the fields to add, in this order; None adds all.
    """
    for name in names if names is not None else model.model_fields:
        field = model.model_fields[name]
        if (
            extra_of(field, "hidden")
            or isinstance(inner_type(field), type)
            and issubclass(inner_type(field), BaseModel)
        ):
            continue
        parser.add_argument(flag_of(model, name), dest=name, default=None, help=help_of(field), **_kind_of(field))


def given_options(args: argparse.Namespace, model: type[BaseModel]) -> dict[str, Any]:
    """The fields of a model that were given on the command line, by name."""
    found = {name: getattr(args, name, None) for name in model.model_fields}
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in found.items() if value is not None
    }


def flag_of(model: type[BaseModel], name: str) -> str:
    """The option of a field, such as ``--batch-size``."""
    return str(extra_of(model.model_fields[name], "flag") or "--" + name.replace("_", "-"))


def help_of(field: FieldInfo) -> str:
    """A field's description with its range and default, for ``--help``."""
    text = str(extra_of(field, "help") or field.description or "").rstrip(".")
    text = (text[:1].lower() + text[1:] if text[1:2].islower() else text).replace("%", "%%")
    low, high = bounds_of(field)
    facts = [f"{low:g}..{high:g}"] if low is not None and high is not None else []
    shown = extra_of(field, "default")
    if shown is None and field.default not in (None, False, "", ()) and not field.is_required():
        shown = field.default
    if shown is not None:
        facts.append(f"default: {shown}")
    return f"{text} ({'; '.join(facts)})" if facts else text


def _kind_of(field: FieldInfo) -> dict[str, Any]:
    """What argparse has to know to read a field."""
    kind, metavar = inner_type(field), extra_of(field, "metavar")
    required = {"required": True} if field.is_required() else {}
    if kind is bool:
        return {"action": "store_true"}
    if choices := choices_of(field):
        return {"choices": choices, **required}
    if get_origin(kind) is tuple:
        return {"action": "append", "type": _reader(get_args(kind)[0]), "metavar": metavar, **required}
    return {"type": _reader(kind), "metavar": metavar, **required}


def _reader(kind: Any) -> Any:
    return kind if kind in (int, float, Path) else str
