"""Accepts, dismisses and merges signals.

Accepting a signal creates an accepted concern, unless the signal reports success.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Final, TypeVar
from uuid import UUID

from app.access.permission import Can
from app.access.work import Work, needs
from app.concern.service import NewConcern, accept_concern, raise_concern
from app.core import ids
from app.core.clock import now
from app.core.errors import Conflict, Invalid, NotFound, Violation
from app.core.inputs import About
from app.core.text import Text
from app.events.catalogue import SIGNAL_ACCEPTED, SIGNAL_DISMISSED, SIGNAL_MERGED, EventType
from app.events.outbox import record, student_event
from app.requests.bulk import ItemResult, run_each
from app.roster.student_lock import lock_named_subjects, lock_student_of
from app.signal.models import Signal
from app.signal.rules import SUCCESSES, WORDS, SignalKind, SignalState, require_open

MAX_AT_ONCE: Final = 500
DESCRIPTION = Text(min=1, max=4000)
BECAUSE = Text(min=1, max=4000)


WORDS_OF_CONCERN = About(
    "The description of the concern; by default, what the rule has seen.", "Reads far below the class."
)
WHY_DISMISSED = About("Why it is dismissed.", "Ill on that day.")
SIGNAL = About("The signal.", "sig_01jq4n6d9zf3vbs0x5k2m7e8tf")
STAYS = About("The signal about the same student that stays.", "sig_01jq4n6d9zf3vbs0x5k2m7e8tf")


@dataclass(frozen=True, slots=True)
class AcceptedSignal:
    """One of the signals that a request accepts."""

    signal: Annotated[str, SIGNAL]
    description: Annotated[str | None, DESCRIPTION, WORDS_OF_CONCERN] = None


@dataclass(frozen=True, slots=True)
class DismissedSignal:
    """One of the signals that a request dismisses."""

    signal: Annotated[str, SIGNAL]
    because: Annotated[str, BECAUSE, WHY_DISMISSED]


@dataclass(frozen=True, slots=True)
class MergedSignal:
    """A signal to be merged, and the signal into which it is merged. The latter does not change."""

    signal: Annotated[str, SIGNAL]
    into: Annotated[str, STAYS]


Settled = TypeVar("Settled", AcceptedSignal, DismissedSignal, MergedSignal)


@needs(Can.SETTLE_SIGNALS, Can.RAISE_CONCERN, Can.SETTLE_CONCERN)
async def accept_signals(
    work: Work, signals: Sequence[AcceptedSignal], *, at: str = "/signals", positions: Sequence[int]
) -> list[ItemResult]:
    """Accepts several signals, each with a result of its own. If one is refused, the others are still accepted."""
    return await _each(work, lambda item, id_: accept_signal(work, id_, item.description), signals, positions, at)


@needs(Can.SETTLE_SIGNALS)
async def dismiss_signals(
    work: Work, signals: Sequence[DismissedSignal], *, at: str = "/signals", positions: Sequence[int]
) -> list[ItemResult]:
    """Dismisses several signals, each with its reason and a result of its own."""
    return await _each(work, lambda item, id_: dismiss_signal(work, id_, item.because), signals, positions, at)


@needs(Can.SETTLE_SIGNALS)
async def merge_signals(
    work: Work, signals: Sequence[MergedSignal], *, at: str = "/signals", positions: Sequence[int]
) -> list[ItemResult]:
    """Merges several signals, each into another one about the same student and with a result of its own."""
    return await _each(work, lambda item, id_: merge_signal(work, id_, item.into), signals, positions, at)


async def _each(
    work: Work,
    settle: Callable[[Settled, UUID], Awaitable[Signal]],
    signals: Sequence[Settled],
    positions: Sequence[int],
    at: str,
) -> list[ItemResult]:
    """Calls `settle` for each item of a request, with the id of the signal that it names; returns the results."""

    async def settle_one(item: Settled) -> Signal:
        return await settle(item, ids.parse_id("signal", item.signal, "/signal"))

    return await run_each(work, settle_one, signals, positions, at, lock_named_subjects)


@needs(Can.SETTLE_SIGNALS, Can.RAISE_CONCERN, Can.SETTLE_CONCERN)
async def accept_signal(
    work: Work,
    signal_id: UUID,
    description: Annotated[str | None, DESCRIPTION, WORDS_OF_CONCERN] = None,
) -> Signal:
    """Accepts a signal. Unless the signal reports success, also creates an accepted concern in the signal's area."""
    if description is not None:
        DESCRIPTION.require(description, "/description")
    signal = await _lock_signal(work, signal_id)
    if signal.kind not in SUCCESSES:
        words = description or WORDS[SignalKind(signal.kind)]
        student, area = ids.format_id("student", signal.student_id), ids.format_id("area", signal.area_id)
        concern = await raise_concern(work, NewConcern(student, area, words))
        await accept_concern(work, concern.id)
        signal.concern_id = concern.id
    return await _settle(work, signal, SignalState.ACCEPTED, None, SIGNAL_ACCEPTED)


@needs(Can.SETTLE_SIGNALS)
async def dismiss_signal(work: Work, signal_id: UUID, because: Annotated[str, BECAUSE, WHY_DISMISSED]) -> Signal:
    """Dismisses a signal, with a reason. No rule of the same kind ever suggests a signal from this evidence again."""
    BECAUSE.require(because, "/because")
    signal = await _lock_signal(work, signal_id)
    return await _settle(work, signal, SignalState.DISMISSED, because, SIGNAL_DISMISSED)


@needs(Can.SETTLE_SIGNALS)
async def merge_signal(
    work: Work,
    signal_id: UUID,
    into: Annotated[str, STAYS],
) -> Signal:
    """Merges a signal into the signal `into` about the same student. The signal `into` does not change."""
    target_id = ids.parse_id("signal", into, "/into")
    signal = await _lock_signal(work, signal_id)
    target = await lock_student_of(work, Signal, Signal.id, target_id)
    if target is None or target.id == signal.id or target.student_id != signal.student_id:
        detail = "Name another signal about the same student."
        raise Invalid([Violation("/into", "signal.unknown", detail)])
    if target.state not in (SignalState.SUGGESTED, SignalState.ACCEPTED):
        raise Conflict(f"The signal that stays is {target.state}.", code="signal.settled")
    signal.merged_into = target.id
    return await _settle(work, signal, SignalState.MERGED, None, SIGNAL_MERGED)


async def _lock_signal(work: Work, signal_id: UUID) -> Signal:
    signal = await lock_student_of(work, Signal, Signal.id, signal_id)
    if signal is None:
        raise NotFound("signal")
    work.disclose("signal", [signal.student_id])
    require_open(signal.state)
    return signal


async def _settle(work: Work, signal: Signal, state: SignalState, because: str | None, type_: EventType) -> Signal:
    signal.state, signal.settled_because = state, because
    signal.settled_by, signal.settled_at = work.principal.person_id, now()
    signal.version += 1
    await work.db.flush()
    record(work, student_event(type_, signal))
    return signal
