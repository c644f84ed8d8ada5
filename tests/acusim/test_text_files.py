"""Encodings of JSON and TOML: read alike in every Unicode encoding, refused by name in any other."""

import codecs
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acusim import acupoints
from acusim.errors import ConfigError, LabelError
from acusim.labels import dump_label, empty_label, parse_label
from acusim.prompt_sets import load_prompt_sets
from acusim.text_files import json_of, text_of, toml_of
from controller.gate_settings import GateSettings
from engines.comfyui.workflow import Workflow, shipped_workflow
from engines.recipe import Recipe
from evaluation.thresholds import Thresholds
from training.config import load_config
from training.tasks.hand_points import DEFAULT_FILE, read_points

ENCODINGS = {
    "plain": lambda text: text.encode(),
    "utf-8 with a mark": lambda text: codecs.BOM_UTF8 + text.encode(),
    "two marks": lambda text: 2 * codecs.BOM_UTF8 + text.encode(),
    "utf-16 little": lambda text: codecs.BOM_UTF16_LE + text.encode("utf-16-le"),
    "utf-16 big": lambda text: codecs.BOM_UTF16_BE + text.encode("utf-16-be"),
    "utf-16 without a mark": lambda text: text.encode("utf-16-le"),
    "utf-32": lambda text: text.encode("utf-32"),
}
encoded = pytest.mark.parametrize("encode", ENCODINGS.values(), ids=ENCODINGS)
Encode = Callable[[str], bytes]


@encoded
def test_every_unicode_encoding_is_read_alike(encode: Encode) -> None:
    text = '{"name": "LI17_天鼎_left"}\r\n'
    assert text_of(encode(text)) == text
    assert json_of(encode(text)) == {"name": "LI17_天鼎_left"}
    assert toml_of(encode('name = "天鼎"\r\nsteps = 12\r\n')) == {"name": "天鼎", "steps": 12}


@encoded
def test_settings_of_every_kind_are_read_in_every_encoding(encode: Encode, tmp_path: Path) -> None:
    def written(text: str) -> Path:
        path = tmp_path / "settings.toml"
        path.write_bytes(encode(text))
        return path

    assert Recipe.from_toml(written("steps = 12\n")).steps == 12
    assert GateSettings.from_toml(written("rerolls = 2\n")).rerolls == 2
    assert Thresholds.from_toml(written("tolerance_mm = 3.0\n")).tolerance_mm == 3
    assert load_config(str(written("[train]\nepochs = 7\n"))).train.epochs == 7
    assert load_prompt_sets(written('[[set]]\nname = "own"\npositive = "光"\n')).sets[0].positive == ("光",)
    assert read_points.__wrapped__(written(DEFAULT_FILE.read_text(encoding="utf-8"))) == read_points()


@encoded
def test_labels_and_workflows_are_read_in_every_encoding(encode: Encode) -> None:
    label = empty_label()
    label.listed[3] = True
    label.xy[3], label.n[3], label.h_m[3] = (0.25, 0.5), -0.5, 0.75
    read = parse_label(encode(dump_label(label).decode()))
    assert read.listed.tolist() == label.listed.tolist() and read.xy[3].tolist() == [0.25, 0.5]
    data = shipped_workflow("fc").read_bytes()
    assert Workflow(encode(data.decode()), "fc.json").sha256 == Workflow(data, "fc.json").sha256


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (
            'a = "f\u00fcr"'.encode("latin-1"),
            "line 1 holds the byte 0xfc, which is not UTF-8; the file may be in Latin-1",
        ),
        ('a = 1\nb = "迎香"'.encode("gbk"), "line 2 holds the byte 0xcf, which is not UTF-8; the file may be in GBK"),
        (codecs.BOM_UTF16_LE + b"a\0=\0001", "its UTF-16 is damaged at byte 6: truncated data"),
        (b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", "byte 0x89 at place 0 is not text: this is a file of another kind"),
    ],
)
def test_other_encodings_are_refused_with_what_was_found(data: bytes, words: str, tmp_path: Path) -> None:
    for read in (json_of, toml_of):
        with pytest.raises(ValueError, match=words):
            read(data)
    path = tmp_path / "own.toml"
    path.write_bytes(data)
    readers: list[Callable[[Path], Any]] = [Recipe.from_toml, load_prompt_sets, GateSettings.from_toml]
    for read in readers:
        with pytest.raises(ConfigError, match=words) as error:
            read(path)
        assert str(path) in str(error.value)
    with pytest.raises(LabelError, match=words):
        parse_label(data)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "the file is empty"),
        (" \n", "the file is empty"),
        ("{", "line 1 column 2"),
        ("[" * 100_000, "nested too deeply"),
        ('{"a":' * 100_000, "nested too deeply"),
        ("9" * 5000, "thousands of digits"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice in one object, with different values"),
        ('[{"b": {"a": 1, "a": "1"}}]', "the key 'a' occurs twice"),
    ],
)
def test_what_is_no_json_is_reported(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        json_of(text.encode())


def test_a_key_that_says_the_same_twice_is_read_once() -> None:
    assert json_of(b'{"a": [1], "b": 2, "a": [1]}') == {"a": [1], "b": 2}


@pytest.mark.parametrize("text", ["a = " + "[" * 100_000, "a = " + "9" * 5000, "a = 2020-13-45", "a = 1\na = 2"])
def test_what_is_no_toml_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):
        toml_of(text.encode())


def test_a_lone_surrogate_in_a_workflow_is_no_crash() -> None:
    graph = {"1": {"class_type": "Note", "inputs": {"text": "\ud800"}}}
    assert len(Workflow(json.dumps(graph).encode(), "odd.json").sha256) == 64


def test_the_official_names_survive_every_encoding() -> None:
    text = json.dumps(acupoints.NAMES, ensure_ascii=False)
    assert all(json_of(encode(text)) == list(acupoints.NAMES) for encode in ENCODINGS.values())
