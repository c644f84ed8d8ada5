"""Checks of every request: only the server's own names, only its own page as sender; and headers on every answer.

There are no cookies and no passwords, so a foreign page could only use the server through its visitor's browser: by a
form or a script (seen in Origin), or under a name of its own that resolves to this machine (seen in Host).
"""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import NamedTuple

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from acusim.errors import ConfigError
from acusim.files import printable
from training.web.refusals import Refusal, failure

SAFE = ("GET", "HEAD", "OPTIONS")
HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
    "media-src 'self' blob:; connect-src 'self'; manifest-src 'none'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}


_AUTHORITY = re.compile(
    r"(?P<name>[a-z0-9_](?:[a-z0-9_.-]{0,251}[a-z0-9_])?|\[[0-9a-f:.]{2,45}\])(?P<dot>\.?)(?::(?P<port>[0-9]{1,5}))?",
    re.ASCII | re.IGNORECASE,
)
_DEFAULT_PORTS = {"http": 80, "https": 443}


class _Authority(NamedTuple):
    """Name and port of a Host or Origin."""

    name: str
    """In lower case, without brackets."""
    port: int | None


def _authority(text: str) -> _Authority | None:
    """The parts of ``name``, ``name:port``, ``1.2.3.4:port`` or ``[::1]:port``; None if it is none of these."""
    match = _AUTHORITY.fullmatch(text)
    if not match or int(match["port"] or 0) > 65535:
        return None
    name = match["name"].lower()
    if name.startswith("["):
        address = _address(name[1:-1])
        if address is None or address.version != 6 or match["dot"]:
            return None
        name = str(address)
    return _Authority(name, int(match["port"]) if match["port"] else None)


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    address = _address(host)
    return host.lower() == "localhost" or bool(address and address.is_loopback)


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(text)
    except ValueError:
        return None


def checked_name(text: str) -> str:
    """A name for Guard as browsers send it: in lower case, other than Latin letters encoded.

    Raises:
        ConfigError: it is not a host name alone.
    """
    try:
        name = text if text.isascii() else text.encode("idna").decode()
        found = _authority(f"[{name}]" if name.count(":") > 1 and not name.startswith("[") else name)
    except UnicodeError:
        found = None
    if found is None or found.port is not None:
        raise ConfigError(
            f"--name {text!r} is not a host name; give the name alone, such as clinic.example, without http://, a port "
            "or a path: the server answers at any port of it"
        )
    return found.name


class Guard:
    """ASGI middleware.

    Args:
        app: what it guards.
        host: what the server listens on. Loopback names and this one are answered; where it is not a loopback name,
            also any IP address, which no foreign page can have for its name, and this machine's own name.
        names: further names, such as that of a proxy, see checked_name. Pages of these names may send pictures
            whatever their scheme and port, and whatever Host the proxy passes on.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", names: Iterable[str] = ()):
        self._app = app
        self._remote = not is_loopback(host)
        self._proxies = {name.lower() for name in names}
        own = {host, *self._proxies} | ({socket.gethostname(), socket.getfqdn()} if self._remote else set())
        self._names = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuses a request or passes it on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope.get("method", "POST"), Headers(scope=scope))  # a websocket may send pictures
        except Refusal as refusal:
            await failure(refusal)(scope, receive, with_headers)
            return
        if scope["type"] == "websocket":
            await self._app(scope, receive, with_headers)
            return
        try:
            await self._app(scope, receive, with_headers)
        except asyncio.CancelledError:  # the server ends and does not wait any longer
            if not started:
                await failure(Refusal("stopping", True))(scope, receive, with_headers)
        except Exception:
            if not started:
                await failure(Refusal("internal"))(scope, receive, with_headers)
            raise  # the server writes it to the terminal

    def _check(self, method: str, headers: Headers) -> None:
        host = check_host(headers.getlist("host"))
        if not (
            host.name in self._names or is_loopback(host.name) or (self._remote and _address(host.name) is not None)
        ):
            raise foreign_host(headers["host"], host.name)
        origin = check_origin(headers.getlist("origin"))
        if method in SAFE:
            return
        allowed = {"same-origin", "none"}
        if origin:
            scheme, name, port = origin
            if name in self._proxies:
                allowed.add("same-site")  # another port of the name
            elif name != host.name or (port or _DEFAULT_PORTS[scheme]) != (host.port or _DEFAULT_PORTS[scheme]):
                raise foreign_origin(name)
        if not set(headers.getlist("sec-fetch-site")) <= allowed:
            raise foreign_origin(origin[1] if origin else "")


def check_host(values: list[str]) -> _Authority:
    """The authority of a request's Host; ``values`` of all its Host headers.

    Raises:
        Refusal: there is not exactly one, or it is malformed.
    """
    found = _authority(values[0]) if len(values) == 1 else None
    if found is None:
        raise foreign_host(", ".join(values))
    return found


def check_origin(values: list[str]) -> tuple[str, str, int | None] | None:
    """Scheme, name and port of the page that sends a request; None where no page does.

    Raises:
        Refusal: several, malformed, or ``null``, which pages send that hide their origin.
    """
    if not values:
        return None
    scheme, _, rest = values[0].partition("://")
    found = _authority(rest) if len(values) == 1 and scheme.lower() in _DEFAULT_PORTS else None
    if found is None:
        raise foreign_origin()
    return scheme.lower(), found.name, found.port


def foreign_host(host: str, name: str = "NAME") -> Refusal:
    """The refusal of a Host."""
    text = host.encode("latin-1", "replace").decode(errors="replace")  # headers come as latin-1, names as UTF-8
    return Refusal("foreign_host", host=printable(text)[:60], name=name)


def foreign_origin(name: str = "") -> Refusal:
    """The refusal of an Origin."""
    return Refusal("foreign_origin", name=name or "NAME")


def refusal_of_head(head: bytes, cut: bool) -> Refusal:
    """Why a request's head could not be read: its Host or Origin, else its length, else that it is not HTTP.

    Args:
        head: as it was received.
        cut: whether it was too long and this is its start.
    """
    start, *lines = re.split(rb"\r?\n", head.partition(b"\r\n\r\n")[0])
    if not re.fullmatch(rb"[!-~]+ [!-~]+ HTTP/1\.[01]", start):
        return Refusal("long_head" if cut and not lines else "bad_request", True)
    found: dict[bytes, list[str]] = {b"host": [], b"origin": []}
    for line in lines:
        name, _, value = line.partition(b":")
        if name.strip().lower() in found:
            found[name.strip().lower()].append(value.strip(b" \t").decode("latin-1"))
    try:
        if found[b"host"] or not cut:
            check_host(found[b"host"])
        check_origin(found[b"origin"])
    except Refusal as refusal:
        refusal.hang_up = True
        return refusal
    return Refusal("long_head" if cut else "bad_request", True)
