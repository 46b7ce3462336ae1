"""Chooses the verdict that counts for a support from the verdicts on the support's measures. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple
from uuid import UUID

from app.response.rules.verdict import MOST_SERIOUS_FIRST, State
from app.response.rules.wording import BEHIND


class VerdictInForce(NamedTuple):
    """The verdict in force on a measure of a support. `place` is 0 for the support's first measure, then 1, 2, ...

    `on_pace` is the probability of sufficient growth, or None if the verdict has none.
    """

    id: UUID
    state: State
    kind: str | None
    place: int
    on_pace: float | None


def most_serious(verdicts: Iterable[VerdictInForce]) -> VerdictInForce:
    """Returns the most serious verdict. If several are equally serious, returns the one whose measure comes first."""
    return min(verdicts, key=lambda verdict: (MOST_SERIOUS_FIRST.index(verdict.state), verdict.place))


def without_expired(verdicts: Mapping[UUID, VerdictInForce], expired: Collection[str]) -> list[VerdictInForce]:
    """Returns the verdicts on which an alert depends: all except those on expired measures.

    `expired` has the ids of the measures whose goal dates have passed.
    """
    return [verdict for measure_id, verdict in verdicts.items() if str(measure_id) not in expired]


def state_for_alert(verdicts: Collection[VerdictInForce]) -> State:
    """Returns the most serious of the states in these verdicts. This state decides about the alert of the support.

    Measures with too few scores are ignored if another measure has enough scores. Otherwise, they could keep the alert
    open. If there is no verdict, the state is `insufficient_data`, which changes no alert.

    A rule may raise no alarm although sufficient growth is improbable. The label of such a verdict is "No alarm, below
    pace" (`wording.label`), and it counts as `below_pace`: it neither opens an alert nor lets one recover.
    """
    if not verdicts:
        return State.INSUFFICIENT_DATA
    judged = [verdict for verdict in verdicts if verdict.state is not State.INSUFFICIENT_DATA]
    return most_serious(_as_labelled(verdict) for verdict in judged or verdicts).state


def _as_labelled(verdict: VerdictInForce) -> VerdictInForce:
    is_behind = verdict.on_pace is not None and verdict.on_pace < BEHIND
    return verdict._replace(state=State.BELOW_PACE) if verdict.state is State.RESPONDING and is_behind else verdict
