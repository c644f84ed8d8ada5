"""A preflight on standard output: a table of what was found, and below it what to do.

Text to copy (addresses, settings, names of files) is printed below the table, unbroken: cells break long words.
"""

import re
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engines.base import Check

PLAIN_WIDTH = 160
"""Of a table that does not go to a terminal."""
NARROWEST = 80
LONGEST_INSIDE = 30
"""Longer addresses would be broken over lines in a narrow terminal's table; they are printed below it."""
_ADDRESS = re.compile(r"https?://[^\s,;()'\"]+")
_MARKS = {True: "[green]ok[/]", False: "[red]missing[/]", None: "[yellow]note[/]"}


def print_checks(checks: Sequence[Check]) -> None:
    """Prints a preflight."""
    plain = not sys.stdout.isatty()
    console = Console(highlight=False, width=PLAIN_WIDTH if plain else max(NARROWEST, Console().width))
    table, addresses = Table(box=None, pad_edge=False), list[str]()
    for title in ("", "what", "found"):
        table.add_column(title, overflow="fold")
    for check in checks:
        table.add_row(_MARKS[check.ok], *(escape(_shortened(text, addresses)) for text in (check.name, check.found)))
    console.print(table)
    for line in [*_listed(addresses), *_what_to_do(checks)]:
        # Not wrapped: a terminal only displays a long line broken; copied, it is one line.
        console.print(line, markup=False, soft_wrap=True)


def _shortened(text: str, addresses: list[str]) -> str:
    """A cell's text with a number in the place of each long address, which is added to ``addresses``."""

    def number(found: "re.Match[str]") -> str:
        address = found[0].rstrip(".:")
        if len(address) <= LONGEST_INSIDE:
            return found[0]
        if address not in addresses:
            addresses.append(address)
        return f"[{addresses.index(address) + 1}]{found[0][len(address) :]}"

    return _ADDRESS.sub(number, text)


def _listed(addresses: Sequence[str]) -> Iterable[str]:
    yield from ([""] if addresses else [])
    for number, address in enumerate(addresses, 1):
        yield f"[{number}] {address}"


def _what_to_do(checks: Sequence[Check]) -> Iterable[str]:
    """A line for each check that failed or has a note."""
    advised = [check for check in checks if not check.ok and check.fix]
    yield from (["", "what to do:"] if advised else [])
    for check in advised:
        yield f"  {check.name}: {check.fix}"
