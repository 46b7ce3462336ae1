"""Defines the states of a sync run, and which state may follow which."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class RunState(StrEnum):
    """The state of a run.

    A run waits for a worker, is running, waits for a person to approve or discard it, waits for its plan to be applied,
    or has ended.
    """

    PENDING = "pending"
    RUNNING = "running"
    APPLIED = "applied"
    HELD = "held"
    APPROVED = "approved"
    DISCARDED = "discarded"
    FAILED_TO_APPLY = "failed_to_apply"
    FAILED = "failed"
    DRY = "dry"
    SKIPPED = "skipped"


class NoticeState(StrEnum):
    """The state of a notice to people: it waits, was sent, has no recipients, or could not be sent."""

    PENDING = "pending"
    SENT = "sent"
    SKIPPED = "skipped"
    FAILED = "failed"


class PlannedAction(StrEnum):
    """The change that a run would make to a row."""

    CREATE = "create"
    UPDATE = "update"
    RESTORE = "restore"
    REMOVE = "remove"
    ABSENT = "absent"
    REKEY = "rekey"


NEXT: Final[dict[RunState, frozenset[RunState]]] = {
    RunState.PENDING: frozenset({RunState.RUNNING, RunState.DISCARDED, RunState.FAILED}),
    RunState.RUNNING: frozenset(
        {
            RunState.PENDING,
            RunState.APPLIED,
            RunState.HELD,
            RunState.DISCARDED,
            RunState.FAILED,
            RunState.DRY,
            RunState.SKIPPED,
        }
    ),
    RunState.HELD: frozenset({RunState.APPROVED, RunState.DISCARDED}),
    RunState.APPROVED: frozenset({RunState.APPLIED, RunState.DISCARDED, RunState.FAILED_TO_APPLY}),
    RunState.FAILED_TO_APPLY: frozenset({RunState.APPROVED, RunState.DISCARDED}),
    RunState.DISCARDED: frozenset(),
    RunState.APPLIED: frozenset(),
    RunState.FAILED: frozenset(),
    RunState.DRY: frozenset(),
    RunState.SKIPPED: frozenset(),
}
"""The states that may follow each state.

A run goes from running back to pending if it has to wait for a worker again. A requested map of sourcedIds is discarded
together with the held plan for which it was requested.
"""
OPEN: Final = (RunState.PENDING, RunState.RUNNING)
"""The states of a run that still has to be executed."""
ANSWERABLE: Final = (RunState.HELD, RunState.FAILED_TO_APPLY)
"""The states of a run whose plan a person may approve or discard."""
ANSWERED: Final = (RunState.APPROVED, RunState.DISCARDED)
"""The states of a run that a person has answered. A worker then applies or deletes its plan."""
WAITING: Final = (*ANSWERABLE, RunState.APPROVED)
"""The states of a run whose plan waits for a person's answer, or has been approved and is to be applied.

A later run of the same source replaces a run in one of these states.
"""
WITH_PLAN: Final = (*WAITING, RunState.DISCARDED)
"""The states of a run whose plan may still be stored. The plan of a discarded run is stored until a worker deletes
it.
"""


def may_become(state: RunState, following: RunState) -> bool:
    """Returns whether a run in the state `state` may change to the state `following`."""
    return following in NEXT[state]


class IllegalTransition(Exception):
    """Raised if the code tries to give a run a state that may not follow its current state."""


def require_transition(states: Iterable[RunState], following: RunState) -> None:
    """Raises `IllegalTransition` unless each of these states equals `following` or may change to it."""
    for state in states:
        if state != following and not may_become(state, following):
            raise IllegalTransition(f"A run that is {state} cannot become {following}.")
