"""Pauses a running request between two of its steps, so that another district's request can run first.

A coroutine is run step by step, and before each step its pacer decides whether it has to wait. Tasks that a request
starts are run in the same way: a context variable has the request's pacer, and the event loop's task factory reads it.
"""

import asyncio
from collections.abc import Coroutine, Generator
from contextvars import ContextVar
from time import perf_counter
from typing import Any, Protocol, TypeVar

T = TypeVar("T")


class Pacer(Protocol):
    """Decides before each step of a coroutine whether the step has to wait.

    A step ends where the coroutine awaits something.
    """

    def pause(self) -> "asyncio.Future[None] | None":
        """Returns a future to wait for before the next step, or None if the step may run now."""

    def stepped(self, seconds: float) -> None:
        """Records how long a step used the event loop."""


_pacer: ContextVar[Pacer | None] = ContextVar("pacer", default=None)


class _Paced:
    """An awaitable that runs a coroutine step by step. Before each step it waits as long as the pacer requires."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], pacer: Pacer) -> None:
        self._coroutine, self._pacer = coroutine, pacer

    def __await__(self) -> Generator[Any, Any, Any]:
        value: Any = None
        error: BaseException | None = None
        while True:
            try:
                # An error, such as a cancellation, is delivered at once. Several coroutines wait for the same future.
                # It is shielded, because the cancellation of one coroutine must not cancel it for the others.
                while error is None and (paused := self._pacer.pause()) is not None:
                    yield from asyncio.shield(paused)
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as interruption:
                error = interruption
            began = perf_counter()
            try:
                waits_for = self._coroutine.send(value) if error is None else self._coroutine.throw(error)
            except StopIteration as end:
                return end.value
            finally:
                self._pacer.stepped(perf_counter() - began)
            value = error = None
            try:
                value = yield waits_for
            except GeneratorExit:
                self._coroutine.close()
                raise
            except BaseException as interruption:
                error = interruption


async def paced(coroutine: Coroutine[Any, Any, T], pacer: Pacer) -> T:
    """Runs a coroutine with the pauses that the pacer requires, and returns its result.

    Tasks that it starts pause too.
    """
    token = _pacer.set(pacer)
    try:
        result: T = await _Paced(coroutine, pacer)
        return result
    finally:
        _pacer.reset(token)


def pace_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """Installs a task factory in this event loop, so that a task gets the pacer of the coroutine that started it."""
    if loop.get_task_factory() is None:
        loop.set_task_factory(_create_task)


def _create_task(loop: asyncio.AbstractEventLoop, coroutine: Any, **options: Any) -> "asyncio.Future[Any]":
    pacer = _pacer.get()
    if pacer is None:
        return asyncio.Task(coroutine, loop=loop, **options)
    task = asyncio.Task(_run_paced(coroutine, pacer), loop=loop, **options)
    # A task that is cancelled before its first step never awaits the coroutine, and Python would warn of that.
    task.add_done_callback(lambda _: coroutine.close())
    return task


async def _run_paced(coroutine: Coroutine[Any, Any, Any], pacer: Pacer) -> Any:
    return await _Paced(coroutine, pacer)
