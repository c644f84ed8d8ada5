"""The page behind a proxy, below a path, under another name: as docs/guide/web.md sets nginx up."""

import contextlib
import http.client
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.live.browser import Page, chromium
from tests.training.web.fake_recogniser import Fake, encoded, noise, running
from training.web.app import create_app

NAME = "clinic.localhost"
"""Chromium takes any name that ends so for this machine."""


@contextlib.contextmanager
def proxy(port: int, limit: int = 1 << 30) -> Iterator[int]:
    """A proxy that serves what a port of this machine has below /acupoints/, as nginx's ``location`` and ``proxy_pass``
    do: without that path, and with its own idea of Host."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _pass_on(self) -> None:
            length = int(self.headers.get("content-length", 0))
            body = self.rfile.read(length)
            if not self.path.startswith("/acupoints/"):
                self._send(404, [("content-type", "text/html")], b"<h1>404</h1>")
            elif length > limit:
                self._send(413, [("content-type", "text/html")], b"<h1>413 Request Entity Too Large</h1>")
            else:
                to = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                headers = {name: value for name, value in self.headers.items() if name.lower() != "host"}
                to.request(self.command, self.path.removeprefix("/acupoints"), body, headers)
                answer = to.getresponse()
                self._send(answer.status, answer.getheaders(), answer.read())
                to.close()

        def _send(self, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
            self.send_response_only(status)
            for name, value in headers:
                if name.lower() not in ("content-length", "connection"):
                    self.send_header(name, value)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_HEAD = do_OPTIONS = _pass_on

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join(20)
        server.server_close()


def _send(port: int, origin: str) -> requests.Response:
    headers = {"origin": origin, "sec-fetch-site": "same-origin"}
    url = f"http://127.0.0.1:{port}/acupoints/api/recognise"
    return requests.post(url, files={"file": encoded(noise(0))}, headers=headers, timeout=30)


def test_a_proxy_has_to_be_named():
    with running(create_app({"head": Fake()})) as port, proxy(port) as outside:
        error = _send(outside, "https://clinic.example:8443").json()["error"]
        assert error["code"] == "foreign_origin" and "--name clinic.example" in error["message"]
    with running(create_app({"head": Fake()}, names=("clinic.example",))) as port, proxy(port) as outside:
        for origin in ("https://clinic.example:8443", "http://clinic.example"):
            assert _send(outside, origin).status_code == 200
        assert _send(outside, "https://evil.example").status_code == 403


def test_no_address_of_the_server_leads_out_of_the_path():
    with running(create_app({"head": Fake()}, names=(NAME,))) as port, proxy(port) as outside:
        base = f"http://127.0.0.1:{outside}/acupoints/"
        for path in ("api/models/", "static", "static/", "api", "api/recognise/"):
            answer = requests.get(base + path, allow_redirects=False, timeout=30)
            assert answer.status_code == 404 and "location" not in answer.headers
        document = requests.get(base + "api/openapi.json", timeout=30)
        server = requests.compat.urljoin(document.url, document.json()["servers"][0]["url"])
        assert requests.get(server.rstrip("/") + "/api/models", timeout=30).json()["auto"] == "only"


@pytest.mark.skipif(chromium() is None, reason="Chromium is not installed")
def test_the_page_below_a_path(tmp_path: Path):
    (tmp_path / "a.png").write_bytes(encoded(noise(0)))
    (tmp_path / "large.png").write_bytes(encoded(noise(0, 300, 200)))
    with (
        running(create_app({"head": Fake()}, names=(NAME,))) as port,
        proxy(port, limit=100_000) as outside,
        Page("about:blank", tmp_path / "chromium") as page,
    ):
        page.call("Page.enable")
        page.call("Page.navigate", url=f"http://{NAME}:{outside}/acupoints/#lang=zh")
        page.wait_for("document.querySelectorAll('#kinds input').length === 3")
        assert page.run("document.styleSheets[0].cssRules.length") > 10
        root = page.call("DOM.getDocument")["root"]["nodeId"]
        node = page.call("DOM.querySelector", nodeId=root, selector="#file")["nodeId"]
        page.call("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "a.png")])
        page.wait_for("document.querySelectorAll('#list button').length === 87")
        page.call("DOM.setFileInputFiles", nodeId=node, files=[str(tmp_path / "large.png")])
        page.wait_for("!document.querySelector('#error').hidden")
        assert "代理因图片过大而拒绝" in page.run("document.querySelector('#error').textContent")
