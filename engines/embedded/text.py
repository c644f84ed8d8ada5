"""Prompts to tokens with weights, as ComfyUI reads them.

Brackets weight what they hold: ``(smile)`` by 1.1, ``((smile))`` by 1.21, ``(smile:1.3)`` by 1.3; ``\\(`` and ``\\)``
are brackets of the text itself. A text longer than one window of CLIP continues in the next one.
"""

import gzip
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from acusim.errors import PictureError

WINDOW = 77
"""Tokens of CLIP's text encoder, start and end included."""
LONG_WORD = 8
"""Segments of at least this many tokens may be split at the end of a window."""
NESTED_WEIGHT = 1.1
DEEPEST = 100
_MERGES_FILE = Path(__file__).with_name("data") / "clip_merges.txt.gz"
"""A heading, then the pairs that OpenAI's CLIP merges, in order (data/README.md)."""
START, END = 49_406, 49_407

Window = list[tuple[int, float]]
"""77 tokens with their weights."""


def windows(text: str) -> list[Window]:
    """The windows of a prompt; an empty prompt has one.

    Raises:
        PictureError: the prompt names a textual inversion, or nests brackets too deep.
    """
    if re.search(r"(^|[ \n])embedding:", text):
        raise PictureError(
            f"prompt {text[:80]!r} names a textual inversion (embedding:…), which engine embedded does not load; "
            "remove it, or use --engine comfyui"
        )
    segments = [
        [(token, weight) for token in _tokens(section)]
        for section, weight in _weighted(_hide_escapes(text), 1.0, 0)
        if section
    ]
    found: list[Window] = []
    window: Window = [(START, 1.0)]
    for segment in segments:
        breakable = len(segment) >= LONG_WORD
        while segment:
            room = WINDOW - 1 - len(window)
            if len(segment) <= room:
                window += segment
                segment = []
                continue
            if breakable:
                window += segment[:room]
                segment = segment[room:]
            found.append(_filled(window))
            window = [(START, 1.0)]
    return [*found, _filled(window)]


def _filled(window: Window) -> Window:
    return window + [(END, 1.0)] * (WINDOW - len(window))


def _hide_escapes(text: str) -> str:
    """Escaped brackets as control characters, so that they weight nothing."""
    return text.replace("\\)", "\0\1").replace("\\(", "\0\2")


def _show_escapes(text: str) -> str:
    return text.replace("\0\1", ")").replace("\0\2", "(")


def _weighted(text: str, weight: float, depth: int) -> Iterator[tuple[str, float]]:
    """Sections of a text with their weights, brackets removed."""
    if depth > DEEPEST:
        raise PictureError(f"prompt nests brackets more than {DEEPEST} deep; write (text:1.3) instead")
    for section in _sections(text):
        if len(section) < 2 or section[0] != "(" or section[-1] != ")":
            yield section, weight
            continue
        inner, own = section[1:-1], weight * NESTED_WEIGHT
        before, colon, number = inner.rpartition(":")
        if colon and before:
            try:
                own = float(number)
                inner = before
            except ValueError:
                pass
        yield from _weighted(inner, own, depth + 1)


def _sections(text: str) -> Iterator[str]:
    """A text cut where an outermost bracket opens or closes; an unbalanced bracket stays in its section."""
    depth, begin = 0, 0
    for place, letter in enumerate(text):
        if letter == "(":
            if depth == 0 and place > begin:
                yield text[begin:place]
                begin = place
            depth += 1
        elif letter == ")":
            depth -= 1
            if depth == 0:
                yield text[begin : place + 1]
                begin = place + 1
    if begin < len(text):
        yield text[begin:]


def _tokens(section: str) -> list[int]:
    return _tokenizer()(_show_escapes(section), add_special_tokens=False)["input_ids"]


@cache
def _tokenizer() -> Any:
    """CLIP's byte-pair tokenizer."""
    from transformers import CLIPTokenizer

    with gzip.open(_MERGES_FILE, "rt", encoding="utf-8", newline="\n") as lines:
        next(lines)
        merges: Any = [tuple(line.split()) for line in lines]
    letters = list(_byte_letters())
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=10**9)


def _byte_letters() -> Iterator[str]:
    """A printable letter for each byte, in the order of CLIP's vocabulary.

    Bytes printable in Latin-1 stand for themselves, the others are letters from U+0100 on (GPT-2's byte-level BPE).
    """
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printing)
    others = [byte for byte in range(256) if byte not in set(printing)]
    yield from (chr(256 + place) for place in range(len(others)))
