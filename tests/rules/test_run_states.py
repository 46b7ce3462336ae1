"""Tests the states of a sync run: the allowed transitions, and that the code uses no other."""

import pytest

from app.sis.rules import ANSWERABLE, ANSWERED, NEXT, OPEN, WAITING, IllegalTransition, RunState, require_transition

ENDED = {RunState.APPLIED, RunState.FAILED, RunState.DRY, RunState.SKIPPED, RunState.DISCARDED}


def test_every_state_says_what_may_follow() -> None:
    """Every state lists the states that may follow, and an ended run stays ended."""
    assert NEXT.keys() == set(RunState)
    assert {state for state, following in NEXT.items() if not following} == ENDED


@pytest.mark.parametrize(
    ("states", "following"),
    [
        (OPEN, RunState.FAILED),
        (OPEN, RunState.PENDING),
        (ANSWERABLE, RunState.APPROVED),
        (ANSWERABLE, RunState.DISCARDED),
        (WAITING, RunState.DISCARDED),
        (ANSWERED, RunState.DISCARDED),
        ((RunState.APPROVED,), RunState.FAILED_TO_APPLY),
    ],
)
def test_a_run_goes_on(states: tuple[RunState, ...], following: RunState) -> None:
    """The ways that requests, answers and workers take; a run that has the state already keeps it."""
    require_transition(states, following)


@pytest.mark.parametrize(
    ("states", "following"),
    [
        ((RunState.APPLIED,), RunState.RUNNING),
        ((RunState.HELD,), RunState.APPLIED),
        ((RunState.FAILED,), RunState.PENDING),
        ((RunState.DISCARDED,), RunState.APPROVED),
        (ANSWERED, RunState.APPLIED),
        ((RunState.PENDING,), RunState.APPLIED),
    ],
)
def test_a_run_never_takes_another_way(states: tuple[RunState, ...], following: RunState) -> None:
    """A transition that is not allowed from one of several states is refused."""
    with pytest.raises(IllegalTransition):
        require_transition(states, following)
