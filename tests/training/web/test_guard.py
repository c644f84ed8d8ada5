"""Who is answered: under which names, and from which pages."""

import pytest
from fastapi.testclient import TestClient

from tests.training.web.stand_in import Fake, encoded, noise
from training.web.app import create_app


def _status(headers: dict[str, str], host: str = "127.0.0.1", names: tuple[str, ...] = (), post: bool = False) -> int:
    app = create_app({"head": Fake()}, host=host, names=names)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        if not post:
            return client.get("/", headers=headers).status_code
        return client.post("/api/recognise", files={"file": encoded(noise(0))}, headers=headers).status_code


@pytest.mark.parametrize(
    ("host", "name", "status"),
    [
        ("127.0.0.1", "localhost:8000", 200),
        ("127.0.0.1", "LOCALHOST", 200),
        ("127.0.0.1", "127.0.0.1:9000", 200),
        ("127.0.0.1", "[::1]:8000", 200),
        ("127.0.0.1", "evil.example:8000", 403),
        ("127.0.0.1", "127.0.0.1.evil.example", 403),
        ("127.0.0.1", "localhost.evil.example", 403),
        ("127.0.0.1", "192.168.1.5:8000", 403),
        ("127.0.0.1", "localhost@evil.example", 403),
        ("127.0.0.1", "", 403),
        ("127.0.0.1", "[::1", 403),
        ("0.0.0.0", "192.168.1.5:8000", 200),
        ("0.0.0.0", "evil.example", 403),
        ("clinic.lan", "Clinic.lan:8000", 200),
    ],
)
def test_names(host: str, name: str, status: int):
    assert _status({"host": name}, host) == status


def test_a_further_name():
    assert _status({"host": "proxy.example"}, names=("proxy.example",)) == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://localhost:8000"}, 403),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_pages_that_may_send(headers: dict[str, str], status: int):
    assert _status(headers, post=True) == status


def test_a_page_elsewhere_may_link_here():
    assert _status({"sec-fetch-site": "cross-site"}) == 200
