"""Tests how long requests wait for new input after one of them has used the event loop for long."""

import asyncio

from app.core.fairness.arrivals import MOST_TURNS, QUIET_TURNS, Arrivals


async def _turns_until(future: "asyncio.Future[None] | None", each_turn: "list[bool]", arrivals: Arrivals) -> int:
    """Returns the number of turns of the event loop until a future is done.

    `each_turn` states in which turns a new request arrives.
    """
    turns = 0
    while future is not None and not future.done():
        if turns < len(each_turn) and each_turn[turns]:
            arrivals.note()
        await asyncio.sleep(0)
        turns += 1
    return turns


async def test_a_quiet_process_waits_a_few_turns() -> None:
    """If no input arrives, a request waits for a few turns of the event loop only."""
    arrivals = Arrivals()
    assert arrivals.awaited is None
    arrivals.receive()
    assert await _turns_until(arrivals.awaited, [], arrivals) <= QUIET_TURNS + 1
    assert arrivals.awaited is None


async def test_requests_wait_while_others_arrive_and_not_for_ever() -> None:
    """Requests wait as long as new input arrives. If the input never stops, they wait for a limited time only."""
    arrivals = Arrivals()
    arrivals.receive()
    burst = [turn in (0, 4, 8) for turn in range(9)]
    turns = await _turns_until(arrivals.awaited, burst, arrivals)
    assert 8 + QUIET_TURNS <= turns <= 8 + QUIET_TURNS + 2
    arrivals.receive()
    assert MOST_TURNS <= await _turns_until(arrivals.awaited, [True] * 200, arrivals) <= MOST_TURNS + 1


async def test_a_second_long_step_meanwhile_prolongs_nothing() -> None:
    """If another long step ends while requests already wait for new input, they do not wait longer."""
    arrivals = Arrivals()
    arrivals.receive()
    first = arrivals.awaited
    arrivals.receive()
    assert arrivals.awaited is first
    await _turns_until(first, [], arrivals)
