"""Owns what both faces do about a temporary fault of the database: once more, then a refusal that says what is known.

Never opens a unit of work and never answers: a face gives the attempt, and shows the refusal.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.core.errors import AimlineError, Conflict, OutcomeUnknown, Unavailable
from app.core.fault_report import describe_fault
from app.core.faults import CommitLost, Fault, fault_of

Answer = TypeVar("Answer")
RETRIED = frozenset({Fault.CONCURRENT, Fault.LOST})
"""After these the same work may succeed at once. Who has waited for a lock, a connection or a statement has waited."""
PAUSE = 0.05  # seconds at most before the second attempt: two that were in each other's way do not meet again
CONCURRENT = "Another request wrote the same thing at this moment. Nothing was changed. Read, then try again."
DETAILS = {
    Fault.LOCKED: ("database.busy", "Another request or a sync is changing the same thing. Nothing was changed."),
    Fault.SLOW: ("database.slow", "This took longer than it may and was stopped. Nothing was changed."),
    Fault.LOST: ("database.unavailable", "The connection to the database was lost. Nothing was changed."),
    Fault.UNREACHABLE: ("database.unavailable", "The database is not to be reached. Nothing was changed."),
}
log = structlog.get_logger()


def _always() -> bool:
    return True


async def run_with_retry(
    attempt: Callable[[], Awaitable[Answer]], *, reads: bool, may_retry: Callable[[], bool] = _always
) -> Answer:
    """Runs a whole unit of work, and once more where a deadlock, a failed serialization or a lost connection undid it.

    `reads` says that carrying it out twice changes nothing; `may_retry` that nothing was answered and the input can
    still be given again. Raises `Conflict`, `Unavailable` or `OutcomeUnknown` in place of a temporary fault.
    """
    try:
        return await attempt()
    except AimlineError:
        raise
    except Exception as error:
        refusal = refusal_of(error, reads=reads)
        if refusal is None:
            raise
        again = fault_of(error) in RETRIED and not isinstance(refusal, OutcomeUnknown) and may_retry()
        log.warning("unit.retried" if again else "unit.refused", code=refusal.code, **describe_fault(error))
        if not again:
            raise refusal from error
    await asyncio.sleep(random.uniform(0, PAUSE))
    try:
        return await attempt()
    except AimlineError:
        raise
    except Exception as error:
        refusal = refusal_of(error, reads=reads)
        if refusal is None:
            raise
        log.warning("unit.refused", code=refusal.code, **describe_fault(error))
        raise refusal from error


def refusal_of(error: BaseException, *, reads: bool = False) -> AimlineError | None:
    """Returns what a caller is told of a temporary fault of the database; None where the error is another."""
    fault = fault_of(error)
    if fault is None:
        return None
    if isinstance(error, CommitLost) and not reads:
        return OutcomeUnknown()
    if fault in (Fault.CONCURRENT, Fault.CLASH):
        return Conflict(CONCURRENT, code="conflict.concurrent")
    code, detail = DETAILS[fault]
    return Unavailable(f"{detail} Try again.", code=code)
