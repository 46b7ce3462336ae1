"""Reads the agenda of a meeting, and why each item is on it.

Before the meeting, the agenda is computed; once the meeting is open, the stored items are read. Items that the
caller may not see are only counted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, time
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import Row, case, func, select

from app.access.permission import Can
from app.access.work import Work, needs
from app.agenda.computed import MOST, compute_items, count_items, next_agenda
from app.agenda.models import AgendaItem
from app.agenda.rules import AgendaItemKind, AgendaItemState, complete_order
from app.attention.names import NO_NAMES, SubjectNames, read_stall_names, read_subject_names
from app.core import ids
from app.core.errors import Invalid, NotFound, Violation
from app.meeting.models import Meeting
from app.meeting.rules import MeetingState
from app.playbook.lookup import published
from app.roster.lookup import today_of, zone_of
from app.team.models import Team


@dataclass(frozen=True, slots=True)
class AgendaReason:
    """Why something is on the agenda: a code, and the public ids of the records that explain it."""

    code: str
    records: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AgendaEntry:
    """An item of an agenda. Before the meeting is opened, an item has no id, unless a member added it.

    `student_name` is None, and `names` has no values, if the caller may not read them.
    """

    item_id: UUID | None
    kind: str
    rank: int
    subject_kind: str
    subject_id: UUID
    student_id: UUID | None
    since: date
    reasons: tuple[AgendaReason, ...]
    state: str
    text: str | None
    minutes: str | None
    decision_id: UUID | None
    dropped_because: str | None
    times_carried: int
    version: int | None
    student_name: str | None = None
    names: SubjectNames = NO_NAMES


@dataclass(frozen=True, slots=True)
class Agenda:
    """The agenda of a meeting. If `meeting` is None, it is the agenda that a meeting would have now.

    `order` lists the kinds of items in the playbook's order, and the entries are sorted by it. `hidden` is the number
    of items that the caller may not see.
    """

    team_id: UUID
    meeting: Meeting | None
    order: tuple[str, ...]
    entries: tuple[AgendaEntry, ...]
    hidden: int


@needs(Can.READ_MEETINGS)
async def read_agenda(work: Work, team_id: UUID, meeting: str | None = None) -> Agenda:
    """Returns the agenda of a team's meeting: by default, of the open meeting or else of the next meeting."""
    team = await work.db.scalar(select(Team.id).where(Team.district_id == work.district_id, Team.id == team_id))
    if team is None:
        raise NotFound("team")
    row = await _meeting_of(work, team_id, meeting)
    reader, names = work.principal, dict[UUID, SubjectNames]()
    if row is None or row.state == MeetingState.SCHEDULED:
        order = complete_order((await published(work)).agenda_order)
        queries = await next_agenda(work, team_id)
        entries = rank_entries((entry_of(item, order) for item in await compute_items(work, queries)), order)
        async with work.as_district("agenda"):
            counted = await count_items(work, queries)
            names = await read_stall_names(work, reader, stalls_of(entries))
    elif row.state == MeetingState.CANCELLED:
        order, entries, counted = complete_order(row.agenda_order), (), 0
    else:
        order = complete_order(row.agenda_order)
        stored = await work.db.scalars(_stored(work, row).limit(MOST))
        entries = rank_entries((_entry(item) for item in stored), order)
        async with work.as_district("agenda"):
            counting = select(func.count()).select_from(_stored(work, row).subquery())
            counted = int(await work.db.scalar(counting) or 0)
            names = await read_stall_names(work, reader, stalls_of(entries))
    work.disclose("agenda_item", [entry.student_id for entry in entries if entry.student_id is not None])
    return Agenda(team_id, row, order, await _named(work, entries, names), max(counted - len(entries), 0))


async def _named(
    work: Work, entries: Sequence[AgendaEntry], of_stalls: Mapping[UUID, SubjectNames]
) -> tuple[AgendaEntry, ...]:
    """Returns the entries with the names of their students and of the records that they are about.

    `of_stalls` has the names of core stalls. Executes at most one statement, for all other names.
    """
    subjects = [(entry.subject_kind, entry.subject_id) for entry in entries]
    named = await read_subject_names(work, [*subjects, *(("student", entry.student_id) for entry in entries)])
    names = {**named, **of_stalls}
    return tuple(
        replace(
            entry,
            student_name=None if entry.student_id is None else names.get(entry.student_id, NO_NAMES).text,
            names=names.get(entry.subject_id, NO_NAMES),
        )
        for entry in entries
    )


def stalls_of(entries: Iterable[AgendaEntry]) -> list[UUID]:
    """Returns the ids of the core stalls (grades that fell behind) that these entries are about."""
    return [entry.subject_id for entry in entries if entry.kind == AgendaItemKind.CORE_STALL]


def entry_of(item: Row[Any], order: Sequence[str]) -> AgendaEntry:
    """Converts a row of a query from `next_agenda` to an agenda entry."""
    names = (name.partition(":") for name in item.records.split())
    records = tuple(ids.format_id(kind, UUID(row_id)) for kind, _, row_id in names)
    return AgendaEntry(
        item_id=item.item_id,
        kind=item.kind,
        rank=order.index(item.kind) + 1,
        subject_kind=item.subject_kind,
        subject_id=item.subject_id,
        student_id=item.student_id,
        since=item.since,
        reasons=tuple(AgendaReason(code, records) for code in item.code.split()),
        state=AgendaItemState.OPEN,
        text=item.text,
        minutes=None,
        decision_id=None,
        dropped_because=None,
        times_carried=item.times_carried,
        version=None,
    )


def rank_entries(entries: Iterable[AgendaEntry], order: Sequence[str]) -> tuple[AgendaEntry, ...]:
    """Returns entries in the order of their kinds; within a kind, the entry that has waited longest is first."""
    ranks = {kind: place for place, kind in enumerate(order, 1)}
    return tuple(sorted(entries, key=lambda entry: (ranks[entry.kind], entry.since, entry.subject_id)))


def reasons_of(item: AgendaItem) -> tuple[AgendaReason, ...]:
    """Returns the reasons that were stored with an item when its meeting was opened."""
    return tuple(AgendaReason(str(reason["code"]), tuple(reason["records"])) for reason in item.reasons)


def _entry(item: AgendaItem) -> AgendaEntry:
    return AgendaEntry(
        item_id=item.id,
        kind=item.kind,
        rank=item.rank,
        subject_kind=item.subject_kind,
        subject_id=item.subject_id,
        student_id=item.student_id,
        since=item.since,
        reasons=reasons_of(item),
        state=item.state,
        text=item.text,
        minutes=item.minutes,
        decision_id=item.decision_id,
        dropped_because=item.dropped_because,
        times_carried=item.times_carried,
        version=item.version,
    )


def _stored(work: Work, meeting: Meeting) -> Any:
    """Returns a query for the stored items of a meeting. If the meeting is open, suspended items are left out."""
    query = select(AgendaItem).where(AgendaItem.district_id == work.district_id, AgendaItem.meeting_id == meeting.id)
    return query.where(AgendaItem.state != AgendaItemState.SUSPENDED) if meeting.state == MeetingState.OPEN else query


async def _meeting_of(work: Work, team_id: UUID, name: str | None) -> Meeting | None:
    """Returns the meeting whose id is `name`. Without a name, returns the open meeting or else the next meeting.

    The next meeting is the first that is scheduled for today or later. Returns None if no such meeting exists.

    Raises `Invalid` if the team has no meeting with this id.
    """
    query = select(Meeting).where(Meeting.district_id == work.district_id, Meeting.team_id == team_id)
    if name is not None:
        named: Meeting | None = await work.db.scalar(
            query.where(Meeting.id == ids.parse_id("meeting", name, "/meeting"))
        )
        if named is None:
            detail = "This team has no such meeting."
            raise Invalid([Violation("/meeting", "meeting.unknown", detail)])
        return named
    is_open = Meeting.state == MeetingState.OPEN
    begins = datetime.combine(await today_of(work), time(), tzinfo=ZoneInfo(await zone_of(work)))
    is_next = (Meeting.state == MeetingState.SCHEDULED) & (Meeting.starts_at >= begins)
    order = (case((is_open, 0), else_=1), Meeting.starts_at, Meeting.id)
    following: Meeting | None = await work.db.scalar(query.where(is_open | is_next).order_by(*order).limit(1))
    return following
