"""What every request passes: only the server's own names, only its own page as sender, and headers on every answer.

There are no cookies and no passwords, so a foreign page could only use the server through its visitor's browser: by a
form or a script (its Origin tells), or under a name of its own that leads to this machine (the Host tells).
"""

import ipaddress
import socket
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

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


def is_loopback(host: str) -> bool:
    """Whether an address or name means this machine alone."""
    return host.lower() == "localhost" or _matches(host, "is_loopback")


def _matches(host: str, what: str) -> bool:
    try:
        return bool(getattr(ipaddress.ip_address(host), what))
    except ValueError:
        return False


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


class Guard:
    """ASGI middleware.

    Args:
        app: what it guards.
        host: what the server listens on. Loopback names and this one are answered; where it is not a loopback name,
            also any IP address, which no foreign page can have for its name, and this machine's own name.
        names: further names, such as that of a proxy.
    """

    def __init__(self, app: ASGIApp, host: str = "127.0.0.1", names: Iterable[str] = ()):
        self._app = app
        self._remote = not is_loopback(host)
        own = {host, *names} | ({socket.gethostname(), socket.getfqdn()} if self._remote else set())
        self._names = {name.lower() for name in own}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers or passes on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        started = False

        async def with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers[name] = value
            await send(message)

        try:
            self._check(scope["method"], Headers(scope=scope))
        except Refusal as refusal:
            await failure(refusal)(scope, receive, with_headers)
            return
        try:
            await self._app(scope, receive, with_headers)
        except Exception:
            if not started:
                await failure(Refusal("internal"))(scope, receive, with_headers)
            raise  # the server writes it to the terminal

    def _check(self, method: str, headers: Headers) -> None:
        host = headers.get("host", "")
        name = _hostname(host)
        known = name in self._names or is_loopback(name) or (self._remote and _is_address(name))
        if not name or not known:
            raise Refusal("foreign_host", name=printable(host)[:60])
        if method in SAFE:
            return
        origin, site = headers.get("origin"), headers.get("sec-fetch-site", "same-origin")
        own = origin is None or urlsplit(origin).netloc.lower() == host.lower()
        if not own or site not in ("same-origin", "none"):
            raise Refusal("foreign_origin")


def _hostname(host: str) -> str:
    """The name of ``name:port``, empty if it is no such thing."""
    try:
        parts = urlsplit(f"//{host}")
        return "" if parts.path or parts.username is not None else (parts.hostname or "")
    except ValueError:
        return ""
