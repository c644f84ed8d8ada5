"""Reads the headers for a login from a file or from the environment; never from the command line, which others on the
machine can see.

    # one header a line; a token alone is sent as "Authorization: Bearer TOKEN"
    Authorization: Bearer TOKEN

    [https://other.example.org]         # from here on for this server only
    CF-Access-Client-Id: …
    CF-Access-Client-Secret: …

Headers above the first address are sent to every server. Messages name lines, not their content.
"""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from requests.structures import CaseInsensitiveDict

from acusim.errors import ConfigError
from engines.comfyui.access import Access
from engines.comfyui.http import normal_url

VARIABLE = "ACUSIM_SERVER_HEADER"
OPTION = "--server-header-file"
MAX_BYTES = 64 << 10
MAX_VALUE = 8000
"""Characters; servers take some 8 KB of headers in all."""
_HEADER = re.compile(r"([A-Za-z][A-Za-z0-9_-]{0,63}):[ \t]+(\S.*)")
_TOKEN = re.compile(r"(?:(Bearer|Basic|Token) +)?([A-Za-z0-9._~+/-]+=*)")
_SECTION = re.compile(r"\[\s*(\S+)\s*\](?:\s+#.*)?")
_OURS = (
    *("host", "connection", "upgrade", "origin", "expect", "te", "trailer", "transfer-encoding", "accept-encoding"),
    *("content-length", "content-type", "content-encoding"),
)
"""Headers that the program itself sets."""


@dataclass(frozen=True, slots=True)
class Headers:
    """The headers for each server."""

    servers: Mapping[str, Access]
    """Address -> headers."""
    note: str = ""
    """For the user: others can read the file."""


def read_headers(urls: Iterable[str], file: Path | None, environment: Mapping[str, str]) -> Headers:
    """The headers for each server, from the file, or else from the environment.

    Args:
        urls: addresses, as ``normal_url`` gives them.
        file: value of OPTION.
        environment: where VARIABLE may be set.

    Raises:
        ConfigError: the file cannot be read, or a line is not a header; names the line, not its content.
    """
    note = ""
    if file is not None:
        where = f"{OPTION} {str(file)!r}"
        text, note = _content(file, where)
        lines = [line.removesuffix("\r") for line in text.split("\n")]
    elif environment.get(VARIABLE):
        where = f"environment variable {VARIABLE}"
        lines = [environment[VARIABLE].strip()]
    else:
        return Headers({url: Access() for url in urls})
    found: dict[str, CaseInsensitiveDict[str]] = {"": CaseInsensitiveDict()}
    for url, name, value, number in _headers(lines, where):
        headers = found.setdefault(url, CaseInsensitiveDict())
        if name in headers:
            raise ConfigError(f"{where}, line {number}: the header {name} occurs twice")
        headers[name] = value
    if not any(found.values()):
        raise ConfigError(f"{where} contains no header; write a line such as 'Authorization: Bearer TOKEN'")
    # A server's own headers replace those for all.
    merged = {url: CaseInsensitiveDict({**found[""], **found.get(url, {})}) for url in urls}
    return Headers({url: Access(headers) for url, headers in merged.items()}, note)


def _content(file: Path, where: str) -> tuple[str, str]:
    """The file's text, and a note where others can read it. It may be a pipe, such as ``<(pass show server)``."""
    try:
        with file.open("rb") as stream:
            mode = os.fstat(stream.fileno()).st_mode
            data = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{where} cannot be read: {error.strerror}") from None
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{where} has more than {MAX_BYTES >> 10} KB; one header a line is expected")
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        raise ConfigError(f"{where} is not text in UTF-8") from None
    exposed = stat.S_ISREG(mode) and mode & (stat.S_IRGRP | stat.S_IROTH)
    return text, f"{where} can be read by others on this machine: chmod 600 it" if exposed else ""


def _headers(lines: Iterable[str], where: str) -> Iterator[tuple[str, str, str, int]]:
    """(address or "", name, value, line number) of each header."""
    url = ""
    for number, raw in enumerate(lines, 1):
        line = raw.strip(" \t")
        if not line or line.startswith("#"):
            continue
        place = f"{where}, line {number}"
        if not all(" " <= character <= "~" or character == "\t" for character in line):
            raise ConfigError(
                f"{place} has a character that headers may not have, such as a line break; one header a line"
            )
        if section := _SECTION.fullmatch(line):
            try:
                url = normal_url(section[1])
            except ConfigError as error:
                raise ConfigError(f"{place}: {error}") from None
            continue
        name, value = _header(line, place)
        yield url, name, value, number


def _header(line: str, place: str) -> tuple[str, str]:
    if token := _TOKEN.fullmatch(line):
        name, value = "Authorization", f"{token[1] or 'Bearer'} {token[2]}"
    elif header := _HEADER.fullmatch(line):
        name, value = header[1], header[2]
    else:
        raise ConfigError(f"{place} is neither 'Name: value', with a blank after the colon, nor a token alone")
    if name.casefold() in _OURS or name.casefold().startswith("sec-websocket-"):
        raise ConfigError(f"{place}: the header {name} is set by the program itself; leave it out")
    if len(value) > MAX_VALUE:
        raise ConfigError(f"{place}: the value has {len(value)} characters, at most {MAX_VALUE} are sent")
    return name, value
