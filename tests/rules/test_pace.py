"""Tests that pausing a coroutine between its steps changes no result, error, cancellation or task."""

import asyncio
import gc
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

import pytest

from app.core.fairness.pace import pace_tasks, paced


class _Pacer:
    def __init__(self) -> None:
        self.held: asyncio.Future[None] | None = None
        self.steps = 0

    def pause(self) -> asyncio.Future[None] | None:
        return None if self.held is None or self.held.done() else self.held

    def stepped(self, _seconds: float) -> None:
        self.steps += 1


async def _adds(log: list[str]) -> str:
    log.append("a")
    await asyncio.sleep(0)
    with suppress(asyncio.TimeoutError):
        async with asyncio.timeout(0.01):
            await asyncio.Event().wait()
    try:
        await asyncio.wait_for(_fails(), 60)
    except ValueError as error:
        log.append(str(error))
    return "done"


async def _fails() -> None:
    await asyncio.sleep(0)
    raise ValueError("as raised")


async def test_a_result_and_an_error_come_through() -> None:
    """A coroutine that may be paused still returns its result or raises its error. Timeouts within it still work."""
    log: list[str] = []
    pacer = _Pacer()
    assert await paced(_adds(log), pacer) == "done"
    assert log == ["a", "as raised"]
    assert pacer.steps > 3
    with pytest.raises(ValueError, match="as raised"):
        await paced(_fails(), _Pacer())


async def _cleans_up(log: list[str]) -> None:
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        await asyncio.sleep(0)
        log.append("cleaned")
        raise


@pytest.mark.parametrize("is_paused", [False, True])
async def test_a_cancellation_is_delivered_at_once(is_paused: bool) -> None:
    """A cancellation is delivered at once, whether the coroutine waits or is paused, and its cleanup runs."""
    log: list[str] = []
    pacer = _Pacer()
    task = asyncio.create_task(paced(_cleans_up(log), pacer))
    await asyncio.sleep(0)
    if is_paused:
        pacer.held = asyncio.get_running_loop().create_future()
    task.cancel()
    await asyncio.sleep(0)
    if pacer.held:
        pacer.held.set_result(None)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log == ["cleaned"]


async def test_tasks_of_a_paced_coroutine_pause_with_it_and_others_do_not() -> None:
    """If a coroutine is paused, the tasks that it started are paused too. Other tasks continue."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    pace_tasks(loop)
    try:
        pacer, log = _Pacer(), list[str]()
        pacer.held = loop.create_future()

        async def note(name: str) -> None:
            await asyncio.sleep(0)
            log.append(name)

        async def starts() -> None:
            await asyncio.gather(note("inner"), note("inner"))

        paused = asyncio.create_task(paced(_starting(starts(), pacer), _Pacer()))
        await asyncio.create_task(note("outer"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert log == ["outer"]
        pacer.held.set_result(None)
        await paused
        assert log == ["outer", "inner", "inner"]
    finally:
        loop.set_task_factory(before)


async def _starting(coroutine: Coroutine[Any, Any, None], pacer: _Pacer) -> None:
    await paced(coroutine, pacer)


async def test_a_cancellation_reaches_nobody_else_who_pauses() -> None:
    """If several requests pause at the same place, the cancellation of one does not end the others."""
    pacer, log = _Pacer(), list[str]()

    async def answers(name: str) -> None:
        await asyncio.sleep(0)
        log.append(name)

    tasks = [asyncio.create_task(paced(answers(name), pacer)) for name in ("first", "second", "third")]
    await asyncio.sleep(0)
    pacer.held = asyncio.get_running_loop().create_future()
    for _ in range(5):
        await asyncio.sleep(0)
    tasks[0].cancel()
    await asyncio.wait({tasks[0]})
    pacer.held.set_result(None)
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    assert isinstance(outcomes[0], asyncio.CancelledError)
    assert outcomes[1:] == [None, None]
    assert log == ["second", "third"]


async def test_a_task_that_never_began_leaves_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    """A task of a request that is cancelled before its first step ends silently, as it does without pauses.

    A storm of broken streams once logged Python's warning that a coroutine was never awaited.
    """
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()
    pace_tasks(loop)
    try:

        async def cancels() -> None:
            task = asyncio.create_task(_fails())
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()

        await paced(cancels(), _Pacer())
    finally:
        loop.set_task_factory(before)
    gc.collect()
    assert [str(warning.message) for warning in recwarn] == []
