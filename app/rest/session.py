"""Serves sessions and dosage in REST."""

from datetime import date
from typing import Annotated, Literal, cast

from fastapi import APIRouter, Query
from pydantic import Field

from app.core import ids
from app.response import service
from app.rest.door import OpenWork, requires, row_id
from app.rest.pages import Input, Shape
from app.rest.problem import ViolationShape
from app.rest.resources import SHAPES
from app.rest.route import Route
from app.rest.values import Day
from app.support import dosage as doses
from app.support import queries
from app.support.delivery import SessionResource
from app.support.session import NewSession as NewSessionRow
from app.support.session import SessionAmendment as NewAmendment

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=Route)
SESSION = SHAPES.of(SessionResource)
Reason = Literal["absent", "no_provider", "schedule", "event", "school_closed", "other"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]
Since = Annotated[Day | None, Query(description="The first day, included.")]
Until = Annotated[Day | None, Query(description="The last day, included.")]
WHY = "Why minutes were lost; required where fewer were delivered than planned. `event`: a drill, a test, a trip."


class NewSession(Input):
    """A session to record: one delivery of the support, which took place or was lost.

    Sending the same session again changes nothing.
    """

    held_on: date = Field(description="The day on which the session took place, or should have taken place.")
    number: int = Field(default=1, description="The session's number, where there are several on the day.")
    attended: bool = Field(description="Whether the student was present.")
    planned_minutes: int | None = Field(
        default=None,
        description="By default, the minutes that the phase plans; 0 for a session that makes up for another.",
    )
    delivered_minutes: int | None = Field(
        default=None, description="By default, all planned minutes for a student who attended, otherwise 0."
    )
    lost_because: Reason | None = Field(default=None, description=WHY)
    external_id: str | None = Field(
        default=None, min_length=1, max_length=200, description="The sender's own id for the session."
    )


class NewSessions(Input):
    """Up to 500 sessions of one support."""

    sessions: list[NewSession] = Field(min_length=1, max_length=500)


class SessionAmendment(Input):
    """A correction of a session; fields that are not given stay unchanged."""

    held_on: date | None = None
    number: int | None = None
    attended: bool | None = None
    planned_minutes: int | None = None
    delivered_minutes: int | None = None
    lost_because: Reason | None = Field(default=None, description=WHY)


class RecordedSession(Shape):
    """The result for one session of a request."""

    outcome: Outcome
    session: SESSION | None = Field(description="The session as it is now; null if it was refused.")  # type: ignore[valid-type]  # made at run time
    violations: list[ViolationShape]


class RecordedSessions(Shape):
    """The results of a bulk request, one for each session, in the order in which they were sent."""

    results: list[RecordedSession]


class Sums(Shape):
    """Sums of sessions and minutes. `known_minutes` are the planned minutes of the sessions that have a record."""

    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int


class DosageWeek(Sums):
    """The dosage of one week, identified by its Monday."""

    monday: date


class Dosage(Sums):
    """Delivered and planned sessions and minutes.

    The shares count only sessions with a record. They are null if fewer than half of the planned sessions have one,
    because the dosage is then unknown.
    """

    support: str
    since: date
    until: date
    share: float | None = Field(description="The lesser of the two shares.")
    session_share: float | None
    minute_share: float | None
    lost: dict[str, int] = Field(description="Minutes lost, by reason.")
    weeks: list[DosageWeek]


@router.post("/supports/{support}/sessions", operation_id="record_sessions", **requires(service.record_sessions))
async def record_sessions(work: OpenWork, support: str, new: NewSessions) -> RecordedSessions:
    """Records sessions of a support independently: invalid ones are refused, the others are recorded."""
    sessions = [NewSessionRow(**result.model_dump()) for result in new.sessions]
    results = await service.record_sessions(work, row_id("support", support), sessions)
    return RecordedSessions.model_construct(
        results=[
            RecordedSession.model_construct(
                outcome=cast(Outcome, result.outcome),
                session=SHAPES.render(SessionResource, result.session) if result.session else None,
                violations=[
                    ViolationShape(pointer=violation.pointer, code=violation.code, detail=violation.detail)
                    for violation in result.violations
                ],
            )
            for result in results
        ]
    )


@router.get("/supports/{support}/dosage", operation_id="get_dosage", **requires(queries.dosage_between))
async def get_dosage(work: OpenWork, support: str, since: Since = None, until: Until = None) -> Dosage:
    """Returns how much of a support was delivered; by default, in its last phase up to today or to its end."""
    support_id = row_id("support", support)
    dosage = await queries.dosage_between(work, support_id, since, until)
    totals = {name: getattr(dosage, name) for name in Dosage.model_fields if name not in ("support", "weeks", "lost")}
    weeks = [
        DosageWeek.model_construct(**{name: getattr(week, name) for name in doses.DosageWeek.__slots__})
        for week in dosage.weeks
    ]
    return Dosage.model_construct(
        support=ids.format_id("support", support_id), lost=dict(dosage.lost), weeks=weeks, **totals
    )


@router.post(
    "/sessions/{session}/amend", operation_id="amend_session", response_model=SESSION, **requires(service.amend_session)
)
async def amend_session(work: OpenWork, session: str, amendment: SessionAmendment) -> Shape:
    """Corrects a session; its earlier values are kept."""
    correction = NewAmendment(**amendment.model_dump())
    return SHAPES.render(SessionResource, await service.amend_session(work, row_id("session", session), correction))


@router.delete(
    "/sessions/{session}",
    status_code=204,
    operation_id="remove_session",
    **requires(service.remove_session, has_version=True),
)
async def remove_session(work: OpenWork, session: str) -> None:
    """Removes a session that was recorded by mistake. Whether the support was delivered on that day is then unknown
    again.

    The session's values are kept in its history.
    """
    await service.remove_session(work, row_id("session", session))
