"""A login in front of a server: what is said of it, what opens it, and that no secret is seen."""

import dataclasses
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from acusim.errors import AcuSimError, EngineError
from engines.comfyui.access import Access
from engines.comfyui.client import Client
from engines.comfyui.errors import safe_text
from engines.comfyui.header_file import VARIABLE
from engines.comfyui.login import is_page, page_title
from engines.comfyui.preflight import Inspection, _check_login
from tests.engines.comfyui.conftest import QUICK, assert_created, wait_for
from tests.engines.comfyui.test_preflight import lines, wrong

TOKEN = "tok-9f3c1d7e5b2a"
HEADER = f"Authorization: Bearer {TOKEN}"
PAGE = b"<!DOCTYPE html>\n<html><head><title>Sign in &middot; Example</title></head><body><form></form></body></html>"
ELSEWHERE = "https://login.example.org/oauth2/start?state=abc123"
Answer = tuple[int, dict[str, str], bytes]
LOGINS: dict[str, Answer] = {
    "basic": (401, {"WWW-Authenticate": 'Basic realm="ComfyUI"'}, PAGE),
    "no scheme": (401, {}, b""),
    "forbidden": (403, {}, PAGE),
    "forbidden without a word": (403, {}, b""),
    "oauth proxy": (302, {"Location": ELSEWHERE}, b""),
    "same host": (303, {"Location": "/login?next=%2F"}, PAGE),
    "temporary": (307, {"Location": ELSEWHERE}, b""),
    "web page": (200, {"Content-Type": "text/html"}, PAGE),
    "proxy": (407, {"Proxy-Authenticate": "Basic"}, b""),
    "hotspot": (511, {}, PAGE),
}


def guarded(answer: Answer, opens: Callable[[Any], bool] = lambda handler: False, paths: str = "/") -> Any:
    """A login that answers so unless a request opens it."""
    status, headers, body = answer

    def guard(handler: Any) -> bool:
        if opens(handler) or not handler.path.startswith(paths):
            return False
        handler.reply(body, status, headers)
        return True

    return guard


def with_token(handler: Any) -> bool:
    """The header is right."""
    return handler.headers.get("Authorization") == f"Bearer {TOKEN}"


@pytest.fixture
def header_file(tmp_path: Path) -> Path:
    """A file with the right header."""
    path = tmp_path / "header"
    path.write_text(HEADER + "\n")
    path.chmod(0o600)
    return path


@pytest.mark.parametrize("name", LOGINS)
def test_a_login_is_recognised_by_check_and_by_open(server, new_engine, name):
    server.guard = guarded(LOGINS[name])
    engine = new_engine(server, opened=False)
    assert wrong(engine) == ["ComfyUI"]
    line = lines(engine)["ComfyUI"]
    assert "login" in line.found and "no header was sent" in line.found
    assert "--server-header-file FILE" in line.fix and VARIABLE in line.fix
    assert "state=" not in line.found, "such words are for one browser alone"
    with pytest.raises(EngineError, match=r"login(.|\n)*--server-header-file"):
        new_engine(server)
    assert server.posts == []


def test_what_the_login_says_is_quoted(server, new_engine):
    message = {}
    for name, answer in LOGINS.items():
        server.guard = guarded(answer)
        message[name] = lines(new_engine(server, opened=False))["ComfyUI"].found
    assert "(HTTP 401): Sign in · Example" in message["basic"] and 'Basic realm="ComfyUI"' in message["basic"]
    assert "refuses access" in message["forbidden"] and "(HTTP 403)" in message["forbidden"]
    assert "redirects to https://login.example.org/oauth2/start;" in message["oauth proxy"]
    assert "'Sign in · Example'" in message["web page"] and "is this ComfyUI?" in message["web page"]
    assert not any("<" in text for text in message.values())


@pytest.mark.parametrize("way", ["file", "variable"])
def test_the_header_opens_it_in_every_request_and_in_the_handshake(
    far_server, new_engine, requests, header_file, monkeypatch, way
):
    seen: set[str] = set()

    def opens(handler):
        seen.add(handler.path.split("?")[0].split("/")[1])
        return with_token(handler)

    far_server.guard = guarded(LOGINS["basic"], opens)
    if way == "variable":
        monkeypatch.setenv(VARIABLE, HEADER)
    engine = new_engine(far_server, opened=False, server_header_file=header_file if way == "file" else None)
    assert wrong(engine) == []
    assert lines(engine)["login"].found == "header Authorization is sent, accepted"
    engine.open()
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert {"ws", "prompt", "history", "view", "upload", "object_info", "acusim"} <= seen
    assert len(far_server.client_ids) >= 1


def test_a_server_without_a_login_is_sent_nothing(server, new_engine, requests):
    sent: list[str] = []
    server.guard = lambda handler: sent.extend(handler.headers.keys()) or False
    engine = new_engine(server)
    engine.augment(requests[:1])
    assert "Authorization" not in sent and "login" not in lines(engine)


def test_a_wrong_header_is_reported_by_its_name_only(server, new_engine, header_file):
    """Even where the login repeats it, in every place where it can."""

    def guard(handler):
        given = handler.headers.get("Authorization", "")
        challenge = {"WWW-Authenticate": f'Bearer error="{given}"', "X-Echo": given}
        handler.reply(f"<html><title>not {given}</title></html>".encode(), 401, challenge)
        return True

    server.guard = guard
    engine = new_engine(server, opened=False, server_header_file=header_file)
    found = lines(engine)["ComfyUI"].found
    assert "the header that was sent (Authorization) does not open it" in found and TOKEN not in found
    assert "[hidden]" in found
    with pytest.raises(EngineError) as caught:
        engine.open()
    assert TOKEN not in str(caught.value) and TOKEN not in repr(caught.value)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("path", ["/system_stats", "/ws"])
def test_no_redirect_is_followed_with_the_header(new_server, new_engine, requests, header_file, status, path):
    server, other = new_server(), new_server()
    server.guard = guarded((status, {"Location": f"{other.url}/elsewhere"}, b""), paths=path)
    engine = new_engine(server, opened=False, server_header_file=header_file)
    engine.check()
    if path == "/ws":
        engine.open()
        assert_created(engine.augment(requests[:1]), requests[:1])
        listener = engine.fleet.servers[0].client.listener
        assert listener.refusal and not listener.connected.is_set()
    assert other.requests == []


@pytest.mark.parametrize("base", ["https://127.0.0.1", "http://other.example.org:81", "http://127.0.0.1:5/comfy"])
def test_a_redirect_to_the_same_place_names_the_address(server, new_engine, base):
    server.guard = lambda handler: handler.reply(b"", 308, {"Location": base + handler.path}) or True
    line = lines(new_engine(server, opened=False))["ComfyUI"]
    assert line.ok is False and f"redirects to {base} (HTTP 308)" in line.found
    assert line.fix == f"name that address: --server {base}"


@pytest.mark.parametrize("name", ["basic", "forbidden", "oauth proxy", "web page"])
def test_a_login_that_expires_stops_the_run_and_skips_nothing(server, new_engine, requests, name):
    engine = new_engine(server)
    assert_created(engine.augment(requests[:2]), requests[:2])
    server.guard = guarded(LOGINS[name])
    with pytest.raises(EngineError, match=r"no server is left: .*login.*--server-header-file FILE"):
        engine.augment(requests[2:4])
    assert len(server.posts) == 1


@pytest.mark.parametrize("name", ["basic", "oauth proxy", "web page"])
def test_a_login_that_expires_while_a_prompt_runs_moves_it_to_another_server(new_server, new_engine, requests, name):
    first, second = new_server(), new_server()
    engine = new_engine(first, second)
    first.gate = threading.Event()
    answers: list[Any] = []
    thread = threading.Thread(target=lambda: answers.extend(engine.augment(requests[:2])), daemon=True)
    thread.start()
    wait_for(lambda: first.running)
    first.guard = guarded(LOGINS[name])
    thread.join(15)
    assert_created(answers, requests[:2])
    assert len(second.executed) == 1
    assert sum("server left out" in note for note in engine.notes) == 1
    first.gate.set()


def test_a_server_that_comes_back_behind_a_login_is_waited_for_no_longer(server, new_engine, requests):
    engine = new_engine(server, times=dataclasses.replace(QUICK, patience=300))
    server.kill()
    server.guard = guarded(LOGINS["basic"])
    answers: list[Any] = []

    def run():
        try:
            engine.augment(requests[:1])
        except AcuSimError as error:
            answers.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    wait_for(lambda: not engine.fleet.servers[0].up)
    server.start()
    thread.join(20)
    assert "no server is left" in str(answers[0]) and "login" in str(answers[0])


@pytest.mark.parametrize("name", ["basic", "forbidden", "oauth proxy", "web page"])
def test_a_login_before_the_socket_alone_costs_the_progress_and_is_noted_once(server, new_engine, requests, name):
    server.guard = guarded(LOGINS[name], paths="/ws")
    # A prompt does not wait for a socket that is refused: the test would not end in time.
    engine = new_engine(server, opened=False, times=dataclasses.replace(QUICK, socket=600))
    line = lines(engine)["websocket"]
    assert line.ok is None and "/ws" in line.fix
    assert f"HTTP {LOGINS[name][0]}" in line.found
    engine.open()
    assert_created(engine.augment(requests[:2]), requests[:2])
    assert_created(engine.augment(requests[2:4]), requests[2:4])
    message = [note for note in engine.notes if "no progress is shown" in note]
    assert len(message) == 1 and f"HTTP {LOGINS[name][0]}" in message[0]


def test_a_login_that_answers_uploads_and_downloads_only(far_server, new_engine, requests):
    """A rule of a proxy, not of ComfyUI, which answers 403 without a word."""
    engine = new_engine(far_server)
    for path in ("/upload", "/view"):
        far_server.guard = guarded(LOGINS["forbidden"], paths=path)
        with pytest.raises(EngineError, match="no server is left: .*refuses access"):
            engine.augment(requests[:1])
        engine.fleet.servers[0].excluded = ""
    far_server.guard = lambda handler: handler.path.startswith("/view") and (handler.reply(b"", 403) or True)
    [answer] = engine.augment(requests[:1])
    assert "is not on the server" in str(answer) and not isinstance(answer, EngineError)


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("/acusim/info", ["AcuSim nodes", "transport"]),
        ("/acusim/model", ["checkpoint", "ic_light", "ip_adapter", "clip_vision"]),
        ("/object_info", ["nodes"]),
        ("/queue", ["queue"]),
    ],
)
def test_a_login_before_a_part_of_the_server_is_named_where_it_is_met(server, new_engine, path, names):
    server.guard = guarded(LOGINS["basic"], paths=path)
    found = [check for check in new_engine(server, opened=False).check() if not check.ok]
    assert [check.name for check in found] == names
    assert all("--server-header-file" in check.fix for check in found if check.name != "transport")


def test_a_second_header_and_cookies_reach_the_socket_too(server, new_engine, requests, tmp_path):
    path = tmp_path / "headers"
    path.write_text("CF-Access-Client-Secret: cfsecret1\nCookie: session=cookie-secret-2; other=3\n")
    sent: list[Any] = []
    server.guard = lambda handler: sent.append((handler.path.split("?")[0], handler.headers)) or False
    engine = new_engine(server, server_header_file=path)
    assert_created(engine.augment(requests[:1]), requests[:1])
    assert {"/ws", "/prompt"} <= {where for where, _ in sent}
    for _, headers in sent:
        assert headers["CF-Access-Client-Secret"] == "cfsecret1"
        assert headers.get_all("Cookie") == ["session=cookie-secret-2; other=3"]
    assert "cookie-secret-2" not in safe_text("Set-Cookie: session=cookie-secret-2")


def test_each_server_gets_its_own_header(new_server, new_engine, tmp_path):
    first, second = new_server(), new_server()
    path = tmp_path / "headers"
    path.write_text(
        f"X-All: common-1\n[{first.url}/]\n{HEADER}\n[ http://unused.example ]  # not in this run\nX-No: no-3\n"
    )
    second.guard = lambda handler: "Authorization" in handler.headers and (handler.reply(b"", 500) or True)
    first.guard = guarded(
        LOGINS["basic"], lambda handler: with_token(handler) and handler.headers["X-All"] == "common-1"
    )
    assert wrong(new_engine(first, second, opened=False, server_header_file=path)) == []


def test_a_file_that_others_can_read_is_noted(server, new_engine, header_file):
    assert not any("chmod" in note for note in new_engine(server, server_header_file=header_file).notes)
    header_file.chmod(0o644)
    assert any("chmod 600" in note for note in new_engine(server, server_header_file=header_file).notes)


@pytest.mark.parametrize(
    ("url", "ok"),
    [("http://far.example:8188", None), ("https://far.example", True), ("http://127.0.0.1:1", True)],
)
def test_a_header_that_travels_unencrypted_is_noted(url: str, ok: bool | None):
    found = Inspection()
    _check_login(found, Client(url, access=Access({"X-Key": "abcdefgh"})))
    [check] = found.checks
    assert check.ok is ok and "X-Key" in check.found and "abcdefgh" not in check.found
    assert bool(check.fix) == (ok is None)


@pytest.mark.parametrize(
    ("body", "page"),
    [
        (PAGE, True),
        (b"\xef\xbb\xbf <!-- x --> <!-- y -->\n<HTML lang='en'><body>x", True),
        (b"<html>", False),
        (b"<htmlx>a", False),
        (b"[1]", False),
        (b"", False),
        (b"<!-- " * 1000 + b"<!---->" * 1000, False),
    ],
)
def test_web_pages_are_recognised_by_how_they_begin(body: bytes, page: bool):
    assert is_page(body) == page
    assert "<" not in page_title(PAGE)
