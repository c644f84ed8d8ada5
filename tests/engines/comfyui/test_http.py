"""Addresses, limits and proxies of requests."""

import pytest

from engines.comfyui import errors
from engines.comfyui.http import Http, normal_url


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


def test_a_body_over_the_limit_is_not_held(server):
    http = Http(server.url, 2, 2)
    server.hooks["GET /big"] = lambda handler, body: handler.reply(b"x" * 2000) or True
    with pytest.raises(errors.BadAnswer, match="2000 bytes, at most 1000"):
        http.request("GET", "/big", 1000)
    assert http.request("GET", "/big", 2000) == (200, b"x" * 2000)
    http.close()


def test_a_body_of_unknown_length_over_the_limit_is_not_held(server):
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
