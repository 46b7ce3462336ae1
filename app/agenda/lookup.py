"""Locks the items of agendas, finds what a new one is about, and records events, for the commands of the room."""

from uuid import UUID

from sqlalchemy import select

from app.access.work import Work
from app.agenda.models import AgendaItem
from app.agenda.rules import require_unsettled
from app.agenda.scope import students_of
from app.core.errors import Invalid, NotFound, Violation
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import record
from app.playbook.lookup import locate_area_in_force
from app.playbook.models import Area
from app.roster.lookup import today_of
from app.roster.models import Person
from app.roster.student_lock import lock_row_after_student


async def lock_item(work: Work, item_id: UUID) -> AgendaItem:
    """Locks an item that is open, and its student first, and returns the item.

    Raises `NotFound`, or `Conflict` that says what became of an item that is not open any more.
    """
    item = await lock_row_after_student(work, AgendaItem, item_id)
    if item is None:
        raise NotFound("agenda_item")
    work.disclose("agenda_item", [] if item.student_id is None else [item.student_id])
    require_unsettled(item.state, item.settled_at)
    return item


async def area_of(work: Work, name: str, student: str | None) -> Area:
    """Returns the area with this code or id; raises `Invalid` also for an item about no student."""
    if student is None:
        detail = "Only an item about a student has an area: name the student."
        raise Invalid([Violation("/area", "agenda_item.no_student", detail)])
    return await locate_area_in_force(work, name, "/area")


async def require_served(work: Work, team_id: UUID, student: Person) -> None:
    """Raises `Invalid` for a student whom the team does not serve."""
    served = students_of(work.district_id, team_id, await today_of(work))
    if await work.db.scalar(select(served.c.student_id).where(served.c.student_id == student.id)) is None:
        detail = "The team does not serve this student."
        raise Invalid([Violation("/student", "agenda_item.not_of_team", detail)])


def emit_item_event(work: Work, type_: EventType, item: AgendaItem) -> None:
    """Records an event about an item, which names the team."""
    of_team = () if item.team_school_id is None else (item.team_school_id,)
    record(
        work,
        NewEvent(
            type=type_,
            subject_id=item.id,
            subject_version=item.version,
            ids={"team": item.team_id},
            student_id=item.student_id,
            school_ids=tuple(item.school_ids) or of_team,
            secured_area=item.secured_area,
        ),
    )
