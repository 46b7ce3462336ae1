"""Owns the states of a sync run and what may become of each. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final


class RunState(StrEnum):
    """Where a run stands: it waits, is under way, waits for an answer or for its plan to be applied, or has ended."""

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
"""By state the states that may follow. A run that waits again for a worker goes from running back to pending; a
requested map of sourcedIds is discarded with the plan that it was made for."""
OPEN: Final = (RunState.PENDING, RunState.RUNNING)
"""States of a run that is still to be carried out."""
ANSWERABLE: Final = (RunState.HELD, RunState.FAILED_TO_APPLY)
"""States of a run whose plan a person may approve or discard."""
ANSWERED: Final = (RunState.APPROVED, RunState.DISCARDED)
"""States of a run that a person has answered: a worker applies or drops its plan."""
WAITING: Final = (*ANSWERABLE, RunState.APPROVED)
"""States of a run whose plan waits to be answered or applied: a later run of its source takes its place."""
WITH_PLAN: Final = (*WAITING, RunState.DISCARDED)
"""States of a run whose plan may be kept; a discarded run's until a worker has dropped it."""


def may_become(state: RunState, following: RunState) -> bool:
    """Whether a run of one state may take the other."""
    return following in NEXT[state]


class IllegalTransition(Exception):
    """The code would give a run a state that may not follow its present one."""


def require_transition(states: Iterable[RunState], following: RunState) -> None:
    """Raises `IllegalTransition` unless a run in any of these states may take the following one, or has it already."""
    for state in states:
        if state != following and not may_become(state, following):
            raise IllegalTransition(f"A run that is {state} cannot become {following}.")
