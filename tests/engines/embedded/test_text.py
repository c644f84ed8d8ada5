"""Prompts against ComfyUI's own tokens and weights."""

import json
import re
from pathlib import Path

import pytest

from acusim.errors import PictureError
from acusim.files import sha256
from engines.embedded.text import END, START, _tokenizer, windows

RECORDED = json.loads((Path(__file__).parents[2] / "data/embedded/tokens.json").read_text())["rows"]
READABLE = [row for row in RECORDED if not re.search(r"(^|[ \n])embedding:", row["text"])]


def test_enough_prompts_were_recorded():
    assert len(READABLE) > 40


@pytest.mark.parametrize("row", READABLE, ids=lambda row: repr(row["text"][:30]))
def test_a_prompt_has_comfyuis_tokens_and_weights(row: dict[str, object]):
    found = windows(row["text"])  # pyright: ignore[reportArgumentType]
    assert [[token for token, _ in window] for window in found] == [chunk["ids"] for chunk in row["chunks"]]  # pyright: ignore
    assert [[weight for _, weight in window] for window in found] == [chunk["weights"] for chunk in row["chunks"]]  # pyright: ignore


def test_the_vocabulary_is_that_of_openais_clip():
    vocabulary = _tokenizer().get_vocab()
    assert len(vocabulary) == END + 1 and vocabulary["a</w>"] == 320
    assert vocabulary["<|startoftext|>"] == START and vocabulary["<|endoftext|>"] == END
    text = "\n".join(sorted(vocabulary, key=vocabulary.__getitem__)) + "\n"
    assert sha256(text.encode()) == "e30e57b6f1e47616982ef898d8922be24e535b4fa3d0110477b3a6f02ebbae7d"


def test_an_empty_prompt_is_one_window_of_ends():
    assert windows("") == [[(START, 1.0)] + [(END, 1.0)] * 76]


def test_brackets_weight_by_hand():
    # "a" is token 320, as in CLIP's published vocabulary: "a</w>".
    tokens = [pair for pair in windows("a (a) ((a)) (a:0.5) ((a:2))")[0] if pair[0] == 320]
    assert [weight for _, weight in tokens] == pytest.approx([1, 1.1, 1.21, 0.5, 2])


def test_a_textual_inversion_is_refused_not_dropped():
    with pytest.raises(PictureError, match=r"textual inversion.*--engine comfyui"):
        windows("a man, embedding:easynegative")


def test_deep_brackets_are_refused():
    with pytest.raises(PictureError, match="more than 100 deep"):
        windows("(" * 5000 + "a" + ")" * 5000)
