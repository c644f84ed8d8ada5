"""Recognises a login in front of a server by its answers: 401, 403, a redirect, or a web page instead of JSON."""

import html
import re
from collections.abc import Mapping
from urllib.parse import urljoin, urlsplit, urlunsplit

from engines.comfyui.access import Access
from engines.comfyui.errors import LoginRequired, ServerError, safe_text

ASKS = (401, 407, 511)
REDIRECTS = range(300, 400)
UNTITLED = "a web page"
HEAD = 4096
"""Bytes of a web page in which its title is looked for."""


def login_error(
    url: str, path: str, status: int, headers: Mapping[str, str], body: bytes, access: Access
) -> ServerError | None:
    """The error of an answer that comes from a login rather than from ComfyUI, else None.

    Args:
        url: the server.
        path: of the request, below the address.
        status: of the answer.
        headers: of the answer.
        body: its first bytes.
        access: the headers that were sent.
    """
    sent = (
        f"the header that was sent ({access.names}) does not open it" if access.names else "no header was sent for it"
    )
    if status in ASKS:
        scheme = safe_text(headers.get("WWW-Authenticate", ""), 100)
        message = f"a login stands in front of the server{f' ({scheme})' if scheme else ''}; {sent}"
        return LoginRequired(url, message, status, page_title(body))
    if status == 403:
        message = f"the server, or a login in front of it, refuses access; {sent}"
        return LoginRequired(url, message, status, page_title(body))
    if status in REDIRECTS and headers.get("Location"):
        return _redirected(url, path, status, headers["Location"], sent)
    if status == 200 and is_page(body):
        title = page_title(body)
        quoted = f" ({safe_text(title, 80)!r})" if title != UNTITLED else ""
        message = f"{path} is answered by a web page{quoted}: is this ComfyUI? If so, a login stands in front of it"
        return LoginRequired(url, f"{message}; {sent}", status)
    return None


def _redirected(url: str, path: str, status: int, location: str, sent: str) -> ServerError:
    """A redirect to the same place under another address is a wrong address; any other one is a login."""
    target = urlsplit(urljoin(url + path, location))
    where = safe_text(urlunsplit((target.scheme, target.hostname or "", target.path, "", "")), 200)
    if target.path.endswith(path) and target.scheme in ("http", "https"):
        base = safe_text(urlunsplit((target.scheme, target.netloc, target.path.removesuffix(path), "", "")), 200)
        if base != url and "@" not in base:
            return ServerError(
                url, f"the server redirects to {base}", status, advice=f"name that address: --server {base}"
            )
    message = f"a login stands in front of the server: it redirects to {where}; {sent}"
    return LoginRequired(url, message, status)


def is_page(body: bytes) -> bool:
    """Whether an answer is a web page; an opening tag without any content is not enough."""
    start = re.sub(rb"<!--.*?-->|\xef\xbb\xbf", b"", body[:HEAD], flags=re.S).lstrip()
    return re.match(rb"<(!doctype\s+html\b|(html|head|body)\b[^>]*>\s*\S)", start, re.I) is not None


def page_title(body: bytes) -> str:
    """The readable text of an answer: a web page's title, or all of another text."""
    text = body.decode("utf-8", "replace")
    if not is_page(body):
        return text
    title = re.search(r"<title[^>]*>(.*?)</title", text[:HEAD], re.I | re.S)
    return html.unescape(title[1]).strip() if title else UNTITLED
