"""Opens meetings and stores their agendas, and closes meetings that have no open item any more."""

from collections.abc import Iterable, Sequence
from typing import Annotated, Any, Final
from uuid import UUID

from sqlalchemy import Select, insert, select, update

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.computed import compute_items, next_agenda
from app.agenda.models import AgendaItem
from app.agenda.reading import AgendaEntry, entry_of
from app.agenda.rules import AgendaItemKind, AgendaItemState, complete_order
from app.agenda.scope import students_of
from app.core.clock import now
from app.core.errors import Conflict, NotFound
from app.core.ids import new_id
from app.core.inputs import About, AtMost
from app.core.violations import Violations
from app.events.catalogue import MEETING_CLOSED, MEETING_OPENED
from app.meeting.lookup import count_change, lock_meeting, require_active
from app.meeting.models import Meeting
from app.meeting.rules import MAX_PRESENT, MeetingState, require_open, require_scheduled
from app.playbook.lookup import published
from app.roster.lookup import locate_staff, today_of
from app.roster.student_lock import lock_named_subjects, lock_newcomers, lock_students
from app.team.models import Team

PRESENT: Final = About("The people who are present: ids or external ids.", ("per_01jq4n6d9zf3vbs0x5k2m7e8tb",))

KEPT_OF_CARRIED = (
    *("district_id", "team_id", "team_school_id", "student_id", "school_ids", "secured_area", "kind", "subject_kind"),
    *("subject_id", "basis", "since", "reasons", "rank", "text", "area_id", "added_by"),
)
"""The columns that are copied from a carried or suspended item to its successor at the next meeting."""


@needs(Can.RUN_MEETINGS)
async def open_meeting(
    work: Work, meeting_id: UUID, present: Annotated[Sequence[str], AtMost(MAX_PRESENT), PRESENT] = ()
) -> Meeting:
    """Opens a meeting, and stores its agenda, including the items that the caller may not see."""
    await lock_named_subjects(work)
    team_id = await _team_of(work, meeting_id)
    await require_active(work, team_id)
    people = await _people(work, present)
    async with work.as_district("agenda"):
        await _lock_team_and_students(work, team_id)
    meeting = await lock_meeting(work, meeting_id)
    require_scheduled(meeting.state)
    await _refuse_second(work, team_id)
    meeting.state, meeting.opened_at, meeting.present = MeetingState.OPEN, now(), people
    meeting.agenda_order = list(complete_order((await published(work)).agenda_order))
    await count_change(work, meeting, MEETING_OPENED)
    async with work.as_district("agenda"):
        await _store_items(work, meeting)
    return meeting


@needs(Can.RUN_MEETINGS)
async def close_meeting(
    work: Work,
    meeting_id: UUID,
    carry_rest: Annotated[
        bool, About("Whether the items that are still open are carried to the next meeting.", True)
    ] = False,
) -> Meeting:
    """Closes a meeting; raises `Conflict` if items are still open. With `carry_rest`, these are carried instead."""
    await lock_named_subjects(work)
    await _team_of(work, meeting_id)
    visible = len((await work.db.scalars(_of_state(work, meeting_id, AgendaItemState.OPEN))).all())
    async with work.as_district("agenda"):
        await lock_students(work, await _students_of_items(work, meeting_id))
    meeting = await lock_meeting(work, meeting_id)
    require_open(meeting.state)
    async with work.as_district("agenda"):
        await _end_items(work, meeting, visible, carry_rest=carry_rest)
    meeting.state, meeting.closed_at = MeetingState.CLOSED, now()
    return await count_change(work, meeting, MEETING_CLOSED)


@needs(Can.RUN_MEETINGS)
async def follow_carried(work: Work, items: Iterable[AgendaItem]) -> None:
    """Adds a copy of each carried or suspended item, for the next meeting.

    All `items` must be ones that members added. A computed item needs no copy, because it is computed again while its
    reason exists.
    """
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


async def _end_items(work: Work, meeting: Meeting, visible: int, *, carry_rest: bool) -> None:
    """Marks the open items of a meeting that is being closed as carried.

    Open and suspended items that members added are also copied, so that the next meeting has them. Computed items need
    no copy.

    Without `carry_rest`, no item may be open: raises `Conflict`, with the number of open items and the number of those
    that the caller may not see. `visible` is the number of open items that the caller may see.

    The caller must have locked the meeting's students and then the meeting. An item can be added between these two
    locks, so the students of such items are locked here.
    """
    await lock_newcomers(work, await _students_of_items(work, meeting.id))
    query = _of_state(work, meeting.id, AgendaItemState.OPEN).with_for_update(key_share=True)
    open_ones = (await work.db.scalars(query.execution_options(populate_existing=True))).all()
    if open_ones and not carry_rest:
        hidden = max(len(open_ones) - visible, 0)
        unseen = f", {hidden} of which you may not see" if hidden else ""
        detail = f"Items that are still open: {len(open_ones)}{unseen}. Settle or carry them, or send `carry_rest`."
        raise Conflict(detail, code="meeting.unsettled")
    for item in open_ones:
        item.state, item.settled_at, item.version = AgendaItemState.CARRIED, now(), item.version + 1
    await work.db.flush()
    query = _of_state(work, meeting.id, AgendaItemState.SUSPENDED).with_for_update(key_share=True)
    suspended = (await work.db.scalars(query.execution_options(populate_existing=True))).all()
    await follow_carried(work, [item for item in (*open_ones, *suspended) if item.kind == AgendaItemKind.OWN])


async def _store_items(work: Work, meeting: Meeting) -> None:
    """Stores the agenda of a meeting that is being opened.

    The computed items are inserted. The items that members added are stored already; they are assigned to the meeting.

    A student may have joined the team after the team's students were locked. An item about such a student is left for
    the next meeting.
    """
    order = meeting.agenda_order
    rows, taken = [], []
    for row in await compute_items(work, await next_agenda(work, meeting.team_id)):
        entry = entry_of(row, order)
        if entry.student_id is not None and entry.student_id not in work.locked_students:
            continue
        if entry.item_id is not None:
            taken.append(entry.item_id)
        else:
            about = {"school_ids": row.school_ids, "secured_area": row.secured_area, "basis": row.basis}
            rows.append(_values(meeting, entry) | about)
    if rows:
        await work.db.execute(insert(AgendaItem), rows)
    if taken:
        await work.db.execute(
            update(AgendaItem)
            .where(
                AgendaItem.district_id == work.district_id,
                AgendaItem.id.in_(taken),
                AgendaItem.state == AgendaItemState.OPEN,
            )
            .values(meeting_id=meeting.id, rank=order.index(AgendaItemKind.OWN) + 1, version=AgendaItem.version + 1)
            .execution_options(synchronize_session=False)
        )


def _values(meeting: Meeting, entry: AgendaEntry) -> dict[str, object]:
    return {
        "district_id": meeting.district_id,
        "id": new_id(),
        "team_id": meeting.team_id,
        "team_school_id": meeting.team_school_id,
        "meeting_id": meeting.id,
        "student_id": entry.student_id,
        "kind": entry.kind,
        "subject_kind": entry.subject_kind,
        "subject_id": entry.subject_id,
        "since": entry.since,
        "reasons": [{"code": reason.code, "records": list(reason.records)} for reason in entry.reasons],
        "rank": entry.rank,
        "state": AgendaItemState.OPEN,
        "times_carried": entry.times_carried,
        "created_at": now(),
        "version": 1,
    }


async def _lock_team_and_students(work: Work, team_id: UUID) -> None:
    """Locks a team, then the students whom the team serves. Thus two meetings of a team cannot be opened at once."""
    of_team = (Team.district_id == work.district_id, Team.id == team_id)
    await work.db.execute(select(Team.id).where(*of_team).with_for_update(key_share=True))
    served = students_of(work.district_id, team_id, await today_of(work))
    await lock_students(work, set(await work.db.scalars(select(served.c.student_id))))


async def _refuse_second(work: Work, team_id: UUID) -> None:
    """Raises `Conflict` if the team has an open meeting."""
    is_open = (Meeting.district_id == work.district_id, Meeting.team_id == team_id, Meeting.state == MeetingState.OPEN)
    if await work.db.scalar(select(Meeting.id).where(*is_open)) is not None:
        raise Conflict("Another meeting of the team is open. Close it first.", code="meeting.another_open")


async def _team_of(work: Work, meeting_id: UUID) -> UUID:
    query = select(Meeting.team_id).where(Meeting.district_id == work.district_id, Meeting.id == meeting_id)
    team_id: UUID | None = await work.db.scalar(query)
    if team_id is None:
        raise NotFound("meeting")
    return team_id


async def _people(work: Work, names: Sequence[str]) -> list[UUID]:
    violations, people = Violations(), dict[UUID, None]()
    for place, name in enumerate(names):
        with violations:
            people[(await locate_staff(work, name, f"/present/{place}")).id] = None
    violations.refuse()
    return list(people)


async def _students_of_items(work: Work, meeting_id: UUID) -> set[UUID]:
    """Returns the ids of the students about whom a meeting has open or suspended items."""
    query = select(AgendaItem.student_id).where(
        AgendaItem.district_id == work.district_id,
        AgendaItem.meeting_id == meeting_id,
        AgendaItem.state.in_((AgendaItemState.OPEN, AgendaItemState.SUSPENDED)),
        AgendaItem.student_id.is_not(None),
    )
    return set(await work.db.scalars(query))


def _of_state(work: Work, meeting_id: UUID, state: AgendaItemState) -> Select[AgendaItem]:
    return (
        select(AgendaItem)
        .where(
            AgendaItem.district_id == work.district_id, AgendaItem.meeting_id == meeting_id, AgendaItem.state == state
        )
        .order_by(AgendaItem.id)
    )
