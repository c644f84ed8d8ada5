"""The look of reports: one HTML page that holds everything it shows, and the pieces it is made of."""

import base64
import html
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

_CSS = """
:root { color-scheme: light; --ink: #1a202c; --soft: #4a5568; --line: #e2e8f0; --back: #f7fafc; --good: #276749;
  --bad: #9b2c2c; }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
main { max-width: 76rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.5rem; margin: 0.5rem 0; } h2 { font-size: 1.15rem; margin: 2rem 0 0.5rem; } h3 { font-size: 1rem; }
p { max-width: 46rem; } .soft { color: var(--soft); }
section, .cards > div { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 0.8rem 1rem; }
section { margin: 1rem 0; } section > h2:first-child { margin-top: 0; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr)); gap: 0.7rem; }
.cards b { display: block; font-size: 1.4rem; } .cards span { color: var(--soft); font-size: 0.85rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.86rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.22rem 0.7rem 0.22rem 0; text-align: right; white-space: nowrap; }
th, td { border-bottom: 1px solid var(--line); }
th:first-child, td:first-child, .text { text-align: left; }
.text { white-space: normal; min-width: 9rem; }
th { color: var(--soft); font-weight: 600; }
.good { color: var(--good); } .bad { color: var(--bad); }
img { max-width: 100%; height: auto; display: block; }
.plot { overflow-x: auto; } .plot img { min-width: 32rem; }
.worst { display: grid; grid-template-columns: repeat(3, 1fr); gap: 4px; margin-top: 0.3rem; }
.worst img { width: 100%; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(20rem, 100%), 1fr)); gap: 0.7rem; }
.pictures img { width: 100%; } .pictures .soft { font-size: 0.85rem; overflow-wrap: anywhere; }
details { margin: 0.5rem 0; } summary { cursor: pointer; }
code { overflow-wrap: anywhere; }
"""


def document(title: str, parts: Iterable[str]) -> bytes:
    """The page's bytes: a title, which is escaped, and pieces of HTML one below the other."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escaped(title)}</title><style>{_CSS}</style></head>\n"
        f"<body><main>\n{body}\n</main></body></html>\n"
    ).encode()


def escaped(text: object) -> str:
    """Any value as text of the page."""
    return html.escape(str(text))


def number(value: float | None, digits: int = 2) -> str:
    """A number, a dash for None."""
    return "–" if value is None else f"{value:.{digits}f}"


def percent(value: float | None, digits: int = 1) -> str:
    """A share in per cent, a dash for None."""
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def figure(values: Mapping[str, Any], digits: int = 2, factor: float = 1) -> str:
    """A figure's value with its interval, from statistics.Figure.as_json; multiplied, by 100 for per cent."""
    if values["value"] is None:
        return "–"
    value = f"{factor * values['value']:.{digits}f}"
    if values["low"] is None:
        return value
    low, high = (f"{factor * values[end]:.{digits}f}" for end in ("low", "high"))
    return f'{value}<span class="soft"> [{low}, {high}]</span>'


def table(head: Sequence[str], rows: Iterable[Sequence[str]], words: Collection[str] = ()) -> str:
    """A table that scrolls sideways where the page is narrow.

    Args:
        head: titles, which are escaped.
        rows: cells, which are HTML already.
        words: titles of columns of words, which stand at the left as the first one does; numbers stand at the right.
    """
    kinds = [' class="text"' if title in words else "" for title in head]
    top = "".join(f"<th{kind}>{escaped(title)}</th>" for kind, title in zip(kinds, head, strict=True))
    lines = ("".join(f"<td{kind}>{cell}</td>" for kind, cell in zip(kinds, row, strict=True)) for row in rows)
    body = "\n".join(f"<tr>{line}</tr>" for line in lines)
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n{body}\n</tbody></table></div>'


def image(data: bytes | None, kind: str, alt: str) -> str:
    """A picture within the page.

    Args:
        data: the file's bytes; None says that there is nothing to show.
        kind: png or jpeg.
        alt: what it shows.
    """
    if data is None:
        return '<p class="soft">Nothing to show.</p>'
    return f'<img alt="{escaped(alt)}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def plot(data: bytes | None, alt: str) -> str:
    """A PNG that keeps its width and scrolls on a narrow page."""
    return f'<div class="plot">{image(data, "png", alt)}</div>'


def cards(entries: Iterable[tuple[str, str]]) -> str:
    """Headline figures: (name, HTML of the value)."""
    boxes = "".join(f"<div><b>{value}</b><span>{escaped(name)}</span></div>" for name, value in entries)
    return f'<div class="cards">{boxes}</div>'
