"""Who is answered: under which names, and from which pages."""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from fastapi.testclient import TestClient

from acusim.errors import ConfigError
from tests.training.web.fake_recogniser import Fake, encoded, noise
from training.web.app import create_app
from training.web.guard import HEADERS, checked_name

Headers = dict[str, str] | list[tuple[str, str | bytes]]
Clients = Callable[..., TestClient]


@pytest.fixture(scope="module")
def clients() -> Iterator[Callable[..., TestClient]]:
    """Gives a client of a server that listens on a host and has further names."""
    with contextlib.ExitStack() as stack:

        @functools.cache
        def client(host: str = "127.0.0.1", names: tuple[str, ...] = ()) -> TestClient:
            app = create_app({"head": Fake()}, host=host, names=names)
            return stack.enter_context(TestClient(app, base_url="http://127.0.0.1:8000"))

        yield client


def _post(client: TestClient, headers: Headers) -> Any:
    return client.post("/api/recognise", files={"file": encoded(noise(0))}, headers=headers)


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
        ("127.0.0.1", "localhost.:8000", 200),
        ("127.0.0.1", "localhost:99999", 403),
        ("127.0.0.1", "localhost:", 403),
        ("127.0.0.1", "localhost:8000:8000", 403),
        ("127.0.0.1", "local host", 403),
        ("127.0.0.1", "localhost/x", 403),
        ("127.0.0.1", "http://localhost", 403),
        ("127.0.0.1", "http://[", 403),
        ("127.0.0.1", "null", 403),
        ("127.0.0.1", "[localhost]", 403),
        ("127.0.0.1", "[127.0.0.1]", 403),
        ("127.0.0.1", "a" * 5000, 403),
        ("0.0.0.0", "192.168.1.5:8000", 200),
        ("0.0.0.0", "evil.example", 403),
        ("clinic.lan", "Clinic.lan:8000", 200),
    ],
)
def test_names(clients: Clients, host: str, name: str, status: int):
    assert clients(host).get("/", headers={"host": name}).status_code == status


def test_a_further_name(clients: Clients):
    assert clients(names=("proxy.example",)).get("/", headers={"host": "proxy.example"}).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8000"}, 200),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "same-origin"}, 200),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "http://localhost:8000"}, 403),
        ({"origin": "http://127.0.0.1", "host": "127.0.0.1:80"}, 200),
        ({"origin": "https://127.0.0.1", "host": "127.0.0.1:80"}, 403),
        ({"origin": "https://127.0.0.1", "host": "127.0.0.1"}, 200),
        ({"origin": "http://[::1]:8000", "host": "[::1]:8000"}, 200),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-site"}, 403),
        ({"origin": "http://127.0.0.1:8000", "sec-fetch-site": "cross-site"}, 403),
    ],
)
def test_pages_that_may_send(clients: Clients, headers: dict[str, str], status: int):
    assert _post(clients(), headers).status_code == status


def test_a_page_elsewhere_may_link_here(clients: Clients):
    assert clients().get("/", headers={"sec-fetch-site": "cross-site"}).status_code == 200


NAMED = ("clinic.example", "192.0.2.7")


@pytest.mark.parametrize("host", ["clinic.example", "clinic.example:8443", "127.0.0.1:8000", "192.0.2.7"])
@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://clinic.example", 200),
        ("http://clinic.example", 200),
        ("https://clinic.example:8443", 200),
        ("https://CLINIC.example:1", 200),
        ("https://192.0.2.7:8443", 200),
        ("https://clinic.example.evil.example", 403),
        ("https://xclinic.example", 403),
        ("https://www.clinic.example", 403),
        ("https://clinic.example@evil.example", 403),
        ("ftp://clinic.example", 403),
        ("clinic.example", 403),
        ("null", 403),
    ],
)
def test_every_port_of_a_proxy_named_is_its_own(clients: Clients, host: str, origin: str, status: int):
    answer = _post(clients(names=NAMED), {"host": host, "origin": origin, "sec-fetch-site": "same-origin"})
    assert answer.status_code == status


def test_a_page_on_another_port_of_the_name_may_send_and_one_elsewhere_not(clients: Clients):
    for site, status in (("same-site", 200), ("cross-site", 403), ("nonsense", 403)):
        headers = {"host": "clinic.example", "origin": "https://clinic.example:1", "sec-fetch-site": site}
        assert _post(clients(names=NAMED), headers).status_code == status


def test_refusals_say_what_to_start_the_server_with(clients: Clients):
    for headers in ({"origin": "https://clinic.example"}, {"host": "clinic.example"}):
        error = _post(clients(), headers).json()["error"]
        assert all("--name clinic.example" in error[text] for text in ("message", "message_zh"))


MALFORMED: list[str | bytes] = [
    *("", " ", "http://", "http://[", "http://[::1", "http://[1.2.3.4]", "http://a b", "http://a/b", "http://a:b"),
    *("http://a:99999", "http://a:1:2", "//a", "http://a\tb", "http://a@b", "http://a?b", "http://a#b", "null, null"),
    *("http://127.0.0.1:8000, http://127.0.0.1:8000", "http://" + "a" * 9999, "http://é".encode(), b"http://\xff"),
    "http://１２７.0.0.1:8000".encode(),
]


@pytest.mark.parametrize("origin", MALFORMED, ids=lambda text: repr(text[:30]))
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_malformed_origins(clients: Clients, method: str, origin: str | bytes):
    answer = clients().request(method, "/api/models", headers=[("origin", origin)])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_origin")
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


@pytest.mark.parametrize("host", [b"\xff", "é".encode(), b"\xe9", "ｌocalhost".encode(), b"127.0.0.1\xb2"])
def test_hosts_that_are_not_ascii(clients: Clients, host: bytes):
    answer = clients().get("/", headers=[("host", host)])
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "foreign_host")
    assert all(answer.headers[name] == value for name, value in HEADERS.items())


def test_several_of_one_header(clients: Clients):
    own = "http://127.0.0.1:8000"
    assert _post(clients(), [("origin", own)]).status_code == 200
    assert _post(clients(), [("origin", own), ("origin", own)]).status_code == 403
    assert _post(clients(), [("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]).status_code == 403


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Clinic.Example", "clinic.example"),
        ("clinic.example.", "clinic.example"),
        ("诊所.example", "xn--8oup83g.example"),
        ("[FE80::1]", "fe80::1"),
        ("fe80:0::1", "fe80::1"),
        ("192.0.2.7", "192.0.2.7"),
    ],
)
def test_names_as_browsers_send_them(text: str, name: str):
    assert checked_name(text) == name


@pytest.mark.parametrize(
    "text", ["", "https://clinic.example", "clinic.example:8443", "clinic.example/acupoints", "a b", "..", "é" * 99]
)
def test_names_that_are_none(text: str):
    with pytest.raises(ConfigError, match="is not a host name; give the name alone, such as clinic.example"):
        checked_name(text)
