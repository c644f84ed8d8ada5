"""Small parts by themselves: addresses, errors, tokens, limits."""

import shutil

import pytest

from acusim.errors import EngineError
from engines.comfyui import errors
from engines.comfyui.http import Http, normal_url
from engines.comfyui.listener import Watch
from engines.comfyui.models import judge
from engines.comfyui.staging import known_token, out_token
from engines.comfyui.transport import saved_path
from engines.recipe import Recipe
from tests.engines.comfyui.wire import recorded


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("127.0.0.1:8188", "http://127.0.0.1:8188"),
        (" http://Host:80/ ", "http://host:80"),
        ("https://far.example/comfy/", "https://far.example/comfy"),
        ("http://[::1]:8188", "http://[::1]:8188"),
    ],
)
def test_addresses_in_one_spelling(text, url):
    assert normal_url(text) == url
    assert normal_url(url) == url


def test_words_of_a_server_are_cut_and_printable():
    assert errors.words("a\n  b\x1b[31m") == "a b\\x1b[31m"
    assert errors.words("x" * 700) == "x" * 600 + "…"


def test_the_recorded_error_becomes_words():
    details = recorded("run")["error"]["history"]["status"]["messages"][-1][1]
    error = errors.execution_error("http://s", details, {"0": "Load"})
    assert str(error) == "http://s: node 'Load' (ToyLoadBatch) failed: RuntimeError: toy boom"
    assert (error.kind, error.node_id, error.url, error.status) == ("RuntimeError", "0", "http://s", None)
    assert not isinstance(error, errors.OutOfMemory)
    assert "ToyLoadBatch (id 0)" in str(errors.execution_error("http://s", details, {}))


@pytest.mark.parametrize("answer", [{}, {"error": "text"}, {"node_errors": []}, {"node_errors": {"1": 5}}])
def test_a_refusal_without_reasons_is_still_one(answer):
    error = errors.rejection("http://s", 400, answer, {})
    assert error.status == 400 and "refuses the workflow" in str(error)


def test_long_refusals_are_cut():
    many = {
        str(n): {"errors": [{"message": "bad " * 900, "details": "d" * 9000}], "class_type": "X"} for n in range(50)
    }
    error = errors.rejection("http://s", 400, {"node_errors": many}, {})
    assert "and 45 more" in str(error)
    assert len(str(error)) < 4000


def test_all_errors_are_engine_errors_with_an_address():
    for kind in (errors.Unreachable, errors.Interrupted, errors.Lost, errors.Stalled, errors.BadAnswer):
        error = kind("http://s", "went wrong", 502, "its words")
        assert isinstance(error, errors.ServerError) and isinstance(error, EngineError)
        assert str(error) == "http://s: went wrong (HTTP 502): its words"


def test_a_token_is_kept_in_out(tmp_path):
    assert known_token(tmp_path) == "" == known_token(None)
    token = out_token(tmp_path)
    assert token == out_token(tmp_path) == known_token(tmp_path)
    (tmp_path / ".acusim/server_token").write_text("../../leads/out")
    assert known_token(tmp_path) == ""
    assert out_token(tmp_path) != token
    assert out_token(None) != out_token(None)


def test_a_copy_of_out_has_a_token_of_its_own(tmp_path):
    token = out_token(tmp_path / "out")
    shutil.copytree(tmp_path / "out", tmp_path / "copy")
    assert known_token(tmp_path / "copy") == ""
    assert out_token(tmp_path / "copy") != token == known_token(tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    (tmp_path / "link").symlink_to(tmp_path / "moved")
    assert known_token(tmp_path / "moved") == token == known_token(tmp_path / "link")


def test_names_of_saved_files():
    assert saved_path("train/image/img_64/F_A.B_N_HA_0001.jpg") == "train/image/img_64/F_A.B_N_HA_0001.png"


def test_progress_never_goes_back_and_counts_sampling_only():
    watch = Watch(frozenset({"17"}))
    watch.told("progress", {"node": "5", "value": 9, "max": 10})
    assert watch.fraction == 0
    watch.told("progress", {"node": "17", "value": 3, "max": 4})
    watch.told("progress", {"node": "17", "value": 1, "max": 4})
    assert watch.fraction == 0.75
    watch.told("progress_state", {"nodes": {"17": {"value": 4, "max": 4}, "5": {"value": 1, "max": 1}, "6": None}})
    assert watch.fraction == 1
    assert not watch.wake.is_set()
    watch.told("executing", {"node": "17"})
    assert not watch.wake.is_set()
    watch.told("executing", {"node": None})
    assert watch.wake.is_set()


def test_a_body_over_the_limit_is_not_held(server):
    http = Http(server.url, 2, 2)
    server.hooks["GET /big"] = lambda handler, body: handler.reply(b"x" * 2000) or True
    with pytest.raises(errors.BadAnswer, match="2000 bytes, at most 1000"):
        http.request("GET", "/big", 1000)
    assert http.request("GET", "/big", 2000) == (200, b"x" * 2000)
    http.close()


def test_a_body_of_untold_length_over_the_limit_is_not_held(server):
    def endless(handler, body):
        handler.send_response(200)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.close_connection = True
        handler.wfile.write(b"x" * (1 << 20))
        return True

    server.hooks["GET /big"] = endless
    with pytest.raises(errors.BadAnswer, match="more than the 1000 bytes"):
        Http(server.url, 2, 2).request("GET", "/big", 1000)


def test_proxies_of_the_environment_are_not_used(server, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    assert Http(server.url, 2, 2).object("GET", "/system_stats")["devices"] == []


def test_a_model_file_that_tells_nonsense():
    for shapes in ({"conv_in.weight": "x"}, {"conv_in.weight": [1]}, {"conv_in.weight": [1, "y"]}):
        assert judge("ic_light", shapes, Recipe(), {})[0] is False
