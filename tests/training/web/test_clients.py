"""How much of the server one sender may take."""

import asyncio
import contextlib

import pytest

from training.web.clients import Budget, Places, client_of
from training.web.refusals import Refusal


@pytest.mark.parametrize(
    ("address", "forwarded", "client"),
    [
        ("192.0.2.7", "", "192.0.2.7"),
        ("::ffff:192.0.2.7", "", "192.0.2.7"),
        ("2001:db8::1", "", "2001:db8::/64"),
        ("2001:db8:0:0:ffff::2", "", "2001:db8::/64"),
        ("2001:db8:0:1::2", "", "2001:db8:0:1::/64"),
        ("::1", "", "::1"),
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "10.0.0.1, 192.0.2.7", "192.0.2.7"),
        ("127.0.0.1", "192.0.2.7, nonsense", "127.0.0.1"),
        ("192.0.2.7", "10.0.0.1", "192.0.2.7"),
        ("testclient", "10.0.0.1", "testclient"),
        ("", "10.0.0.1", ""),
    ],
)
def test_who_a_request_comes_from(address: str, forwarded: str, client: str):
    assert client_of(address, forwarded) == client


def test_places_are_shared_out():
    places = Places(5, 3)
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(places.take("a"))
        with pytest.raises(Refusal, match="busy"), places.take("a"):
            pass
        for _ in range(2):
            stack.enter_context(places.take("b"))
        with pytest.raises(Refusal, match="busy"), places.take("c"):
            pass
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(places.take("a"))


def test_a_large_picture_is_worked_on_alone_and_in_its_turn():
    async def work() -> list[str]:
        budget, message = Budget(2, 100), []

        async def one(name: str, pixels: int) -> None:
            async with budget.take(pixels):
                message.append(f"{name} in")
                await asyncio.sleep(0)
                await asyncio.sleep(0)
                message.append(f"{name} out")

        await asyncio.gather(*(one(*what) for what in (("a", 40), ("b", 60), ("c", 999), ("d", 1), ("e", 1), ("f", 1))))
        return message

    message = asyncio.run(work())
    assert set(message[:2]) == {"a in", "b in"} and set(message[2:4]) == {"a out", "b out"}
    assert message[4:6] == ["c in", "c out"] and [text for text in message if "in" in text] == [
        f"{x} in" for x in "abcdef"
    ]
    inside = most = 0
    for text in message:
        inside += 1 if "in" in text else -1
        most = max(most, inside)
    assert most == 2


def test_who_gives_up_waiting_leaves_the_room_to_others():
    async def work() -> None:
        budget = Budget(1, 100)
        async with budget.take(100):
            waiting = asyncio.ensure_future(_enter(budget))
            await asyncio.sleep(0)
            waiting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await waiting
        await asyncio.wait_for(_enter(budget), 5)

    asyncio.run(work())


async def _enter(budget: Budget) -> None:
    async with budget.take(100):
        pass
