"""Defines the state that a support has before it is judged again, with the current verdicts on its measures."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, NamedTuple
from uuid import UUID

from app.response.judging.statement import PhaseRow, StoredVerdict


class CurrentOnMeasure(NamedTuple):
    """A current verdict on one of the measures of a support."""

    id: UUID
    measure_id: UUID
    phase_id: UUID
    state: str
    kind: str | None
    on_pace: float | None


@dataclass(frozen=True, slots=True)
class CurrentState:
    """The state that a support has before it is judged again.

    * `verdicts` has the current verdict on each measure. `verdict_id` is the id of the most serious current verdict.
    * `last_number` is the number of the last verdict on the support.
    * `alert_week` and `alert_measure_id` are the week and the measure of the verdict that opened the active alert.
    """

    verdict_id: UUID
    state: str
    kind: str | None
    last_number: int
    verdicts: tuple[CurrentOnMeasure, ...]
    since: datetime
    since_on: date
    memory: dict[str, Any]
    alert_id: UUID | None
    alert_week: int | None
    alert_measure_id: UUID | None
    settled_on: date | None

    def alerting(self, phase_id: UUID) -> bool:
        """Returns whether an alert of this phase is active."""
        return self.alert_id is not None and self.memory.get("phase") == str(phase_id)


@dataclass(frozen=True, slots=True)
class CurrentVerdict:
    """The verdict that a series has before it is judged again, and the state of its support."""

    verdict: StoredVerdict
    state: CurrentState


def current_state(row: PhaseRow, verdict_id: UUID) -> CurrentState:
    """Returns the state of the support in this row. `verdict_id` is the id of its most serious verdict."""
    return CurrentState(
        verdict_id=verdict_id,
        state=row.state,
        kind=row.state_kind,
        last_number=row.last_number,
        verdicts=tuple([CurrentOnMeasure(*verdict) for verdict in row.verdicts]),
        since=row.since,
        since_on=row.since_on,
        memory=row.memory,
        alert_id=row.alert_id,
        alert_week=row.alert_week,
        alert_measure_id=row.alert_measure_id,
        settled_on=row.settled_on,
    )
