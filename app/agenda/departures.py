"""Suspends the open agenda items about students who leave, and opens them again when the students return."""

from datetime import date
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Row, and_, any_, case, cast, exists, literal, or_, select, update
from sqlalchemy.types import Date

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.models import AgendaItem
from app.agenda.rules import AgendaItemState, SuspendedBecause
from app.events.reminders import AT_ONCE
from app.meeting.models import Meeting
from app.meeting.rules import MeetingState
from app.roster.lookup import IdList, today_of
from app.roster.models import Person
from app.roster.student_lock import lock_students
from app.team.models import TeamStudent, in_force_on
from app.team.students import follow_roster


@needs(Can.SYNC_ROSTER)
async def follow_teams(work: Work) -> int:
    """After a sync, updates which students belong to which teams, and suspends or reopens the agenda items about them.

    Returns how many rows were changed: memberships of students in teams, and agenda items.
    """
    written = await follow_roster(work)
    return written + await follow_students(work)


@needs(Can.SYNC_ROSTER)
async def follow_students(work: Work) -> int:
    """Suspends open items of students whom the team no longer serves, and reopens items of students who are back.

    If the meeting was closed before the student returned, the item stays suspended. The next meeting then gets a new
    item, if the reason for it still exists.

    Students whom another transaction has locked are left for the next run. Returns the number of changed items. Syncs
    and an hourly task call this function; the task is needed because people can also change a team's students by hand.
    """
    today = await today_of(work)
    suspended = await _suspend(work, today)
    return suspended + await _resume(work, today)


async def _suspend(work: Work, today: date) -> int:
    query = _about_students(work, AgendaItemState.OPEN).where(or_(_left(), ~_serves(work, today)))
    rows = await _lockable(work, query)
    if not rows:
        return 0
    gone = [row.id for row in rows if row.has_left]
    because = case(
        (AgendaItem.id == any_(cast(gone, IdList)), str(SuspendedBecause.STUDENT_LEFT)),
        else_=str(SuspendedBecause.STUDENT_NOT_SERVED),
    )
    values = {
        "state": str(AgendaItemState.SUSPENDED),
        "suspended_on": cast(literal(today), Date),
        "suspended_because": because,
    }
    return await _write(work, rows, AgendaItemState.OPEN, values)


async def _resume(work: Work, today: date) -> int:
    is_open = exists().where(
        Meeting.district_id == work.district_id,
        Meeting.id == AgendaItem.meeting_id,
        Meeting.state == MeetingState.OPEN,
    )
    query = _about_students(work, AgendaItemState.SUSPENDED).where(
        ~_left(), _serves(work, today), or_(AgendaItem.meeting_id.is_(None), is_open)
    )
    rows = await _lockable(work, query)
    values = {"state": str(AgendaItemState.OPEN), "suspended_on": None, "suspended_because": None}
    return await _write(work, rows, AgendaItemState.SUSPENDED, values) if rows else 0


def _about_students(work: Work, state: AgendaItemState) -> Any:
    return (
        select(AgendaItem.id, AgendaItem.student_id, _left().label("has_left"))
        .join(Person, and_(Person.district_id == work.district_id, Person.id == AgendaItem.student_id))
        .where(AgendaItem.district_id == work.district_id, AgendaItem.state == state)
        .order_by(AgendaItem.id)
        .limit(AT_ONCE)
    )


def _left() -> ColumnElement[bool]:
    return Person.removed_at.is_not(None)


def _serves(work: Work, today: date) -> ColumnElement[bool]:
    """Returns an SQL condition that is true if the item's team serves the item's student today."""
    return exists().where(
        TeamStudent.district_id == work.district_id,
        TeamStudent.student_id == AgendaItem.student_id,
        TeamStudent.team_id == AgendaItem.team_id,
        in_force_on(TeamStudent, today),
    )


async def _lockable(work: Work, query: Any) -> list[Row[Any]]:
    """Locks the students of a query's rows, but does not wait for students whom another transaction has locked.

    Returns the rows of the students that it could lock.
    """
    rows = (await work.db.execute(query)).all()
    locked = await lock_students(work, {row.student_id for row in rows}, wait=False)
    return [row for row in rows if row.student_id in locked]


async def _write(work: Work, rows: list[Row[Any]], state: AgendaItemState, values: dict[str, Any]) -> int:
    changed: list[UUID] = list(
        await work.db.scalars(
            update(AgendaItem)
            .where(
                AgendaItem.district_id == work.district_id,
                AgendaItem.id == any_(cast([row.id for row in rows], IdList)),
                AgendaItem.state == state,
            )
            .values(version=AgendaItem.version + 1, **values)
            .returning(AgendaItem.id)
            .execution_options(synchronize_session=False)
        )
    )
    return len(changed)
