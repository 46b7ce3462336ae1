"""Retries a unit of work once after a temporary database fault, or converts the fault into an error for the caller."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from app.core.errors import AimlineError, Conflict, OutcomeUnknown, Unavailable
from app.core.fault_report import describe_fault
from app.core.faults import CommitLost, Fault, fault_of

Answer = TypeVar("Answer")
RETRYABLE = frozenset({Fault.CONCURRENT, Fault.LOST})
"""The faults after which an immediate retry may succeed.

Timeouts are not included, because the caller has then waited long enough.
"""
PAUSE = 0.05
"""The longest wait before the second attempt, in seconds.

The wait is random, so that two conflicting requests do not meet again.
"""
CONCURRENT = "Another request wrote the same data at this moment. Nothing was changed. Read it, then try again."
DETAILS = {
    Fault.LOCKED: ("database.busy", "Another request or a sync is changing the same data. Nothing was changed."),
    Fault.SLOW: ("database.slow", "This took longer than allowed and was stopped. Nothing was changed."),
    Fault.LOST: ("database.unavailable", "The connection to the database was lost. Nothing was changed."),
    Fault.UNREACHABLE: ("database.unavailable", "The database cannot be reached. Nothing was changed."),
    Fault.UNWRITABLE: ("database.unavailable", "The database cannot write at present. Nothing was changed."),
}
log = structlog.get_logger()


def _always() -> bool:
    return True


def _never() -> bool:
    return False


async def run_with_retry(
    attempt: Callable[[], Awaitable[Answer]],
    *,
    reads: bool,
    may_retry: Callable[[], bool] = _always,
    is_keyed: Callable[[], bool] = _never,
) -> Answer:
    """Runs a unit of work, and runs it once more after a deadlock, a failed serialization or a lost connection.

    * `reads` states that the unit changes nothing, so that it can safely run twice.
    * `may_retry` returns whether a second run is possible: nothing was sent to the caller yet, and the input can be
      read again.
    * `is_keyed` returns whether the unit stores its answer under an idempotency key. Such a unit can run again even if
      its commit may have succeeded.

    If the fault remains, raises `Conflict`, `Unavailable` or `OutcomeUnknown` in its place.
    """
    may_repeat, may_be_committed = True, False
    while True:
        try:
            return await attempt()
        except AimlineError as error:
            if may_be_committed and isinstance(error, Unavailable):
                raise OutcomeUnknown from error
            raise
        except Exception as error:
            refusal = refusal_of(error, reads=reads)
            if refusal is None:
                raise
            is_unknown = isinstance(refusal, OutcomeUnknown)
            fault = fault_of(error)
            is_passing = fault in RETRYABLE and (is_keyed() or not is_unknown)
            will_retry = may_repeat and is_passing and may_retry()
            event, description = "unit.retried" if will_retry else "unit.refused", describe_fault(error)
            if fault is Fault.UNWRITABLE:
                log.error(event, code=refusal.code, reason=fault.value, **description)  # only an operator can mend it
            else:
                log.warning(event, code=refusal.code, **description)
            may_be_committed = may_be_committed or is_unknown
            if not will_retry:
                raise (OutcomeUnknown() if may_be_committed else refusal) from error
        may_repeat = False
        await asyncio.sleep(random.uniform(0, PAUSE))


def refusal_of(error: BaseException, *, reads: bool = False) -> AimlineError | None:
    """Returns the error that a caller receives for a temporary database fault, or None for any other error.

    `reads` states that the unit of work changed nothing. Then it does not matter whether a commit with an unknown
    outcome has succeeded.
    """
    fault = fault_of(error)
    if fault is None:
        return None
    if isinstance(error, CommitLost) and not reads:
        return OutcomeUnknown()
    if fault in (Fault.CONCURRENT, Fault.CLASH):
        return Conflict(CONCURRENT, code="conflict.concurrent")
    code, detail = DETAILS[fault]
    return Unavailable(f"{detail} Try again.", code=code)
