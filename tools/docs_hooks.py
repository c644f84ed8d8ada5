"""Parts of the docs that derive from the program when the site is built: hooks of mkdocs, named in mkdocs.yml.

Run mkdocs as ``python -m mkdocs``, so that the clone is on Python's path.

A page asks for them by a line of its own:

    <!-- settings: engines.options:RelightOptions -->   the table of a settings model, a heading for each nested one
    <!-- help: training train -->                       what ``python -m training train --help`` prints
    <!-- modules: engines -->                           the modules of a room, each with the first line of its docstring
    <!-- points: head -->                               the acupoints of head or hand: code, names, place, use
"""

import ast
import importlib
import logging
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from acusim import markdown
from acusim.options import markdown_table
from acusim.settings import Settings, inner_type

ROOT = Path(__file__).resolve().parents[1]
DIRECTIVE = re.compile(r"^<!-- (settings|help|modules|points): (.+?) -->$", re.MULTILINE)
logger = logging.getLogger("mkdocs.hooks.reference")
"""Below ``mkdocs``, so that a warning fails a strict build."""


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replaces the directives of a page by what they stand for."""
    writers = {"settings": settings_tables, "help": help_text, "modules": modules_table, "points": points_table}
    found = [match.groups() for match in DIRECTIVE.finditer(markdown)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # each --help is a process of its own
        texts = iter([*pool.map(lambda each: writers[each[0]](each[1]), found)])
    return DIRECTIVE.sub(lambda _: next(texts), markdown)


def settings_tables(place: str) -> str:
    """The table of a model, then those of its sections.

    Args:
        place: ``module:Class``, a subclass of acusim.settings.Settings.
    """
    module, _, name = place.partition(":")
    try:
        model = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        logger.warning(f"no table of {place}: {error}")
        return f"*{place} was not found.*"
    if not (isinstance(model, type) and issubclass(model, Settings)):
        logger.warning(f"no table of {place}: it is not a subclass of Settings")
        return f"*{place} is not a subclass of Settings.*"
    return "\n".join(_tables(model, ""))


def points_table(kind: str) -> str:
    """The acupoints of head or hand, each code once, in the network's order."""
    from training.inference.point_names import HEAD_POINTS, hand_points
    from training.tasks.hand_points import read_points

    if kind not in ("head", "hand"):
        logger.warning(f"no table of the points of {kind!r}: there are those of head and hand")
        return f"*The points of {kind} have no table.*"
    first: dict[str, tuple[str, ...]] = {}
    for point in HEAD_POINTS if kind == "head" else hand_points(read_points().points):
        code = point.standard_code.partition(".")[0]
        name = f"{point.zh} {point.pinyin}"
        first.setdefault(code, (code, name, point.meridian, point.location, point.use or "–"))
    return markdown.table(("code", "name", "meridian", "where", "classical use"), first.values())


def _tables(model: type[Settings], prefix: str) -> list[str]:
    sections = {
        prefix + name: kind
        for name, field in model.model_fields.items()
        if isinstance(kind := inner_type(field), type) and issubclass(kind, Settings)
    }
    table = markdown_table(model) if len(sections) < len(model.model_fields) else ""
    parts = [table]
    for name, kind in sections.items():
        parts += [f"\n#### `[{name}]`\n\n{(kind.__doc__ or '').strip().splitlines()[0]}\n", *_tables(kind, f"{name}.")]
    return parts


def help_text(words: str) -> str:
    """What a command prints with ``--help``, as a block of code.

    Args:
        words: the package and the sub-commands, such as ``training coco export``.
    """
    command = [sys.executable, "-m", *words.split(), "--help"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True)
    if done.returncode:
        logger.warning(f"`python -m {words} --help` failed: {done.stderr.strip()[-300:]}")
    return f"```text\n{done.stdout.strip()}\n```"


def modules_table(room: str) -> str:
    """The modules of a room in the order of their names, each with the first line of its docstring."""
    rows = ["| module | |", "| --- | --- |"]
    for path in sorted((ROOT / room).rglob("*.py")):
        doc = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        if path.name not in ("__init__.py", "__main__.py") and doc:
            first = " ".join(doc.split("\n\n")[0].split()).replace("|", "\\|")
            rows.append(f"| `{path.relative_to(ROOT / room).as_posix()}` | {first} |")
    return "\n".join(rows)
