"""Provides functions for the commands of this package: they lock agenda items and record events about items."""

from uuid import UUID

from app.access.work import Work
from app.agenda.models import AgendaItem
from app.agenda.rules import require_unsettled
from app.core.errors import NotFound
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import record
from app.roster.student_lock import lock_row_after_student


async def lock_item(work: Work, item_id: UUID) -> AgendaItem:
    """Locks the student of an open item, then the item, and returns the item.

    Raises `NotFound` if there is no such item, and `Conflict` with the item's state if the item is not open any more.
    """
    item = await lock_item_in_any_state(work, item_id)
    require_unsettled(item.state, item.settled_at)
    return item


async def lock_item_in_any_state(work: Work, item_id: UUID) -> AgendaItem:
    """Locks the student of an item, then the item, and returns the item. Raises `NotFound` if there is no such item."""
    item = await lock_row_after_student(work, AgendaItem, item_id)
    if item is None:
        raise NotFound("agenda_item")
    work.disclose("agenda_item", [] if item.student_id is None else [item.student_id])
    return item


def emit_item_event(work: Work, type_: EventType, item: AgendaItem) -> None:
    """Records an event about an item. The event contains the id of the team."""
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
