"""Headers for a login in front of a server. Only this server may see them.

They are sent in requests and in the socket's handshake, and appear nowhere else: not in messages, the ledger, the
manifest or images. No redirect is followed with them. A server, or a proxy before it, may repeat them in an answer:
``errors.safe_text`` therefore passes all text of a server through ``hide_secrets`` before it is shown or stored.
"""

import base64
import binascii
import re
from collections.abc import Mapping

HIDDEN = "[hidden]"
SHORTEST = 4
"""Shorter values, and shorter words in values, are not hidden: that would garble every message."""
_SCHEMES = ("basic", "bearer", "digest", "negotiate", "token")
_secrets: set[str] = set()
"""Of all servers of this process; never removed, so that the last messages hide them, too."""


class Access:
    """The headers for one server. Printing it, or an error about it, shows their names only."""

    def __init__(self, headers: Mapping[str, str] | None = None):
        self._headers = dict(headers or {})
        for value in self._headers.values():
            _secrets.update(_secret_words(value))

    def __repr__(self) -> str:
        return f"Access({self.names})"

    @property
    def names(self) -> str:
        """The headers' names, for messages; "" where there are none."""
        return ", ".join(self._headers)

    @property
    def headers(self) -> dict[str, str]:
        """For requests."""
        return dict(self._headers)

    @property
    def lines(self) -> list[str]:
        """For the socket's handshake: all headers but cookies."""
        return [f"{name}: {value}" for name, value in self._headers.items() if name.casefold() != "cookie"]

    @property
    def cookie(self) -> str | None:
        """For the socket's handshake, which adds the cookies that a proxy sets."""
        return next((value for name, value in self._headers.items() if name.casefold() == "cookie"), None)


def hide_secrets(text: str) -> str:
    """A text without the secrets that are sent to servers."""
    for secret in sorted(_secrets, key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text


def _secret_words(value: str) -> set[str]:
    """What of a header's value is secret: all of it, the words in it, and what a basic login encodes."""
    words = [word for word in re.split(r"[\s;,]+", value) if word.casefold() not in _SCHEMES]
    words += [value, *(word.partition("=")[2] for word in words)]  # cookies have names
    if value.casefold().startswith("basic "):
        try:
            login = base64.b64decode(value[6:].strip(), validate=True).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            login = ""
        words += [login, login.partition(":")[2]]
    return {word for word in words if len(word) >= SHORTEST}
