"""Command-line options derived from settings: flag, type, choices, default and help come from the model's fields.

    class Demo(Settings):
        size: int = Field(default=512, ge=64, le=1024, json_schema_extra={"metavar": "PX"})
        \"\"\"Side of the pictures in pixels.\"\"\"

    add_options(parser, Demo)                      # --size PX   Side of the pictures in pixels (64..1024; default: 512)
    demo = Demo(**given_options(args, Demo))

A flag is the field's name with dashes; a bool that is true by default gets ``--no-…`` as well; a tuple's option may be
given several times. ``json_schema_extra`` may hold ``flag`` (another flag), ``metavar``, ``help`` (where the command
line needs other words than the description), ``default`` (what to show as the default where it is decided later) and
``hidden`` (no option). ``markdown_table`` shows the same facts in the docs.
"""

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from acusim.markdown import table
from acusim.settings import choices_of, element_type, extra_of, inner_type, range_text


def add_options(
    parser: "argparse._ActionsContainer",
    model: type[BaseModel],
    names: Iterable[str] | None = None,
    required: bool = True,
) -> None:
    """Adds an option for each field of a model.

    Args:
        parser: a parser or one of its groups.
        model: the settings; fields that are settings themselves have no option.
        names: the fields to add, in this order; None adds all.
        required: whether the command line must name a field that has no default.
    """
    for name in names if names is not None else model.model_fields:
        field = model.model_fields[name]
        if _is_listed(field):
            settings: dict[str, Any] = _kind_of(field) | ({} if required else {"required": False})
            parser.add_argument(flag_of(model, name), dest=name, default=None, help=help_of(field), **settings)


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
    text = (text[:1].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text).replace("%", "%%")
    facts = [range_text(field)] if range_text(field) else []
    if (default := _default_text(field)) and not field.is_required() and field.default is not False:
        facts.append(f"default: {default}")
    return f"{text} ({'; '.join(facts)})" if facts else text


def markdown_table(model: type[BaseModel]) -> str:
    """The settings of a model as a Markdown table for the docs: setting, default, allowed values, description.

    Fields that are settings themselves, and hidden ones, have no row.
    """
    rows: list[tuple[str, ...]] = []
    for name, field in model.model_fields.items():
        if _is_listed(field):
            default = _default_text(field) or "none"
            if default != "none" and extra_of(field, "default") is None and not field.is_required():
                default = f"`{default}`"
            text = " ".join((field.description or "").split())
            rows.append((f"`{name}`", default, _allowed_text(field), text))
    escaped = ([cell.replace("|", "\\|") for cell in row] for row in rows)
    return table(("setting", "default", "allowed", "description"), escaped)


def _is_listed(field: FieldInfo) -> bool:
    kind = inner_type(field)
    return not (extra_of(field, "hidden") or isinstance(kind, type) and issubclass(kind, BaseModel))


def _default_text(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    if (shown := extra_of(field, "default")) is not None:
        return str(shown)
    default = field.get_default(call_default_factory=True)
    if isinstance(default, tuple):
        return ", ".join(map(str, default))
    return "" if default is None else str(default)


_TYPE_NAMES = {int: "integer", float: "number", bool: "true or false", str: "text", Path: "path"}


def _allowed_text(field: FieldInfo) -> str:
    kind = inner_type(field)
    entry = element_type(kind)
    choices = ", ".join(f"`{choice}`" for choice in choices_of(field))
    text = choices or range_text(field) or _TYPE_NAMES.get(entry, str(entry))
    return f"list of {text}" if get_origin(kind) is tuple else text


def _kind_of(field: FieldInfo) -> dict[str, Any]:
    """How argparse reads a field."""
    kind, metavar = inner_type(field), extra_of(field, "metavar")
    required = {"required": True} if field.is_required() else {}
    if kind is bool:
        return {"action": argparse.BooleanOptionalAction if field.default is True else "store_true"}
    several = {"action": "append"} if get_origin(kind) is tuple else {}
    if choices := choices_of(field):
        return {"choices": choices, "type": type(choices[0]), **several, **required}
    entry = element_type(kind)
    given = _path if entry is Path else entry if entry in (int, float) else str
    return {"type": given, "metavar": metavar, **several, **required}


def _path(text: str) -> Path:
    """A path as it is typed; an empty one, as of a shell's variable that is not set, would be the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("an empty path; write . for the current folder")
    return Path(text)
