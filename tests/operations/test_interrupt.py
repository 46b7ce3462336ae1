"""Tests that SIGINT and SIGTERM interrupt a command, whether it was started in the foreground or in the background."""

import asyncio
import os
import signal
from collections.abc import Iterator

import pytest

from app.cli import interrupt
from app.cli.interrupt import raise_on_signals, run_interruptible


@pytest.fixture(autouse=True)
def handlers(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Restores the signal handlers of the test process."""
    monkeypatch.setattr(interrupt, "CANCEL_INTERVAL", 0.02)
    before = {number: signal.getsignal(number) for number in interrupt.SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_lost_cancellation_is_repeated(number: signal.Signals) -> None:
    """If the work ignores its first cancellation, it is cancelled again, and its cleanup runs."""
    steps: list[str] = []

    async def work() -> None:
        os.kill(os.getpid(), number)
        try:
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                steps.append("lost")
            await asyncio.sleep(30)
        finally:
            steps.append("cleaned up")

    signal.signal(number, signal.SIG_IGN)
    with pytest.raises(KeyboardInterrupt):
        run_interruptible(work())
    assert steps == ["lost", "cleaned up"]
    assert signal.getsignal(number) is signal.SIG_IGN


def test_the_result_of_uninterrupted_work_is_returned() -> None:
    """Without a signal the result is returned, and an error is raised as it is."""

    async def fails() -> None:
        raise ValueError("no")

    assert run_interruptible(asyncio.sleep(0, "done")) == "done"
    with pytest.raises(ValueError, match="no"):
        run_interruptible(fails())


@pytest.mark.parametrize("number", interrupt.SIGNALS)
def test_a_signal_outside_a_loop_interrupts(number: signal.Signals) -> None:
    """A signal outside of an event loop raises `KeyboardInterrupt`, even if the command was started with the signal
    ignored.
    """
    signal.signal(number, signal.SIG_IGN)
    raise_on_signals()
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(number)
