"""Owns sessions and dosage in REST: shapes and routes, no rule."""

from datetime import date, datetime
from typing import Annotated, Any, Literal, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from app.core import ids
from app.response import service
from app.rest.door import After, Limit, Opened, asks, row_id
from app.rest.pages import Input, Items, Shape, paged, place
from app.rest.problem import ViolationShape
from app.rest.route import Route
from app.support import dosage as doses
from app.support import models, queries
from app.support.session import NewSession as NewSessionRow
from app.support.session import SessionAmendment as NewAmendment

router = APIRouter(prefix="/v1", tags=["sessions"], route_class=Route)
Reason = Literal["absent", "no_provider", "schedule", "event", "school_closed", "other"]
Outcome = Literal["recorded", "amended", "unchanged", "refused"]
Since = Annotated[date | None, Query(description="The first day; it counts.")]
Until = Annotated[date | None, Query(description="The last day; it counts.")]
WHY = "Why minutes were lost; asked for where fewer were delivered than planned. `event`: a drill, a test, a trip."


class NewSession(Input):
    """One delivery of the support, held or lost. The same session sent again changes nothing."""

    held_on: date = Field(description="The day on which it was held, or should have been.")
    number: int = Field(default=1, description="Which one, where there are several on a day.")
    attended: bool = Field(description="Whether the student was there.")
    planned_minutes: int | None = Field(
        default=None, description="Without it, as the phase plans; 0 for a session that makes up for another."
    )
    delivered_minutes: int | None = Field(
        default=None, description="Without it, all of the planned ones to a student who attended, else none."
    )
    lost_because: Reason | None = Field(default=None, description=WHY)
    external_id: str | None = Field(
        default=None, min_length=1, max_length=200, description="The sender's own name for it."
    )


class NewSessions(Input):
    """Up to 500 sessions of one support."""

    sessions: list[NewSession] = Field(min_length=1, max_length=500)


class Amendment(Input):
    """What the session should have said; what is not named stays."""

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
    """What a session said before a change."""

    version: int
    before: dict[str, Any]
    changed_by: str | None
    changed_at: datetime


class SessionWithChanges(Session):
    """A session with what it said before, oldest first."""

    changes: list[SessionChange]


class RecordedSession(Shape):
    """What became of one session."""

    outcome: Outcome
    session: Session | None
    violations: list[ViolationShape]


class RecordedSessions(Shape):
    """A result for each session, in the order in which they came."""

    results: list[RecordedSession]


class Sums(Shape):
    """Sessions and minutes. `known_minutes` are the planned minutes of the sessions that have a record."""

    planned_sessions: int
    delivered_sessions: int
    unknown_sessions: int
    planned_minutes: int
    known_minutes: int
    delivered_minutes: int


class DosageWeek(Sums):
    """A week, by its Monday."""

    monday: date


class Dosage(Sums):
    """Delivered against planned. The shares rest on the sessions with a record; they are null where fewer than half of
    the planned ones have one: then the dosage is unknown.
    """

    support: str
    since: date
    until: date
    share: float | None = Field(description="The lesser of both shares.")
    session_share: float | None
    minute_share: float | None
    lost: dict[str, int] = Field(description="Minutes lost, by reason.")
    weeks: list[DosageWeek]


def told_of(row: models.Session) -> dict[str, Any]:
    """A session's fields as REST shows them."""
    return {
        "id": ids.show("session", row.id),
        "support": ids.show("support", row.support_id),
        "student": ids.show("student", row.student_id),
        "held_on": row.held_on,
        "number": row.number,
        "attended": row.attended,
        "planned_minutes": row.planned_minutes,
        "delivered_minutes": row.delivered_minutes,
        "lost_because": cast(Reason | None, row.lost_because),
        "recorded_by": ids.show("person", row.recorded_by) if row.recorded_by else None,
        "external_id": row.external_id,
        "recorded_at": row.recorded_at,
        "version": row.version,
    }


def session_shape(row: models.Session) -> Session:
    """A session as REST shows it."""
    return Session.model_construct(**told_of(row))


@router.post("/supports/{support}/sessions", operation_id="record_sessions", **asks(service.record_sessions))
async def record_sessions(work: Opened, support: str, new: NewSessions) -> RecordedSessions:
    """Records sessions of a support, each by itself: a bad one is named and refused, the others are taken."""
    told = [NewSessionRow(**one.model_dump()) for one in new.sessions]
    taken = await service.record_sessions(work, row_id("support", support), told)
    return RecordedSessions.model_construct(
        results=[
            RecordedSession.model_construct(
                outcome=cast(Outcome, one.outcome),
                session=session_shape(one.session) if one.session else None,
                violations=[
                    ViolationShape(pointer=said.pointer, code=said.code, detail=said.detail) for said in one.violations
                ],
            )
            for one in taken
        ]
    )


@router.get("/supports/{support}/sessions", operation_id="list_sessions", **asks(queries.support, queries.sessions))
async def list_sessions(
    work: Opened,
    request: Request,
    response: Response,
    support: str,
    since: Since = None,
    until: Until = None,
    after: After = None,
    limit: Limit = None,
) -> Items[Session]:
    """The sessions of a support, in the order in which they were recorded."""
    row = await queries.support(work, row_id("support", support))
    keyset = place(work, "sessions", {"support": row.id, "since": since, "until": until}, after, limit)
    page = await queries.sessions(work, keyset, row.id, since, until)
    items, then = paged(request, response, page, session_shape)
    return Items(items=items, next=then)


@router.get("/supports/{support}/dosage", operation_id="get_dosage", **asks(queries.dosage_between))
async def get_dosage(work: Opened, support: str, since: Since = None, until: Until = None) -> Dosage:
    """What of the support was delivered; without days, in its last phase up to today or to its end."""
    support_id = row_id("support", support)
    found = await queries.dosage_between(work, support_id, since, until)
    told = {name: getattr(found, name) for name in Dosage.model_fields if name not in ("support", "weeks", "lost")}
    weeks = [
        DosageWeek.model_construct(**{name: getattr(week, name) for name in doses.DosageWeek.__slots__})
        for week in found.weeks
    ]
    return Dosage.model_construct(support=ids.show("support", support_id), lost=dict(found.lost), weeks=weeks, **told)


@router.get("/sessions/{session}", operation_id="get_session", **asks(queries.session, queries.changes_of))
async def get_session(work: Opened, session: str) -> SessionWithChanges:
    """One session, with what it said before each change."""
    row = await queries.session(work, row_id("session", session))
    changes = [
        SessionChange(
            version=one.version,
            before=one.before,
            changed_by=ids.show("person", one.changed_by) if one.changed_by else None,
            changed_at=one.changed_at,
        )
        for one in await queries.changes_of(work, row.id)
    ]
    return SessionWithChanges.model_construct(**told_of(row), changes=changes)


@router.post("/sessions/{session}/amend", operation_id="amend_session", **asks(service.amend_session))
async def amend_session(work: Opened, session: str, amendment: Amendment) -> Session:
    """Sets a session right; what it said before is kept."""
    told = NewAmendment(**amendment.model_dump())
    return session_shape(await service.amend_session(work, row_id("session", session), told))


@router.delete("/sessions/{session}", status_code=204, operation_id="remove_session", **asks(service.remove_session))
async def remove_session(work: Opened, session: str) -> None:
    """Takes back a session that should not have been recorded; what it said is kept, and its day is unknown again."""
    await service.remove_session(work, row_id("session", session))
