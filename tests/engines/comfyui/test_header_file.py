"""Headers for a login: how they are read, and that messages repeat nothing of them."""

import base64
import json
from pathlib import Path

import pytest

from acusim.errors import ConfigError
from engines.comfyui.access import Access, hide_secrets
from engines.comfyui.errors import LoginRequired
from engines.comfyui.header_file import VARIABLE, read_headers
from engines.comfyui.http import normal_url

TOKEN = "tok-9f3c1d7e5b2a"
HEADER = f"Authorization: Bearer {TOKEN}"
URL = "http://a:1"


@pytest.mark.parametrize(
    ("text", "headers"),
    [
        (TOKEN, {"Authorization": f"Bearer {TOKEN}"}),
        (f"\ufeff{TOKEN}\r\n", {"Authorization": f"Bearer {TOKEN}"}),
        (f"Bearer {TOKEN}", {"Authorization": f"Bearer {TOKEN}"}),
        ("Basic dTpwYXNzd29yZA==", {"Authorization": "Basic dTpwYXNzd29yZA=="}),
        (f"# note\n\n  {HEADER}  \n", {"Authorization": f"Bearer {TOKEN}"}),
        ("X-Api-Key:\tk e y: 1\n", {"X-Api-Key": "k e y: 1"}),
        (f"X-A: all\nX-B: all\n[a:1]\nx-b: own\n[b:1]\n{HEADER}", {"X-A": "all", "x-b": "own"}),
        (f"[http://b:1]\n{HEADER}", {}),
    ],
)
def test_header_files(tmp_path: Path, text: str, headers: dict[str, str]):
    path = tmp_path / "headers"
    path.write_bytes(text.encode())
    assert read_headers([URL], path, {VARIABLE: "X-Not: used"}).servers[URL].headers == headers
    path.write_bytes(text.removeprefix("\ufeff").encode("utf-16"))
    assert read_headers([URL], path, {}).servers[URL].headers == headers


SECRET = "s3cr3t-value"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"user:{SECRET}", "line 1 is neither"),
        (f"Authorization={SECRET} x", "line 1 is neither"),
        (f"\nX Y: {SECRET}", "line 2 is neither"),
        (f"X-A: {SECRET}\rX-Evil: 1", "line 1 has a character"),
        (f"X-A: {SECRET}\x00", "line 1 has a character"),
        (f"X-A: {SECRET}\u2028X-Evil: 1", "line 1 has a character"),
        (f"X-A: {SECRET}é", "line 1 has a character"),
        (f"Host: {SECRET}", "line 1: the header Host is set by the program"),
        (f"Sec-WebSocket-Key: {SECRET}", "the header Sec-WebSocket-Key is set by the program"),
        (f"X-A: {SECRET}\nx-a: {SECRET}", "line 2: the header x-a occurs twice"),
        (f"X-A: {SECRET * 1000}", "the value has 12000 characters"),
        (f"[ftp://{SECRET}]", "line 1: server"),
        (f"[http://u:{SECRET}@h]\nX-A: 1", "line 1: server address 'http://h'"),
        ("# nothing\n", "contains no header"),
        ("", "contains no header"),
        (SECRET + "x" * (64 << 10), "more than 64 KB"),
    ],
)
def test_files_that_hold_no_headers_name_the_line_and_not_its_content(tmp_path: Path, text: str, message: str):
    path = tmp_path / "headers"
    path.write_bytes(text.encode())
    with pytest.raises(ConfigError) as caught:
        read_headers([URL], path, {})
    assert message in str(caught.value) and str(path) in str(caught.value)
    assert SECRET not in str(caught.value) or text.startswith("[ftp")


@pytest.mark.parametrize("breaks", ["\r\n", "\n", "\r"])
def test_the_variable_holds_one_header(breaks: str):
    assert read_headers([URL], None, {VARIABLE: HEADER + "\n"}).servers[URL].names == "Authorization"
    with pytest.raises(ConfigError, match="one header a line") as caught:
        read_headers([URL], None, {VARIABLE: f"{HEADER}{breaks}X-Evil: 1"})
    assert TOKEN not in str(caught.value)
    assert read_headers([URL], None, {VARIABLE: ""}).servers[URL].names == ""


def test_files_that_cannot_be_read(tmp_path: Path):
    for path in (tmp_path, tmp_path / "absent"):
        with pytest.raises(ConfigError, match="--server-header-file .* cannot be read"):
            read_headers([URL], path, {})
    (tmp_path / "binary").write_bytes(b"\xff\x00\x80")
    with pytest.raises(ConfigError, match="not text in UTF-8"):
        read_headers([URL], tmp_path / "binary", {})


def test_access_shows_names_only_and_its_parts_are_hidden():
    login = base64.b64encode(b"user:pass-word-1").decode()
    access = Access({"Authorization": f"Basic {login}", "X-Pin": "7"})
    assert repr(access) == str(access) == "Access(Authorization, X-Pin)"
    assert hide_secrets(f"a {login} b pass-word-1 c Basic") == "a [hidden] b [hidden] c Basic"
    error = LoginRequired("http://s", "no", 401, f"Basic {login}")
    assert login not in str(error) and "pass-word-1" not in json.dumps([str(error), error.response])


@pytest.mark.parametrize(
    "address",
    [
        f"http://host:8188/?token={SECRET}",
        f"http://host:8188/#{SECRET}",
        f"http://user:{SECRET}@host:8188",
        f"http://{SECRET}@host:8188",
        f"http://user:a/{SECRET}@host:8188",
        f"http://user:a?{SECRET}@host:x",
        f"user:{SECRET}@host:99999",
        f"ftp://host/?x={SECRET}",
        f"http://host:port/?a@{SECRET}",
    ],
)
def test_secrets_in_an_address_are_refused_and_not_repeated(address: str):
    with pytest.raises(ConfigError) as caught:
        normal_url(address)
    assert SECRET not in str(caught.value)
