"""Recognises a login in front of a server by its answers: 401, 403, a redirect, or a web page where JSON is due."""

import html
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit, urlunsplit

from engines.comfyui.access import Access
from engines.comfyui.errors import LoginRequired, ServerError, words

ASKS = (401, 407, 511)
REDIRECTS = range(300, 400)
HEAD = 4096
"""Bytes of a web page in which its title is looked for."""


def refused(
    url: str, path: str, status: int, headers: Mapping[str, str], body: bytes, access: Access
) -> ServerError | None:
    """The error of an answer that comes from a login rather than from ComfyUI; None where it does not.

    Args:
        url: the server.
        path: what was asked for, below the address.
        status: of the answer.
        headers: of the answer.
        body: its first bytes.
        access: what was sent.
    """
    sent = (
        f"the header that was sent ({access.names}) does not open it" if access.names else "no header was sent for it"
    )
    if status in ASKS:
        how = words(headers.get("WWW-Authenticate", ""), 100)
        message = f"a login stands in front of the server{f' ({how})' if how else ''}; {sent}"
        return LoginRequired(url, message, status, page_title(body))
    if status == 403:
        message = f"the server, or a login in front of it, refuses access; {sent}"
        return LoginRequired(url, message, status, page_title(body))
    if status in REDIRECTS and headers.get("Location"):
        return _redirected(url, path, status, headers["Location"], sent)
    if status == 200 and is_page(body):
        message = (
            f"{path} is answered by a web page{_quoted(body)}: is this ComfyUI? If so, a login stands in front of it"
        )
        return LoginRequired(url, f"{message}; {sent}", status)
    return None


def _redirected(url: str, path: str, status: int, location: str, sent: str) -> ServerError:
    """A redirect to the same place under another address is a wrong address; any other one is a login."""
    target = urlsplit(urljoin(url + path, location))
    where = words(urlunsplit((target.scheme, target.hostname or "", target.path, "", "")), 200)
    if target.path.endswith(path) and target.scheme in ("http", "https"):
        base = words(urlunsplit((target.scheme, target.netloc, target.path.removesuffix(path), "", "")), 200)
        if base != url and "@" not in base:
            return ServerError(
                url, f"the server redirects to {base}", status, advice=f"name that address: --server {base}"
            )
    message = f"a login stands in front of the server: it redirects to {where}; {sent}"
    return LoginRequired(url, message, status)


def is_page(body: bytes) -> bool:
    """Whether an answer is a web page; an opening tag without anything in it is none."""
    start = re.sub(rb"<!--.*?-->|\xef\xbb\xbf", b"", body[:HEAD], flags=re.S).lstrip()
    return re.match(rb"<(!doctype\s+html\b|(html|head|body)\b[^>]*>\s*\S)", start, re.I) is not None


def page_title(body: bytes) -> str:
    """What an answer says to people: a page's title, or the whole of another text."""
    text = body.decode("utf-8", "replace")
    if not is_page(body):
        return text
    title = re.search(r"<title[^>]*>(.*?)</title", text[:HEAD], re.I | re.S)
    return html.unescape(title[1]).strip() if title else "a web page"


def _quoted(body: bytes) -> str:
    title = page_title(body)
    return "" if title == "a web page" else f" ({words(title, 80)!r})"
