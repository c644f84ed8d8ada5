"""HTTP with one server: time and size limits on everything; no redirects, no proxies, no passwords from .netrc."""

import json
import re
import threading
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import requests

from acusim.errors import ConfigError
from engines.comfyui.access import Access
from engines.comfyui.errors import BadAnswer, BrokenOff, ServerError, Unreachable
from engines.comfyui.login import login_error, page_title

MAX_JSON = 128 << 20
"""A queue with hundreds of large workflows is some 30 MB."""
CHUNK = 1 << 18
ERROR_BODY = 64 << 10


_LOGIN_HINT = "a login's header or token belongs into --server-header-file FILE"


def normal_url(text: str) -> str:
    """A server's address in one spelling: scheme, host, port, no slash at the end.

    Raises:
        ConfigError: it is not an http address; passwords and tokens in it are not shown.
    """
    address = text.strip() if "://" in text else f"http://{text.strip()}"
    shown = _without_secrets(address)
    wrong = f"server {shown!r} is not an address such as http://127.0.0.1:8188"
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        raise ConfigError(f"{wrong}: host or port is malformed") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"server address {shown!r} holds a user name or password; {_LOGIN_HINT}")
    if parts.query or parts.fragment:
        raise ConfigError(f"{wrong}: leave out ? or # and all behind it; {_LOGIN_HINT}")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(wrong)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return urlunsplit((parts.scheme, f"{host}:{port}" if port else host, parts.path.rstrip("/"), "", ""))


def _without_secrets(address: str) -> str:
    """An address for messages: what is before @, or behind ? or #, may be a password or a token."""
    scheme, _, rest = address.partition("://")
    authority = re.split(r"[/?#]", rest)[0]
    if "@" not in rest:
        return re.split(r"[?#]", address)[0]
    return f"{scheme}://{authority.rsplit('@', 1)[1] if '@' in authority else '…'}"


class Http:
    """Requests to one server, from any thread."""

    def __init__(
        self, url: str, connect_seconds: float = 5.0, read_seconds: float = 60.0, access: Access | None = None
    ):
        self.url = url
        self.access = access or Access()
        self.connect_seconds = connect_seconds
        self.read_seconds = read_seconds
        self._local = threading.local()
        self._sessions: list[requests.Session] = []
        self._lock = threading.Lock()

    def close(self) -> None:
        """Closes the connections of all threads."""
        with self._lock:
            for session in self._sessions:
                session.close()
            self._sessions.clear()
            self._local = threading.local()

    def _session(self) -> requests.Session:
        session = getattr(self._local, "session", None)
        if session is None:
            session = requests.Session()
            session.trust_env = False  # neither proxies nor .netrc: a server here is a machine of one's own
            with self._lock:
                self._sessions.append(session)
                self._local.session = session
        return session

    def request(
        self, method: str, path: str, limit: int, allowed: tuple[int, ...] = (200,), **options: Any
    ) -> tuple[int, bytes]:
        """One request: the status and the body.

        Args:
            method: GET or POST.
            path: starts with a slash.
            limit: the most bytes that are read.
            allowed: statuses that are not errors.
            options: ``params``, ``json`` or ``files`` as in requests.

        Raises:
            Unreachable: no connection, it broke before the answer was complete, or the server cannot answer a GET.
            BadAnswer: more bytes than the limit.
            LoginRequired: a login in front of the server answers instead.
            ServerError: another status.
        """
        try:
            with self._session().request(
                method,
                self.url + path,
                timeout=(self.connect_seconds, self.read_seconds),
                allow_redirects=False,
                stream=True,
                headers={"Accept-Encoding": "identity", **self.access.headers},
                **options,
            ) as response:
                status, headers = response.status_code, response.headers
                body = self._body(response, limit if status in allowed else ERROR_BODY, path)
        except (requests.exceptions.ChunkedEncodingError, requests.exceptions.ContentDecodingError) as error:
            raise BrokenOff(self.url, f"{method} {path}: the answer broke off", response=str(error)) from None
        except requests.exceptions.ConnectTimeout:
            raise Unreachable(self.url, f"no connection within {self.connect_seconds:g} s", sent=False) from None
        except requests.exceptions.ReadTimeout:
            raise Unreachable(self.url, f"{method} {path}: no answer within {self.read_seconds:g} s") from None
        except requests.exceptions.ConnectionError as error:
            none = "Failed to establish a new connection" in str(error) or "Failed to resolve" in str(error)
            if none:
                raise Unreachable(self.url, "no connection; does ComfyUI run there?", sent=False) from None
            raise Unreachable(self.url, f"{method} {path}: the connection broke", response=str(error)) from None
        except requests.exceptions.RequestException as error:
            raise ServerError(self.url, f"{method} {path} failed", response=str(error)) from None
        if status in allowed:
            return status, body
        if refusal := login_error(self.url, path, status, headers, body, self.access):
            raise refusal
        down = status in (502, 503, 504) or (status >= 500 and method == "GET")
        kind = Unreachable if down else ServerError
        raise kind(self.url, f"{method} {path} is answered by an error", status, page_title(body))

    def _body(self, response: requests.Response, limit: int, path: str) -> bytes:
        announced = response.headers.get("Content-Length", "")
        if re.fullmatch(r"[0-9]{1,18}", announced) and int(announced) > limit and response.ok:
            raise BadAnswer(self.url, f"{path}: {announced} bytes, at most {limit} are expected")
        pieces: list[bytes] = []
        size = 0
        for piece in response.iter_content(CHUNK):
            size += len(piece)
            pieces.append(piece)
            if size > limit:
                if response.ok:
                    raise BadAnswer(self.url, f"{path}: more than the {limit} bytes that are expected")
                break
        return b"".join(pieces)

    def object(self, method: str, path: str, **options: Any) -> Mapping[str, Any]:
        """As ``request``: the JSON object in the body.

        Raises:
            BadAnswer: the body is something else.
        """
        return self.parse(path, *self.request(method, path, MAX_JSON, **options))

    def parse(self, path: str, status: int, body: bytes) -> Mapping[str, Any]:
        """The JSON object of an answer.

        Raises:
            LoginRequired: it is a web page.
            BadAnswer: it is something else.
        """
        if status == 200 and (refusal := login_error(self.url, path, status, {}, body, self.access)):
            raise refusal
        try:
            value = json.loads(body)
        except (ValueError, RecursionError):
            value = None
        if not isinstance(value, dict):
            text = body[:200].decode("utf-8", "replace")
            raise BadAnswer(self.url, f"{path}: the answer is not a JSON object; is this ComfyUI?", status, text)
        return value
