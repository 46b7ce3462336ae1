"""Runs a command so that SIGINT and SIGTERM interrupt it, however it was started.

`asyncio.run` is not enough for two reasons:

* A command that a shell starts in the background ignores SIGINT.
* `asyncio.run` cancels the work only once, and this cancellation can be lost. Before Python 3.12, `asyncio.wait_for`,
  which asyncpg uses, loses a cancellation that arrives at the same moment as the result.
"""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
SIGNALS = (signal.SIGINT, signal.SIGTERM)
CANCEL_INTERVAL = 2.0
"""The seconds after which a task that has not ended is cancelled again. An ordinary cleanup takes less."""


def raise_on_signals() -> None:
    """Makes SIGINT and SIGTERM raise `KeyboardInterrupt`. A command that a signal stops can therefore clean up."""
    for number in SIGNALS:
        signal.signal(number, signal.default_int_handler)


def run_interruptible(work: Coroutine[Any, Any, Result]) -> Result:
    """Runs `work` in a new event loop, and returns its result.

    After SIGINT or SIGTERM, `work` is cancelled every `CANCEL_INTERVAL` seconds until it ends. Raises
    `KeyboardInterrupt` if it was ended by a cancellation.
    """
    handlers = {number: signal.getsignal(number) for number in SIGNALS}
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        task = loop.create_task(work)

        def cancel() -> None:
            if not task.done():
                task.cancel()
                loop.call_later(CANCEL_INTERVAL, cancel)

        for number in SIGNALS:
            loop.add_signal_handler(number, cancel)
        try:
            return loop.run_until_complete(task)
        except asyncio.CancelledError:
            raise KeyboardInterrupt from None
        finally:
            for number, handler in handlers.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)
