"""Tests the order in which pages are requested, and that only a limited number of pages is in memory."""

import asyncio
from collections.abc import Callable

from app.sis.oneroster_rest.turns import PageBudget, TurnQueue
from app.sis.oneroster_rest.walk import Walk, WalkPage


async def let_all_run() -> None:
    """Runs all waiting tasks until none can continue."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_the_earlier_collection_goes_first() -> None:
    """Requests of earlier collections have priority, within the limit of concurrent requests."""
    turns, done, order = TurnQueue(2), asyncio.Event(), list[str]()

    async def ask(number: int, name: str) -> None:
        async with turns.turn(number):
            order.append(name)
            await done.wait()

    async with asyncio.TaskGroup() as group:
        for number, name in ((3, "a"), (3, "b"), (2, "late"), (1, "early"), (1, "early again")):
            group.create_task(ask(number, name))
            await let_all_run()
        assert order == ["a", "b"]
        done.set()
    assert order == ["a", "b", "early", "early again", "late"]


async def test_no_turn_is_lost_with_one_who_left() -> None:
    """No turn is lost if a request is cancelled: while it waits, while it has its turn, or just when its turn comes."""
    turns = TurnQueue(1)

    async def hold(until: asyncio.Event) -> None:
        async with turns.turn(0):
            await until.wait()

    for leave in range(3):
        go = asyncio.Event()
        first, second = asyncio.create_task(hold(go)), asyncio.create_task(hold(go))
        await let_all_run()
        if leave == 1:
            first.cancel()
        if leave == 2:
            go.set()
            await asyncio.sleep(0)  # the first goes, which calls the second
        second.cancel()
        go.set()
        await asyncio.gather(first, second, return_exceptions=True)
        async with asyncio.timeout(120), turns.turn(9):
            pass


async def test_all_walks_together_hold_no_more_than_the_hand() -> None:
    """Collections that are read together keep no more pages in memory than the budget, and none waits for ever."""
    hand, held, stuck = PageBudget(4), 0, asyncio.Event()
    most = 0

    def source(slow: bool) -> Callable[[int, int, str | None], "asyncio.Future[WalkPage] | object"]:
        async def fetch(limit: int, offset: int, _link: str | None) -> WalkPage:
            nonlocal held, most
            held += 1
            most = max(most, held)
            if slow and offset == 10:
                await stuck.wait()
            ids = [f"r{number}" for number in range(offset, min(offset + limit, 300))]
            return WalkPage(ids, ids, total=300)

        return fetch

    async def walk(slow: bool) -> list[str]:
        nonlocal held
        ids_read = []
        async for page in Walk(source(slow), 10, hand).walk():  # type: ignore[arg-type]  # a coroutine is awaitable
            ids_read += page.ids
            held -= 1
        return ids_read

    walks = [asyncio.create_task(walk(slow)) for slow in (True, False, False)]
    await let_all_run()
    assert not walks[0].done()
    stuck.set()
    ids_read = await asyncio.gather(*walks)
    assert [len(one) for one in ids_read] == [300, 300, 300]
    assert most <= 4 + 3
    assert sum(hand.reserve() for _ in range(9)) == 4
