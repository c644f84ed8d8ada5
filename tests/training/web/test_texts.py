"""Everything that the page can say is there in both languages."""

import ast
import json
import re
import string
from importlib import resources
from typing import get_args

import pytest

from tests.support import ROOT
from training.inference.drawing import HEAD
from training.inference.model import THRESHOLDS
from training.inference.point_names import HEAD_POINTS, Side
from training.settings import TASKS
from training.web.refusals import REASONS, Refusal, failure

STATIC = resources.files("training.web").joinpath("static")
FILES = {file.name: file.read_text(encoding="utf-8") for file in STATIC.iterdir() if not file.name.endswith("svg")}
SCRIPTS = "\n".join(text for name, text in FILES.items() if name.endswith(".js"))
STRING = r'"(?:[^"\\]|\\.)*"'
KEEP = {
    *("PNG", "JPEG", "JSON", "HTTP", "HTTPS", "MiB", "Cookie", "JavaScript", "localhost", "file", "form-data"),
    *("multipart", "name", "host", "kind", "type", "allowed", "field", "loaded", "megapixels", "mib", "pause"),
    *("rate", "seconds", "status", "use", "WebSocket"),
}
"""Latin words that Chinese sentences may hold: names of formats, protocols, options, and their fields."""


def _texts() -> dict[str, tuple[str, str]]:
    block = FILES["texts.js"].split("const TEXTS = {")[1].split("\n};")[0]
    found = re.findall(rf"^  (\w+): \[\s*({STRING}),\s*({STRING}),?\s*\],$", block, re.MULTILINE)
    assert len(found) == len(re.findall(r"^  \w+:", block, re.MULTILINE))
    return {key: (json.loads(english), json.loads(chinese)) for key, english, chinese in found}


def _check(english: str, chinese: str) -> None:
    """One sentence in both: the second is Chinese, holds the same values, and no English words are left."""
    assert english and not re.search(r"[\u4e00-\u9fff]", english)
    assert re.search(r"[\u4e00-\u9fff]", chinese), english
    assert {*re.findall(r"{(\w+)}", english)} == {*re.findall(r"{(\w+)}", chinese)}
    assert {*re.findall(r"[A-Za-z][A-Za-z-]+", chinese.replace("--", ""))} <= KEEP, chinese


@pytest.mark.parametrize("key", _texts())
def test_texts_of_the_page(key: str):
    _check(*_texts()[key])


def test_the_page_asks_for_no_text_that_is_missing_and_has_none_too_many():
    used = {*re.findall(r'\b(?:text|new Trouble)\("(\w+)"', SCRIPTS)}
    used |= {*re.findall(r'data-(?:text|label)="(\w+)"', FILES["index.html"])}
    output = {"auto", *TASKS, *get_args(Side), *THRESHOLDS} - {""}  # by the server's own words
    assert used | output == set(_texts())


def test_words_in_the_scripts_and_names_of_meridians_come_in_pairs():
    rest = FILES["texts.js"].split("\n};", 1)[1]
    pairs = re.findall(rf"\[({STRING}), ({STRING})\]", rest)
    assert len(pairs) >= 9 + 4 + 2  # meridians, kinds of hands, sides
    for english, chinese in pairs:
        assert json.loads(english).isascii() and re.search(r"[\u4e00-\u9fff]", chinese)
    full = rest.split("const FULL = {")[1].split("\n};")[0]
    assert set(HEAD.colours) <= {*re.findall(r"^  (\w+): \[", full, re.MULTILINE)}


def test_every_point_has_a_chinese_name():
    assert all(re.search(r"[\u4e00-\u9fff]", point.zh) for point in HEAD_POINTS)


def test_other_scripts_and_the_page_hold_no_words_of_their_own():
    for name in ("page.js", "drawing.js", "camera.js", "live.js", "server.js"):
        code = re.sub(r"(^|\s)//.*", "", FILES[name])
        output = [text for text in re.findall(STRING, code) if re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", text)]
        assert output == [], (name, output)
    page = re.sub(r"<noscript>.*?</noscript>|<title>.*?</title>|<!--.*?-->", "", FILES["index.html"], flags=re.DOTALL)
    assert not re.search(r"[A-Za-z]{2,}", re.sub(r"<[^>]*>", "", page))
    assert re.search(r"<noscript>.*[\u4e00-\u9fff].*</noscript>", FILES["index.html"], re.DOTALL)


@pytest.mark.parametrize("code", REASONS)
def test_refusals(code: str):
    reason = REASONS[code]
    _check(reason.en, reason.zh)
    values = {name: ("value", "数值") for _, name, _, _ in string.Formatter().parse(reason.en) if name}
    answer = json.loads(bytes(failure(Refusal(code, **values)).body))["error"]
    assert ("value" in answer["message"]) == ("数值" in answer["message_zh"]) == bool(values)


def _refusals() -> list[tuple[str, ast.Call]]:
    calls = []
    for path in sorted((ROOT / "training/web").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Refusal":
                calls.append((path.name, node))
    return calls


def test_every_refusal_has_its_sentences_and_all_their_values():
    used = set()
    for file, call in _refusals():
        codes = [
            node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant) and node.value in REASONS
        ]
        assert codes, f"{file}:{call.lineno}"
        used |= set(codes)
        given = {keyword.arg for keyword in call.keywords}
        for code in codes:
            fields = {name for _, name, _, _ in string.Formatter().parse(REASONS[code].en) if name}
            assert fields <= given, f"{file}:{call.lineno} {code}"
    assert used == set(REASONS)
