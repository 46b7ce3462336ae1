"""Locks the items of agendas, writes those that follow them, and records their events, for the commands of the room."""

from collections.abc import Iterable
from typing import Any
from uuid import UUID

from sqlalchemy import insert, select

from app.access.work import Work
from app.agenda.models import AgendaItem
from app.agenda.rules import AgendaItemState, require_unsettled
from app.core.clock import now
from app.core.errors import NotFound
from app.core.ids import new_id
from app.events.catalogue import EventType, NewEvent
from app.events.outbox import record
from app.roster.student_lock import lock_named_subjects, lock_students

KEPT_OF_CARRIED = (
    *("district_id", "team_id", "team_school_id", "student_id", "school_ids", "secured_area", "kind", "subject_kind"),
    *("subject_id", "basis", "since", "reasons", "rank", "text", "added_by"),
)
"""The columns that an item has from the one that it follows."""


async def lock_item(work: Work, item_id: UUID) -> AgendaItem:
    """Locks an item that is open, and its student first, and returns the item.

    Raises `NotFound`, or `Conflict` that says what became of an item that is not open any more.
    """
    await lock_named_subjects(work)
    of_item = (AgendaItem.district_id == work.district_id, AgendaItem.id == item_id)
    student_id = await work.db.scalar(select(AgendaItem.student_id).where(*of_item))
    if student_id is not None:
        await lock_students(work, [student_id])
    item: AgendaItem | None = await work.db.scalar(
        select(AgendaItem).where(*of_item).with_for_update().execution_options(populate_existing=True)
    )
    if item is None:
        raise NotFound("agenda_item")
    work.disclose("agenda_item", [] if item.student_id is None else [item.student_id])
    require_unsettled(item.state, item.settled_at)
    return item


async def follow_carried(work: Work, items: Iterable[AgendaItem]) -> None:
    """Writes the items that follow carried or suspended ones that members added, for the next meeting."""
    rows: list[dict[str, Any]] = [
        {name: getattr(item, name) for name in KEPT_OF_CARRIED}
        | {
            "id": new_id(),
            "state": AgendaItemState.SUSPENDED if item.state == AgendaItemState.SUSPENDED else AgendaItemState.OPEN,
            "suspended_on": item.suspended_on,
            "suspended_because": item.suspended_because,
            "carried_from": item.id,
            "times_carried": item.times_carried + 1,
            "created_at": now(),
            "version": 1,
        }
        for item in items
    ]
    if rows:
        await work.db.execute(insert(AgendaItem), rows)


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
