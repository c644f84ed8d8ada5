"""The command against ComfyUI servers that are several, behind a login, gone, or slow."""

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from acusim.layout import scan
from controller.ledger import LEDGER_FILE, STATE_FOLDER, Ledger
from engines.comfyui.header_file import VARIABLE
from tests.controller.test_comfyui import _line, _wait_for
from tests.engines.comfyui.fake_server import FakeServer
from tests.support import ROOT

Run = Callable[..., "subprocess.CompletedProcess[str]"]
SECRET = "tok-5d41402abc4b"


@pytest.fixture
def root(make_dataset: Callable[..., Path]) -> Path:
    """Eight samples over all four prompt sets."""
    return make_dataset()


@pytest.fixture
def new_server(tmp_path: Path) -> Iterator[Callable[[], FakeServer]]:
    """Makes servers that see everything below the test's folder."""
    made: list[FakeServer] = []

    def make() -> FakeServer:
        made.append(FakeServer(tmp_path / f"server{len(made)}", {"all": tmp_path}))
        return made[-1]

    yield make
    for server in made:
        server.kill()


def _manifest(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]


def test_two_servers_are_reported_apart(new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run):
    first, second = new_server(), new_server()
    out = tmp_path / "out"
    line = _line(first, root, out, "--server", second.url, "--batch-size", 1)
    report = json.loads(command(*line, "--json", check=0).stdout)
    made = {server.url: len(server.executed) for server in (first, second)}
    assert report["servers"] == made and sum(made.values()) == 8
    found = [entry["server"] for entry in _manifest(out)]
    assert {url: found.count(url) for url in made} == made
    for sample in scan(out).samples:  # the address is no part of the picture
        assert not any(url.encode() in (out / sample.image).read_bytes() for url in made)
    message = command(*_line(first, root, tmp_path / "other", "--server", second.url), check=0).stdout
    assert f"  {first.url}: " in message and f"  {second.url}: " in message
    checks = json.loads(command("--check", *line[1:], "--json", check=0).stdout)["checks"]
    assert all(any(check["name"] == f"{url} websocket" for check in checks) for url in made)


def test_the_same_picture_from_another_server_has_the_same_bytes(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run
):
    first, second = new_server(), new_server()
    out = tmp_path / "out"
    command(*_line(first, root, out), check=0)
    image = out / scan(root).samples[0].image
    assert json.loads(command("--reproduce", image, "--server", second.url, "--json", check=0).stdout)["same"]


def test_a_log_shows_that_the_server_samples(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run
):
    done = command(*_line(new_server(), root, tmp_path / "out"), check=0)
    # Each phase has a line when it is first seen, at whatever step.
    assert re.search(r"server samples: step \d of \d", done.stderr)


def _start(*arguments: object) -> "subprocess.Popen[str]":
    line = [sys.executable, str(ROOT / "controller/controller.py"), *map(str, arguments)]
    return subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _hangs(handler: Any, body: bytes) -> bool:
    """A server that takes the question and does not answer; the program would wait for 60 s."""
    time.sleep(40)
    return True


@pytest.mark.parametrize("hanging", [False, True])
def test_one_ctrl_c_while_no_server_is_up_stops_at_once(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run, hanging: bool
):
    """Otherwise it would wait five minutes for the server, so the time limit below is no matter of speed."""
    server, out = new_server(), tmp_path / "out"
    server.gate = threading.Event()
    process = _start(*_line(server, root, out, "--batch-size", 1))
    _wait_for(lambda: server.running and server.pending)
    if hanging:
        server.hooks = dict.fromkeys(("GET /history", "GET /queue"), lambda handler, body: handler.cut() or True)
        server.hooks["GET /system_stats"] = _hangs
    else:
        server.kill()
    assert process.stderr
    assert any("no server can be reached" in line for line in process.stderr)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130 and "interrupted" in stdout
    server.hooks = {}
    server.gate.set()
    if not hanging:
        server.start()
    status = json.loads(command("--status", "--output", out, "--json", check=0).stdout)
    assert status["counts"]["running"] == 0
    assert json.loads(command(*_line(server, root, out), "--json", check=0).stdout)["exit_code"] == 0


def test_ctrl_c_before_the_server_is_lost_does_not_wait_for_it(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path
):
    server = new_server()
    server.gate = threading.Event()
    process = _start(*_line(server, root, tmp_path / "out", "--batch-size", 1))
    _wait_for(lambda: server.running and server.pending)
    process.send_signal(signal.SIGINT)
    assert process.stderr
    assert any("once more to stop now" in line for line in process.stderr)
    server.kill()
    _, stderr = process.communicate(timeout=30)
    assert process.returncode == 130 and "stopping now: no server can be reached" in stderr


def test_ctrl_c_while_the_preflight_waits_stops_at_once(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path
):
    server = new_server()
    server.hooks["GET /system_stats"] = _hangs
    for order in (["--batch"], ["--check"]):
        process = _start(*order, *_line(server, root, tmp_path / "out")[1:])
        asked = len(server.requests)
        _wait_for(lambda asked=asked: len(server.requests) > asked)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
        assert process.returncode == 130, order


def _echo(handler: Any) -> bool:
    """A login that repeats whatever it was sent."""
    given = "; ".join(f"{name}: {value}" for name, value in handler.headers.items())
    page = f"<html><head><title>Denied {given}</title></head><body>{given}</body></html>"
    handler.reply(page.encode(), 401, {"WWW-Authenticate": f'Bearer error="{given}"'})
    return True


@pytest.mark.parametrize("way", ["file", "variable"])
def test_the_secret_opens_the_login_and_is_seen_nowhere(
    new_server: Callable[[], FakeServer],
    root: Path,
    tmp_path: Path,
    command: Run,
    monkeypatch: pytest.MonkeyPatch,
    way: str,
):
    server, out = new_server(), tmp_path / "out"
    file = tmp_path / "where-headers-lie"
    file.write_text(f"X-Api-Key: {SECRET}\n")
    more: list[object] = ["--server-header-file", file]
    if way == "variable":
        monkeypatch.setenv(VARIABLE, f"X-Api-Key: {SECRET}")
        more = []

    def guard(handler: Any) -> bool:
        return handler.headers.get("X-Api-Key") != SECRET and _echo(handler)

    server.guard = guard
    printed: list[str] = []

    def run(*arguments: object, check: int) -> str:
        done = command(*arguments, check=check)
        printed.extend((done.stdout, done.stderr))
        return done.stdout

    run("--check", *_line(server, root, out)[1:], *more, check=0)
    run(*_line(server, root, out, *more, "--limit", 4), "--json", check=0)
    image = out / scan(out).samples[0].image
    run("--reproduce", image, *more, "--json", check=0)
    image.unlink()
    run("--repair", "--output", out, *more, check=0)
    run("--status", "--output", out, "--json", check=0)
    run("--verify", "--output", out, check=0)
    server.guard = _echo  # the token expires, and the login repeats it
    run("--check", *_line(server, root, out)[1:], *more, "--json", check=3)
    run(*_line(server, root, out), *more, check=3)
    assert "a login stands in front of the server" in printed[-1]
    assert "X-Api-Key" in printed[-1], "the header's name helps"
    everything = b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    for secret in (SECRET, SECRET.upper(), SECRET.encode().hex()):
        assert secret not in "".join(printed) and secret.encode() not in everything
    assert b"where-headers-lie" not in everything
    assert SECRET not in json.dumps([prompt.graph for prompt in server.posts])


def test_without_the_header_a_batch_makes_nothing_and_says_what_to_give(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run
):
    server, out = new_server(), tmp_path / "out"
    server.guard = lambda handler: handler.reply(b"", 302, {"Location": "https://login.example.org/"}) or True
    message = command(*_line(server, root, out), check=3).stderr
    assert "redirects to https://login.example.org/; no header was sent" in message
    assert "--server-header-file FILE" in message
    bad = tmp_path / "bad"
    bad.write_text(f"key={SECRET} x")
    message = command(*_line(server, root, tmp_path / "new", "--server-header-file", bad), check=1).stderr
    assert "line 1 is neither" in message and SECRET not in message and not (tmp_path / "new").exists()
    relight = ("--batch", "--engine", "relight", "--dataset", root, "--output", tmp_path / "relit")
    assert "does not use --server-header-file" in command(*relight, "--server-header-file", bad, check=0).stderr


def test_a_recipe_for_both_wirings_goes_on_with_an_older_out(
    new_server: Callable[[], FakeServer], root: Path, tmp_path: Path, command: Run
):
    server, out, recipe = new_server(), tmp_path / "out", tmp_path / "recipe.toml"
    for kind, name, file in (
        ("LoadAndApplyICLightUnet", "model_path", "sub\\mine_fc.safetensors"),
        ("LoadAndApplyICLightUnet", "model_path", "sub\\mine_fbc.safetensors"),
    ):
        server.info[kind]["input"]["required"][name][0].append(file)
        server.tensors[file] = server.tensors[f"iclight_sd15_{file.split('_')[1]}"]
    command(*_line(server, root, out, "--set", "ic_light=sub/mine_fc.safetensors", "--limit", 2), check=0)
    with Ledger(out / STATE_FOLDER / LEDGER_FILE, read_only=True) as ledger:
        identity = ledger.get_meta("identity")
    recipe.write_text('ic_light = { fc = "sub\\\\mine_fc.safetensors", fbc = "sub/mine_fbc.safetensors" }\n')
    more = json.loads(command(*_line(server, root, out, "--recipe", recipe, "--limit", 4), "--json", check=0).stdout)
    assert (more["already"], more["created"]) == (2, 2)
    with Ledger(out / STATE_FOLDER / LEDGER_FILE, read_only=True) as ledger:
        assert ledger.get_meta("identity").keys() == identity.keys(), "what OUT is known by has not grown"
    refused = command(*_line(server, root, out, "--recipe", recipe, "--set", "wiring=fbc"), check=1).stderr
    assert "created with other settings" in refused
    other = _line(server, root, tmp_path / "fbc", "--recipe", recipe, "--set", "wiring=fbc", "--limit", 2)
    command(*other, check=0)
    assert server.posts[-1].inputs("LoadAndApplyICLightUnet")["model_path"] == "sub\\mine_fbc.safetensors"
    assert 'ic_light = "sub/mine_fbc.safetensors"' in (tmp_path / "fbc/recipe.toml").read_text()
