"""HTML reports: one page that holds everything it shows, rendered from a Jinja2 template of any package.

    render("evaluation", "report.html", title="…", results=…)

A page extends ``base.html`` and fills its block ``body``. ``table``, ``image``, ``plot`` and ``cards``, the macros of
``macros.html``, are functions in every template, as are ``number``, ``percent`` and ``figure``, which are filters too.
Every value is escaped unless it is ``Markup``, and a name that a template does not find is an error.
"""

import base64
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


def render(package: str, template: str, **values: Any) -> bytes:
    """The bytes of a page.

    Args:
        package: its folder ``templates`` holds the template.
        template: the file's name.
        values: what the template shows; ``title`` is that of the page.

    Raises:
        jinja2.TemplateError: there is no such template, or it needs a value that is not given.
    """
    return environment(package).get_template(template).render(values).encode()


@cache
def environment(package: str) -> Environment:
    """The templates of a package, beside those of this one."""
    loaders = [PackageLoader(name) for name in dict.fromkeys((package, "reporting"))]
    found = Environment(
        loader=ChoiceLoader(loaders),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    texts = {"number": number, "percent": percent, "figure": figure}
    found.filters |= texts | {"base64": _base64}
    found.globals |= texts
    macros = found.get_template("macros.html").module
    found.globals |= {name: getattr(macros, name) for name in ("table", "image", "plot", "cards")}
    return found


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def number(value: float | None, digits: int = 2) -> str:
    """A number, a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent, a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def figure(values: Mapping[str, Any], digits: int = 2, factor: float = 1) -> Markup:
    """A figure's value with its interval, from statistics.Figure.as_json; multiplied, by 100 for per cent."""
    if values["value"] is None:
        return Markup("–")
    value, low, high = (
        None if values[name] is None else f"{factor * values[name]:.{digits}f}" for name in ("value", "low", "high")
    )
    return Markup(value if low is None else f'{value}<span class="soft"> [{low}, {high}]</span>')
