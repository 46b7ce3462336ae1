"""Tests the gate that limits a process's concurrent requests: slots, queues, long requests, and lost wake-ups."""

import asyncio
import random

import pytest

from app.core.errors import Overloaded, Throttled
from app.core.fairness import gate as gates
from app.core.fairness.gate import Gate, Limits, Turn

ROOMY = Limits(slots=2, most_of_one_key=8, most=16, slot_seconds=3600)


class _Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_the_slots_are_full_before_anybody_waits() -> None:
    """A single key can use every slot, and the next request waits until a slot is free."""
    gate = Gate(ROOMY)
    first, second, third = (gate.enqueue("a") for _ in range(3))
    assert [one.may_run for one in (first, second, third)] == [True, True, False]
    gate.leave(first)
    await gate.wait(third)
    assert third.may_run
    gate.leave(first)
    assert (gate.running, gate.waiting) == (2, 0)


async def test_a_key_without_a_request_under_way_is_let_in_at_once() -> None:
    """A request of a district that has no running request does not wait for a slot.

    It waits only while the gate's maximum number of requests is running.
    """
    gate = Gate(Limits(slots=2, most_of_one_key=8, most=4, slot_seconds=3600))
    assert [gate.enqueue(key).may_run for key in "aaabcd"] == [True, True, False, True, True, False]


async def test_the_key_with_most_under_way_pauses_while_another_runs() -> None:
    """A district with several running requests must pause them while another district has a request running.

    The paused requests continue when the other request ends, or after the longest pause.
    """
    clock = _Clock()
    gate = Gate(Limits(slots=4, most_of_one_key=8, most=16, slot_seconds=3600, pause_seconds=0.25), clock=clock)
    loud = [gate.enqueue("a") for _ in range(4)]
    assert all(one.pause() is None for one in loud)
    quiet = gate.enqueue("b")
    paused = [one.pause() for one in loud]
    assert all(paused)
    assert quiet.pause() is None
    gate.leave(quiet)
    assert all(one.done() for one in paused if one)
    assert all(one.pause() is None for one in loud)
    stuck = gate.enqueue("b")
    assert loud[0].pause() is not None
    clock.now += 0.3
    assert loud[0].pause() is None, "who waits for a lock does not make others wait"
    gate.leave(stuck)


async def test_a_pause_is_bounded_where_others_come_all_the_time() -> None:
    """The pauses of a large district's request are limited, even if small districts always send requests."""
    clock = _Clock()
    gate = Gate(Limits(slots=4, most_of_one_key=8, most=16, slot_seconds=3600, pause_seconds=0.25), clock=clock)
    loud = [gate.enqueue("a") for _ in range(4)]
    went_on = 0
    for number in range(1000):
        small = gate.enqueue(f"small {number}")
        went_on += loud[0].pause() is None
        clock.now += 0.05
        gate.leave(small)
    assert 400 < went_on < 600


async def test_a_districts_weight_counts_where_requests_pause() -> None:
    """A district with the weight three may run three requests at once for each request of another district."""
    gate = Gate(Limits(slots=8, most_of_one_key=8, most=16, slot_seconds=3600), {"a": 3.0})
    heavy = [gate.enqueue("a") for _ in range(3)]
    gate.enqueue("b")
    assert heavy[0].pause() is None
    fourth = gate.enqueue("a")
    assert fourth.pause() is not None


async def test_after_a_long_step_the_loop_takes_in_what_has_come() -> None:
    """After a request has used the event loop for long, the loop accepts new input before another request continues."""
    gate = Gate(ROOMY)
    first, second = gate.enqueue("a"), gate.enqueue("a")
    first.stepped(0.0001)
    assert second.pause() is None
    first.stepped(0.1)
    looking = second.pause()
    assert looking is not None
    await looking
    assert second.pause() is None


async def test_a_waiting_request_that_is_given_up_leaves_the_queue() -> None:
    """A waiting request that is cancelled leaves the queue and takes no slot."""
    gate = Gate(ROOMY)
    running = [gate.enqueue("a") for _ in range(2)]
    waiting = [gate.enqueue("a") for _ in range(3)]
    gate.leave(waiting[0])
    gate.leave(running[0])
    assert waiting[1].may_run
    gate.leave(waiting[1])
    assert waiting[2].may_run
    for turn in (*running, *waiting):
        gate.leave(turn)
    assert (gate.running, gate.waiting) == (0, 0)


@pytest.mark.parametrize("seed", range(20))
async def test_no_wakeup_is_lost_under_cancellation(seed: int) -> None:
    """If many of 300 requests are cancelled at random moments, all other requests still run.

    The number of requests that run at once never exceeds the number of slots plus one request for each key.
    """
    chosen = random.Random(seed)
    gate = Gate(Limits(slots=3, most_of_one_key=2, most=16, queue_of_one_key=1000, slot_seconds=3600))
    ran, most = 0, 0

    async def request(key: int) -> None:
        nonlocal ran, most
        turn = gate.enqueue(key)
        try:
            await gate.wait(turn)
            most = max(most, gate.running)
            for _ in range(chosen.randrange(4)):
                await asyncio.sleep(0)
            ran += 1
        finally:
            gate.leave(turn)

    tasks = [asyncio.create_task(request(number % 5)) for number in range(300)]
    cancelled = set()
    while not all(task.done() for task in tasks):
        for _ in range(chosen.randrange(6)):
            victim = chosen.choice(tasks)
            if chosen.random() < 0.3 and victim.cancel():
                cancelled.add(victim)
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert ran >= 300 - len(cancelled)
    assert all(outcome is None or isinstance(outcome, asyncio.CancelledError) for outcome in outcomes)
    assert most <= 3 + 5, "the slots, and one of each key"
    assert (gate.running, gate.waiting) == (0, 0)


async def test_a_long_request_gives_its_slot_back_and_its_key_stays_bounded() -> None:
    """Requests of one district that wait for a lock give up their slots, and another district is served.

    The number of the waiting district's requests that run at once stays limited.
    """
    clock = _Clock()
    gate = Gate(Limits(slots=2, most_of_one_key=3, most=8, slot_seconds=3600), clock=clock, processor=lambda: 0.0)
    clock.now += 1
    stuck = [gate.enqueue("a") for _ in range(5)]
    assert [one.may_run for one in stuck] == [True, True, False, False, False]
    clock.now += 1
    for turn in stuck[:2]:
        gate._check_slot(turn)  # as its timer does
    assert [one.may_run for one in stuck] == [True, True, True, False, False]
    assert gate.enqueue("b").may_run
    second = gate.enqueue("b")
    assert not second.may_run, "both slots are taken, by a and by b"
    gate.leave(second)
    gate.leave(stuck[0])
    assert not stuck[3].may_run
    clock.now += 1
    gate._check_slot(stuck[2])
    assert stuck[3].may_run


async def test_a_long_request_that_uses_the_processor_keeps_its_slot() -> None:
    """A request that has had its slot for long keeps it while it uses the processor.

    When it stops computing, it loses the slot.
    """
    clock, processor = _Clock(), _Clock()
    gate = Gate(Limits(slots=1, most_of_one_key=3, most=8, slot_seconds=3600), clock=clock, processor=processor)
    long, next_one = gate.enqueue("a"), gate.enqueue("a")
    for _ in range(3):
        clock.now, processor.now = clock.now + 1, processor.now + 0.9
        gate._check_slot(long)
        assert not next_one.may_run
    clock.now, processor.now = clock.now + 1, processor.now + 0.1
    gate._check_slot(long)
    assert next_one.may_run


async def test_the_timer_takes_the_slot_of_a_long_request() -> None:
    """If a request has its slot for too long without computing, a timer gives the slot to the next request."""
    gate = Gate(Limits(slots=1, most_of_one_key=8, most=16, slot_seconds=0.01), processor=lambda: 0.0)
    gate.enqueue("a")
    second = gate.enqueue("a")
    await gate.wait(second)
    assert second.may_run


async def test_a_full_queue_and_a_long_wait_are_refused() -> None:
    """The queue is limited for each key (a district), so one key cannot fill the queue for the others.

    A request that waits for too long is refused with `Retry-After`.
    """
    gate = Gate(Limits(slots=1, most_of_one_key=8, most=1, queue_of_one_key=2, longest_wait=0.01, slot_seconds=3600))
    gate.enqueue("a")
    waiting = [gate.enqueue("a") for _ in range(2)]
    with pytest.raises(Throttled) as refused:
        gate.enqueue("a")
    assert (refused.value.code, refused.value.retry_after) == ("queue.full", 1)
    other = gate.enqueue("b")
    with pytest.raises(Overloaded) as late:
        await gate.wait(other)
    assert late.value.code == "queue.timeout"
    assert late.value.retry_after >= 1
    assert gate.waiting == len(waiting) + 1


def test_a_caller_is_refused_before_its_client_gives_up() -> None:
    """By default, a request waits for its turn for 25 seconds at most. Many clients give up after half a minute.

    A caller that is refused before then learns the reason, and when to try again.
    """
    assert Limits(slots=1, most_of_one_key=1, most=1).longest_wait <= 25


async def test_a_key_is_charged_for_the_time_in_which_its_requests_held_a_slot() -> None:
    """A district is charged for the time in which its requests had a slot, not for their number.

    So a district with cheap requests does not pay for the slow requests of another one.
    """
    clock = _Clock()
    gate = Gate(Limits(slots=1, most_of_one_key=8, most=1, queue_of_one_key=1000, slot_seconds=3600), clock=clock)
    turns: list[Turn] = [gate.enqueue(key) for _ in range(200) for key in ("dear", "cheap")]
    cheap_left = 200
    while cheap_left:
        (running,) = [one for one in turns if one.may_run and not one.ticket.is_ended]
        is_cheap = running.ticket.key == "cheap"
        cheap_left -= is_cheap
        clock.now += 0.1 if is_cheap else 1.0
        gate.leave(running)
    assert clock.now < 45, "twenty seconds of cheap requests take forty, not the two hundred of the dear ones"


async def test_a_process_that_ends_refuses_what_still_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """When a process ends, waiting requests are refused before the server cancels them, and running requests go on."""
    monkeypatch.setattr(gates, "STOPPING_SECONDS", 0.01)
    gate = Gate(Limits(slots=1, most_of_one_key=1, most=1, slot_seconds=3600))
    running, waiting = gate.enqueue("a"), gate.enqueue("a")
    gate.stop()
    with pytest.raises(Overloaded) as refused:
        await gate.wait(waiting)
    assert (refused.value.code, refused.value.retry_after) == ("server.stopping", 1)
    await gate.wait(running)
    assert running.may_run
