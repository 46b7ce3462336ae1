"""Sessions and dosage in REST: shapes and routes, without rules."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.response import service
from app.rest.door import After, Limit, OpenWork, requires, row_id
from app.rest.pages import Input, Items, Shape, page_keyset, to_page
from app.rest.problem import ViolationShape
from app.rest.route import Route
from app.rest.values import Day
from app.support import dosage as doses
from app.support import models, queries
from app.support.session import NewSession as NewSessionRow
from app.support.session import SessionAmendment as NewAmendment

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=Route)
Reason = Literal["absent", "no_provider", "schedule", "event", "school_closed", "other"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]
Since = Annotated[Day | None, Query(description="The first day, included.")]
Until = Annotated[Day | None, Query(description="The last day, included.")]
WHY = "Why minutes were lost; required where fewer were delivered than planned. `event`: a drill, a test, a trip."


class NewSession(Input):
    """A session to be recorded: one delivery of the support, which took place or was lost.

    Sending the same session again changes nothing.
    """

    held_on: date = Field(description="The day on which it was held, or should have been.")
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
    """A correction of a session; fields that are not given keep their values."""

    held_on: date | None = None
    number: int | None = None
    attended: bool | None = None
    planned_minutes: int | None = None
    delivered_minutes: int | None = None
    lost_because: Reason | None = Field(default=None, description=WHY)


class Session(Shape):
    """A session. A planned session without a record is unknown, not missed."""

    id: str
    support: str
    student: str
    held_on: date
    number: int
    attended: bool
    planned_minutes: int
    delivered_minutes: int
    lost_because: Reason | None
    recorded_by: str | None
    external_id: str | None
    recorded_at: datetime
    version: int


class SessionChange(Shape):
    """The values of a session before a change."""

    version: int
    before: dict[str, Any]
    changed_by: str | None
    changed_at: datetime


class SessionWithChanges(Session):
    """A session with its values before each change, oldest first."""

    changes: list[SessionChange]


class RecordedSession(Shape):
    """The result for one session of a request."""

    outcome: Outcome
    session: Session | None
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


def session_fields(row: models.Session) -> dict[str, Any]:
    """Returns the fields of a session in REST's shape."""
    return {
        "id": ids.format_id("session", row.id),
        "support": ids.format_id("support", row.support_id),
        "student": ids.format_id("student", row.student_id),
        "held_on": row.held_on,
        "number": row.number,
        "attended": row.attended,
        "planned_minutes": row.planned_minutes,
        "delivered_minutes": row.delivered_minutes,
        "lost_because": cast(Reason | None, row.lost_because),
        "recorded_by": ids.format_id("person", row.recorded_by) if row.recorded_by else None,
        "external_id": row.external_id,
        "recorded_at": row.recorded_at,
        "version": row.version,
    }


def session_shape(row: models.Session) -> Session:
    """Returns a session in REST's shape."""
    return Session.model_construct(**session_fields(row))


@router.post("/supports/{support}/sessions", operation_id="record_sessions", **requires(service.record_sessions))
async def record_sessions(work: OpenWork, support: str, new: NewSessions) -> RecordedSessions:
    """Records sessions of a support independently: invalid ones are refused, the others are recorded."""
    sessions = [NewSessionRow(**result.model_dump()) for result in new.sessions]
    results = await service.record_sessions(work, row_id("support", support), sessions)
    return RecordedSessions.model_construct(
        results=[
            RecordedSession.model_construct(
                outcome=cast(Outcome, result.outcome),
                session=session_shape(result.session) if result.session else None,
                violations=[
                    ViolationShape(pointer=violation.pointer, code=violation.code, detail=violation.detail)
                    for violation in result.violations
                ],
            )
            for result in results
        ]
    )


@router.get("/supports/{support}/sessions", operation_id="list_sessions", **requires(queries.support, queries.sessions))
async def list_sessions(
    work: OpenWork,
    request: Request,
    response: Response,
    support: str,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Session]:
    """Lists the sessions of a support, in the order in which they were recorded."""
    row = await queries.support(work, row_id("support", support))
    keyset = page_keyset(work, "sessions", {"support": row.id, "since": since, "until": until}, after, limit)
    page = await queries.sessions(work, keyset, row.id, since, until)
    items, next_cursor = to_page(request, response, page, session_shape)
    return Items(items=items, next=next_cursor)


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


@router.get("/sessions/{session}", operation_id="get_session", **requires(queries.session, queries.changes_of))
async def get_session(work: OpenWork, session: str) -> SessionWithChanges:
    """Returns one session, with its values before each change."""
    row = await queries.session(work, row_id("session", session))
    changes = [
        SessionChange(
            version=change.version,
            before=change.before,
            changed_by=ids.format_id("person", change.changed_by) if change.changed_by else None,
            changed_at=change.changed_at,
        )
        for change in await queries.changes_of(work, row.id)
    ]
    return SessionWithChanges.model_construct(**session_fields(row), changes=changes)


@router.post("/sessions/{session}/amend", operation_id="amend_session", **requires(service.amend_session))
async def amend_session(work: OpenWork, session: str, amendment: SessionAmendment) -> Session:
    """Corrects a session; its earlier values are kept."""
    correction = NewAmendment(**amendment.model_dump())
    return session_shape(await service.amend_session(work, row_id("session", session), correction))


@router.delete(
    "/sessions/{session}",
    status_code=204,
    operation_id="remove_session",
    **requires(service.remove_session, has_version=True),
)
async def remove_session(work: OpenWork, session: str) -> None:
    """Removes a session that was recorded by mistake. Its values are kept, and its day counts as unknown again."""
    await service.remove_session(work, row_id("session", session))
