"""Tests the states of a sync run: which transitions are allowed, and that the code performs no others."""

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
    """A request, an approval or a worker can move a run from each of the given states to the following state.

    The following state can also be the state in which the run already is.
    """
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
    """A transition is refused if the run may be in a state from which the transition is not allowed."""
    with pytest.raises(IllegalTransition):
        require_transition(states, following)
