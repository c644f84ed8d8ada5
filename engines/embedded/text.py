"""Prompts to tokens with weights, as ComfyUI reads them.

Brackets weight what they hold: ``(smile)`` by 1.1, ``((smile))`` by 1.21, ``(smile:1.3)`` by 1.3; ``\\(`` and ``\\)``
are brackets of the text itself. A text longer than one window of CLIP goes on in the next one.
"""

import gzip
import importlib.util
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from acusim.errors import EngineError, PictureError
from acusim.files import sha256

WINDOW = 77
"""Tokens of CLIP's text encoder, start and end among them."""
LONG_WORD = 8
"""Segments of at least so many tokens may be broken at the end of a window."""
NESTED_WEIGHT = 1.1
DEEPEST = 100
VOCABULARY = "foundationals/clip/bpe_simple_vocab_16e6.txt.gz"
VOCABULARY_SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 48_894
"""Pairs that OpenAI's CLIP merges: the first lines of the file after its heading."""
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
            f"prompt {text[:80]!r} names a textual inversion (embedding:…), which engine embedded does not load; take "
            "it out, or use --engine comfyui"
        )
    segments = [
        [(token, weight) for token in _tokens(part)] for part, weight in _weighted(_hidden(text), 1.0, 0) if part
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


def _hidden(text: str) -> str:
    """Escaped brackets as control characters, so that they weight nothing."""
    return text.replace("\\)", "\0\1").replace("\\(", "\0\2")


def _shown(text: str) -> str:
    return text.replace("\0\1", ")").replace("\0\2", "(")


def _weighted(text: str, weight: float, depth: int) -> Iterator[tuple[str, float]]:
    """Parts of a text with their weights, brackets taken off."""
    if depth > DEEPEST:
        raise PictureError(f"prompt nests brackets more than {DEEPEST} deep; write (text:1.3) instead")
    for part in _parts(text):
        if len(part) < 2 or part[0] != "(" or part[-1] != ")":
            yield part, weight
            continue
        inner, own = part[1:-1], weight * NESTED_WEIGHT
        before, colon, number = inner.rpartition(":")
        if colon and before:
            try:
                own = float(number)
                inner = before
            except ValueError:
                pass
        yield from _weighted(inner, own, depth + 1)


def _parts(text: str) -> Iterator[str]:
    """A text cut where an outermost bracket opens or closes; a bracket without its partner stays in its part."""
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


def _tokens(part: str) -> list[int]:
    return _tokenizer()(_shown(part), add_special_tokens=False)["input_ids"]


@cache
def _tokenizer() -> Any:
    """CLIP's byte-pair tokenizer from the merges that the package refiners carries.

    Raises:
        EngineError: the package is missing or carries another file.
    """
    from transformers import CLIPTokenizer

    spec = importlib.util.find_spec("refiners")
    path = Path(spec.origin).parent / VOCABULARY if spec and spec.origin else None
    data = path.read_bytes() if path and path.is_file() else b""
    if sha256(data) != VOCABULARY_SHA256:
        raise EngineError(
            "the vocabulary of CLIP's tokenizer is not there; pip install refiners==0.4.0 (no other version)"
        )
    lines = gzip.decompress(data).decode("utf-8").split("\n")[1 : MERGES + 1]
    letters = list(_byte_letters())
    merges: Any = [tuple(line.split()) for line in lines]
    words = [*letters, *(f"{letter}</w>" for letter in letters), *("".join(pair) for pair in merges)]
    vocabulary = {word: place for place, word in enumerate([*words, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=10**9)


def _byte_letters() -> Iterator[str]:
    """A printable letter for each byte, in the order of CLIP's vocabulary.

    Bytes that print in Latin-1 stand for themselves, the others for letters from U+0100 on (GPT-2's byte-level BPE).
    """
    printing = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    yield from map(chr, printing)
    others = [byte for byte in range(256) if byte not in set(printing)]
    yield from (chr(256 + place) for place in range(len(others)))
