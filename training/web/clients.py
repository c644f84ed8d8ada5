"""The sender of a request, and how much of the server one sender may use."""

import asyncio
import contextlib
import ipaddress
from collections import Counter
from collections.abc import AsyncIterator, Iterator

from training.web.refusals import Refusal


def client_of(address: str, forwarded: str = "") -> str:
    """One sender's name.

    Args:
        address: of the other end of the connection.
        forwarded: the header X-Forwarded-For. It counts only where the other end is this machine, so a proxy on it;
            its last entry is the one that the proxy itself wrote.

    Returns:
        An address; of IPv6 the network of 64 bits, because a single machine has all of it.
    """
    ip = _ip(address)
    if forwarded and ip is not None and ip.is_loopback:
        ip = _ip(forwarded.rsplit(",", 1)[-1].strip()) or ip
    if ip is None:
        return address
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 and not ip.is_loopback else str(ip)


def _ip(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(ip, "ipv4_mapped", None) or ip


class Places:
    """A number of places for requests.

    Args:
        most: how many there are.
        most_of_one: how many of them one sender may have.
    """

    def __init__(self, most: int, most_of_one: int):
        self._most, self._most_of_one = most, most_of_one
        self._taken: Counter[str] = Counter()

    @contextlib.contextmanager
    def take(self, client: str) -> Iterator[None]:
        """A place for one request.

        Raises:
            Refusal: all are taken.
        """
        if self._taken.total() >= self._most or self._taken[client] >= self._most_of_one:
            raise Refusal("busy")
        self._taken[client] += 1
        try:
            yield
        finally:
            self._taken[client] -= 1
            self._taken = +self._taken  # without those at zero, else the table grows


class Budget:
    """Limits the pictures that are processed at a time, by number and by their pixels together.

    First come, first served: a large picture waits until it fits, and those behind it wait, too.
    """

    def __init__(self, pictures: int, pixels: int):
        self._pictures, self._pixels, self._all = pictures, pixels, pixels
        self._entry = asyncio.Lock()
        self._freed = asyncio.Condition()

    @contextlib.asynccontextmanager
    async def take(self, pixels: int) -> AsyncIterator[None]:
        """Room for a picture of so many pixels; one that exceeds the budget gets all of it."""
        pixels = min(pixels, self._all)
        async with self._entry, self._freed:
            await self._freed.wait_for(lambda: self._pictures > 0 and self._pixels >= pixels)
            self._pictures -= 1
            self._pixels -= pixels
        try:
            yield
        finally:
            async with self._freed:
                self._pictures += 1
                self._pixels += pixels
                self._freed.notify_all()
