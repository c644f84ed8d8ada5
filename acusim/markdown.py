"""Tables in Markdown, for docs and reports of measurements."""

from collections.abc import Iterable, Sequence


def table(head: Sequence[str], rows: Iterable[Iterable[object]]) -> str:
    """A table: titles, and rows of as many cells; cells are Markdown, in which a ``|`` is escaped by the caller."""
    lines = (head, ["---"] * len(head), *rows)
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)
